"""Write out the peer of the speed benchmarks: the loop of diffusers' train_unconditional.py.

It is that of examples/unconditional_image_generation at its defaults: batch 16, 100 epochs, AdamW 1e-4 with betas .95
and .999, 500 steps of warm-up and a cosine, 1,000 linear steps, epsilon, average of the weights, float32. It trains our
network, conditioned on the class and the scanner as ours is. Reading and scaling images from files is left out, in its
favour.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch.nn import functional

from synthplanes.compute.torchvision_operators import declare_missing
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import N_AUGMENTATIONS, Conditions, Denoiser
from synthplanes.protocol.profiles import Profile

EPOCHS, BATCH, RATE, WARM_UP_STEPS, STEPS = 100, 16, 1e-4, 500, 1000  # the script's defaults


class Script:
    """Hold the script's model, optimiser and schedule for some images; `step` is one of its updates."""

    def __init__(self, profile: Profile, real: LabelledImages, epochs: int, root: int, device: torch.device):
        declare_missing()
        from diffusers import DDPMScheduler
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel
        torch.manual_seed(root)
        self.scanners = tuple(sorted(set(real.scanners.tolist()) - {""}))
        # The script's network has no dropout.
        denoiser = Denoiser(replace(training.configure(real, profile.train_diffusion, self.scanners), dropout=0.0))
        self.shuffle, self.device, self.sigmas = denoiser.configuration.unshuffle, device, levels_of_steps()
        self.model = denoiser.unet.to(device).train()
        self.images = torch.from_numpy(to_float(real.images)).unsqueeze(1)
        self.conditions = conditions_of(real, self.scanners)
        self.scheduler = DDPMScheduler(num_train_timesteps=STEPS)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=RATE, betas=(0.95, 0.999), weight_decay=1e-6,
                                           eps=1e-8)
        self.rate = get_scheduler("cosine", self.optimiser, num_warmup_steps=WARM_UP_STEPS,
                                  num_training_steps=-(-len(self.images) // BATCH) * epochs)
        self.average = EMAModel(self.model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)

    def epoch(self) -> Iterator[torch.Tensor]:
        """Yield the rows of each batch of one epoch."""
        yield from torch.randperm(len(self.images)).split(BATCH)

    def step(self, rows: torch.Tensor) -> None:
        """Update the weights once, on these rows."""
        clean = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, self.images[rows].flip(3), self.images[rows])
        clean = clean.to(self.device)
        noise, steps = torch.randn_like(clean), torch.randint(0, STEPS, (len(rows),), device=self.device)
        noisy = self.scheduler.add_noise(clean, noise, steps)
        loss = functional.mse_loss(self.epsilon(noisy, steps, self.conditions.of(rows).to(self.device)), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.rate.step()
        self.average.step(self.model.parameters())
        self.optimiser.zero_grad()

    def epsilon(self, noisy: torch.Tensor, steps: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Estimate the noise in images [N, 1, H, W] at some steps."""
        inside = functional.pixel_unshuffle(noisy, self.shuffle)
        return functional.pixel_shuffle(self.model(inside, steps, class_labels=conditions).sample, self.shuffle)

    def denoise(self, noisy: torch.Tensor, level: float, conditions: Conditions) -> torch.Tensor:
        """Return the clean image by the estimate of epsilon, at the step whose noise level is nearest."""
        step = int((self.sigmas - level).abs().argmin())
        kept = self.scheduler.alphas_cumprod[step]
        self.model.eval()
        estimate = self.epsilon(noisy * kept.sqrt(), torch.full((len(noisy),), step), conditions)
        self.model.train()
        return noisy - level * estimate

    @contextmanager
    def averaged(self):
        """While open, give the model its averaged weights."""
        self.average.store(self.model.parameters())
        self.average.copy_to(self.model.parameters())
        yield
        self.average.restore(self.model.parameters())


def conditions_of(images: LabelledImages, scanners: tuple[str, ...]) -> Conditions:
    """Return what both networks are conditioned on for these images."""
    known = {name: number for number, name in enumerate(scanners)}
    return Conditions(torch.tensor(images.labels),
                      torch.tensor([known.get(name, len(known)) for name in images.scanners.tolist()]),
                      torch.zeros(len(images), N_AUGMENTATIONS))


def levels_of_steps() -> torch.Tensor:
    """Return the noise level of each step of the script, float64 [1000], in units of clean images."""
    declare_missing()
    from diffusers import DDPMScheduler
    kept = DDPMScheduler(num_train_timesteps=STEPS).alphas_cumprod.double()
    return ((1 - kept) / kept).sqrt()
