"""Read images from four sources, check them, split them by patient and pack them as arrays; no torch."""
