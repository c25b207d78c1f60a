"""The current checkout as DVC sees it: the cells of dvc.lock, and only those files that agree with it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from synthplanes.errors import UserError

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class Cell:
    """One entry of dvc.lock, such as `baseline@phantom-scarce-residual`."""

    name: str
    stage: str
    profile: str
    budget: str               # '' for a stage without budgets
    arch: str                 # '' for a stage without architectures
    cmd: str
    deps: dict[str, str]      # path -> md5 (a folder's ends in .dir)
    params: dict[str, object]  # dotted name -> value
    outs: dict[str, str]      # path -> md5

    @property
    def key(self) -> str:
        """A hash of all that defines the cell: the same in every checkout where the cell is the same."""
        return digest([self.name, self.cmd, self.deps, self.params, self.outs])

    def parameter(self, name: str, default=None):
        """A parameter by its name within the profile."""
        return self.params.get(f"profiles.{self.profile}.{name}", default)


@dataclass
class Checkout:
    """The repository's root and the cells of its dvc.lock, by name."""

    root: Path
    cells: dict[str, Cell]
    _found: dict[str, str] = field(default_factory=dict)

    def out(self, cell: Cell, path: str) -> Path | None:
        """Where an out of the cell (or a file inside one) lies, if its whole out is present and is dvc.lock's."""
        out = next((out for out in cell.outs if path == out or path.startswith(out + "/")), None)
        if out is None or self.state(cell, out) != "present":
            return None
        place = self.root / path
        return place if place.exists() else None

    def state(self, cell: Cell, out: str) -> str:
        """`present`, `absent` (not pulled), or `changed` (not what dvc.lock says)."""
        if not (self.root / out).exists():
            return "absent"
        if out not in self._found:
            self._found[out] = md5(self.root / out)
        return "present" if self._found[out] == cell.outs[out] else "changed"

    def of(self, stage: str, profile: str, budget: str = "", arch: str = "") -> Cell | None:
        return self.cells.get(f"{stage}@" + "-".join(part for part in (profile, budget, arch) if part))


def find_root() -> Path:
    """The repository's top folder: DVC_ROOT where DVC sets it, else the nearest folder upwards with a dvc.yaml."""
    start = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"No dvc.yaml in {start} or above it: run this inside the project's checkout.")


def read_checkout(root: Path) -> Checkout:
    """Read dvc.lock; a missing or damaged one raises `UserError`. Stages outside the profile matrix are left out."""
    path = Path(root) / "dvc.lock"
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        stages = content["stages"]
        cells = {name: _cell(name, entry) for name, entry in stages.items() if "@" in name}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run `dvc repro` first, or check out a commit with results.") from None
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a readable lock file of DVC ({' '.join(str(error).split()):.120}): "
                        "restore it from version control.") from None
    return Checkout(Path(root), cells)


def _cell(name: str, entry: dict) -> Cell:
    stage, matrix = name.split("@", 1)
    profile, budget, arch = (matrix.split("-") + ["", ""])[:3]
    params = {}
    for values in (entry.get("params") or {}).values():
        for key, value in values.items():
            params.update(_flat(key, value))
    return Cell(name, stage, profile, budget, arch, entry["cmd"], _paths(entry.get("deps")), params,
                _paths(entry.get("outs")))


def _paths(entries: list[dict] | None) -> dict[str, str]:
    return {entry["path"]: entry.get("md5", "") for entry in entries or []}


def _flat(key: str, value) -> dict[str, object]:
    if not isinstance(value, dict):
        return {key: value}
    return {name: leaf for inner, content in value.items() for name, leaf in _flat(f"{key}.{inner}", content).items()}


def digest(content) -> str:
    """32 hexadecimal digits over anything that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def md5(path: Path) -> str:
    """The md5 that DVC gives a file, or a folder: of the sorted list of its files' md5, with the ending .dir."""
    if path.is_dir():
        # DVC's own listing of a folder is this very JSON, sorted by relative path.
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        listing = [{"md5": md5(file), "relpath": relative} for relative, file in files]
        return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
    hasher = hashlib.md5()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
