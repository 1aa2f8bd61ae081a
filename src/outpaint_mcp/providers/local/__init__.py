"""The built-in provider: extends a recording with its own material; no key, no network, no GPU."""
