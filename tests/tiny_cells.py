"""A prepared data set of bright squares, and the cells of a tiny profile on it: stages that run within a second."""

from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.data.packs import write_pack
from synthplanes.data.selection import EARLIER
from synthplanes.protocol.cells import STAGES, Cell, Paths
from synthplanes.protocol.profiles import Profile, from_subset, subset
from tests.small_profile import small_profile_parameters
from tests.tiny_generator import PARAMETERS, SAMPLE

CLASSES = ("a", "b")
PER_CLASS = 12  # images of development, per class; half as many in the other sets


def tiny_profile(budgets: tuple[str, ...] = ("scarce",), archs: tuple[str, ...] = ("residual",),
                 optional: tuple[str, ...] = ("oracle", "resampled", "permuted_labels"), **recipe) -> Profile:
    """A profile whose trainings take a few updates; `recipe` changes values of that section."""
    parameters = small_profile_parameters(archs, budgets, "classifier", optional)
    parameters["replication"] |= {"seeds": 2}
    parameters["compute"] |= {"threads": 1, "processes": 1}
    parameters["train_diffusion"] = PARAMETERS.model_copy(update=dict(images_seen=64)).model_dump()
    parameters["train_guide"] |= {"updates": 2, "channels": [16, 32]}
    parameters["sample"] = SAMPLE.model_copy(update=dict(guidance="classifier")).model_dump()
    parameters["audit"] |= {"updates": 2}
    parameters["recipe"] |= {"stage_1_updates": 3, "stage_2_updates": 2, **recipe}
    return Profile.model_validate(parameters)


def cell(root: Path, stage: str, profile: Profile | None = None, processes: int = 1, code: str = "code") -> Cell:
    """The cell of a stage, with the parameters alone that it declares."""
    profile = profile or tiny_profile()
    return Cell(stage, "tiny", from_subset(subset(profile, STAGES[stage].reads)), code, Paths("tiny", root), processes)


def write_prepared(root: Path, budgets: tuple[str, ...] = ("scarce",), fresh: bool = True) -> None:
    """Write the outputs of `prepare` and `plan`: every budget trains on two thirds of the development images."""
    paths = Paths("tiny", root)
    for number, (folder, n) in enumerate((("development", PER_CLASS), ("test", PER_CLASS // 2),
                                          ("fresh", PER_CLASS // 2 if fresh else 0))):
        index, images = _pack(folder, n, number)
        write_pack(paths.prepared / folder, images, records.INDEX.frame(index))
    records.write_json(paths.prepared / "classes.json", list(CLASSES))
    rows = [dict(budget=budget, replicate=0, image_id=f"development{number}",
                 role="validation" if number % 3 == place % 3 else "train")
            for place, budget in enumerate(budgets) for number in range(2 * PER_CLASS)]
    records.write_table(paths.prepared / "splits.csv", records.SPLITS.frame(rows), records.SPLITS)
    records.write_json(paths.analysis_plan, {"plan": "none"})


def write_synthetic(root: Path, budgets: tuple[str, ...] = ("scarce",)) -> None:
    """Write the outputs of `sample`, and the history of its generator: as many images as development has.

    After 32 of 64 images seen the generator drew nothing but black frames.
    """
    paths = Paths("tiny", root)
    for number, budget in enumerate(budgets, start=7):
        index, images = _pack("s", PER_CLASS, number)
        folder = paths.replicate("synthetic", budget, 0)
        write_pack(folder, images, records.SYNTHETIC.frame(
            dict(row, budget=budget, replicate=0, seed=seed) for seed, row in enumerate(index)), records.SYNTHETIC)
        for seen, drawn in ((32, np.zeros_like(images)), (64, images)):
            records.write_array(folder / EARLIER / f"{seen}.npy", drawn)
        records.write_table(paths.replicate("generator", budget, 0) / "history.csv", records.GENERATOR_HISTORY.frame(
            dict(images_seen=seen, train_loss=1.0, held_out_loss=loss)
            for seen, loss in ((32, 3.0), (48, 1.0), (64, 2.0))), records.GENERATOR_HISTORY)


def _pack(name: str, n_per_class: int, seed: int) -> tuple[list[dict], np.ndarray]:
    labels = np.arange(2 * n_per_class) % 2
    images = np.random.default_rng(seed).integers(0, 60, (len(labels), 16, 16)).astype(np.uint8)
    for image, label in zip(images, labels):
        image[4:12, 8 * label:8 * label + 8] += 150
    return [dict(image_id=f"{name}{row}", patient_id=f"{name}{row // 4}", label=CLASSES[label], role="",
                 scanner="xy"[row % 2], operator="", sub_plane="", sha256="")
            for row, label in enumerate(labels)], images
