"""Initialise a generator from another one: from phantoms for real images, from one site for another.

The parameter `train_diffusion.pretrained` is the digest of that generator's files (compute/pretrained.py). The sets of
images on which it was trained are added to the new generator's `learned_from`, because its images hold that information
too.
"""

from pathlib import Path

import torch

from synthplanes.compute.pretrained import find, keep
from synthplanes.diffusion.denoiser import Denoiser, read_denoiser
from synthplanes.errors import UserError

PARAMETER = "train_diffusion.pretrained"
# Embeddings are copied by the name of what they embed, not by its number.
NAMED = {"unet.class_embedding.label.weight": "classes", "unet.class_embedding.scanner.weight": "scanners"}


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
    unlike = sorted(name for name in {*mine, *theirs} - set(NAMED)
                    if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape)
    if unlike:
        raise UserError(f"the generator in {place} is another network ('{unlike[0]}' differs): give "
                        f"train_diffusion.network in params.yaml its channels and layers, or set {PARAMETER} to null.")
    names = {"classes": (denoiser.configuration.classes, other.configuration.classes),
             "scanners": (denoiser.configuration.scanners, other.configuration.scanners)}
    for name, tensor in mine.items():
        if name not in NAMED:
            tensor.copy_(theirs[name])
            continue
        my_names, their_names = names[NAMED[name]]
        for row, known in enumerate(my_names):
            if known in their_names:
                tensor[row] = theirs[name][their_names.index(known)]
        tensor[-1] = theirs[name][-1]  # the last row stands for unknown
    return other.configuration.learned_from
