"""A simulator of fetal ultrasound: six planes, patients, scanners, operators; calibrated on real images."""

from synthplanes.data.phantom.image_statistics import image_statistics
from synthplanes.data.phantom.official_layout import write_official_layout
from synthplanes.data.phantom.population import CLASSES
from synthplanes.data.phantom.simulation import LATENTS, VERSION, Phantom, simulate

__all__ = ["CLASSES", "LATENTS", "VERSION", "Phantom", "image_statistics", "simulate",
           "write_official_layout"]
