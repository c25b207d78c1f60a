"""The convergence check: upper limits of gains on validation images, over the runs that pair, and nothing else."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from synthplanes.errors import UserError
from synthplanes.records import CONVERGENCE, GENERATOR_CURVE, SPLITS
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast
from synthplanes.statistics.convergence import ConvergenceCheck, Gain, check_convergence, why_unconverged
from synthplanes.statistics.pairing import pair
from tests.statistics.conftest import ARMS, JOINT
from tests.statistics.selecting import keep_runs, with_columns


def drop(predictions, which):
    """Return the predictions without the runs under a mask."""
    return keep_runs(predictions, ~which)


def test_the_gain_is_that_of_scikit_learn_and_the_limit_that_of_the_clustered_interval(world):
    predictions = world({"real_long": 1.3})
    rows = np.flatnonzero(predictions.rows("validation"))
    top = predictions.probabilities[:, rows].argmax(axis=2)
    score = {identity: balanced_accuracy_score(predictions.labels[rows], top[run])
             for run, identity in enumerate(predictions.identities)}
    gains = np.array([[score["real_long", arch, "b25", 0, seed] - score["real", arch, "b25", 0, seed]
                       for seed in range(4)] for arch in ("convolutional", "residual")])
    check = check_convergence(predictions, margin=.02)
    gain = check.gains["real", "mean"]
    assert gain.estimate == pytest.approx(gains.mean()) and gain.n_seeds == 4
    assert [check.gains["real", arch].estimate for arch in ("convolutional", "residual")] == pytest.approx(
        gains.mean(axis=1))
    pairing = pair(predictions, "real_long", "real", ["convolutional", "residual"], rows)
    blocks = Blocks.balanced(predictions.labels[rows], predictions.column("patient_id")[rows])
    assert gain.upper == pytest.approx(contrast(pairing.arm, pairing.reference, blocks).equivalence_high)
    assert (check.n_images, check.n_patients) == (90, 30)
    assert not check.met("real") and "which is more than the margin (2.00 points)" in check.why_undertrained("real")


def test_the_upper_limit_decides_and_not_the_estimate(world):
    """A gain of which too little is known fails, as does one that is known to be too large."""
    flat = world({"real_long": 1.0})
    gain = check_convergence(flat, margin=.02).gains["real", "mean"]
    assert gain.estimate < .02 < gain.upper
    assert check_convergence(flat, margin=gain.upper + 1e-9).met("real")
    assert not check_convergence(flat, margin=gain.upper - 1e-9).met("real")
    falling = check_convergence(world(), margin=.02)
    assert falling.met("real") and falling.why_undertrained("real") == ""


def test_every_reference_has_a_check_of_its_own(world):
    check = check_convergence(world({"real_two_stage_long": 1.5}, arms=(*ARMS, *JOINT)), .02)
    assert {reference for reference, _ in check.gains} == {"real", "real_two_stage", "duplicate_joint"}
    assert check.met("real") and check.met("duplicate_joint") and not check.met("real_two_stage")


def test_an_architecture_alone_is_judged_by_its_own_gain():
    gains = {("real", "mean"): Gain(.004, .01, .001, 4), ("real", "residual"): Gain(-.01, .0, .001, 4),
             ("real", "convolutional"): Gain(.018, .03, .001, 4)}
    check = ConvergenceCheck(gains, margin=.02, n_images=90, n_patients=30, absent_classes=())
    assert check.met("real") and check.why_undertrained("real") == "" == check.why_undertrained("real", "residual")
    why = check.why_undertrained("real", "convolutional")
    assert "of the architecture convolutional at twice the updates gains +1.80 points" in why and "+3.00" in why
    assert "was not run" in check.why_undertrained("real", "transformer")


def test_one_seed_leaves_the_limit_unknown(world):
    predictions = world()
    long, seed = predictions.runs["arm"] == "real_long", predictions.runs["seed"]
    two = check_convergence(drop(predictions, long & (seed > 1)), margin=.02).gains["real", "mean"]
    assert two.n_seeds == 2 and np.isfinite(two.upper)
    one = check_convergence(drop(predictions, long & (seed > 0)), margin=.02)
    assert one.gains["real", "mean"].upper == float("inf") and not one.met("real")
    row = next(one.rows("b25"))
    assert row["upper"] is None and row["met"] is False


def test_without_a_long_run_the_check_is_not_met(world):
    predictions = world()
    check = check_convergence(drop(predictions, predictions.runs["arm"] == "real_long"), margin=.02)
    assert ("real", "mean") not in check.gains and not check.met("real")
    assert "was not run" in check.why_undertrained("real")


def test_seeds_of_the_long_run_that_do_not_pair_are_refused(world):
    """Neither a seed nor an architecture drops out of the mean without a word."""
    predictions = world()
    arm, arch, seed = (predictions.runs[name] for name in ("arm", "arch", "seed"))
    for lost, message in (((arm == "real_long") & (arch == "residual") & (seed == 2), "different seeds"),
                          ((arm == "real_long") & (arch == "residual"), "different seeds"),
                          ((arm == "real") & (arch == "residual") & (seed == 2),
                           "`real` lacks 1 of the 4 seeds of `real_long`")):
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
    assert check.n_images == len(ids) and check.gains["real", "mean"].n_seeds == 8
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
    rows = [row for row in check.rows("b25") if row["reference"] == "real"]
    assert [(row["arch"], row["gain"], row["met"]) for row in rows] == [
        (arch, gain.estimate, gain.upper <= .02) for (reference, arch), gain in check.gains.items()
        if reference == "real"]
    assert len(CONVERGENCE.frame(rows)) == 3
    one = check_convergence(drop(predictions, predictions.runs["arch"] == "residual"), .02)
    assert [row["arch"] for row in one.rows("b25")] == ["mean", "mean"]            # it alone is the mean


def curve(*losses: float, replicate: int = 0, each: int = 10) -> list[dict]:
    """The rows of a learning curve: a loss after every `each` images."""
    return [dict(budget="b25", replicate=replicate, images_seen=each * number, train_loss=loss, held_out_loss=loss,
                 label_fidelity=None, copies=None) for number, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize(("losses", "converged"), [
    ((4, 3, 2, 1, .5, .41, .41, .407), True),     # the last quarter brought .7 %
    ((4, 3, 2, 1, .5, .41, .41, .405), False),    # 1.2 %
    ((4, 3, 2, 1, .5, .40, .42, .44), True),      # it rose
    ((4, 3, 2, 1, .5, .45, .41, .43), False),     # it rose at the very end only
    ((.4,), False),                               # nothing to compare with
    ((.4, .4), True),
])
def test_a_generator_has_converged_where_the_last_quarter_brought_at_most_one_per_cent(losses, converged):
    reason = why_unconverged(GENERATOR_CURVE.frame(curve(*losses)))
    assert (reason == "") == converged
    assert converged or "1 of 1 generator(s)" in reason and "images_seen" in reason


def test_every_generator_of_a_budget_must_have_converged():
    flat, falling = curve(.4, .4, .4, .4), curve(.5, .45, .41, .3, replicate=1)
    assert why_unconverged(GENERATOR_CURVE.frame(flat)) == ""
    assert "1 of 2 generator(s)" in why_unconverged(GENERATOR_CURVE.frame(flat + falling))
    assert "no learning curve" in why_unconverged(GENERATOR_CURVE.frame([]))
