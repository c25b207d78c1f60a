"""Prepare a source: guards, duplicates, splits and folds by patient, packed images."""
