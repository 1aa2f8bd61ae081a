"""The sound of the local provider: pure functions on numpy arrays, and the files at their edges."""
