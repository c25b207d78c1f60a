"""Images and their tables: the four sources, roles by patient, guards and packed arrays (numpy and Pillow, no torch)."""
