"""Variance components and resampling of a whole profile: complete, consistent with the contrasts, and without a say."""

import numpy as np
import pandas as pd
import pytest

from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import PAPER
from synthplanes.records import COMPONENTS, SPLITS
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.components import NAMES
from synthplanes.statistics.evaluation import SCHEMAS, evaluate
from synthplanes.statistics.pairing import pair
from synthplanes.statistics.resampling import bootstrap_interval, family_wise_p, resampled_scores, sign_flip_p
from synthplanes.statistics.uncertainty import component_rows, resampling
from tests.statistics.selecting import find, keep_runs, only

CONTROLS = ("oracle", "oracle_then_real", "resampled_then_real", "permuted_labels_then_real")
RESAMPLED = ["bootstrap_low", "bootstrap_high", "sign_flip_p", "sign_flip_p_family"]
PLACE = ["budget", "arch", "metric", "contrast"]


def settings_for(*budgets, root_seed=1):
    runs = frozenset(run for predictions in budgets for run in predictions.identities)
    return Settings("phantom", True, .02, "b25", (PAPER,), runs, root_seed)


def tables_of(*budgets, splits=None, **changes):
    return evaluate(budgets, settings_for(*budgets, **changes), splits).tables


def verdict_of(predictions, **changes):
    return BudgetVerdict(predictions, settings_for(predictions, **changes), None)


@pytest.fixture
def tables(world):
    return tables_of(world(controls=CONTROLS))


def test_every_contrast_and_arm_has_its_components(tables):
    assert list(tables["components"].columns) == list(COMPONENTS.columns)
    compared = {(row["budget"], row["arch"], row["contrast"]) for row in find(tables["contrasts"])}
    levels = {(row["budget"], row["arch"], row["arm"]) for row in find(tables["levels"])}
    whose = [(row["budget"], row["arch"], row["contrast"] or row["arm"])
             for row in find(tables["components"], component="seed")]
    assert set(whose) == compared | levels and len(whose) == len(compared) + len(levels)


def test_components_of_a_contrast_sum_to_one_and_are_near_the_interval(tables):
    fair = only(tables["contrasts"], contrast="fair", arch="mean", metric="balanced_accuracy")
    parts = pd.DataFrame(find(tables["components"], contrast="fair", arch="mean"))
    assert parts["share"].sum() == pytest.approx(1, abs=1e-5)
    assert (parts["standard_error"] ** 2).sum() == pytest.approx(
        fair["standard_error"] ** 2, rel=.35)                                      # its corrections and its floor
    assert dict(zip(parts["component"], parts["n"], strict=True)) == {
        "generator": 1, "seed": 4, "patient": 60, "patient_x_seed": 240, "image": 180, "image_x_seed": 720}


def test_one_generator_is_unknown_and_several_are_not(world, tables):
    unknown = find(tables["components"], component="generator")
    assert unknown and all(np.isnan(row["standard_deviation"]) and np.isnan(row["share"]) for row in unknown)
    assert not any(row["clipped"] for row in unknown)
    predictions = world(replicates=range(3), seeds=range(2))
    images = predictions.column("image_id")[predictions.rows("validation")]
    splits = SPLITS.frame(dict(budget="b25", replicate=replicate, image_id=image, role="validation")
                          for replicate in range(3) for image in images)
    several = tables_of(predictions, splits=splits)
    parts = {row["component"]: row for row in find(several["components"], contrast="fair", arch="mean")}
    assert set(parts) == set(NAMES) and parts["seed"]["n"] == 6
    assert all(not np.isnan(row["standard_deviation"]) for row in parts.values())
    row = only(several["contrasts"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert row["n_units"] == 3 and row["sign_flip_p"] >= 2 / 8                     # the units are the generators


def test_the_bootstrap_lies_around_the_estimate(tables):
    for row in find(tables["contrasts"]):
        assert row["bootstrap_low"] < row["estimate"] < row["bootstrap_high"] and row["n_bootstrap"] == 2000
        assert .5 < (row["bootstrap_high"] - row["bootstrap_low"]) / (row["high"] - row["low"]) < 1.5


def test_sign_flips_are_those_of_the_seeds_own_scores(world):
    tables = tables_of(world())
    score = {(row["arm"], row["arch"], row["seed"]): row["value"] for row in find(tables["scores"], metric="accuracy")}
    gains = [score["joint", "residual", seed] - score["real", "residual", seed] for seed in range(4)]
    row = only(tables["contrasts"], contrast="joint", arch="residual", metric="accuracy")
    assert row["sign_flip_p"] == pytest.approx(sign_flip_p(np.round(gains, 5)), abs=1e-6)


def test_the_family_is_holms_over_all_budgets(world):
    budgets = [world(controls=CONTROLS), world({"joint": 1.02, "synthetic": 1., "real_short": 1.}, budget="b100")]
    both = tables_of(*budgets)["contrasts"]
    assert both["confirmatory"].sum() == 2
    for row in find(both):
        own, adjusted = row["sign_flip_p"], row["sign_flip_p_family"]
        assert adjusted == own if row["confirmatory"] else adjusted >= own
    # The family of one budget is smaller than that of two, so its p-values are no larger, and some are smaller.
    alone = tables_of(budgets[0])["contrasts"].merge(both, on=PLACE, suffixes=("", "_of_both"))
    smaller = alone["sign_flip_p_family"] < alone["sign_flip_p_family_of_both"]
    assert (smaller | (alone["sign_flip_p_family"] == alone["sign_flip_p_family_of_both"])).all() and smaller.any()


def test_they_never_decide(world):
    """Another root seed changes the bootstrap and nothing else."""
    one, other = (tables_of(world(), root_seed=root) for root in (1, 2))
    limits = [each["contrasts"][["bootstrap_low", "bootstrap_high"]].to_numpy() for each in (one, other)]
    assert (limits[0] != limits[1]).any() and limits[0] == pytest.approx(limits[1], abs=.02)
    for name in SCHEMAS:
        columns = [column for column in one[name].columns if not column.startswith("bootstrap_")]
        pd.testing.assert_frame_equal(one[name][columns], other[name][columns], check_exact=True)


def test_a_contrast_that_cannot_be_paired_has_no_numbers_and_no_components(world):
    predictions = world()
    lost = predictions.runs["arm"].isin(["real_two_stage", "real_two_stage_long"]) & (predictions.runs["seed"] == 3)
    tables = tables_of(keep_runs(predictions, ~lost))
    rows = find(tables["contrasts"], contrast="fair_two_stage")
    assert rows and all(np.isnan(row[name]) for row in rows for name in RESAMPLED)
    assert all(row["n_bootstrap"] == row["n_units"] == 0 for row in rows)
    assert all(row["word"] in ("unpaired", "undertrained") for row in rows)
    assert not find(tables["components"], contrast="fair_two_stage")
    assert find(tables["components"], contrast="two_stages")[0]["n"] == 1
    assert not any(np.isnan(row["sign_flip_p_family"]) for row in find(tables["contrasts"], contrast="joint"))


def test_one_patient_gives_no_numbers_and_a_refusal(world):
    """All test images of one patient: every word is a refusal, and nothing beside it pretends to know."""
    predictions = world({"real_long": .5}, n_patients=2, images_per_patient=12, seeds=range(5))
    results = evaluate([predictions], settings_for(predictions))
    contrasts = results.tables["contrasts"]
    assert set(contrasts["word"]) <= {"too few patients", "undertrained"}
    assert results.verdict["overall"]["word"] in ("too few patients", "undertrained")
    assert contrasts["bootstrap_low"].isna().all() and (contrasts["n_bootstrap"] == 0).all()
    assert results.tables["components"]["standard_deviation"].isna().all()


def test_one_seed_gives_no_numbers(world):
    tables = tables_of(world(seeds=(0,)))
    assert tables["components"].empty
    assert tables["contrasts"][RESAMPLED].isna().all().all()


def test_nothing_depends_on_the_order_of_runs(world):
    predictions = world()
    shuffled = keep_runs(predictions, np.random.default_rng(0).permutation(len(predictions.runs)))
    one, other = verdict_of(predictions), verdict_of(shuffled)
    pd.testing.assert_frame_equal(*(COMPONENTS.frame(component_rows(each)) for each in (one, other)), check_exact=True)
    assert resampling([one]) == resampling([other])


def test_the_family_of_one_budget_by_hand(world):
    """Every row that is part of no hypothesis is in the family, with the units of its own runs."""
    verdict = verdict_of(world({"synthetic_then_real": 1.05}))                     # too weak to be the largest
    columns = resampling([verdict])
    effects, decides = {}, set()
    for row, scope, archs, pairing in verdict.pairings():
        for metric, blocks in verdict.blocks.items():
            gain = blocks.mean((pairing.arm - pairing.reference).mean(axis=0))
            effects["b25", scope, metric, row.name] = dict(zip(pairing.pairs, gain, strict=True))
            decides |= {("b25", scope, metric, row.name)} if verdict.decides(row, archs, metric) else set()
    family = {place: gains for place, gains in effects.items() if place not in decides}
    expected = dict(zip(family, family_wise_p(list(family.values())), strict=True))
    assert len(family) == len(effects) - 2 and set(columns) == set(effects)
    assert all(row["sign_flip_p_family"] == pytest.approx(expected.get(place, row["sign_flip_p"]))
               for place, row in columns.items())
    adjusted = dict(zip(effects, family_wise_p(list(effects.values())), strict=True))
    assert any(columns[place]["sign_flip_p"] < adjusted[place] for place in decides)


def test_the_bootstrap_draws_from_the_root_seed_of_the_settings(world):
    predictions = world()
    verdict = verdict_of(predictions, root_seed=5)
    row = resampling([verdict])["b25", "residual", "balanced_accuracy", "joint"]
    pairing = pair(predictions, "joint", "real", ["residual"], verdict.test)
    scores = [resampled_scores(table[0] == 1, verdict.blocks["balanced_accuracy"], 5)
              for table in (pairing.arm, pairing.reference)]
    low, high, n = bootstrap_interval(scores[0] - scores[1], 5)
    assert (row["bootstrap_low"], row["bootstrap_high"]) == pytest.approx((low, high)) and row["n_bootstrap"] == n
