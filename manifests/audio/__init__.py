"""Audio files: reading their headers, decoding them, converting them to 16 kHz FLAC."""
