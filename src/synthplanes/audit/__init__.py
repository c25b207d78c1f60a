"""What the synthetic images are worth apart from any arm: label fidelity and copies."""
