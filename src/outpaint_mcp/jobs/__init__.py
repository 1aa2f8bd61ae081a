"""The queue, and who works on what."""
