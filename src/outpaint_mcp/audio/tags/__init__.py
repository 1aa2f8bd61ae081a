"""What a file says of itself beside its sound: tags, covers, loops and cues, carried over into longer files."""
