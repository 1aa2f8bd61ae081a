"""Joining what a hosted model returned to the source it was generated from."""
