"""The command line: the same way through the service as the tools, for a person at a terminal."""
