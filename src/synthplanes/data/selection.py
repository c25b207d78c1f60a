"""Read the images and integer labels of one role of a budget, or of a synthetic set."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data.packs import Pack, read_pack
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths

EARLIER = "earlier"      # the folder of what a generator was, and drew, before the end of its training
EARLIER_PER_CLASS = 40   # images drawn at each of these moments, with the noise of the first of the synthetic set


@dataclass(frozen=True)
class LabelledImages:
    """Arrays whose row i describes the same image."""

    images: np.ndarray      # uint8 [N, H, W]
    labels: np.ndarray      # int64 [N], the position in `classes`
    scanners: np.ndarray    # str [N], '' where unknown
    image_ids: np.ndarray   # str [N]
    classes: tuple[str, ...]
    patient_ids: np.ndarray | None = None  # str [N]; None: every image is a patient of its own

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray | slice) -> "LabelledImages":
        """Return the images under an integer index or a slice, in its order."""
        return LabelledImages(self.images[rows], self.labels[rows], self.scanners[rows], self.image_ids[rows],
                              self.classes, None if self.patient_ids is None else self.patient_ids[rows])

    def first(self, n: int) -> "LabelledImages":
        """Return the first `n` images."""
        return self.select(slice(n))


def read_classes(prepared: Path) -> tuple[str, ...]:
    """Read the class names of a prepared source, in the order of all probabilities and labels."""
    return tuple(records.read_json(Path(prepared) / "classes.json"))


def read_budget(prepared: Path, budget: str, replicate: int, role: str) -> LabelledImages:
    """Read the development images of a budget's `role` (train | validation), in the order of splits.csv."""
    splits = records.read_table(Path(prepared) / "splits.csv", records.SPLITS)
    chosen = splits["image_id"][(splits["budget"] == budget) & (splits["replicate"] == replicate)
                                & (splits["role"] == role)]
    if chosen.empty:
        raise UserError(f"{prepared}/splits.csv has no {role} image for budget '{budget}', replicate {replicate}: "
                        "raise the budget's fraction in params.yaml and run prepare again.")
    pack = read_pack(Path(prepared) / "development", records.INDEX)
    rows = pd.Series(np.arange(len(pack)), index=pack.index["image_id"]).loc[chosen].to_numpy()
    return _labelled(pack, rows, read_classes(prepared))


def read_all(folder: Path, classes: tuple[str, ...], schema: records.Schema = records.INDEX) -> LabelledImages:
    """Read a whole pack: the fresh phantom patients (`records.INDEX`) or a synthetic set (`records.SYNTHETIC`)."""
    pack = read_pack(folder, schema)
    return _labelled(pack, np.arange(len(pack)), classes)


def read_pools(paths: Paths, budget: str, replicate: int) -> dict[str, LabelledImages]:
    """Read a budget's training images: `real`, `synthetic` and, from a simulator, at most as many `fresh` ones."""
    real = read_budget(paths.prepared, budget, replicate, "train")
    synthetic = read_all(paths.replicate("synthetic", budget, replicate), real.classes, records.SYNTHETIC)
    fresh = read_all(paths.prepared / "fresh", real.classes)
    return {"real": real, "synthetic": synthetic, **({"fresh": fresh.first(len(synthetic))} if len(fresh) else {})}


def earlier_rows(index: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a synthetic set (records.SYNTHETIC) that a generator draws before the end of its training."""
    return index.groupby("label", sort=False).head(EARLIER_PER_CLASS)


def read_earlier(folder: Path, images_seen: Iterable[int]) -> dict[int, np.ndarray]:
    """Read what a generator drew after so many images where it drew any: uint8 [N, H, W] each, as `earlier_rows`."""
    files = {seen: Path(folder) / EARLIER / f"{seen}.npy" for seen in images_seen}
    return {seen: records.read_array(file) for seen, file in files.items() if file.exists()}


def _labelled(pack: Pack, rows: np.ndarray, classes: tuple[str, ...]) -> LabelledImages:
    index = pack.index.iloc[rows]
    labels = pd.Index(classes).get_indexer(index["label"])
    if (labels < 0).any():
        raise UserError(f"the class '{index['label'][labels < 0].min()}' is not one of {', '.join(classes)}: run "
                        "prepare again.")
    scanners, image_ids = (index[name].to_numpy(np.str_) for name in ("scanner", "image_id"))
    patient_ids = index["patient_id"].to_numpy(np.str_) if "patient_id" in index else None
    return LabelledImages(np.ascontiguousarray(pack.images[rows]), labels, scanners, image_ids, classes, patient_ids)
