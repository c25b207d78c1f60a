"""Beginning from another generator: from phantoms to real images, from one site to another.

The parameter `train_diffusion.warm_start` is the digest of that generator's files (see `adopted`). What the other
generator had learned from goes down in the new one's `learned_from`: its images hold that information too.
"""

from pathlib import Path

import torch

from synthplanes.compute.pretrained import keep, place_of
from synthplanes.diffusion.denoiser import Denoiser, read_denoiser
from synthplanes.errors import UserError

NAMED = {"unet.class_embedding.label.weight": "classes", "unet.class_embedding.scanner.weight": "scanners"}


def adopt(folder: Path, adopted: Path) -> str:
    """Copy a generator's files to `adopted`/<digest>; returns the digest. Raises `UserError` where they are damaged."""
    read_denoiser(folder)
    return keep(folder, adopted)


@torch.no_grad()
def begin_from(denoiser: Denoiser, wanted: str, adopted: Path) -> tuple[str, ...]:
    """Copy the weights of an adopted generator into `denoiser`, in place; returns what that one had learned from.

    The embeddings of classes and scanners go by name: what the other one never saw keeps its first random values.
    Raises `UserError` when the files are absent, are not those of the digest, or belong to another network.
    """
    place = place_of(wanted, adopted, "train_diffusion.warm_start")
    other = read_denoiser(place)
    mine, theirs = denoiser.state_dict(), other.state_dict()
    unlike = sorted(name for name in {*mine, *theirs} - set(NAMED)
                    if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape)
    if unlike:
        raise UserError(f"the generator in {place} is another network ('{unlike[0]}' differs): give "
                        "train_diffusion.network in params.yaml its channels and layers, or set warm_start to null.")
    for name, tensor in mine.items():
        if name in NAMED:
            _copy_by_name(tensor, theirs[name], getattr(denoiser.configuration, NAMED[name]),
                          getattr(other.configuration, NAMED[name]))
        else:
            tensor.copy_(theirs[name])
    return other.configuration.learned_from


def _copy_by_name(mine: torch.Tensor, theirs: torch.Tensor, my_names: tuple[str, ...], their_names: tuple[str, ...]
                  ) -> None:
    for row, name in enumerate(my_names):
        if name in their_names:
            mine[row] = theirs[their_names.index(name)]
    mine[len(my_names)] = theirs[len(their_names)]  # the last row is the unknown one

