"""Streamable HTTP on this machine: who may call, and how much anybody can take up."""
