"""Audit the synthetic sets of a profile before they are used: label fidelity and possible copies."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from synthplanes import records
from synthplanes.audit.copies import count_copies
from synthplanes.audit.label_fidelity import label_fidelity
from synthplanes.data.selection import LabelledImages, read_all, read_budget
from synthplanes.progress import Progress
from synthplanes.protocol.cells import Cell

# (training images, replicate, several sets uint8 [N, H, W]) -> class probabilities float32 [N, K] of each set
Predict = Callable[..., list[np.ndarray]]


def audit_synthetic_sets(cell: Cell, predict: Predict) -> None:
    """Audit every synthetic set with a classifier that has no part in any arm; `predict` trains it and predicts.

    Writes audit.json and pictures of the nearest pairs per budget, metrics/<profile>/audit.csv and cost.json. The
    classifier trains on fresh patients where a simulator provides them, otherwise on the budget's training images.
    """
    profile, paths, items = cell.parameters, cell.paths, []
    rows: list[dict[str, Any]] = []
    generators = profile.replication.generators
    progress = Progress("audit", len(profile.budgets) * generators, "generators")
    progress(0)
    for number, budget in enumerate(profile.budgets_by_size()):
        audits = []
        for replicate in range(generators):
            train = read_budget(paths.prepared, budget, replicate, "train")
            held_out = read_budget(paths.prepared, budget, replicate, "validation")
            synthetic = read_all(paths.replicate("synthetic", budget, replicate), train.classes, records.SYNTHETIC)
            fresh = read_all(paths.prepared / "fresh", train.classes)
            drawn, real = predict(fresh if len(fresh) else train, replicate, synthetic.images, held_out.images)
            picture = cell.out / budget / f"copies-r{replicate}.png"
            audits.append({
                "label_classifier_learned_from": ("fresh phantom patients" if len(fresh)
                                                  else "the budget's training images"),
                "label_fidelity": label_fidelity(drawn, synthetic.labels, train.classes),
                "ceiling_on_validation_images": label_fidelity(real, held_out.labels, train.classes),
                "copies": count_copies(synthetic.images, train.images, held_out.images, picture)})
            rows += _rows(budget, replicate, audits[-1], synthetic)
            items.append(records.cost_item("audit", budget=budget, forward=len(synthetic) + len(held_out),
                                           trained=profile.audit.updates * profile.audit.batch_size))
            progress(number * generators + replicate + 1)
        records.write_json(cell.out / budget / "audit.json", {"replicates": audits})
    records.write_table(paths.metrics / "audit.csv", records.AUDIT.frame(rows), records.AUDIT)
    records.write_cost(cell.out, items)


def _rows(budget: str, replicate: int, audit: Mapping[str, Any], synthetic: LabelledImages) -> Iterable[dict[str, Any]]:
    """Yield the rows of records.AUDIT: one per class, and one named `all` with the means over classes."""
    fidelity, ceiling = audit["label_fidelity"], audit["ceiling_on_validation_images"]
    for number, name in enumerate(synthetic.classes):
        yield dict(budget=budget, replicate=str(replicate), label=name, label_fidelity=fidelity["per_class"][name],
                   ceiling=ceiling["per_class"][name], n_images=int((synthetic.labels == number).sum()), copies=None)
    yield dict(budget=budget, replicate=str(replicate), label="all", label_fidelity=fidelity["mean_over_classes"],
               ceiling=ceiling["mean_over_classes"], n_images=len(synthetic),
               copies=audit["copies"]["share_nearer_than_threshold"])
