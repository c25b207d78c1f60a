"""Define the class-conditional denoiser: EDM preconditioning (Karras 2022) around a pixel-unshuffled U-Net.

Letters as in the paper: sigma is the noise level, sigma_d the standard deviation of the data, D(x; sigma) the estimate
of the clean image. Images enter normalised to mean 0 and sigma_d = 0.5. Each condition has its own embedding with an
entry for unknown. Therefore combinations of class and scanner that never occur in training can be drawn, and one
network gives the conditional and the unconditional estimate (classifier-free guidance, Ho & Salimans 2022).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from synthplanes import records
from synthplanes.compute import weights
from synthplanes.compute.torchvision_operators import declare_missing
from synthplanes.diffusion.parts import replace_dropout
from synthplanes.errors import UserError
from synthplanes.protocol.config import GROUPS

SIGMA_D = 0.5
N_AUGMENTATIONS = 6  # flip, shift right, shift down, log2 scale, angle, gain
EARLY = "early.safetensors"
PRETRAINED = "train_diffusion.pretrained"
# Of pretrained weights, embeddings are copied by the name of what they embed, not by its number.
NAMES = {"unet.class_embedding.label.weight": attrgetter("classes"),
         "unet.class_embedding.scanner.weight": attrgetter("scanners")}


class Conditions(NamedTuple):
    """The conditions of N images."""

    label: torch.Tensor         # int64 [N] in 0..K; K means unknown
    scanner: torch.Tensor       # int64 [N] in 0..M; M means unknown
    augmentation: torch.Tensor  # float32 [N, N_AUGMENTATIONS]; zeros mean none

    def to(self, device: torch.device) -> "Conditions":
        """Move all tensors to a device."""
        return Conditions(*(part.to(device) for part in self))

    def of(self, rows: slice | torch.Tensor) -> "Conditions":
        """Return the conditions of the given rows."""
        return Conditions(*(part[rows] for part in self))


class ConditionEmbedding(nn.Module):
    """Sum the embeddings of all conditions to float32 [N, D], which is added to the noise level's embedding."""

    def __init__(self, n_classes: int, n_scanners: int, dimensions: int):
        super().__init__()
        self.label = nn.Embedding(n_classes + 1, dimensions)
        self.scanner = nn.Embedding(n_scanners + 1, dimensions)
        self.augmentation = nn.Linear(N_AUGMENTATIONS, dimensions, bias=False)  # zeros in, nothing added

    def forward(self, conditions: Conditions) -> torch.Tensor:
        return (self.label(conditions.label) + self.scanner(conditions.scanner)
                + self.augmentation(conditions.augmentation))


@dataclass(frozen=True)
class Configuration:
    """All that is needed to build a denoiser, and the images it was trained on."""

    image_size: int            # px
    unshuffle: int             # px; the U-Net works at image_size / unshuffle
    channels: tuple[int, ...]  # per level, finest first
    layers_per_block: int
    attention_at: tuple[int, ...]  # levels with self-attention
    dropout: float
    classes: tuple[str, ...]
    scanners: tuple[str, ...]
    data_mean: float           # of the training images in [-1, 1]
    data_deviation: float
    learned_from: tuple[str, ...] = ()  # the sets of training images, those of pretrained weights included


class Denoiser(nn.Module):
    """Estimate clean images, D(x; sigma, conditions): float32 [N, 1, H, W] to the same shape, both normalised."""

    def __init__(self, configuration: Configuration):
        super().__init__()
        c = self.configuration = configuration
        declare_missing()
        from diffusers import UNet2DModel  # takes seconds to import, and needs the declarations above
        pixels = c.unshuffle ** 2
        attention = ["Attn" if level in c.attention_at else "" for level in range(len(c.channels))]
        self.unet = UNet2DModel(
            sample_size=c.image_size // c.unshuffle, in_channels=pixels, out_channels=pixels,
            layers_per_block=c.layers_per_block, block_out_channels=tuple(c.channels), dropout=c.dropout,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in attention),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(attention)),
            attention_head_dim=32, norm_num_groups=GROUPS)
        replace_dropout(self.unet)
        # diffusers' own class embedding has one condition; its forward calls any module in its place.
        self.unet.class_embedding = ConditionEmbedding(len(c.classes), len(c.scanners), 4 * c.channels[0])

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Compute D = c_skip x + c_out F(c_in x; c_noise) (Karras 2022, equation 7); `sigma` is float32 [N]."""
        s = sigma.view(-1, 1, 1, 1)                                   # [N, 1, 1, 1]
        c_skip = SIGMA_D ** 2 / (s ** 2 + SIGMA_D ** 2)
        # rsqrt, since torch's sqrt gives other last bits on CPUs of other vendors.
        c_in = (s ** 2 + SIGMA_D ** 2).rsqrt()
        c_out = s * SIGMA_D * c_in
        c_noise = 100 * (sigma.log() / 4 + 2)                         # spread over the range that the sinusoids resolve
        inside = functional.pixel_unshuffle(c_in * noisy, self.configuration.unshuffle)  # [N, u^2, H / u, W / u]
        outside = self.unet(inside, c_noise, class_labels=conditions).sample
        return c_skip * noisy + c_out * functional.pixel_shuffle(outside, self.configuration.unshuffle)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Map images in [-1, 1] to mean 0 and standard deviation SIGMA_D over the training images."""
        return (images - self.configuration.data_mean) * (SIGMA_D / self.configuration.data_deviation)

    def restore(self, normalised: torch.Tensor) -> torch.Tensor:
        """Invert `normalise`, and clip to [-1, 1]."""
        deviation = self.configuration.data_deviation / SIGMA_D
        return (normalised * deviation + self.configuration.data_mean).clamp(-1, 1)


def loss_per_image(denoiser: Callable[..., torch.Tensor], clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor,
                   conditions: Conditions) -> torch.Tensor:
    """Compute lambda(sigma) |D(y + sigma n) - y|^2, mean over pixels: float32 [N] (Karras 2022, equation 8).

    `clean` normalised float32 [N, 1, H, W], `noise` standard normal of the same shape, `sigma` float32 [N].
    """
    weight = (sigma ** 2 + SIGMA_D ** 2) / (sigma * SIGMA_D) ** 2
    denoised = denoiser(clean + sigma.view(-1, 1, 1, 1) * noise, sigma, conditions)
    return weight * (denoised - clean).square().mean(dim=(1, 2, 3))


def without_class(denoiser: Denoiser, noisy: torch.Tensor, sigma: torch.Tensor, conditions: Conditions) -> torch.Tensor:
    """Compute D(x; sigma) under all conditions but the class."""
    unknown = torch.full_like(conditions.label, len(denoiser.configuration.classes))
    return denoiser(noisy, sigma, conditions._replace(label=unknown))


def write_denoiser(folder: Path, configuration: Configuration, tensors: dict[str, torch.Tensor],
                   early: dict[str, torch.Tensor] | None = None) -> None:
    """Write config.json, weights.safetensors and, where there is one, the early average early.safetensors."""
    weights.write_model(folder, asdict(configuration), tensors)
    if early:
        weights.write_weights(Path(folder) / EARLY, early)


def read_denoiser(folder: Path, file: str = weights.FILES[1]) -> Denoiser:
    """Read a denoiser, in evaluation mode, onto the CPU."""
    content = records.read_json(Path(folder) / weights.FILES[0])
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    denoiser = Denoiser(Configuration(**values))
    denoiser.load_state_dict(weights.read_weights(Path(folder) / file))
    return denoiser.eval()


def keep_generator(folder: Path, pretrained: Path) -> str:
    """Copy a generator's files to `pretrained`/<digest>, and return the digest; damaged files raise `UserError`."""
    read_denoiser(folder)
    return weights.keep(folder, pretrained)


@torch.no_grad()
def load_pretrained(denoiser: Denoiser, digest: str, pretrained: Path) -> tuple[str, ...]:
    """Copy the weights of a stored generator into `denoiser`, in place, and return the sets they were trained on.

    A class or scanner that the stored generator does not know keeps its random embedding. Raises `UserError` when the
    files are absent, have another digest, or belong to another network.
    """
    place = weights.find(digest, pretrained, PRETRAINED)
    other = read_denoiser(place)
    mine, theirs = denoiser.state_dict(), other.state_dict()
    my_shapes, their_shapes = ({(name, tensor.shape) for name, tensor in state.items() if name not in NAMES}
                               for state in (mine, theirs))
    if unlike := sorted(my_shapes ^ their_shapes):
        raise UserError(f"the generator in {place} is another network ('{unlike[0][0]}' differs): give "
                        f"train_diffusion.network in params.yaml its channels and layers, or set {PRETRAINED} to null.")
    for name in mine.keys() - NAMES.keys():
        mine[name].copy_(theirs[name])
    for name, names_of in NAMES.items():
        known = [*names_of(other.configuration), None]  # the last row stands for unknown
        for row, own in enumerate([*names_of(denoiser.configuration), None]):
            if own in known:
                mine[name][row] = theirs[name][known.index(own)]
    return other.configuration.learned_from
