"""Control where and how torch computes: devices, weights, checkpoints and parallel runs."""
