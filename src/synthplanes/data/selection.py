"""What training sees: the frames and integer labels of one side of one budget, or of a synthetic set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.data.packs import read_pack
from synthplanes.errors import UserError


@dataclass(frozen=True)
class LabelledImages:
    """Row i of every array describes the same image."""

    images: np.ndarray    # uint8 [N, H, W]
    labels: np.ndarray    # int64 [N], the position in `classes`
    scanners: np.ndarray  # str [N], '' where unknown
    image_ids: np.ndarray  # str [N]
    classes: tuple[str, ...]
    patient_ids: np.ndarray | None = None  # str [N]; None: every image is a patient of its own

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray | slice) -> "LabelledImages":
        """The images under an integer index or a slice, in its order."""
        return LabelledImages(self.images[rows], self.labels[rows], self.scanners[rows], self.image_ids[rows],
                              self.classes, None if self.patient_ids is None else self.patient_ids[rows])

    def first(self, n: int) -> "LabelledImages":
        """The first `n` images."""
        return self.select(slice(n))


def read_classes(prepared: Path) -> tuple[str, ...]:
    """The class names of a prepared source, in the order of all probabilities and labels."""
    return tuple(records.read_json(Path(prepared) / "classes.json"))


def read_budget(prepared: Path, budget: str, replicate: int, role: str) -> LabelledImages:
    """The development images of a budget's `role` (train | validation), in the order of splits.csv."""
    splits = records.read_table(Path(prepared) / "splits.csv", records.SPLITS)
    chosen = splits.select((splits["budget"] == budget) & (splits["replicate"] == replicate)
                           & (splits["role"] == role))
    if len(chosen) == 0:
        raise UserError(f"{prepared}/splits.csv has no {role} image for budget '{budget}', replicate {replicate}: "
                        "raise the budget's fraction in params.yaml and run prepare again.")
    pack = read_pack(Path(prepared) / "development", records.INDEX)
    row_of = {image_id: row for row, image_id in enumerate(pack.index["image_id"].tolist())}
    rows = np.array([row_of[image_id] for image_id in chosen["image_id"].tolist()], dtype=np.int64)
    return _labelled(pack, rows, read_classes(prepared))


def read_all(folder: Path, classes: tuple[str, ...], schema: records.Schema = records.INDEX) -> LabelledImages:
    """A whole pack: the fresh phantom patients (`records.INDEX`) or a synthetic set (`records.SYNTHETIC`)."""
    pack = read_pack(folder, schema)
    return _labelled(pack, np.arange(len(pack.index)), classes)


def _labelled(pack, rows: np.ndarray, classes: tuple[str, ...]) -> LabelledImages:
    index = pack.index.select(rows)
    position = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(index["label"].tolist()) - set(position))
    if unknown:
        raise UserError(f"the class '{unknown[0]}' is not one of {', '.join(classes)}: run prepare again.")
    labels = np.array([position[label] for label in index["label"].tolist()], dtype=np.int64)
    return LabelledImages(np.ascontiguousarray(pack.images[rows]), labels, index["scanner"], index["image_id"],
                          classes, index.columns.get("patient_id"))


def read_budget_with_substitutes(prepared: Path, synthetic: Path, budget: str, replicate: int
                                 ) -> dict[str, LabelledImages]:
    """A budget's real training images, its synthetic ones and, where they exist, as many fresh ones.

    Fresh phantom patients stand in for synthetic images in the control `oracle`: never more of them.
    """
    real = read_budget(prepared, budget, replicate, "train")
    pools = {"real": real, "synthetic": read_all(Path(synthetic) / f"r{replicate}", real.classes, records.SYNTHETIC)}
    fresh = read_all(Path(prepared) / "fresh", real.classes)
    if len(fresh):
        pools["fresh"] = fresh.first(len(pools["synthetic"]))
    return pools
