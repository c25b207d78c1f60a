"""Training from elsewhere that a new one may begin from: config.json and weights.safetensors, kept under their digest.

A parameter names the digest, so it pins every byte; `synthplanes adopt` puts the files into artifacts/adopted/<digest>
and prints it. `learned_from` in config.json says what information such weights hold.
"""

import shutil
from pathlib import Path

from synthplanes.errors import UserError
from synthplanes.compute.checkpoints import digest

FILES = ("config.json", "weights.safetensors")


def keep(folder: Path, adopted: Path) -> str:
    """Copy the FILES of `folder` to `adopted`/<digest>; returns the digest."""
    found = digest(*(Path(folder) / name for name in FILES))
    place = Path(adopted) / found
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(Path(folder) / name, place / name)
    return found


def place_of(wanted: str, adopted: Path, parameter: str) -> Path:
    """The folder of the digest `wanted`; raises `UserError` where its files are absent or not those of the digest."""
    place = Path(adopted) / wanted
    if not place.is_dir() or digest(*(place / name for name in FILES)) != wanted:
        raise UserError(f"{place} does not hold the files that {parameter} in params.yaml names: run `synthplanes adopt` "
                        "on what it was made of.")
    return place
