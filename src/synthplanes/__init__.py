"""SynthPlanes measures whether images drawn by a diffusion model help to classify fetal ultrasound planes."""

from synthplanes.instructions import pin

__version__ = "0.1.0"

pin()  # before numpy and torch load
