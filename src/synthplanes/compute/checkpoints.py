"""Keep checkpoints of a stage's pieces of work, each under a digest of all that it depends on.

DVC deletes a stage's outputs before it runs the stage again, so checkpoints are kept in a separate, untracked folder. A
killed stage resumes from the states of its unfinished pieces; after a change, a stage reuses every finished piece with
an unchanged digest. Once it has finished, the pieces that it did not use are deleted.
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from synthplanes import records
from synthplanes.compute.weights import read_weights, write_weights
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError

SECONDS_BETWEEN_STATES = 60.0


class Piece:
    """The last state of one piece of work: tensors and, as metadata, facts for JSON; without a file nothing is kept."""

    def __init__(self, file: Path | None = None):
        self._file, self._last = file, time.monotonic()

    def due(self) -> bool:
        """Return whether enough time has passed to write the next state; the timing affects no result."""
        if self._file is None or time.monotonic() - self._last < SECONDS_BETWEEN_STATES:
            return False
        self._last = time.monotonic()
        return True

    def write(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the state before; a kill at any moment leaves one of the two."""
        if self._file is not None:
            write_weights(self._file, tensors, {"facts": json.dumps(facts, allow_nan=False)})

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the last state, or None where there is none; a damaged state counts as none."""
        if self._file is None:
            return None
        try:
            tensors = read_weights(self._file)
        except UserError:
            return None
        with safe_open(self._file, "pt") as state:
            return tensors, json.loads(state.metadata()["facts"])


NOTHING_KEPT = Piece()


class Checkpoints:
    """The pieces of one stage, as files below `root`."""

    def __init__(self, root: Path, *identity: Any):
        """Set what all pieces depend on, such as the stage's code (see `records.sha256`)."""
        self._root, self._identity = Path(root).resolve(), identity  # workers may have another working directory
        self._used: set[Path] = set()

    def piece(self, *identity: Any) -> Piece:
        """Return the piece that also depends on `identity`."""
        file = self._root / f"{records.sha256(*self._identity, *identity)}.safetensors"
        self._used.add(file)
        return Piece(file)

    def prune(self) -> None:
        """Delete all but the requested pieces, once the stage has finished and its outputs are in place."""
        for path in set(self._root.glob("*")) - self._used:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def images_sha256(images: LabelledImages) -> str:
    """Return the SHA-256 of all that training reads of a set: pixels, labels, scanners, patients and class names."""
    patients = None if images.patient_ids is None else images.patient_ids.tolist()
    return records.sha256(images.images, images.labels, images.scanners.tolist(), patients, list(images.classes))
