"""How a longer recording came out."""
