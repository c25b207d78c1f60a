"""Store weights as safetensors, never as pickle: written atomically and with stable bytes.

A model is a folder with weights and config.json. Pretrained models, from which a new training can start, lie in folders
named by a digest of their bytes; a parameter names that digest and so fixes every byte. In their config.json,
`learned_from` lists the sets of images on which they were trained.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from synthplanes import records
from synthplanes.errors import UserError

FILES = ("config.json", "weights.safetensors")


def write_weights(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors of any dtype and device; the same tensors give the same bytes."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}, metadata)
    with records.replacing(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors onto the CPU; a missing or damaged file raises `UserError`."""
    try:
        return load(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it.") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run its stage again.") from None


def write_model(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write the FILES of a model."""
    records.write_json(Path(folder) / FILES[0], config)
    write_weights(Path(folder) / FILES[1], tensors)


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
