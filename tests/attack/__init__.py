"""The whole attack again: the installed program against malformed, hostile and greedy input, by `make attack`.

From outside only: stdio, HTTP, the command line, the file system, and a service that lies. All of it is seeded, on
loopback, and in a folder that is removed.
"""
