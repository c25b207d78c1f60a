"""From a source to packed images: guards, duplicates, splits, folds."""
