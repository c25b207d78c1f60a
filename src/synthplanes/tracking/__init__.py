"""MLflow as a projection of DVC's files: everything in the store can be made anew from a checkout."""
