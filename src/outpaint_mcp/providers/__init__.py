"""Whoever carries requests out, behind one protocol."""
