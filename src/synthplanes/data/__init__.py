"""Images and their tables: the four sources, roles by patient, guards, packed arrays; no torch."""
