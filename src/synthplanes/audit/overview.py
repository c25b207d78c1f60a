"""The audit in a few numbers, by which experiments are compared that open no test image."""

from collections.abc import Iterable, Sequence


def overview(replicates: Sequence[dict]) -> dict:
    """Means over the generators of audit.json (fractions); empty where there are none."""
    if not replicates:
        return {}
    fidelity, ceiling = ([found[name] for found in replicates]
                         for name in ("label_fidelity", "ceiling_on_validation_images"))
    return {"generators": len(replicates),
            "label_fidelity": _mean(one["mean_over_classes"] for one in fidelity),
            "label_fidelity_per_class": {name: _mean(one["per_class"][name] for one in fidelity)
                                         for name in fidelity[0]["per_class"]},
            "ceiling_on_validation_images": _mean(one["mean_over_classes"] for one in ceiling),
            "nearer_than_threshold": _mean(found["copies"]["nearer_than_threshold"] / found["copies"]["images"]
                                           for found in replicates)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 6) if known else None
