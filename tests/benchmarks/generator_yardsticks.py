"""Measure what each way of training and drawing is worth: on a phantom population of another root seed, or real images.

    python tests/benchmarks/generator_yardsticks.py [--profile phantom] [--root-seed 1] [--seeds 3]
        [--images-per-class 250] [--images-seen N] [--image-size PX] [--ways NUMBER ...] [--pretrained FOLDER]

For a simulated profile it takes the scarce budget from a population of its own root seed. For a profile of real images
it takes the budget that `dvc repro prepare` packed, and the budget's validation patients in place of test patients. So
the profile's test rows stay unopened. It trains the profile's generator, one by another loss (min_snr.py) and one that
begins from the generator in FOLDER, and draws from them in several ways. For every way it measures

- label fidelity: how many labels a classifier recognises that learned from fresh patients (of real images there are
  none: from the budget's own training images),
- possible copies: how many images are nearer to a training image than 99 % of the validation images are,
- `synthetic` and `synthetic_then_real` of the first architecture that trains `joint`, by the profile's recipe, on those
  patients, beside `real` at equal updates.

The last is what a generator is for; the first and the eye mislead. For the eye a contact sheet of each way lies in
artifacts/scratch. Writes metrics/generator_yardsticks.json, a key per profile (and image size and images seen, where
they are not the profile's): half an hour each on two CPU cores. `--ways` are rows of WAYS, from 0. On a GPU go for
larger images: `--image-size 64 --images-seen 512000 --ways 0 1 2`. A run replaces all that stands under its key.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from min_snr import min_snr
from phantom_yardsticks import population, score, train_all, world

from synthplanes import records
from synthplanes.audit.auditing import SHOWN, count_copies, label_fidelity
from synthplanes.classification import runs
from synthplanes.classification.label_classifier import label_classifiers
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.packs import write_contact_sheet
from synthplanes.data.selection import LabelledImages, read_budget, read_classes
from synthplanes.diffusion.denoiser import Denoiser, keep_generator
from synthplanes.diffusion.guidance import Guide, train_guide
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.diffusion.training import State, Task, train
from synthplanes.errors import UserError
from synthplanes.phantom.simulation import VERSION
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.cells import Cell, Paths
from synthplanes.protocol.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "metrics" / "generator_yardsticks.json"
SHEETS = ROOT / "artifacts" / "scratch" / "generator_yardsticks"
EARLY = 0.2  # of the images seen: when the early average is kept
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (  # generator, changes of the profile's sample section
    ("from scratch", dict(guidance="none")),
    ("from scratch", dict(guidance="classifier", guidance_scale=1.0)),
    ("from scratch", dict(guidance="classifier_free", guidance_scale=1.5)),
    ("from scratch", dict(guidance="auto", guidance_scale=1.5)),
    ("min-SNR", dict(guidance="none")),
    ("min-SNR", dict(guidance="classifier", guidance_scale=1.0)),
    ("pretrained", dict(guidance="classifier", guidance_scale=1.0)),
)


@dataclass(frozen=True)
class Setting:
    """The images of one measurement, and how generators and classifiers are trained on them."""

    profile: Profile
    root: int                           # seed
    device: torch.device
    folder: Path                        # for what is not kept
    pools: dict[str, LabelledImages]    # real, test (what classifiers are scored on) and, of phantoms, fresh
    held_out: LabelledImages            # the budget's validation images

    @property
    def real(self) -> LabelledImages:
        """The training images."""
        return self.pools["real"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-per-class", type=int, default=250)
    parser.add_argument("--images-seen", type=int, help="in training, by every generator, in place of the profile's")
    parser.add_argument("--image-size", type=int, help="of a simulated profile, in place of its own")
    parser.add_argument("--ways", type=int, nargs="+", choices=range(len(WAYS)), default=range(len(WAYS)))
    parser.add_argument("--pretrained", type=Path, help="folder of a trained generator of the same network")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile, key = read_profile(arguments.profile), arguments.profile
    if arguments.image_size:
        if profile.simulate is None:
            raise UserError(f"--image-size is for simulated images: '{key}' has real ones, prepared at one size.")
        profile, key = of_size(profile, arguments.image_size), f"{key}, {arguments.image_size} px"
    if arguments.images_seen:
        key += f", {arguments.images_seen} images"
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(profile, arguments.root_seed, prepare_torch(threads=1), Path(scratch),
                          *images_of(arguments.profile, profile, arguments.root_seed, Path(scratch)))
        ways, trained = [WAYS[number] for number in arguments.ways], {}
        for name, changes in kinds(setting, arguments.images_seen, arguments.pretrained).items():
            if name not in {generator for generator, _ in ways}:
                continue
            with min_snr() if name == "min-SNR" else nullcontext():
                trained[name] = train_generator(setting, changes)
        guides = {name: guide_of(setting, generator) for name, generator in trained.items()}
        ways = [(name, changes) for name, changes in ways if name in trained]
        sets = [drawn(setting, trained[name], guides[name], dict(images_per_class=arguments.images_per_class) | changes)
                for name, changes in ways]
        classes = np.array(setting.real.classes)
        for number, images in enumerate(sets):
            write_contact_sheet(SHEETS / f"{key}-{number}.png", images.images, classes[images.labels],
                                setting.real.classes, SHOWN)
        recognised = fidelities(setting, [*sets, setting.pools["test"]])
        scores = score_classifiers(setting, sets, arguments.seeds)
    rows = [dict(generator=name, **changes, **fidelity, **arms, copies=count_copies(
                images.images, setting.real.images, setting.held_out.images, SHEETS / f"{key}-{number}-nearest.png"))
            for number, ((name, changes), images, fidelity, arms) in enumerate(zip(ways, sets, recognised, scores))]
    before = records.read_json(arguments.out) if arguments.out.exists() else {}
    records.write_json(arguments.out, before | {key: dict(
        device=torch.cuda.get_device_name() if setting.device.type == "cuda" else "CPU",
        phantom_version=VERSION if profile.simulate else None, root_seed=setting.root,
        images_per_class=arguments.images_per_class, seeds=arguments.seeds, scored_on="the population's test patients"
        if profile.simulate else "validation patients", n={name: len(images) for name, images in setting.pools.items()},
        ways=rows, real=scores[-1]["real"], label_fidelity_of_scored_images=recognised[-1]["label_fidelity"],
        generators={name: history_of(generator) for name, generator in trained.items()})})
    for row in rows:
        print(row)


def of_size(profile: Profile, size: int) -> Profile:
    """Return the profile with frames and images of `size` px."""
    return profile.model_copy(update=dict(simulate=profile.simulate.model_copy(update=dict(frame_size=size)),
                                          prepare=profile.prepare.model_copy(update=dict(image_size=size))))


def images_of(name: str, profile: Profile, root: int, folder: Path) -> tuple[dict[str, LabelledImages], LabelledImages]:
    """Return the sets and the held-out images of a `Setting`."""
    if profile.simulate:
        population(profile, root, folder / "population")
        pools = world(profile, folder / "population", read_classes(folder / "population"))
        return pools, read_budget(folder / "population", profile.scarce_budget, 0, "validation")
    prepared = Paths(name, ROOT).prepared
    held_out = read_budget(prepared, profile.scarce_budget, 0, "validation")
    return dict(real=read_budget(prepared, profile.scarce_budget, 0, "train"), test=held_out), held_out


def kinds(setting: Setting, images_seen: int | None, generator: Path | None) -> dict[str, dict[str, Any]]:
    """Return, for each generator's name, its changes of the profile's train_diffusion section."""
    seen = dict(images_seen=images_seen or setting.profile.train_diffusion.images_seen)
    changes: dict[str, dict[str, Any]] = {"from scratch": seen, "min-SNR": seen}
    if generator:
        changes["pretrained"] = seen | dict(pretrained=keep_generator(generator, setting.folder / "pretrained"))
    return changes


def train_generator(setting: Setting, changes: dict[str, Any]) -> State:
    """Train the profile's generator with some parameters changed."""
    profile = setting.profile
    parameters = profile.train_diffusion.model_copy(update=dict(early_average_fraction=EARLY) | changes)
    return train(Task(setting.real, setting.held_out, parameters, setting.root, 0, profile.compute.threads,
                      profile.prepare.source, setting.folder / "pretrained"), setting.device)


def history_of(trained: State) -> dict[str, Any]:
    """Return a generator's learning curve, its work and what it learned from."""
    return dict(images_seen=[row["images_seen"] for row in trained.history],
                held_out_loss=[row["held_out_loss"] for row in trained.history],
                training_image_passes=trained.seen,
                learned_from=list(trained.denoiser.configuration.learned_from))


def guide_of(setting: Setting, trained: State) -> Guide:
    """Train the guide of a generator."""
    denoiser = Denoiser(trained.denoiser.configuration).eval().to(setting.device)
    denoiser.load_state_dict(trained.weights)
    tensors, description = train_guide(setting.real, denoiser, setting.profile.train_guide,
                                       setting.profile.train_diffusion, setting.root, 0)
    guide = Guide(**description)
    guide.load_state_dict(tensors)
    return guide.eval()


def drawn(setting: Setting, trained: State, guide: Guide, changes: dict[str, Any]) -> LabelledImages:
    """Draw a synthetic set, with some values of the profile's sample section changed."""
    profile, real = setting.profile, setting.real
    sample = profile.sample.model_copy(update=changes)
    denoiser, early = (Denoiser(trained.denoiser.configuration) for _ in range(2))
    denoiser.load_state_dict(trained.weights)
    early.load_state_dict(trained.early)
    index = list_images(real, denoiser.configuration.scanners, sample.images_per_class, profile.scarce_budget, 0,
                        setting.root)
    helper = {"classifier": guide, "auto": early.eval()}.get(sample.guidance)
    images = Sampler(denoiser, helper, sample, setting.device, profile.compute.processes).draw(index).images
    labels = np.array([real.classes.index(name) for name in index["label"].tolist()])
    return LabelledImages(images, labels, index["scanner"].to_numpy(np.str_), index["image_id"].to_numpy(np.str_),
                          real.classes)


def fidelities(setting: Setting, sets: list[LabelledImages]) -> list[dict[str, Any]]:
    """Train the audit's label classifier, and return the label fidelity of each set."""
    profile = setting.profile
    parameters = profile.model_copy(update=dict(
        replication=profile.replication.model_copy(update=dict(root_seed=setting.root))))
    cell = Cell("audit", "yardsticks", parameters, "", Paths("yardsticks", setting.folder))
    with label_classifiers(cell) as predict:
        probabilities = predict(setting.pools.get("fresh", setting.real), 0, *(images.images for images in sets))
    measured = [label_fidelity(part, images.labels, images.classes) for part, images in zip(probabilities, sets)]
    return [dict(label_fidelity=round(fidelity["mean_over_classes"], 4), label_fidelity_per_class={
        name: None if value is None else round(value, 4) for name, value in fidelity["per_class"].items()})
        for fidelity in measured]


def score_classifiers(setting: Setting, sets: list[LabelledImages], seeds: int) -> list[dict[str, Any]]:
    """Return, of each set, balanced accuracy of `synthetic` and `synthetic_then_real`, and at the end that of `real`.

    Each is a mean over seeds, with their standard deviation and number.
    """
    profile = setting.profile
    arch = profile.recipe.optional_arms["joint"][0]
    pools = {f"{number}": setting.pools | dict(synthetic=images) for number, images in enumerate(sets)}
    pools["real"] = setting.pools

    def task(name: str, arm: str, seed: int, first_stage: Path | None = None) -> tuple[str, runs.Task]:
        return name, runs.Task(ARMS[arm], arch, profile.archs[arch], profile.recipe, 0, seed, setting.root, pools[name],
                               setting.folder / f"{name}-{arm}-{seed}.safetensors", first_stage)

    first = [task(name, "real" if name == "real" else "synthetic", seed) for name in pools for seed in range(seeds)]
    train_all([planned for _, planned in first], profile.compute.processes)
    second = [task(name, "synthetic_then_real", before.seed, before.out) for name, before in first if name != "real"]
    train_all([planned for _, planned in second], profile.compute.processes)
    rows = score(profile, first + second, {name: setting.pools["test"] for name in pools})
    return [{row["arm"]: {key: row[key] for key in ("mean", "deviation", "n")} for row in rows if row["world"] == name}
            for name in pools]


if __name__ == "__main__":
    run(main)
