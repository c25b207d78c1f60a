"""Audit synthetic images before any arm trains on them: label fidelity and possible copies."""
