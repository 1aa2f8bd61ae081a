"""Audio files: what they are, every frame of them, and writing them."""
