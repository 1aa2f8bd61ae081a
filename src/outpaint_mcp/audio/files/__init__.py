"""Audio files: probing, decoding, encoding, cropping, conversion and tags."""
