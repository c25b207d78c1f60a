"""What is known, besides the pixels, of the images that a budget trains on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import Table
from synthplanes.statistics.predictions import Predictions


@dataclass(frozen=True)
class TrainingSets:
    """The training images of every replicate, and which of them answers for which test image."""

    images: Mapping[int, Table]     # replicate -> rows of records.INDEX
    fold: np.ndarray | None = None  # int [test images]: the replicate that tests each; None: all test all of them

    def answers(self, of: Callable[[Table], np.ndarray]) -> np.ndarray:
        """`of` maps training images to an answer per test image: [replicates, test images], or in cross-validation
        [1, test images], each by the training images of its fold."""
        by = {replicate: np.asarray(of(images)) for replicate, images in self.images.items()}
        if self.fold is None:
            return np.stack(list(by.values()))
        return np.array([[by[replicate][row] for row, replicate in enumerate(self.fold.tolist())]])


def refuse_another_index(predictions: Predictions, development: Table) -> None:
    """Raise `UserError` where an image of the predictions is another one in `development` (records.INDEX); roles differ."""
    images = predictions.images
    shared, here, there = np.intersect1d(images["image_id"], development["image_id"], return_indices=True)
    for column in ("patient_id", "label", "scanner", "operator", "sub_plane"):
        differs = images[column][here] != development[column][there]
        if differs.any():
            raise UserError(f"The image '{shared[differs][0]}' has another {column} in the predictions of the budget "
                            f"'{predictions.budget}' than in the development index.csv: run prepare and predict again.")


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


def folds_of(test_images: np.ndarray, splits: Table, budget: str) -> np.ndarray:
    """int [test images]: the replicate of which splits.csv says that it tests each image (by image_id)."""
    own = splits.select((splits["budget"] == budget) & (splits["role"] == "test"))
    fold = dict(zip(own["image_id"].tolist(), own["replicate"].tolist()))
    return np.array([fold[image_id] for image_id in test_images.tolist()], dtype=np.int64)
