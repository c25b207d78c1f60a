"""Variance components and resampling of a whole profile: complete, consistent with the records, and without a say."""

import dataclasses
import json

import numpy as np
import pytest

from synthplanes.records import SPLITS, Table
from synthplanes.statistics import contrasts
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.components import NAMES
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.resampling import bootstrap_interval, family_wise_p, resampled_scores, sign_flip_p
from synthplanes.protocol.settings import Settings
from synthplanes.statistics.uncertainty import RESAMPLED, resampling, variance_components

CONTROLS = ("oracle", "oracle_then_real", "null_then_real", "poison_then_real")
COLUMNS = {"budget", "arch", "contrast", "arm", "metric", "component", "standard_deviation", "clipped",
           "standard_error", "share", "n"}


def settings_for(*budgets, root_seed=1):
    cells = frozenset(cell for predictions in budgets for cell in predictions.cells)
    return Settings("phantom", True, .02, "b25", cells, root_seed)


def verdict_of(*budgets, splits=None, **changes):
    return evaluate(budgets, settings_for(*budgets, **changes), splits=splits)[1]


def judged(*budgets):
    return [BudgetVerdict(predictions, settings_for(*budgets), None) for predictions in budgets]


def keys(records):
    return [(record["budget"], record["arch"], record["metric"], record["contrast"]) for record in records]


def find(records, **where):
    return [record for record in records if all(record[name] == value for name, value in where.items())]


@pytest.fixture
def verdict(world):
    return verdict_of(world(controls=CONTROLS))


def test_columns_and_rows(verdict):
    assert all(set(record) == {"budget", "arch", "metric", "contrast", *RESAMPLED} for record in verdict["resampling"])
    assert keys(verdict["resampling"]) == keys(verdict["records"])
    assert all(set(record) == COLUMNS for record in verdict["variance_components"])
    compared = {(record["budget"], record["arch"], record["contrast"]) for record in verdict["records"]}
    levels = {(level["budget"], level["arch"], level["arm"]) for level in verdict["levels"]}
    whose = [(record["budget"], record["arch"], record["contrast"] or record["arm"])
             for record in verdict["variance_components"] if record["component"] == "seed"]
    assert set(whose) == compared | levels and len(whose) == len(compared) + len(levels)


def test_components_of_a_contrast_sum_to_one_and_are_near_the_interval(verdict):
    record, = find(verdict["records"], contrast="fair", arch="mean", metric="balanced_accuracy")
    found = find(verdict["variance_components"], contrast="fair", arch="mean")
    assert sum(row["share"] for row in found if row["share"] is not None) == pytest.approx(1, abs=1e-5)
    total = sum(row["standard_error"] ** 2 for row in found if row["standard_error"] is not None)
    assert total == pytest.approx(record["standard_error"] ** 2, rel=.35)          # its corrections and its floor
    assert {row["component"]: row["n"] for row in found} == {
        "generator": 1, "seed": 4, "patient": 60, "patient_x_seed": 240, "image": 180, "image_x_seed": 720}


def test_one_generator_is_unknown_and_several_are_not(world, verdict):
    one = find(verdict["variance_components"], component="generator")
    assert one and all(row["standard_deviation"] is None and row["share"] is None for row in one)
    predictions = world(replicates=range(3), seeds=range(2))
    splits = Table.of_rows(SPLITS, [dict(budget="b25", replicate=replicate, image_id=image, role="validation")
                                    for replicate in range(3)
                                    for image in predictions.images["image_id"][predictions.rows("validation")]])
    several = verdict_of(predictions, splits=splits)
    found = find(several["variance_components"], contrast="fair", arch="mean")
    assert {row["component"] for row in found} == set(NAMES)
    assert all(row["standard_deviation"] is not None for row in found)
    assert {row["component"]: row["n"] for row in found}["seed"] == 6
    row, = find(several["resampling"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert row["n_units"] == 3 and row["sign_flip_p"] >= 2 / 8                     # the units are the generators


def test_the_bootstrap_lies_around_the_estimate(verdict):
    for row, record in zip(verdict["resampling"], verdict["records"]):
        assert row["bootstrap_low"] < record["estimate"] < row["bootstrap_high"] and row["n_bootstrap"] == 2000
        wide = (row["bootstrap_high"] - row["bootstrap_low"]) / (record["high"] - record["low"])
        assert .5 < wide < 1.5


def test_sign_flips_are_those_of_the_seeds_own_scores(world):
    predictions = world()
    table, verdict = evaluate([predictions], settings_for(predictions))
    score = {tuple(row[name] for name in ("arm", "arch", "seed")): row["value"] for row in table.rows()
             if row["metric"] == "accuracy"}
    gains = [score["mixed", "residual", seed] - score["real", "residual", seed] for seed in range(4)]
    row, = find(verdict["resampling"], contrast="joint", arch="residual", metric="accuracy")
    assert row["sign_flip_p"] == pytest.approx(sign_flip_p(np.round(gains, 5)), abs=1e-6)


def test_the_family_is_holms_over_all_budgets(world):
    budgets = [world(controls=CONTROLS), world({"mixed": 1.1, "synthetic": 1.3, "real_short": .9}, budget="b100")]
    verdict = verdict_of(*budgets)
    confirmatory = [record["confirmatory"] for record in verdict["records"]]
    assert sum(confirmatory) == 2
    for decides, row in zip(confirmatory, verdict["resampling"]):
        own, adjusted = row["sign_flip_p"], row["sign_flip_p_family"]
        assert adjusted == own if decides else adjusted >= own
    # The family of one budget is smaller than that of two, so its p-values are no larger, and some are smaller.
    alone, both = ({key: row["sign_flip_p_family"] for key, row in zip(keys(rows), rows)}
                   for rows in (verdict_of(budgets[0])["resampling"], find(verdict["resampling"], budget="b25")))
    assert all(alone[key] <= both[key] for key in both) and any(alone[key] < both[key] for key in both)


def test_they_never_decide(world):
    """Another root seed changes the bootstrap and nothing else."""
    one, other = (verdict_of(world(), root_seed=root) for root in (1, 2))
    limits = [[row.pop(name) for row in each["resampling"] for name in ("bootstrap_low", "bootstrap_high")]
              for each in (one, other)]
    assert limits[0] != limits[1] and limits[0] == pytest.approx(limits[1], abs=.02)
    assert json.dumps(one) == json.dumps(other)


def test_a_contrast_that_cannot_be_paired_has_nulls_and_no_components(world):
    predictions = world()
    lost = (predictions.runs["arm"] == "real_two_stage") & (predictions.runs["seed"] == 3)
    less = dataclasses.replace(predictions, runs=predictions.runs.select(~lost),
                               probabilities=predictions.probabilities[~lost])
    verdict = verdict_of(less)
    rows = find(verdict["resampling"], contrast="fair_two_stage")
    assert rows and all(row[name] is None for row in rows for name in RESAMPLED)
    records = find(verdict["records"], contrast="fair_two_stage")
    assert all(record["word"] in ("unpaired", "undertrained") for record in records)
    assert not find(verdict["variance_components"], contrast="fair_two_stage")
    assert find(verdict["variance_components"], contrast="two_stages")[0]["n"] == 1
    family = find(verdict["resampling"], contrast="joint")
    assert all(row["sign_flip_p_family"] is not None for row in family)


def test_one_patient_gives_nulls_and_a_refusal(world):
    """All test images of one patient: every word is a refusal, and nothing beside it pretends to know."""
    predictions = world({"real_long": .5}, n_patients=2, images_per_patient=12, seeds=range(5))
    verdict = verdict_of(predictions)
    assert {record["word"] for record in verdict["records"]} <= {"too few patients", "undertrained"}
    assert verdict["overall"]["word"] in ("too few patients", "undertrained")
    assert all(row["bootstrap_low"] is None and row["n_bootstrap"] == 0 for row in verdict["resampling"])
    assert all(row["standard_deviation"] is None for row in verdict["variance_components"])
    json.dumps(verdict, allow_nan=False)


def test_one_seed_gives_nulls(world):
    verdict = verdict_of(world(seeds=(0,)))
    assert verdict["variance_components"] == []
    assert all(row[name] is None for row in verdict["resampling"] for name in RESAMPLED)


def test_nothing_depends_on_the_order_of_runs(world):
    predictions = world()
    order = np.random.default_rng(0).permutation(len(predictions.runs))
    shuffled = dataclasses.replace(predictions, runs=predictions.runs.select(order),
                                   probabilities=predictions.probabilities[order])
    for make in (lambda one: variance_components(one), lambda one: resampling([one])):
        one, other = (make(judged(each)[0]) for each in (predictions, shuffled))
        assert json.dumps(one) == json.dumps(other)


def test_the_family_of_one_budget_by_hand(world):
    """Every record outside of the confirmatory pair is in the family, with the units of its own runs."""
    one, = judged(world({"synthetic_then_real": 1.05}))                            # too weak to be the largest
    found = resampling([one])
    effects = {}
    for row, scope, archs, pairing in one.pairings():
        for metric, blocks in one.blocks.items():
            gain = blocks.mean((pairing.arm - pairing.reference).mean(axis=0))
            effects[scope, metric, row.name] = (one.decides(row, scope, metric), dict(zip(pairing.pairs, gain)))
    family = {key: gains for key, (decides, gains) in effects.items() if not decides}
    expected = dict(zip(family, family_wise_p(list(family.values()))))
    assert len(family) == len(effects) - 2
    assert all(row["sign_flip_p_family"] == pytest.approx(expected.get((row["arch"], row["metric"], row["contrast"]),
                                                                        row["sign_flip_p"])) for row in found)
    pair = [row for row in found if (row["arch"], row["metric"], row["contrast"]) not in family]
    adjusted = dict(zip(effects, family_wise_p([gains for _, gains in effects.values()])))
    assert any(row["sign_flip_p"] < adjusted[row["arch"], row["metric"], row["contrast"]] for row in pair)


def test_the_bootstrap_draws_from_the_root_seed_of_the_settings(world):
    predictions = world()
    one = BudgetVerdict(predictions, settings_for(predictions, root_seed=5), None)
    row, = find(resampling([one]), contrast="joint", arch="residual", metric="balanced_accuracy")
    pairing = contrasts.pair(predictions, "mixed", "real", ["residual"], one.test)
    scores = [resampled_scores(table[0] == 1, one.blocks["balanced_accuracy"], 5)
              for table in (pairing.arm, pairing.reference)]
    low, high, n = bootstrap_interval(scores[0] - scores[1], 5)
    assert (row["bootstrap_low"], row["bootstrap_high"]) == pytest.approx((low, high)) and row["n_bootstrap"] == n
