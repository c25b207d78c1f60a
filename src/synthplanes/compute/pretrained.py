"""Store pretrained weights, from which a new training can start: config.json and weights.safetensors.

They are stored in a folder named by a digest of their bytes. A parameter names that digest and so fixes every byte. In
config.json, `learned_from` lists the sets of images on which the weights were trained.
"""

import shutil
from pathlib import Path

from synthplanes import records
from synthplanes.errors import UserError

FILES = ("config.json", "weights.safetensors")


def keep(folder: Path, pretrained: Path) -> str:
    """Copy the FILES of `folder` to `pretrained`/<digest>; return the digest, 16 hexadecimal digits."""
    digest = _digest(folder)
    place = Path(pretrained) / digest
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(Path(folder) / name, place / name)
    return digest


def find(digest: str, pretrained: Path, parameter: str) -> Path:
    """Return the folder of a digest; raise `UserError` where its files are absent or have another digest."""
    place = Path(pretrained) / digest
    if not place.is_dir() or _digest(place) != digest:
        raise UserError(f"{place} does not hold the files that {parameter} in params.yaml names: run `synthplanes "
                        "pretrained` on what they were made of.")
    return place


def _digest(folder: Path) -> str:
    return records.sha256(*(Path(folder) / name for name in FILES))[:16]
