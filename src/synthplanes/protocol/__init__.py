"""The protocol: what is run, compared and decided, fixed before anything is trained (no torch)."""
