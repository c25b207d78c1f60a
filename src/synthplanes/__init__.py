"""SynthPlanes: do images drawn by a diffusion model help to classify fetal ultrasound planes?"""

__version__ = "0.1.0"
