"""Show results in MLflow: a projection of DVC's files, which can be made anew from a checkout at any time."""
