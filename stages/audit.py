"""Audit the synthetic images before they are used: label fidelity and possible copies, per budget and replicate."""

from synthplanes.audit.auditing import audit_synthetic_sets
from synthplanes.classification.label_classifier import label_classifiers
from synthplanes.command import run, stage_cell


def main() -> None:
    cell = stage_cell(__doc__, "audit")
    with label_classifiers(cell) as predict:
        audit_synthetic_sets(cell, predict)


if __name__ == "__main__":
    run(main)
