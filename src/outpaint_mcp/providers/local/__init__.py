"""The built-in provider: carries the track's own material on, with no key, no network and no GPU."""
