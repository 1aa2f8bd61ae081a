"""One request, from submission to delivery."""
