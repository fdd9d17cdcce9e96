"""The decisions as a pure kernel: what was observed goes in, what to do comes out."""
