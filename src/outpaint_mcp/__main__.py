"""`python -m outpaint_mcp`."""

from outpaint_mcp.cli.main import main

if __name__ == "__main__":
    main()
