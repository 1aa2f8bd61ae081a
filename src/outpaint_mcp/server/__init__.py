"""What MCP shows: the server, its tools, their schemas and their content."""
