"""Count work in image passes through networks, which are the same on every machine, unlike seconds.

A *training pass* is one image through forward and backward, a *forward pass* one image through forward only. In sums a
forward pass counts 1 and a training pass 3 forward-equivalents: a backward pass takes about twice the multiplications
of a forward pass (Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1). A gradient of the guide
counts as a training pass, though it needs none for the weights. Passes count images and not operations: one through a
generator costs more than one through a small classifier, so a sum is always reported with its parts.

Every stage that trains, samples or predicts writes a `cost.json` (`records.write_cost`) in its output folder.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from synthplanes import records
from synthplanes.protocol.arms import ARMS, TRAINING_STAGES, arms_of, needed_by, uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.config import Section
from synthplanes.protocol.profiles import Profile

FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS = 3
COST_FILE = "cost.json"
KINDS = ("generator", "guide", "synthetic", "audit", *TRAINING_STAGES, "predictions")  # artifacts with a cost.json
SYNTHESIS = ("generator", "guide", "sampling")  # needed by every arm on synthetic images


class Item(Section):
    """The passes of all runs of an arm, or of another item of a stage (`records.cost_item`)."""

    item: Literal["generator", "guide", "sampling", "audit", "prediction", *ARMS]  # type: ignore[valid-type]
    budget: str
    arch: str
    runs: int
    training_image_passes: int
    forward_image_passes: int


class _Cost(Section):
    items: list[Item]


def read_cost(folder: Path) -> list[dict[str, Any]]:
    """Read the items of a stage's cost.json; a missing or ill-formed one raises `UserError`."""
    path = Path(folder) / COST_FILE
    cost = _Cost.checked(records.read_json(path), path, cure="delete it and run its stage again")
    return [item.model_dump() for item in cost.items]


def total(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the sums of some items' runs and passes, and of all their passes in forward-equivalents."""
    runs, trained, forward = (sum(item[count] for item in items)
                              for count in ("runs", "training_image_passes", "forward_image_passes"))
    return {"runs": runs, "training_image_passes": trained, "forward_image_passes": forward,
            "forward_equivalents": FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS * trained + forward}


def collect(profile: Profile, paths: Paths) -> dict[str, Any]:
    """Return the content of metrics/<profile>/cost.json, from the `cost.json` of every stage.

    "items" has one record per budget, item and architecture, "arms" one per budget and arm: the arm's own training
    (`classifier`), the other arm that it starts or learns from (`first_stage`), generator, guide and sampling where it
    uses synthetic images (`synthesis`), and their sum (`total`).
    """
    items = [item for kind in KINDS for item in read_cost(paths.artifact(kind))]
    key = itemgetter("budget", "item", "arch")
    of_budgets = {budget: [item for item in items if item["budget"] == budget] for budget in profile.budgets_by_size()}
    return {
        "unit": "image passes; a training pass counts "
                f"{FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS} forward-equivalents, a forward pass 1",
        "items": [{"budget": budget, "item": item, "arch": arch, **total(list(alike))}
                  for (budget, item, arch), alike in groupby(sorted(items, key=key), key)],
        "arms": [{"budget": budget, "arm": arm, **_arm(own, arm)} for budget, own in of_budgets.items()
                 for arm in ARMS if any(item["item"] == arm for item in own)],
        "total": total(items),
    }


def _arm(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    own = [item for item in items if item["item"] == name]
    archs = {item["arch"] for item in own}
    first = [item for item in items if item["item"] == needed_by(ARMS[name]) and item["arch"] in archs]
    synthesis = [item for item in items if item["item"] in SYNTHESIS] if uses_synthetic(name) else []
    return {"archs": sorted(archs), "classifier": total(own), "first_stage": total(first),
            "synthesis": total(synthesis), "total": total(own + first + synthesis)}


def expected(profile: Profile, n_classes: int) -> list[dict[str, Any]]:
    """Forecast the counted work of one `dvc repro` of a profile, from its parameters alone.

    One record per budget, stage and architecture: {"budget", "stage", "arch", ...counts of `total`}. An upper bound:
    patience may end the training of a generator, and outside the guidance interval sampling saves the guide's passes.
    Passes over held-out images (validation, test, the generator's held-out loss) depend on the data and are left out.
    They are forward passes, and few compared with training.
    """
    sample, guide, generators = profile.sample, profile.train_guide, profile.replication.generators
    # Heun's method evaluates every step twice, but the last.
    evaluations = n_classes * sample.images_per_class * (
        2 * sample.steps - 1 if sample.solver == "heun" else sample.steps)
    from_estimate = guide.input == "denoised_estimate"  # of the generator, through which gradients then go as well
    guided = guide.updates * guide.batch_size * (sample.guidance == "classifier")
    once = {  # (training passes, forward passes) of each generator
        "train_diffusion": (profile.train_diffusion.images_seen, 0),
        "train_guide": (guided, guided * from_estimate),
        "sample": (evaluations * (sample.guidance == "classifier") * (1 + from_estimate),
                   evaluations * (2 if sample.guidance in ("classifier_free", "auto") else 1)),
        "audit": (profile.audit.updates * profile.audit.batch_size, 0),
    }
    rows = []
    for budget in profile.budgets_by_size():
        items = {(stage, ""): [records.cost_item(stage, runs=generators, trained=generators * trained,
                                                 forward=generators * forward)]
                 for stage, (trained, forward) in once.items()}
        items |= {(stage, arch): [profile.training_cost(arm, budget, arch)
                                  for arm in arms_of(stage, arch, profile.recipe)]
                  for stage in TRAINING_STAGES for arch in profile.archs}
        rows += [{"budget": budget, "stage": stage, "arch": arch, **total(counted)}
                 for (stage, arch), counted in items.items()]
    return rows


def forecast(profile: Profile, n_classes: int) -> list[str]:
    """Return `expected` as a table in plain text, a line per stage and architecture, and their sum."""
    rows = expected(profile, n_classes)
    lines = [f"{'stage':<18}{'budget':<10}{'architecture':<16}{'runs':>6}{'training passes':>18}{'forward passes':>17}"]
    lines += [f"{row['stage']:<18}{row['budget']:<10}{row['arch']:<16}{row['runs']:>6,}"
              f"{row['training_image_passes']:>18,}{row['forward_image_passes']:>17,}" for row in rows]
    return [*lines, f"{'together':<50}{sum(row['training_image_passes'] for row in rows):>18,}"
                    f"{sum(row['forward_image_passes'] for row in rows):>17,}",
            "(images through a network; held-out looks, which depend on the data, are few and left out)"]
