"""Make a recording longer: an MCP server with a hosted and a built-in provider."""

__version__ = "0.1.0"
