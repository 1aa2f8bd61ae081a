"""What is answered, in figures and in words."""
