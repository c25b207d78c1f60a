"""Keep checkpoints of a stage's pieces of work, each under a digest of all that it depends on.

DVC deletes a stage's outputs before it runs the stage again, so checkpoints are kept in a separate, untracked folder. A
killed stage resumes from the states of its unfinished pieces. A stage that runs again after a change reuses every
finished piece with an unchanged digest and computes the others. Once a stage has finished, the pieces that it did not
use are deleted.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from synthplanes import records
from synthplanes.compute.weights import read_weights, write_weights
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError

SECONDS_BETWEEN_STATES = 60.0
STATE = "state.json"


class Piece:
    """The last state of one piece of work: named tensors, and facts that JSON can hold.

    Without a folder nothing is kept; this suits work that is cheaper to repeat.
    """

    def __init__(self, folder: Path | None = None):
        self._folder, self._last = folder, time.monotonic()

    def due(self) -> bool:
        """Return whether enough time has passed to write the next state; the timing affects no result."""
        if self._folder is None or time.monotonic() - self._last < SECONDS_BETWEEN_STATES:
            return False
        self._last = time.monotonic()
        return True

    def write(self, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Write the state of step `step` and remove the previous one; a kill at any moment leaves one of the two."""
        if self._folder is None:
            return
        weights = f"{step}.safetensors"
        write_weights(self._folder / weights, tensors)
        records.write_json(self._folder / STATE, {"weights": weights, "facts": dict(facts)})
        self.tidy()

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the last complete state, or None where there is none; a damaged state counts as none."""
        if self._folder is None:
            return None
        try:
            state = records.read_json(self._folder / STATE)
            return read_weights(self._folder / state["weights"]), state["facts"]
        except (UserError, KeyError, TypeError):
            return None

    def tidy(self) -> None:
        """Delete everything but the last state, including what killed writers left."""
        if self._folder is not None and (self._folder / STATE).exists():
            kept = {STATE, records.read_json(self._folder / STATE)["weights"]}
            for file in self._folder.iterdir():
                if file.name not in kept:
                    file.unlink(missing_ok=True)


NOTHING_KEPT = Piece()


class Checkpoints:
    """The pieces of one stage, in folders of their own below `root`."""

    def __init__(self, root: Path, *identity: Any):
        """Set what all pieces depend on, such as the stage's code: files (`Path`), arrays and JSON values."""
        self._root, self._identity = Path(root).resolve(), identity  # workers may have another working directory
        self._used: set[str] = set()

    def piece(self, *identity: Any) -> Piece:
        """Return the piece that also depends on `identity`."""
        key = records.sha256(*self._identity, *identity)
        self._used.add(key)
        return Piece(self._root / key)

    def prune(self) -> None:
        """Delete the pieces that were not requested.

        Call it once the stage has finished and its outputs are in place.
        """
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name in self._used:
                Piece(folder).tidy()
            else:
                shutil.rmtree(folder, ignore_errors=True)


def images_sha256(images: LabelledImages) -> str:
    """Return the SHA-256 of all that training reads of a set: pixels, labels, scanners, patients and class names."""
    patients = None if images.patient_ids is None else images.patient_ids.tolist()
    return records.sha256(images.images, images.labels, images.scanners.tolist(), patients, list(images.classes))
