"""Audit the synthetic sets of a profile before they are used: label fidelity and possible copies."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.audit.copies import count_copies
from synthplanes.data.selection import read_all, read_budget
from synthplanes.progress import Progress
from synthplanes.protocol.cells import Cell

# (training images, replicate, several sets uint8 [N, H, W]) -> class probabilities float32 [N, K] of each set
Predict = Callable[..., list[np.ndarray]]


def audit_synthetic_sets(cell: Cell, predict: Predict) -> None:
    """Audit every synthetic set with a classifier that has no part in any arm; `predict` trains it and predicts.

    Writes audit.json and pictures of the nearest pairs per budget, metrics/<profile>/audit.csv and cost.json. The
    classifier trains on fresh patients where a simulator provides them, otherwise on the budget's training images.
    """
    profile, paths, tables, items = cell.parameters, cell.paths, [], []
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
            fidelity = label_fidelity(drawn, synthetic.labels, train.classes)
            ceiling = label_fidelity(real, held_out.labels, train.classes)
            copies = count_copies(synthetic.images, train.images, held_out.images,
                                  cell.out / budget / f"copies-r{replicate}.png")
            audits.append(dict(label_classifier_learned_from=("fresh phantom patients" if len(fresh)
                                                              else "the budget's training images"),
                               label_fidelity=fidelity, ceiling_on_validation_images=ceiling, copies=copies))
            tables.append(pd.DataFrame(dict(
                budget=budget, replicate=str(replicate), label=[*train.classes, "all"],
                label_fidelity=[*fidelity["per_class"].values(), fidelity["mean_over_classes"]],
                ceiling=[*ceiling["per_class"].values(), ceiling["mean_over_classes"]],
                n_images=[*np.bincount(synthetic.labels, minlength=len(train.classes)), len(synthetic)],
                copies=[*[None] * len(train.classes), copies["share_nearer_than_threshold"]])))
            items.append(records.cost_item("audit", budget=budget, forward=len(synthetic) + len(held_out),
                                           trained=profile.audit.updates * profile.audit.batch_size))
            progress(number * generators + replicate + 1)
        records.write_json(cell.out / budget / "audit.json", {"replicates": audits})
    records.write_table(paths.metrics / "audit.csv", records.AUDIT.typed(pd.concat(tables)), records.AUDIT)
    records.write_cost(cell.out, items)


def label_fidelity(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return how often a classifier recognises the class that an image was drawn for, per class and as their mean.

    `probabilities` float [N, K], `labels` int [N]. A class without images has None and does not count in the mean.
    """
    right = probabilities.argmax(axis=1) == labels
    per_class = {name: round(float(right[labels == number].mean()), 6) if (labels == number).any() else None
                 for number, name in enumerate(classes)}
    known = [value for value in per_class.values() if value is not None]
    return {"mean_over_classes": round(float(np.mean(known)), 6), "per_class": per_class, "images": len(labels)}
