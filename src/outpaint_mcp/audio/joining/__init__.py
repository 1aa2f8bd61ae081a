"""What a hosted model made, joined to the source it was made from."""
