"""Audit the synthetic sets of a profile before they are used: label fidelity and possible copies.

Both are also measured on what the generators drew at other moments of their training, so that their learning curve
shows how long a generator must learn, and when it copies.

Copies are sought by Euclidean distances between block-averaged frames with mean 0 and norm 1, which do not depend on
brightness and contrast: 0 is the same picture, 2 its negative. The reference distances are those of real images of
*other patients* (the budget's validation patients) to their nearest training image. A synthetic image counts as a
possible copy if it is nearer than 99 % of these.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from synthplanes import records
from synthplanes.data.selection import earlier_rows, read_all, read_budget, read_earlier
from synthplanes.progress import Progress
from synthplanes.protocol.cells import Cell

SHOWN = 12         # nearest pairs in the picture
THUMBNAIL = 16     # px
QUANTILE = 0.01    # of the reference distances
_ROWS_AT_A_TIME = 512
# (training images, replicate, several sets uint8 [N, H, W]) -> class probabilities float32 [N, K] of each set
Predict = Callable[..., list[np.ndarray]]


def audit_synthetic_sets(cell: Cell, predict: Predict) -> None:
    """Audit every synthetic set with a classifier that has no part in any arm; `predict` trains it and predicts.

    Writes audit.json and pictures of the nearest pairs per budget, audit.csv and generator_curve.csv in
    metrics/<profile>/, and cost.json. The classifier trains on fresh patients where a simulator provides them,
    otherwise on the budget's training images.
    """
    profile, paths, tables, curves, items = cell.parameters, cell.paths, [], [], []
    generators = profile.replication.generators
    progress = Progress("audit", len(profile.budgets) * generators, "generators")
    progress(0)
    for number, budget in enumerate(profile.budgets_by_size()):
        audits = []
        for replicate in range(generators):
            train = read_budget(paths.prepared, budget, replicate, "train")
            held_out = read_budget(paths.prepared, budget, replicate, "validation")
            folder = paths.replicate("synthetic", budget, replicate)
            synthetic = read_all(folder, train.classes, records.SYNTHETIC)
            history = records.read_table(paths.replicate("generator", budget, replicate) / "history.csv",
                                         records.GENERATOR_HISTORY)
            earlier = read_earlier(folder, history["images_seen"])
            fresh = read_all(paths.prepared / "fresh", train.classes)
            drawn, real, *before = predict(fresh if len(fresh) else train, replicate, synthetic.images, held_out.images,
                                           *earlier.values())
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
            few = synthetic.labels[earlier_rows(records.read_table(folder / "index.csv", records.SYNTHETIC)).index]
            measured = {seen: (label_fidelity(probabilities, few, train.classes)["mean_over_classes"],
                               count_copies(images, train.images, held_out.images)["share_nearer_than_threshold"])
                        for (seen, images), probabilities in zip(earlier.items(), before, strict=True)}
            best = history["images_seen"][history["held_out_loss"].idxmin()]  # at which the synthetic set was drawn
            measured[best] = fidelity["mean_over_classes"], copies["share_nearer_than_threshold"]
            curves.append(history.assign(budget=budget, replicate=replicate, **{
                name: [measured.get(seen, (None, None))[column] for seen in history["images_seen"]]
                for column, name in enumerate(("label_fidelity", "copies"))}))
            items.append(records.cost_item("audit", budget=budget,
                                           forward=len(synthetic) + len(held_out) + len(few) * len(earlier),
                                           trained=profile.audit.updates * profile.audit.batch_size))
            progress(number * generators + replicate + 1)
        records.write_json(cell.out / budget / "audit.json", {"replicates": audits})
    records.write_table(paths.metrics / "audit.csv", records.AUDIT.typed(pd.concat(tables)), records.AUDIT)
    records.write_table(paths.metrics / "generator_curve.csv", records.GENERATOR_CURVE.typed(pd.concat(curves)),
                        records.GENERATOR_CURVE)
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


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Reduce uint8 [N, H, W] to float32 [N, THUMBNAIL^2], each of mean 0 and norm 1 (a constant frame stays 0)."""
    shares = block_shares(images.shape[1])
    small = (shares @ images.astype(np.float32) @ shares.T).reshape(len(images), -1)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def block_shares(size: int) -> np.ndarray:
    """Return each pixel's weight in the mean of each of THUMBNAIL equal blocks: float32 [THUMBNAIL, size]."""
    edges = np.linspace(0, size, THUMBNAIL + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (np.maximum(overlap, 0) * THUMBNAIL / size).astype(np.float32)


def nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each query's nearest reference: (distance float [N], position int [N]); both are unit vectors [., D]."""
    similarity, position = [], []
    for start in range(0, len(queries), _ROWS_AT_A_TIME):
        products = queries[start:start + _ROWS_AT_A_TIME] @ references.T
        position.append(products.argmax(axis=1))
        similarity.append(products.max(axis=1))
    return np.sqrt(np.maximum(0, 2 - 2 * np.concatenate(similarity))), np.concatenate(position)


def count_copies(synthetic: np.ndarray, train: np.ndarray, held_out: np.ndarray, picture: Path | None = None
                 ) -> dict[str, Any]:
    """Count possible copies, and write a picture, where asked for, of the SHOWN nearest pairs (synthetic above real).

    All images are uint8 [N, H, W].
    """
    references = thumbnails(train)
    distance, position = nearest(thumbnails(synthetic), references)
    yardstick, _ = nearest(thumbnails(held_out), references)
    threshold = float(np.quantile(yardstick, QUANTILE))
    if picture is not None:
        worst = np.argsort(distance, kind="stable")[:SHOWN]
        pairs = np.concatenate([np.concatenate(list(synthetic[worst]), axis=1),
                                np.concatenate(list(train[position[worst]]), axis=1)])
        with records.replacing(picture) as temporary:
            Image.fromarray(pairs).save(temporary, format="PNG")
    return {"median_distance": round(float(np.median(distance)), 4),
            "median_distance_of_held_out_images": round(float(np.median(yardstick)), 4),
            "threshold": round(threshold, 4), "nearer_than_threshold": int((distance < threshold).sum()),
            "share_nearer_than_threshold": round(float((distance < threshold).mean()), 6), "images": len(synthetic)}
