"""What is known, besides the pixels, of the images that a budget trains on."""

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import Table


def training_sets(splits: Table, development: Table, budget: str) -> dict[int, Table]:
    """Replicate -> the rows of `development` (records.INDEX) whose images it trains on; validation is not among them.

    `splits` is records.SPLITS. Raises `UserError` where an image of the splits is not in the index, or where the
    budget trains on nothing.
    """
    own = splits.select((splits["budget"] == budget) & (splits["role"] == "train"))
    if not len(own):
        raise UserError(f"splits.csv names no training image of the budget '{budget}': run prepare again.")
    unknown = np.setdiff1d(own["image_id"], development["image_id"])
    if len(unknown):
        raise UserError(f"splits.csv of the budget '{budget}' names the image '{unknown[0]}', which the development "
                        "index.csv lacks: run prepare again.")
    images_of = {replicate: own["image_id"][own["replicate"] == replicate]
                 for replicate in sorted(set(own["replicate"].tolist()))}
    return {replicate: development.select(np.isin(development["image_id"], images))
            for replicate, images in images_of.items()}
