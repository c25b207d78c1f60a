"""Show results in MLflow: a projection of DVC's files that can be rebuilt from a checkout at any time."""
