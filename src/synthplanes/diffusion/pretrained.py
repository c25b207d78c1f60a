"""Initialise a generator from another one: from phantoms for real images, from one site for another.

The parameter `train_diffusion.pretrained` is the digest of that generator's files (compute/weights.py). The sets of
images on which it was trained are added to the new generator's `learned_from`, because its images hold that information
too.
"""

from operator import attrgetter
from pathlib import Path

import torch

from synthplanes.compute.weights import find, keep
from synthplanes.diffusion.denoiser import Denoiser, read_denoiser
from synthplanes.errors import UserError

PARAMETER = "train_diffusion.pretrained"
# Embeddings are copied by the name of what they embed, not by its number.
NAMES = {"unet.class_embedding.label.weight": attrgetter("classes"),
         "unet.class_embedding.scanner.weight": attrgetter("scanners")}


def keep_generator(folder: Path, pretrained: Path) -> str:
    """Copy a generator's files to `pretrained`/<digest>, and return the digest; damaged files raise `UserError`."""
    read_denoiser(folder)
    return keep(folder, pretrained)


@torch.no_grad()
def load_pretrained(denoiser: Denoiser, digest: str, pretrained: Path) -> tuple[str, ...]:
    """Copy the weights of a stored generator into `denoiser`, in place, and return the sets they were trained on.

    A class or scanner that the stored generator does not know keeps its random embedding. Raises `UserError` when the
    files are absent, have another digest, or belong to another network.
    """
    place = find(digest, pretrained, PARAMETER)
    other = read_denoiser(place)
    mine, theirs = denoiser.state_dict(), other.state_dict()
    my_shapes, their_shapes = ({(name, tensor.shape) for name, tensor in state.items() if name not in NAMES}
                               for state in (mine, theirs))
    if unlike := sorted(my_shapes ^ their_shapes):
        raise UserError(f"the generator in {place} is another network ('{unlike[0][0]}' differs): give "
                        f"train_diffusion.network in params.yaml its channels and layers, or set {PARAMETER} to null.")
    for name, tensor in mine.items():
        if name not in NAMES:
            tensor.copy_(theirs[name])
            continue
        known = (*NAMES[name](other.configuration), None)  # the last row stands for unknown
        for row, own in enumerate((*NAMES[name](denoiser.configuration), None)):
            if own in known:
                tensor[row] = theirs[name][known.index(own)]
    return other.configuration.learned_from
