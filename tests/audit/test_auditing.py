"""Audit a tiny profile: its files, label fidelity on known predictions, and the label classifier behind it."""

import numpy as np
import pytest

from synthplanes.audit.auditing import audit_synthetic_sets, label_fidelity
from synthplanes.classification import label_classifier
from synthplanes.classification.label_classifier import label_classifiers
from synthplanes.data.selection import read_all
from synthplanes.protocol.cells import Paths
from synthplanes.records import AUDIT, GENERATOR_CURVE, read_json, read_table
from tests.tiny_cells import PER_CLASS, cell, tiny_profile, write_prepared, write_synthetic

BOTH = ("scarce", "full")


def write(root, fresh=True):
    write_prepared(root, BOTH, fresh)
    write_synthetic(root, BOTH)
    return cell(root, "audit", tiny_profile(BOTH))


def test_files_of_an_audit(tmp_path):
    own = write(tmp_path)
    asked = []

    def predict(train_set, replicate, *others):
        """Always class b."""
        asked.append((len(train_set), replicate))
        return [np.eye(2)[np.ones(len(images), dtype=int)] for images in others]

    audit_synthetic_sets(own, predict)
    assert asked == [(PER_CLASS, 0)] * 2  # the fresh patients
    table = read_table(own.paths.metrics / "audit.csv", AUDIT)
    assert table[["budget", "replicate", "label", "label_fidelity", "n_images"]].values.tolist() == [
        [budget, "0", label, fidelity, n] for budget in ("full", "scarce")
        for label, fidelity, n in (("a", 0.0, 12), ("b", 1.0, 12), ("all", 0.5, 24))]
    assert table["copies"].isna().tolist() == [True, True, False] * 2 and table["ceiling"].notna().all()
    for budget in BOTH:
        audit, = read_json(own.out / budget / "audit.json")["replicates"]
        assert audit["label_classifier_learned_from"] == "fresh phantom patients"
        assert audit["label_fidelity"]["mean_over_classes"] == 0.5 and audit["copies"]["images"] == 24
        assert (own.out / budget / "copies-r0.png").exists()
    item = read_json(own.out / "cost.json")["items"][0]
    assert item["training_image_passes"] == 2 * 8 and item["forward_image_passes"] == 24 + 8 + 2 * 24


def test_the_curve_has_fidelity_and_copies_at_the_moments_at_which_images_were_drawn(tmp_path):
    """The label classifier sees a bright square as it is, and black frames as class a; the second loss is lowest."""
    own = write(tmp_path)

    def predict(train_set, replicate, *others):
        return [np.eye(2)[(images[:, :, 8:].mean((1, 2)) > images[:, :, :8].mean((1, 2))).astype(int)]
                for images in others]

    audit_synthetic_sets(own, predict)
    curve = read_table(own.paths.metrics / "generator_curve.csv", GENERATOR_CURVE)
    assert curve[["budget", "images_seen"]].values.tolist() == [[budget, seen] for budget in ("full", "scarce")
                                                                for seen in (32, 48, 64)]
    assert curve["label_fidelity"].tolist() == [0.5, 1.0, 1.0] * 2
    whole = read_table(own.paths.metrics / "audit.csv", AUDIT)
    assert whole["copies"].dropna().tolist() == curve["copies"][[1, 4]].tolist() == curve["copies"][[2, 5]].tolist()
    assert curve["copies"][0] == 0


def test_without_fresh_patients_the_budgets_images_teach(tmp_path):
    own = write(tmp_path, fresh=False)
    asked = []

    def predict(train_set, replicate, *others):
        asked.append(len(train_set))
        return [np.eye(2)[np.zeros(len(images), dtype=int)] for images in others]

    audit_synthetic_sets(own, predict)
    assert asked == [2 * 2 * PER_CLASS // 3] * 2
    audit, = read_json(own.out / "full" / "audit.json")["replicates"]
    assert audit["label_classifier_learned_from"] == "the budget's training images"


def test_the_label_classifier_is_kept(tmp_path, monkeypatch):
    own = write(tmp_path)
    fresh = read_all(Paths("tiny", tmp_path).prepared / "fresh", ("a", "b"))
    with label_classifiers(own) as predict:
        first, second = predict(fresh, 0, fresh.images, fresh.images[:3])
        other, = predict(fresh, 1, fresh.images)
    assert first.shape == (PER_CLASS, 2) and np.allclose(second, first[:3], atol=1e-6)
    assert not np.array_equal(first, other) and len(list(own.checkpoints.iterdir())) == 2
    monkeypatch.setattr(label_classifier, "fit", lambda *_: pytest.fail("trained again"))
    with label_classifiers(own) as predict:
        assert np.array_equal(predict(fresh, 0, fresh.images)[0], first)
    assert len(list(own.checkpoints.iterdir())) == 1


def test_label_fidelity_is_a_mean_over_classes():
    probabilities = np.eye(3)[[0, 0, 0, 1, 2]]
    fidelity = label_fidelity(probabilities, np.array([0, 0, 0, 1, 1]), ("a", "b", "c"))
    assert fidelity == {"mean_over_classes": 0.75, "per_class": {"a": 1.0, "b": 0.5, "c": None}, "images": 5}
