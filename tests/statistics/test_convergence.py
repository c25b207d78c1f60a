"""The convergence check: gains on validation images, over the runs that pair, and nothing else."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from synthplanes.errors import UserError
from synthplanes.records import CONVERGENCE, SPLITS
from synthplanes.statistics.convergence import ConvergenceCheck, check_convergence
from tests.statistics.selecting import keep_runs, with_columns


def drop(predictions, which):
    """Return the predictions without the runs under a mask."""
    return keep_runs(predictions, ~which)


def test_gain_and_error_are_those_of_paired_validation_scores(world):
    predictions = world({"real_long": 1.3})
    rows = predictions.rows("validation")
    top = predictions.probabilities[:, rows].argmax(axis=2)
    score = {identity: balanced_accuracy_score(predictions.labels[rows], top[run])
             for run, identity in enumerate(predictions.identities)}
    gains = np.array([[score["real_long", arch, "b25", 0, seed] - score["real", arch, "b25", 0, seed]
                       for seed in range(4)] for arch in ("convolutional", "residual")])
    check = check_convergence(predictions, margin=.02)
    assert check.gain == pytest.approx(gains.mean())
    assert check.standard_error == pytest.approx(gains.mean(axis=0).std(ddof=1) / 2)
    by_arch = gains.mean(axis=1)
    assert check.gain_by_arch == pytest.approx({"convolutional": by_arch[0], "residual": by_arch[1]})
    assert (check.n_seeds, check.n_images, check.n_patients) == (4, 90, 30)
    assert not check.met and "more than half the margin (1.00 points)" in check.why_undertrained()


def test_the_check_is_met_by_a_flat_curve_and_by_a_falling_one(world):
    flat = world({"real_long": 1.0})
    gain = check_convergence(flat, margin=.02).gain
    assert check_convergence(flat, margin=2 * gain + 1e-9).met
    assert not check_convergence(flat, margin=2 * gain - 1e-9).met
    falling = check_convergence(world({"real_long": .3}), margin=.02)
    assert falling.gain < 0 and falling.met and falling.why_undertrained() == ""


def test_an_architecture_alone_is_judged_by_its_own_gain():
    check = ConvergenceCheck(
        gain=.004, standard_error=.001, limit=.01, gain_by_arch={"residual": -.01, "convolutional": .018},
        n_seeds=4, n_images=90, n_patients=30, absent_classes=())
    assert check.met and check.why_undertrained() == "" == check.why_undertrained("residual")
    why = check.why_undertrained("convolutional")
    assert "of the architecture convolutional at twice the updates gains 1.80 points" in why
    assert "was not run" in check.why_undertrained("transformer")


def test_pairs_only_the_seeds_that_ran_long(world):
    predictions = world()
    long, seed = predictions.runs["arm"] == "real_long", predictions.runs["seed"]
    some = check_convergence(drop(predictions, long & (seed > 1)), margin=.02)
    both = check_convergence(drop(predictions, seed > 1), margin=.02)
    assert some == both and some.n_seeds == 2
    assert check_convergence(drop(predictions, long & (seed > 0)), margin=.02).standard_error is None


def test_without_a_long_run_the_check_is_not_met(world):
    predictions = world()
    check = check_convergence(drop(predictions, predictions.runs["arm"] == "real_long"), margin=.02)
    assert check.gain is None and not check.met and "was not run" in check.why_undertrained()


def test_seeds_of_the_long_run_that_do_not_pair_are_refused(world):
    """Neither a seed nor an architecture drops out of the mean without a word."""
    predictions = world()
    arm, arch, seed = (predictions.runs[name] for name in ("arm", "arch", "seed"))
    for lost, message in (((arm == "real_long") & (arch == "residual") & (seed == 2), "different seeds"),
                          ((arm == "real_long") & (arch == "residual"), "different seeds"),
                          ((arm == "real") & (arch == "residual") & (seed == 2),
                           "residual `real` lacks 1 of the 4 seeds of `real_long`")):
        with pytest.raises(UserError, match=message) as caught:
            check_convergence(drop(predictions, lost), .02)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_validation_images_of_another_split_are_refused(world):
    predictions = world()
    ids = predictions.column("image_id")[predictions.rows("validation")]

    def splits(names):
        return SPLITS.frame([dict(budget="b25", replicate=0, image_id=name, role="validation")
                                      for name in names])
    assert check_convergence(predictions, .02, splits(ids)) == check_convergence(predictions, .02)
    with pytest.raises(UserError, match="hold 1 validation image.* does not name.*'i0000'"):
        check_convergence(predictions, .02, splits(ids[1:]))
    with pytest.raises(UserError, match="lack 1 validation image.* names.*'i9999'"):
        check_convergence(predictions, .02, splits([*ids, "i9999"]))


def test_test_rows_play_no_part(world):
    predictions = world()
    spoiled = predictions.probabilities.copy()
    spoiled[:, predictions.rows("test")] = 1 / 3
    again = check_convergence(dataclasses.replace(predictions, probabilities=spoiled), .02)
    assert again == check_convergence(predictions, .02)


def test_each_replicate_is_judged_on_its_own_validation_images(world):
    predictions = world(replicates=(0, 1))
    with pytest.raises(UserError, match="pass splits.csv"):
        check_convergence(predictions, .02)
    ids = predictions.column("image_id")[predictions.rows("validation")]
    halves = np.array_split(ids, 2)
    splits = SPLITS.frame([dict(budget="b25", replicate=r, image_id=i, role="validation")
                                    for r, half in enumerate(halves) for i in half])
    check = check_convergence(predictions, .02, splits)
    assert check.n_images == len(ids) and check.n_seeds == 8
    # spoiling the other replicate's images changes nothing
    spoiled = predictions.probabilities.copy()
    for replicate in (0, 1):
        runs = predictions.runs["replicate"] == replicate
        spoiled[np.ix_(runs, np.isin(predictions.images["image_id"], halves[1 - replicate]))] = 1 / 3
    assert check_convergence(dataclasses.replace(predictions, probabilities=spoiled), .02, splits) == check


def test_no_validation_image_is_refused(world):
    predictions = world()
    with pytest.raises(UserError, match="no validation image"):
        check_convergence(with_columns(predictions, role=["test"] * len(predictions.images)), .02)


def test_a_class_absent_from_validation_is_left_out_and_named(world):
    predictions = world()
    role = np.where(predictions.images["label"] == "femur", "test", predictions.images["role"])
    check = check_convergence(with_columns(predictions, role=role), .02)
    assert check.absent_classes == ("femur",)


def test_rows_are_the_mean_and_each_of_several_architectures(world):
    predictions = world({"real_long": 1.3})
    check = check_convergence(predictions, .02)
    rows = list(check.rows("b25"))
    assert [(row["arch"], row["gain"], row["met"]) for row in rows] == [
        ("mean", check.gain, False), *((arch, gain, gain <= .01) for arch, gain in check.gain_by_arch.items())]
    assert len(CONVERGENCE.frame(rows)) == 3
    one = check_convergence(drop(predictions, predictions.runs["arch"] == "residual"), .02)
    assert [row["arch"] for row in one.rows("b25")] == ["mean"]                    # it alone is the mean
