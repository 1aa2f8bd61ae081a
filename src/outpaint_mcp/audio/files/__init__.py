"""Audio files: probing, decoding, encoding, cropping and conversion."""
