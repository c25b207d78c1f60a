"""Chances with which training draws images, on sets whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest

from synthplanes.compute.draws import class_balanced, patient_balanced
from tests.tiny_generator import squares


def test_classes_that_occur_are_equally_likely():
    labels = np.array([0] * 9 + [2])
    assert class_balanced(labels)[labels == 2].sum() == pytest.approx(0.5)
    assert class_balanced(labels).sum() == pytest.approx(1.0)


def test_between_images_and_classes():
    labels = np.array([0] * 90 + [1] * 10)
    assert np.allclose(class_balanced(labels, 1.0), class_balanced(labels))
    assert np.allclose(class_balanced(labels, 0.0), 0.01)
    assert class_balanced(labels, 0.5)[labels == 1].sum() == pytest.approx(0.3)


def test_patients_of_a_class_are_equally_likely():
    """Of class a patient p has three images and q one; class b has one patient with two images."""
    images = replace(squares(6), labels=np.array([0, 0, 0, 0, 1, 1]), patient_ids=np.array(list("pppqqq")))
    assert np.allclose(patient_balanced(images), [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])
    assert np.allclose(patient_balanced(replace(images, patient_ids=None)), class_balanced(images.labels))
