"""Simulate fetal ultrasound: six planes, patients, scanners, operators; calibrated on real images."""
