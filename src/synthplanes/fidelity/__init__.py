"""What the synthetic images are worth before they are used: label fidelity, feature distance, copies."""
