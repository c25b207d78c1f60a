"""From predicted probabilities to a verdict: scores, clustered intervals and words (numpy and scipy, no torch)."""
