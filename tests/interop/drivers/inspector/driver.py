"""The Inspector's command line, a run for each call; a run that exits with an error is shown as it is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from model import SERVER, begin, go_on

PATIENCE_SECONDS = 30
NODE, ENVIRONMENT = sys.argv[1:]
PROGRAM = Path(
    ENVIRONMENT,
    "node_modules",
    "@modelcontextprotocol",
    "inspector",
    "clients",
    "launcher",
    "build",
    "index.js",
)


def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        NODE,
        str(PROGRAM),
        "--cli",
        "--protocol-era",
        SERVER["mode"],
        "--format",
        "json",
        "--quiet",
        *arguments,
    ]
    if "command" in SERVER:
        pairs = [word for name, value in SERVER["env"].items() for word in ("-e", f"{name}={value}")]
        command += [*pairs, "--", SERVER["command"], *SERVER["args"]]
    else:
        pairs = [
            word for name, value in SERVER["headers"].items() for word in ("--header", f"{name}: {value}")
        ]
        command += ["--transport", "http", "--server-url", SERVER["url"], *pairs]
    catalog = {"MCP_CATALOG_PATH": str(Path("catalog.json").resolve())}
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": PATIENCE_SECONDS}
    try:
        return subprocess.run(command, check=False, env=os.environ | catalog, **options)
    except subprocess.TimeoutExpired:  # it waits for a task to end
        return subprocess.CompletedProcess(command, 1, "", f"Stopped after {PATIENCE_SECONDS} s.")


listed = inspect("--method", "tools/list", "--strict")
assert listed.returncode == 0, listed
tools = json.loads(listed.stdout)["result"]["tools"]
call = begin([(tool["name"], tool.get("description"), tool["inputSchema"]) for tool in tools])
while call is not None:
    arguments = json.dumps(call.arguments)
    ran = inspect("--method", "tools/call", "--tool-name", call.tool, "--tool-args-json", arguments)
    content = json.loads(ran.stdout)["result"]["content"] if ran.stdout.strip() else []
    kinds = [block["type"] for block in content]
    text = "\n".join(block["text"] for block in content if block["type"] == "text")
    call = go_on(text or ran.stderr, kinds.count("image"))
