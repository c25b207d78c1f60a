"""The classifiers: one `fit` for all arms of the protocol, and prediction."""
