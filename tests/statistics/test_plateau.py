import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from synthplanes.errors import UserError
from synthplanes.records import SPLITS, Table
from synthplanes.statistics.convergence import Plateau, measure


def drop(predictions, which):
    """The predictions without the runs under a mask."""
    return dataclasses.replace(predictions, runs=predictions.runs.select(~which),
                               probabilities=predictions.probabilities[~which])


def test_gain_and_error_are_those_of_paired_validation_scores(world):
    predictions = world({"real_long": 1.3})
    rows = predictions.rows("validation")
    top = predictions.probabilities[:, rows].argmax(axis=2)
    score = {cell: balanced_accuracy_score(predictions.labels[rows], top[run])
             for run, cell in enumerate(predictions.cells)}
    gains = np.array([[score["real_long", arch, "b25", 0, seed] - score["real", arch, "b25", 0, seed]
                       for seed in range(4)] for arch in ("convolutional", "residual")])
    gate = measure(predictions, margin=.02)
    assert gate.gain == pytest.approx(gains.mean())
    assert gate.standard_error == pytest.approx(gains.mean(axis=0).std(ddof=1) / 2)
    assert gate.gain_by_arch == pytest.approx(dict(zip(("convolutional", "residual"), gains.mean(axis=1))))
    assert (gate.n_seeds, gate.n_images, gate.n_patients) == (4, 90, 30)
    assert not gate.met and "more than half the margin (1.00 points)" in gate.why_undertrained()


def test_the_gate_is_met_by_a_flat_curve_and_by_a_falling_one(world):
    flat = world({"real_long": 1.0})
    gain = measure(flat, margin=.02).gain
    assert measure(flat, margin=2 * gain + 1e-9).met and not measure(flat, margin=2 * gain - 1e-9).met
    falling = measure(world({"real_long": .3}), margin=.02)
    assert falling.gain < 0 and falling.met and falling.why_undertrained() == ""


def test_an_architecture_alone_is_judged_by_its_own_gain():
    gate = Plateau(gain=.004, standard_error=.001, limit=.01, gain_by_arch={"residual": -.01, "convolutional": .018},
                   n_seeds=4, n_images=90, n_patients=30, absent_classes=())
    assert gate.met and gate.why_undertrained() == "" == gate.why_undertrained("residual")
    assert "of the architecture convolutional at twice the updates gains 1.80 points" in gate.why_undertrained("convolutional")
    assert "was not run" in gate.why_undertrained("transformer")


def test_pairs_only_the_seeds_that_ran_long(world):
    predictions = world()
    long, seed = predictions.runs["arm"] == "real_long", predictions.runs["seed"]
    some = measure(drop(predictions, long & (seed > 1)), margin=.02)
    both = measure(drop(predictions, seed > 1), margin=.02)
    assert some == both and some.n_seeds == 2
    assert measure(drop(predictions, long & (seed > 0)), margin=.02).standard_error is None


def test_without_a_long_run_the_gate_is_not_met(world):
    predictions = world()
    gate = measure(drop(predictions, predictions.runs["arm"] == "real_long"), margin=.02)
    assert gate.gain is None and not gate.met and "was not run" in gate.why_undertrained()


def test_seeds_of_the_long_run_that_do_not_pair_are_refused(world):
    """Neither a seed nor an architecture drops out of the mean without a word."""
    predictions = world()
    arm, arch, seed = (predictions.runs[name] for name in ("arm", "arch", "seed"))
    for lost, message in (((arm == "real_long") & (arch == "residual") & (seed == 2), "different seeds"),
                          ((arm == "real_long") & (arch == "residual"), "different seeds"),
                          ((arm == "real") & (arch == "residual") & (seed == 2),
                           "residual `real` lacks 1 of the 4 seeds of `real_long`")):
        with pytest.raises(UserError, match=message) as caught:
            measure(drop(predictions, lost), .02)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_validation_images_of_another_split_are_refused(world):
    predictions = world()
    ids = predictions.images["image_id"][predictions.rows("validation")]

    def splits(names):
        return Table.of_rows(SPLITS, [dict(budget="b25", replicate=0, image_id=name, role="validation")
                                      for name in names])
    assert measure(predictions, .02, splits(ids)) == measure(predictions, .02)
    with pytest.raises(UserError, match="hold 1 validation image.* does not name.*'i0000'"):
        measure(predictions, .02, splits(ids[1:]))
    with pytest.raises(UserError, match="lack 1 validation image.* names.*'i9999'"):
        measure(predictions, .02, splits([*ids, "i9999"]))


def test_test_rows_play_no_part(world):
    predictions = world()
    spoiled = predictions.probabilities.copy()
    spoiled[:, predictions.rows("test")] = 1 / 3
    assert measure(dataclasses.replace(predictions, probabilities=spoiled), .02) == measure(predictions, .02)


def test_each_replicate_is_judged_on_its_own_validation_images(world):
    predictions = world(replicates=(0, 1))
    with pytest.raises(UserError, match="pass splits.csv"):
        measure(predictions, .02)
    ids = predictions.images["image_id"][predictions.rows("validation")]
    halves = np.array_split(ids, 2)
    splits = Table.of_rows(SPLITS, [dict(budget="b25", replicate=r, image_id=i, role="validation")
                                    for r, half in enumerate(halves) for i in half])
    gate = measure(predictions, .02, splits)
    assert gate.n_images == len(ids) and gate.n_seeds == 8
    # spoiling the other replicate's images changes nothing
    spoiled = predictions.probabilities.copy()
    for replicate in (0, 1):
        runs = predictions.runs["replicate"] == replicate
        spoiled[np.ix_(runs, np.isin(predictions.images["image_id"], halves[1 - replicate]))] = 1 / 3
    assert measure(dataclasses.replace(predictions, probabilities=spoiled), .02, splits) == gate


def test_no_validation_image_is_refused(world):
    predictions = world()
    images = predictions.images.with_columns(role=["test"] * len(predictions.images))
    with pytest.raises(UserError, match="no validation image"):
        measure(dataclasses.replace(predictions, images=images), .02)


def test_a_class_absent_from_validation_is_left_out_and_named(world):
    predictions = world()
    role = np.where(predictions.images["label"] == "femur", "test", predictions.images["role"])
    gate = measure(dataclasses.replace(predictions, images=predictions.images.with_columns(role=role)), .02)
    assert gate.absent_classes == ("femur",)
