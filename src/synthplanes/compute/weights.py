"""Store model weights as safetensors, never as pickle: written atomically and with stable bytes."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from synthplanes.errors import UserError
from synthplanes.records import replacing


def write_weights(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors of any dtype and device; the same tensors give the same bytes."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors onto the CPU; a missing or damaged file raises `UserError`."""
    try:
        return load(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it.") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run its stage again.") from None
