"""What each way of training and drawing is worth: on a phantom population of another root seed, or on real images.

    python tests/benchmarks/generator_yardsticks.py [--profile phantom] [--root-seed 1] [--seeds 3]
        [--images-per-class 250] [--images-seen N] [--image-size PX] [--ways NUMBER ...] [--warm-start FOLDER]

For a simulated profile it takes the scarce budget from a population of its own root seed; for a profile of real images
it takes the budget that `dvc repro prepare` packed, and the budget's validation patients in place of test patients. So
the profile's test rows stay unopened. It trains the profile's generator, one by another loss (min_snr.py), one that sees
half of its images at half the size where the image size allows that, and one that begins from the generator in FOLDER;
draws from them in several ways; and for every way tells

- label fidelity: how many labels a judge recognises that learned from fresh patients (of real images there are none:
  from the budget's own training images),
- possible copies: how many images are nearer to a training image than 99 % of the validation images are,
- `synthetic` and `synthetic_then_real` of the first architecture that trains `joint`, by the profile's recipe, on those
  patients, beside `real` at equal updates.

What is asked of a generator is the last; the first and the eye mislead. For the eye a sheet of each way lies in
artifacts/scratch. Writes metrics/generator_yardsticks.json, a key per profile (and image size and images seen, where they
are not the profile's): half an hour each on two CPU cores. `--ways` are lines of WAYS, from 0; with a GPU go for larger
images: `--image-size 64 --images-seen 512000 --ways 0 1 2`. A run replaces all that stood under its key.
"""

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from min_snr import min_snr
from phantom_yardsticks import population, score, train_all, world

from synthplanes import records
from synthplanes.audit.copies import copies
from synthplanes.audit.label_fidelity import label_fidelity
from synthplanes.classification.label_classifier import judge
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.preparation.contact_sheet import write_contact_sheet
from synthplanes.data.selection import LabelledImages, read_budget, read_classes
from synthplanes.diffusion import warm_start
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guide import Guide, train_guide
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.diffusion.training import Trained, configure, train
from synthplanes.errors import UserError
from synthplanes.phantom import VERSION
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "metrics" / "generator_yardsticks.json"
SHEETS = ROOT / "artifacts" / "scratch" / "generator_yardsticks"
EARLY = 0.2  # of the images seen: when the early average is kept
SHOWN = 12   # images per class on a sheet
WAYS = (  # generator, changes of the profile's sample section
    ("from scratch", dict(guidance="none")),
    ("from scratch", dict(guidance="classifier", guidance_scale=1.0)),
    ("from scratch", dict(guidance="classifier_free", guidance_scale=1.5)),
    ("from scratch", dict(guidance="auto", guidance_scale=1.5)),
    ("from scratch", dict(guidance="classifier", guidance_scale=1.0, scanners="uniform")),
    ("from scratch", dict(guidance="none", start="real", start_noise=0.3)),
    ("from scratch", dict(guidance="none", start="real", start_noise=0.7)),
    ("from scratch", dict(guidance="none", start="real", start_noise=0.7, scanners="uniform")),
    ("min-SNR", dict(guidance="none")),
    ("min-SNR", dict(guidance="classifier", guidance_scale=1.0)),
    ("coarse to fine", dict(guidance="classifier", guidance_scale=1.0)),
    ("warm start", dict(guidance="classifier", guidance_scale=1.0)),
    ("warm start", dict(guidance="none", start="real", start_noise=0.7)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-per-class", type=int, default=250)
    parser.add_argument("--images-seen", type=int, help="in training, by every generator, in place of the profile's")
    parser.add_argument("--image-size", type=int, help="of a simulated profile, in place of its own")
    parser.add_argument("--ways", type=int, nargs="+", choices=range(len(WAYS)), default=range(len(WAYS)))
    parser.add_argument("--warm-start", type=Path, help="folder of a trained generator of the same network")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile, root, key = read_profile(arguments.profile), arguments.root_seed, arguments.profile
    if arguments.image_size:
        if profile.simulate is None:
            raise UserError(f"--image-size is for simulated images: '{key}' has real ones, prepared at one size.")
        profile, key = of_size(profile, arguments.image_size), f"{key}, {arguments.image_size} px"
    if arguments.images_seen:
        key += f", {arguments.images_seen} images"
    device = prepare_torch(threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pools, held_out = images_of(arguments.profile, profile, root, folder)
        classes = pools["real"].classes
        ways, trained = [WAYS[number] for number in arguments.ways], {}
        for name, changes in kinds(profile, pools["real"], arguments.images_seen, arguments.warm_start, folder).items():
            if name not in {one for one, _ in ways}:
                continue
            with min_snr() if name == "min-SNR" else nullcontext():
                trained[name] = generator(profile, pools["real"], held_out, root, device, changes, folder)
        guides = {name: guide_of(profile, pools["real"], one, root, device) for name, one in trained.items()}
        ways = [(name, changes) for name, changes in ways if name in trained]
        sets = [drawn(profile, pools["real"], trained[name], guides[name], changes, root, arguments.images_per_class,
                      device) for name, changes in ways]
        for number, one in enumerate(sets):
            write_contact_sheet(SHEETS / f"{key}-{number}.png", one.images, np.array(classes)[one.labels], classes, SHOWN)
        prepare_torch(profile.compute.threads)
        judged = judge(pools.get("fresh", pools["real"]), [one.images for one in (*sets, pools["test"])], profile.audit,
                       profile.recipe, root, 0, device)
        scores = classifiers(profile, pools, sets, classes, root, arguments.seeds, folder)
    told = [dict(generator=name, **changes, **fidelity(probabilities, one), copies=copies(
                one.images, pools["real"].images, held_out.images, SHEETS / f"{key}-{number}-nearest.png", SHOWN), **arms)
            for number, ((name, changes), one, probabilities, arms) in enumerate(zip(ways, sets, judged, scores))]
    before = records.read_json(arguments.out) if arguments.out.exists() else {}
    records.write_json(arguments.out, before | {key: dict(
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        phantom_version=VERSION if profile.simulate else None, root_seed=root,
        images_per_class=arguments.images_per_class, seeds=arguments.seeds, scored_on="the population's test patients"
        if profile.simulate else "validation patients", n={name: len(images) for name, images in pools.items()},
        ways=told, real=scores[-1]["real"],
        label_fidelity_of_scored_images=fidelity(judged[-1], pools["test"])["label_fidelity"],
        generators={name: dict(images_seen=one.history["images_seen"].tolist(), held_out_loss=one.history[
            "held_out_loss"].tolist(), training_image_passes=one.training_image_passes,
            learned_from=list(one.configuration.learned_from)) for name, one in trained.items()})})
    for way in told:
        print(way)


def of_size(profile: Profile, size: int) -> Profile:
    """The profile with frames and images of `size` px."""
    return profile.model_copy(update=dict(simulate=profile.simulate.model_copy(update=dict(frame_size=size)),
                                          prepare=profile.prepare.model_copy(update=dict(image_size=size))))


def images_of(name: str, profile: Profile, root: int, folder: Path) -> tuple[dict[str, LabelledImages], LabelledImages]:
    """The sets "real", "test" (what classifiers are scored on) and, of phantoms, "fresh"; the held-out images."""
    budget = next(iter(profile.used_budgets()))
    if profile.simulate:
        population(profile, root, folder / "population")
        pools = world(profile, folder / "population", read_classes(folder / "population"))
        return pools, read_budget(folder / "population", budget, 0, "validation")
    prepared = ROOT / "artifacts" / "prepared" / name
    held_out = read_budget(prepared, budget, 0, "validation")
    return dict(real=read_budget(prepared, budget, 0, "train"), test=held_out), held_out


def kinds(profile: Profile, real: LabelledImages, images_seen: int | None, other: Path | None, folder: Path
          ) -> dict[str, dict]:
    """Each generator's name and its changes of the profile's train_diffusion section."""
    seen = dict(images_seen=images_seen or profile.train_diffusion.images_seen)
    found = {"from scratch": seen, "min-SNR": seen, "coarse to fine": seen | dict(coarse_share=0.5)}
    if other:
        found["warm start"] = seen | dict(warm_start=warm_start.adopt(other, folder / "adopted"))
    try:
        configure(real, profile.train_diffusion.model_copy(update=found["coarse to fine"]), ())
    except UserError as error:
        print(f"left out, coarse to fine: {error}")
        del found["coarse to fine"]
    return found


def generator(profile: Profile, real: LabelledImages, held_out: LabelledImages, root: int, device: torch.device,
              changes: dict, folder: Path) -> Trained:
    parameters = profile.train_diffusion.model_copy(update=dict(early_average_share=EARLY) | changes)
    return train(real, held_out, parameters, root, 0, device, profile.compute.threads,
                 origin=profile.prepare.source, adopted=folder / "adopted")


def guide_of(profile: Profile, real: LabelledImages, trained: Trained, root: int, device: torch.device) -> Guide:
    denoiser = Denoiser(trained.configuration)
    denoiser.load_state_dict(trained.tensors)
    tensors, description = train_guide(real, denoiser, profile.train_guide, profile.train_diffusion, root, 0, device)
    guide = Guide(**description)
    guide.load_state_dict(tensors)
    return guide.eval()


def drawn(profile: Profile, real: LabelledImages, trained: Trained, guide: Guide, changes: dict, root: int,
          images_per_class: int, device: torch.device) -> LabelledImages:
    """The synthetic set of one way."""
    sample = profile.sample.model_copy(update=dict(images_per_class=images_per_class) | changes)
    denoiser, early = Denoiser(trained.configuration), Denoiser(trained.configuration)
    denoiser.load_state_dict(trained.tensors)
    early.load_state_dict(trained.early)
    index = plan(real, trained.configuration.scanners, sample, next(iter(profile.used_budgets())), 0, root)
    helper = {"classifier": guide, "auto": early.eval()}.get(sample.guidance)
    images, _, _ = draw(denoiser, helper, index, sample, device, profile.compute.processes, real=real)
    labels = np.array([real.classes.index(name) for name in index["label"].tolist()])
    return LabelledImages(images, labels, index["scanner"], index["image_id"], real.classes)


def fidelity(probabilities: np.ndarray, images: LabelledImages) -> dict:
    found = label_fidelity(probabilities, images.labels, images.classes)
    return dict(label_fidelity=round(found["mean_over_classes"], 4),
                label_fidelity_per_class={name: round(value, 4) for name, value in found["per_class"].items()})


def classifiers(profile: Profile, pools: dict, sets: list[LabelledImages], classes: tuple[str, ...], root: int,
                seeds: int, folder: Path) -> list[dict]:
    """Per set {"synthetic", "synthetic_then_real"}, and at the end {"real"}: balanced accuracy, mean and SD."""
    arch = profile.recipe.joint_archs[0]

    def task(name: str, arm: str, seed: int, pools: dict, start: Path | None = None) -> tuple[str, Task]:
        return name, Task(ARMS[arm], seed, 0, arch, profile.used_archs()[arch], profile.recipe, root, pools, start,
                          folder / f"{name}-{arm}-{seed}.safetensors")

    def all_of(arm: str, starts: dict[tuple[str, int], Path] = {}) -> list[tuple[str, Task]]:
        return [task(f"{number}", arm, seed, dict(pools, synthetic=one), starts.get((f"{number}", seed)))
                for number, one in enumerate(sets) for seed in range(seeds)]

    first = [*(task("real", "real", seed, pools) for seed in range(seeds)), *all_of("synthetic")]
    train_all([one for _, one in first], profile.compute.processes)
    second = all_of("synthetic_then_real", {(name, one.seed): one.out for name, one in first})
    train_all([one for _, one in second], profile.compute.processes)
    tasks = first + second
    names = [*(f"{number}" for number in range(len(sets))), "real"]
    rows = score(profile, tasks, {name: pools["test"] for name in names}, classes)
    return [{row["arm"]: {key: row[key] for key in ("mean", "deviation", "n")} for row in rows if row["world"] == name}
            for name in names]


if __name__ == "__main__":
    run(main)
