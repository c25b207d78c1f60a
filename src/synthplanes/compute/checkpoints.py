"""Unfinished work of a stage: what the same command goes on from after it was killed.

DVC deletes a stage's outputs before it runs the stage again, so the work lies elsewhere, in a folder that nothing
tracks. Its name is a digest of all that the result depends on: work on other inputs, by other code or with other
parameters is never taken up, and is deleted. Files inside are written by the atomic writers of `records` and
`weights`.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.compute.weights import read_weights, write_weights

SECONDS_BETWEEN_STATES = 60.0
_BLOCK = 1 << 20  # bytes


class NothingKept:
    """Keeps no state: for work that is cheaper to do again."""

    def due(self) -> bool:
        return False

    def write_state(self, name: str, step: int, tensors: Mapping, facts: dict) -> None:
        pass

    def read_state(self, name: str) -> tuple[dict, dict] | None:
        return None


class Scratch(NothingKept):
    """The scratch folder of one piece of work below `root`, where that piece of work alone keeps its states."""

    def __init__(self, root: Path, *identity, seconds_between_states: float = SECONDS_BETWEEN_STATES):
        """`identity` is whatever the result depends on: files and folders (`Path`: their bytes count), and anything
        that JSON can hold."""
        self.root = Path(root).resolve()  # workers may stand elsewhere
        self.folder = self.root / digest(*identity)
        self._seconds, self._last = seconds_between_states, time.monotonic()
        if self.root.is_dir():
            for other in self.root.iterdir():
                if other != self.folder:
                    shutil.rmtree(other, ignore_errors=True)

    def path(self, name: str) -> Path:
        return self.folder / name

    def due(self) -> bool:
        """Whether it is time to write a state again; when that is changes no result."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True

    def write_state(self, name: str, step: int, tensors: Mapping, facts: dict) -> None:
        """Keep a state of step `step` in place of the one before: named tensors, and facts that JSON can hold."""
        weights = f"{name}-{step}.safetensors"
        write_weights(self.path(weights), dict(tensors))
        records.write_json(self.path(f"{name}.json"), {"weights": weights, "facts": facts})
        for old in self.folder.glob(f"{name}-*.safetensors"):
            if old.name != weights:
                old.unlink(missing_ok=True)

    def read_state(self, name: str) -> tuple[dict, dict] | None:
        """The last whole state, or None where there is none; a damaged one counts as none."""
        try:
            found = records.read_json(self.path(f"{name}.json"))
            return read_weights(self.path(found["weights"])), found["facts"]
        except (UserError, KeyError, TypeError):
            return None

    def clear(self) -> None:
        """Delete everything: the stage has finished and its outputs are in place."""
        shutil.rmtree(self.root, ignore_errors=True)


def digest(*identity) -> str:
    """16 hexadecimal digits over files, folders and JSON values, in their order."""
    hasher = hashlib.sha256()
    for part in identity:
        if isinstance(part, Path):
            files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
            for file in files:
                hasher.update(b"file" + file.relative_to(part).as_posix().encode() + b"\0")
                _update(hasher, file)
        else:
            hasher.update(b"json" + json.dumps(part, sort_keys=True).encode() + b"\0")
    return hasher.hexdigest()[:16]


def _update(hasher, file: Path) -> None:
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                hasher.update(block)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}): run the stage that writes it.") from None
