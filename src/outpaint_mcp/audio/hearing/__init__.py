"""What a recording is, told by listening to it, and its picture."""
