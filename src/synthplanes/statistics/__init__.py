"""Turn predicted probabilities into scores, clustered intervals and the words of a verdict (no torch)."""
