"""List what the values of a profile may not be together; the first broken rule stops its reading with a sentence.

A rule yields what is wrong (anything true), and its sentence may show that as `{found}` and every value by its dotted
name. Limits of a single value stand in config.py, demands on the data in data/preparation/demands.py.
"""

import math
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthplanes.errors import UserError
from synthplanes.protocol.arms import OPTIONS
from synthplanes.protocol.config import GROUPS
from synthplanes.protocol.words import MIN_REPETITIONS

if TYPE_CHECKING:
    from synthplanes.protocol.profiles import Profile

LEAST_PORTION = 2       # images of a portion of a batch: batch norm has no variance of a single one
HEAD = 32               # channels of an attention head
TAIL = 5.0              # standard deviations of ln sigma, beyond which the generator meets no noise
SIGMA_D = 0.5           # standard deviation of normalised images
FLOAT32_LEVELS = (1e-9, 1e9)  # noise levels whose squares float32 holds with room to spare
_JOINT = ("joint", "oracle_joint")  # options whose batches are joined


def broken(profile: "Profile") -> Iterator[str]:
    """Yield the sentence of every rule that a profile breaks, lazily: later rules rely on the earlier ones."""
    for is_wrong, sentence in RULES:
        if found := is_wrong(profile):
            yield sentence.format(found=found, **dict(profile))


def too_few_repetitions(profile: "Profile") -> str:
    """Return why a verdict will be refused for its repetitions, '' if it will not."""
    by_generator = profile.replication.generators > 1 and not profile.folds
    name = "generators" if by_generator else "seeds"
    n = profile.replication.model_dump()[name]
    return f"replication.{name} is {n}, and the verdict needs {MIN_REPETITIONS}" if n < MIN_REPETITIONS else ""


def check_machine(compiled: bool) -> None:
    """Raise `UserError` where torch.compile is asked for and this machine has no compiler or no Python headers."""
    compilers = [os.environ.get("CXX") or "g++", os.environ.get("CC") or "gcc", "clang++", "clang"]
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    lacking = "a C++ compiler" if not any(map(shutil.which, compilers)) else "" if headers.is_file() else str(headers)
    if compiled and lacking:
        raise UserError(f"train_diffusion.compile is true, and this machine lacks {lacking}: install it (g++, "
                        "python3-dev) or set compile to false in params.yaml.")


def _levels(p: "Profile") -> list[float]:
    """Return ln of the lowest and highest noise level on which the generator trains."""
    t = p.train_diffusion
    return [t.noise_mean + sign * TAIL * t.noise_deviation for sign in (-1, 1)]


def _outside(p: "Profile") -> str:
    low, high = _levels(p)
    return "" if low <= math.log(p.sample.sigma_min) and math.log(p.sample.sigma_max) <= high else (
        f"{math.exp(low):.2g} to {math.exp(high):.2g}")


def _reduction(p: "Profile", halvings: int) -> int:
    return p.train_diffusion.network.unshuffle * 2 ** halvings


def _not_dividing(p: "Profile") -> str:
    return next((f"{_reduction(p, n)}, by which {name} with unshuffle {p.train_diffusion.network.unshuffle} reduces it"
                 for name, n in (("train_diffusion.network.channels", len(p.train_diffusion.network.channels) - 1),
                                 ("train_guide.channels", len(p.train_guide.channels)))
                 if p.prepare.image_size % _reduction(p, n)), "")


def _single_values(p: "Profile") -> bool:
    channels = p.train_guide.channels
    pixels = (p.prepare.image_size // _reduction(p, len(channels))) ** 2
    return pixels * (channels[-1] // GROUPS) < 2


def _small_portion(p: "Profile") -> str:
    """Return the portion of a batch that has too few images."""
    recipe, audit = p.recipe, p.audit.batch_size
    portions = {"recipe.batch_size": recipe.batch_size, "audit.batch_size": audit}
    for name, fraction, used in (
            ("joint_synthetic_fraction", recipe.joint_synthetic_fraction, any(map(recipe.optional_arms.get, _JOINT))),
            ("rehearsal_fraction", recipe.rehearsal_fraction, recipe.rehearsal_fraction > 0)):
        others = round(recipe.batch_size * fraction)
        if used:
            portions |= {f"recipe.{name}": others, f"recipe.{name} (the real images)": recipe.batch_size - others}
    return next((f"{name} gives a portion of {images}" for name, images in portions.items()
                 if images < LEAST_PORTION), "")


def _decay(p: "Profile") -> str:
    """Return where a step of AdamW takes more off a weight than it holds."""
    rates = {f"archs.{role}": arch.learning_rate * p.recipe.weight_decay for role, arch in p.archs.items()}
    rates |= {"audit.label_classifier": p.audit.label_classifier.learning_rate * p.recipe.weight_decay,
              "train_guide": p.train_guide.learning_rate * p.train_guide.weight_decay}
    return next((name for name, rate in rates.items() if rate >= 1), "")


def _unknown_roles(p: "Profile") -> str:
    return next((f"recipe.optional_arms.{option} names {unknown}" for option, roles in p.recipe.optional_arms.items()
                 if (unknown := sorted(set(roles) - set(p.archs)))), "")


def _few_patients(p: "Profile") -> Any:
    """Return the smallest budget's number of simulated patients where it cannot be divided, as ' 1'."""
    if p.simulate is None or p.folds:
        return ""
    n = round(min(p.budgets.values()) * p.simulate.train_patients)
    return f" {n}" if n < 2 else ""


RULES: tuple[tuple[Callable[["Profile"], Any], str], ...] = (
    # The sections among themselves
    (lambda p: (p.prepare.source == "phantom") != (p.simulate is not None),
     "simulate must be given for the source 'phantom' and null for every other source"),
    (lambda p: not p.budgets or not p.archs, "budgets and archs must each name one role at least"),
    (lambda p: "mean" in p.archs, "archs names a role 'mean', which in all tables is the mean over roles: rename it"),
    (lambda p: sorted(set(p.recipe.optional_arms) - set(OPTIONS)),
     f"recipe.optional_arms names {{found}}: choose among {', '.join(OPTIONS)}"),
    (_unknown_roles, "{found}, which archs does not have"),
    (lambda p: any(p.recipe.optional_arms.get(name) for name in ("oracle", "oracle_joint")) and (
        p.simulate is None or p.simulate.fresh_images == 0),
     "the oracles of optional_arms need simulated fresh patients (simulate.fresh_images > 0)"),
    # Patients and folds
    (lambda p: p.folds == 1, "prepare.cross_validation needs a fold for each of at least two replication.generators"),
    (lambda p: p.replication.disjoint_patients and p.folds,
     "replication.disjoint_patients: in cross-validation replicates share the patients that they do not test"),
    (lambda p: p.replication.disjoint_patients and p.replication.generators * max(p.budgets.values()) > 1 + 1e-9,
     "replication.disjoint_patients: {replication.generators} generators have no patients of their own at the largest "
     "of budgets"),
    (_few_patients, "the smallest of budgets is{found} of simulate.train_patients {simulate.train_patients}, and two "
     "are needed, one of them for validation: raise one of these"),
    # Networks
    (_not_dividing, "prepare.image_size {prepare.image_size} must be a multiple of {found}"),
    (_single_values, "train_guide.channels {train_guide.channels} leave one pixel, and a group of its last "
     "normalisation then holds a single value: leave out a level, or end with 32"),
    (lambda p: max(p.train_diffusion.network.attention_at, default=0) >= len(p.train_diffusion.network.channels),
     "train_diffusion.network.attention_at names a level that channels {train_diffusion.network.channels} does not "
     "have"),
    (lambda p: any(p.train_diffusion.network.channels[level] % HEAD
                   for level in {*p.train_diffusion.network.attention_at, -1}),
     "train_diffusion.network.channels {train_diffusion.network.channels}: the last level and those of attention_at "
     f"must be multiples of {HEAD} (width of an attention head)"),
    # Training of the generator
    (lambda p: p.compute.threads > p.train_diffusion.batch_size,
     "compute.threads {compute.threads} is more than train_diffusion.batch_size {train_diffusion.batch_size}, of which "
     "each thread computes a part: lower it"),
    (lambda p: p.train_diffusion.learning_rate > 1, "train_diffusion.learning_rate {train_diffusion.learning_rate} is "
     "more than 1, with which AdamW learns nothing: lower it"),
    (lambda p: p.train_diffusion.condition_dropout == 1,
     "train_diffusion.condition_dropout 1.0 never shows a class to the generator: lower it"),
    (lambda p: p.train_diffusion.augmentation == 1,
     "train_diffusion.augmentation 1.0 never shows an image as it is, which is what is drawn: lower it"),
    (lambda p: p.train_diffusion.patience_images and (
        p.train_diffusion.patience_images < p.train_diffusion.held_out_every_images),
     "train_diffusion.patience_images {train_diffusion.patience_images} ends training before the second look, after "
     "{train_diffusion.held_out_every_images} more (held_out_every_images): raise it"),
    (lambda p: not math.log(FLOAT32_LEVELS[0]) < _levels(p)[0] < _levels(p)[1] < math.log(FLOAT32_LEVELS[1]),
     "train_diffusion.noise_mean {train_diffusion.noise_mean} and noise_deviation {train_diffusion.noise_deviation} "
     f"give noise levels outside {FLOAT32_LEVELS[0]:g} to {FLOAT32_LEVELS[1]:g}: bring them nearer to -1 and 1"),
    # Sampling
    (lambda p: p.sample.sigma_min >= p.sample.sigma_max,
     "sample.sigma_min {sample.sigma_min} must be smaller than sigma_max {sample.sigma_max}"),
    (lambda p: not p.sample.sigma_min < SIGMA_D < p.sample.sigma_max,
     f"sample.sigma_min {{sample.sigma_min}} and sigma_max {{sample.sigma_max}} must lie on two sides of {SIGMA_D}, "
     "the standard deviation of images"),
    (_outside, "sample.sigma_min {sample.sigma_min} and sigma_max {sample.sigma_max} must lie within {found}, the "
     "noise levels of training (train_diffusion.noise_mean and noise_deviation)"),
    (lambda p: p.sample.guidance_interval[0] > p.sample.guidance_interval[1],
     "sample.guidance_interval {sample.guidance_interval} must be [lowest, highest]"),
    (lambda p: p.sample.guidance != "none" and not (p.sample.guidance_interval[0] <= p.sample.sigma_max
                                                    and p.sample.guidance_interval[1] >= p.sample.sigma_min),
     "sample.guidance_interval {sample.guidance_interval} holds no noise level from sigma_min {sample.sigma_min} to "
     "sigma_max {sample.sigma_max}, so guidance never acts: widen it, or set guidance to none"),
    (lambda p: p.sample.guidance == "classifier_free" and p.sample.guidance_scale == 0,
     "sample.guidance_scale 0.0 with guidance classifier_free draws images of no class: raise it"),
    (lambda p: p.train_diffusion.condition_dropout == 0 and (p.sample.guidance == "classifier_free" or (
        p.sample.guidance == "classifier" and p.train_guide.input == "denoised_estimate")),
     "train_diffusion.condition_dropout 0.0 never trains the unknown class, which sample.guidance {sample.guidance} "
     "asks for: raise it (0.1 is usual)"),
    (lambda p: p.sample.guidance == "auto" and p.train_diffusion.early_average_fraction == 0,
     "sample.guidance is 'auto' but no early average is kept: set train_diffusion.early_average_fraction above 0"),
    (lambda p: p.sample.guidance == "auto" and p.train_diffusion.patience_images and (
        p.train_diffusion.early_average_fraction * p.train_diffusion.images_seen
        > p.train_diffusion.patience_images + p.train_diffusion.held_out_every_images),
     "sample.guidance is 'auto', and with train_diffusion.patience_images {train_diffusion.patience_images} training "
     "may end before the early average: lower early_average_fraction"),
    # Classifiers
    (lambda p: any(map(p.recipe.optional_arms.get, _JOINT)) and not (
        0 < round(p.recipe.batch_size * p.recipe.joint_synthetic_fraction) < p.recipe.batch_size),
     "recipe.joint_synthetic_fraction {recipe.joint_synthetic_fraction} leaves no room for both kinds of image in a "
     "batch of {recipe.batch_size}"),
    (lambda p: round(p.recipe.batch_size * p.recipe.rehearsal_fraction) >= p.recipe.batch_size,
     "recipe.rehearsal_fraction {recipe.rehearsal_fraction} leaves no room for real images in a batch of "
     "{recipe.batch_size}"),
    (lambda p: p.audit.label_classifier.pretrained, "audit.label_classifier.pretrained has no effect, since that "
     "classifier learns from the profile's own images: set it to null"),
    (lambda p: max(arch.learning_rate for arch in p.archs.values()) * p.recipe.stage_2_learning_rate_ratio > 1,
     "recipe.stage_2_learning_rate_ratio {recipe.stage_2_learning_rate_ratio} times a learning rate of archs is more "
     "than 1, with which AdamW learns nothing: lower one"),
    (_small_portion, "{found}, and batch norm needs " f"{LEAST_PORTION} images of each kind in a batch: raise the "
     "batch size or change the fraction"),
    (_decay, "the learning rate of {found} times its weight_decay is 1 or more, which turns weights round: lower one"),
)
