"""Sound and picture: guarded opening, probing, standardising, cutting and decoding, all through PyAV's own FFmpeg."""
