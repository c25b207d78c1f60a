"""Count work in image passes through networks, which are the same on every machine, unlike seconds.

A *training pass* is one image through forward and backward, a *forward pass* one image through forward only. In sums a
forward pass counts 1 and a training pass 3 forward-equivalents: a backward pass takes about twice the multiplications
of a forward pass (Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1). A gradient of the guide
counts as a training pass, though it needs none for the weights. Passes count images and not operations: one through a
generator costs more than one through a small classifier, so a sum is always reported with its parts.

Every stage that trains, samples or predicts writes a `cost.json` (`records.write_cost`) in its output folder. `collect`
adds them up for the report; `expected` forecasts them from a profile's parameters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS, TRAINING_STAGES, arms_of, needed_by, updates_of, uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import Profile

FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS = 3
COST_FILE = "cost.json"
KINDS = ("generator", "guide", "synthetic", "audit", *TRAINING_STAGES, "predictions")  # artifacts with a cost.json
SYNTHESIS = ("generator", "guide", "sampling")  # needed by every arm on synthetic images
ITEMS = (*SYNTHESIS, "audit", "prediction")  # besides these only arms
_FIELDS = {"item": str, "budget": str, "arch": str, "runs": int, "training_image_passes": int,
           "forward_image_passes": int}


@dataclass(frozen=True)
class Work:
    """The passes of several runs together."""

    runs: int = 0
    training_image_passes: int = 0
    forward_image_passes: int = 0

    @property
    def forward_equivalents(self) -> int:
        """Return all passes in forward-equivalents."""
        return FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS * self.training_image_passes + self.forward_image_passes

    def __add__(self, other: "Work") -> "Work":
        return Work(self.runs + other.runs, self.training_image_passes + other.training_image_passes,
                    self.forward_image_passes + other.forward_image_passes)

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {"runs": self.runs, "training_image_passes": self.training_image_passes,
                "forward_image_passes": self.forward_image_passes, "forward_equivalents": self.forward_equivalents}


def total(works: Iterable[Work]) -> Work:
    """Return the sum of several amounts of work."""
    return sum(works, Work())


def read_cost(folder: Path) -> list[tuple[str, str, str, Work]]:
    """Read (item, budget, architecture role or '', work) of a stage's output; missing or ill-formed: `UserError`."""
    path = Path(folder) / COST_FILE
    content = records.read_json(path)
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(_well_formed(item) for item in items):
        raise UserError(f"{path} holds no list of items with the fields {', '.join(_FIELDS)}: delete it and run its "
                        "stage again.")
    for item in items:
        if item["item"] not in (*ITEMS, *ARMS):
            raise UserError(f"{path} counts work of the unknown item '{item['item']}': delete it and run its stage "
                            "again.")
    return [(item["item"], item["budget"], item["arch"],
             Work(item["runs"], item["training_image_passes"], item["forward_image_passes"])) for item in items]


def _well_formed(item: Any) -> bool:
    return isinstance(item, dict) and {name: type(value) for name, value in item.items()} == _FIELDS


def collect(profile: Profile, paths: Paths) -> dict[str, Any]:
    """Return the content of metrics/<profile>/cost.json, from the `cost.json` of every stage.

    "items" has one record per budget, item and architecture, "arms" one per budget and arm: the arm's own training
    (`classifier`), the other arm that it starts or learns from (`first_stage`), generator, guide and sampling where it
    uses synthetic images (`synthesis`), and their sum (`total`).
    """
    items: dict[tuple[str, str, str], Work] = {}
    for kind in KINDS:
        for item, budget, arch, work in read_cost(paths.artifact(kind)):
            items[budget, item, arch] = items.get((budget, item, arch), Work()) + work
    return {
        "unit": "image passes; a training pass counts "
                f"{FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS} forward-equivalents, a forward pass 1",
        "items": [{"budget": budget, "item": item, "arch": arch, **work.as_dict()}
                  for (budget, item, arch), work in sorted(items.items())],
        "arms": [_arm(items, budget, arm) for budget in profile.budgets_by_size()
                 for arm in ARMS if any(at == budget and item == arm for at, item, _ in items)],
        "total": total(items.values()).as_dict(),
    }


def _arm(items: Mapping[tuple[str, str, str], Work], budget: str, name: str) -> dict[str, Any]:
    def of(*names: str) -> Work:
        return total(work for (at, item, _), work in items.items() if at == budget and item in names)

    archs = sorted({arch for (at, item, arch) in items if at == budget and item == name})
    own = of(name)
    first = total(work for (at, item, arch), work in items.items()
                  if at == budget and arch in archs and item == needed_by(ARMS[name]))
    synthesis = of(*SYNTHESIS) if uses_synthetic(name) else Work()
    return {"budget": budget, "arm": name, "archs": archs, "classifier": own.as_dict(),
            "first_stage": first.as_dict(), "synthesis": synthesis.as_dict(),
            "total": (own + first + synthesis).as_dict()}


def expected(profile: Profile, n_classes: int) -> list[dict[str, Any]]:
    """Forecast the counted work of one `dvc repro` of a profile, from its parameters alone.

    One record per budget, stage and architecture: {"budget", "stage", "arch", "runs", ...passes}. With G generators, S
    seeds for each, P and T updates of stage 1 and 2, batches of B images and K classes:

    - train_diffusion: G runs of `images_seen` training passes (fewer where patience ends them)
    - train_guide: G runs of updates x B training passes, B of the guide; as many forward passes of the generator where
      the guide's input is the denoised estimate
    - sample: G x K x images_per_class images x `steps` forward passes, with Heun's method nearly twice as many; with
      guidance as many again at most (outside the guidance interval they are saved), forward through the generator or,
      forward and backward, through the guide (and the generator, where the input is the denoised estimate)
    - audit: G runs of updates x B training passes of its label classifier
    - baseline, pretrain, finetune, joint: for every arm trained there G x its seeds x its updates x B training passes;
      finetune trains T updates, because P were made by pretrain

    Passes over held-out images (validation, test, the generator's held-out loss) depend on the data and are left out.
    They are forward passes, and few compared with training.
    """
    recipe, sample, diffusion, guide = profile.recipe, profile.sample, profile.train_diffusion, profile.train_guide
    generators, seeds = profile.replication.generators, profile.replication.seeds
    evaluations = n_classes * sample.images_per_class * (
        2 * sample.steps - 1 if sample.solver == "heun" else sample.steps)
    from_estimate = guide.input == "denoised_estimate"
    guided = generators * guide.updates * guide.batch_size
    once = {
        "train_diffusion": Work(generators, generators * diffusion.images_seen),
        "train_guide": Work(generators, guided, guided * from_estimate),
        "sample": Work(generators, generators * evaluations * (sample.guidance == "classifier") * (1 + from_estimate),
                       generators * evaluations * (2 if sample.guidance in ("classifier_free", "auto") else 1)),
        "audit": Work(generators, generators * profile.audit.updates * profile.audit.batch_size),
    }
    rows = []
    for budget in profile.budgets_by_size():
        rows += [{"budget": budget, "stage": stage, "arch": "", **work.as_dict()} for stage, work in once.items()]
        for stage in TRAINING_STAGES:
            for arch in profile.archs:
                work = Work()
                for arm in arms_of(stage, arch, recipe):
                    runs = generators * seeds
                    updates = recipe.stage_2_updates if stage == "finetune" else updates_of(arm, recipe)
                    passes = runs * updates * recipe.batch_size
                    work += Work(runs, passes, passes if arm.teacher else 0)
                rows.append({"budget": budget, "stage": stage, "arch": arch, **work.as_dict()})
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
