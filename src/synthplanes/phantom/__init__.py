"""Simulate fetal ultrasound: six planes, patients, scanners, operators; calibrated on real images."""

from synthplanes.phantom.official_layout import write_official_layout
from synthplanes.phantom.population import CLASSES
from synthplanes.phantom.simulation import LATENTS, VERSION, simulate

__all__ = ["CLASSES", "LATENTS", "VERSION", "simulate", "write_official_layout"]
