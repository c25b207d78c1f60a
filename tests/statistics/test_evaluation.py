import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from synthplanes.errors import UserError
from synthplanes.records import INDEX, SPLITS, Table
from synthplanes.statistics.evaluation import evaluate, holm
from synthplanes.protocol.settings import Settings

CONTROLS = ("oracle", "oracle_then_real", "null_then_real", "poison_then_real")


def settings_for(*budgets, margin=.02, simulated=True):
    cells = frozenset(cell for predictions in budgets for cell in predictions.cells)
    return Settings(source="phantom", simulated=simulated, margin=margin, scarce_budget="b25", expected=cells,
                    root_seed=1)


def judge(*budgets, **changes):
    return evaluate(budgets, settings_for(*budgets, **changes))


def find(records, **where):
    return [record for record in records if all(record[name] == value for name, value in where.items())]


def test_records_have_every_field_of_the_plan(world):
    _, verdict = judge(world(controls=CONTROLS))
    fields = {"source", "budget", "arch", "metric", "contrast", "arm", "reference_arm", "estimate", "low",
              "high", "p_value", "p_value_holm", "n_seeds", "n_generators", "n_patients", "n_images",
              "verdict", "smallest_visible_effect", "degrees_of_freedom", "confirmatory"}
    assert all(fields <= set(record) for record in verdict["records"])
    json.dumps(verdict, allow_nan=False)
    keys = [(r["budget"], r["arch"], r["metric"], r["contrast"]) for r in verdict["records"]]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_an_estimate_is_the_difference_of_scikit_learns_scores(world):
    predictions = world()
    table, verdict = judge(predictions)
    rows = predictions.rows("test")
    top = predictions.probabilities[:, rows].argmax(axis=2)
    score = {cell: balanced_accuracy_score(predictions.labels[rows], top[run])
             for run, cell in enumerate(predictions.cells)}
    whose = [(arch, "b25", 0, seed) for arch in ("residual", "convolutional") for seed in range(4)]
    expected = np.mean([score["synthetic_then_real", *one] - score["real", *one] for one in whose])
    record, = find(verdict["records"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert record["estimate"] == pytest.approx(expected, abs=1e-6)
    counts = [record[name] for name in ("n_patients", "n_images", "n_seeds", "n_generators")]
    assert counts == [60, 180, 4, 1]
    by_cell = {tuple(row[name] for name in ("arm", "arch", "budget", "replicate", "seed")): row["value"]
               for row in table.rows() if row["metric"] == "balanced_accuracy"}
    assert by_cell == pytest.approx(score, abs=1e-6)
    level, = find(verdict["levels"], arm="real", arch="residual", metric="balanced_accuracy")
    mean = np.mean([score["real", "residual", "b25", 0, seed] for seed in range(4)])
    assert level["estimate"] == pytest.approx(mean, abs=1e-6)


def test_scores_cover_every_run_and_metric_in_order(world):
    predictions = world()
    table, _ = judge(predictions)
    assert len(table) == len(predictions.runs) * (5 + 3)
    assert all(value == round(value, 6) for value in table["value"].tolist())
    keys = list(zip(table["arm"], table["arch"], table["replicate"], table["seed"], table["metric"]))
    assert keys == sorted(keys)
    rows = predictions.rows("test")
    auroc, = find(table.rows(), arm="mixed", arch="residual", seed=2, metric="macro_auroc")
    run = predictions.cells.index(("mixed", "residual", "b25", 0, 2))
    labels, p = predictions.labels[rows], predictions.probabilities[run][rows]
    mean = np.mean([roc_auc_score(labels == c, p[:, c]) for c in range(3)])
    assert auroc["value"] == pytest.approx(mean, abs=1e-6)


def test_exactly_one_hypothesis_is_confirmatory(world):
    skills = {"synthetic_then_real": 1.03}
    _, verdict = judge(world(skills), world(skills, budget="b100"))
    found = find(verdict["records"], confirmatory=True)
    assert [(r["budget"], r["arch"], r["metric"], r["arm"]) for r in found] == [
        ("b25", "mean", "balanced_accuracy", "synthetic_then_real")] * 2
    assert [r["reference_arm"] for r in found] == ["real", "real_two_stage"]
    assert all(r["p_value_holm"] == r["p_value"] for r in found)
    rest = find(verdict["records"], confirmatory=False)
    assert [r["p_value_holm"] for r in rest] == pytest.approx(holm([r["p_value"] for r in rest]), abs=1e-4)


def test_a_strong_arm_helps_and_the_sentence_says_where(world):
    _, verdict = judge(world({"synthetic_then_real": 2.5, "real_long": .95}, seeds=range(5)))
    overall = verdict["overall"]
    assert overall["verdict"] == "helps on simulated images" and overall["word"] == "helps"
    assert overall["sentence"].startswith("This synthetic set helps on simulated images: balanced accuracy")
    assert overall["p_value"] < .05 and overall["low"] > 0


def test_helps_needs_superiority_over_both_references(world):
    """The arm beats `real` by far, but `real_two_stage` does so too."""
    _, verdict = judge(world({"synthetic_then_real": 2.5, "real_two_stage": 2.5, "real_long": .9}, seeds=range(5)))
    fair, = find(verdict["records"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert fair["word"] == "helps"
    assert not verdict["overall"]["word"].startswith("helps")
    assert verdict["overall"]["low"] <= 0


def test_an_undertrained_real_arm_silences_all_but_the_naive_contrast(world):
    _, verdict = judge(world({"synthetic_then_real": 2.5, "real_long": 2.0}, seeds=range(5)))
    assert verdict["plateau"]["b25"]["met"] is False
    assert verdict["overall"]["verdict"] == "undertrained on simulated images"
    assert "undertrained" in verdict["overall"]["sentence"]
    words = {record["contrast"]: record["word"] for record in verdict["records"]}
    assert words.pop("naive") == "helps" and words.pop("longer") == "helps"
    assert set(words.values()) == {"undertrained"}


def test_a_secondary_row_claims_a_difference_only_after_holm(world):
    """Over many worlds with a weak joint arm, some rows are significant alone and not in the family."""
    seen = 0
    for root in range(12):
        _, verdict = judge(world({"mixed": 1.18, "real_long": .5}, root=root, seeds=range(5)))
        for record in verdict["records"]:
            claims = record["word"] == "hurts" or record["word"].startswith("helps")
            if record["p_value_holm"] is not None and not record["confirmatory"]:
                assert not claims or record["p_value_holm"] <= .05
                seen += record["p_value"] < .05 < record["p_value_holm"] and not claims
                if record["p_value_holm"] > .05 and record["high"] < .02:
                    assert record["word"] in ("equivalent", "no worthwhile gain"), record
    assert seen > 0


def test_one_architecture_is_the_mean_and_no_second_hypothesis(world):
    """Each contrast and metric once, so that Holm counts it once."""
    _, verdict = judge(world(archs=("residual",), controls=CONTROLS))
    for key in ("records", "levels", "controls", "oracle_share", "variance_components", "resampling"):
        assert {row["arch"] for row in verdict[key]} == {"mean"}, key
    places = [(row["contrast"], row["metric"]) for row in verdict["records"]]
    assert len(set(places)) == len(places)
    rest = find(verdict["records"], confirmatory=False)
    least = min(rest, key=lambda row: row["p_value"])
    assert least["p_value_holm"] == pytest.approx(min(1, len(rest) * least["p_value"]), abs=1e-4)


def test_four_seeds_are_too_few_for_a_word_and_keep_their_interval(world):
    _, verdict = judge(world({"synthetic_then_real": 2.5, "real_long": .95}, seeds=range(4)))
    assert verdict["overall"]["word"] == "too few repetitions" and "4 repetitions" in verdict["overall"]["sentence"]
    assert verdict["overall"]["low"] > 0


def test_too_few_patients_are_refused(world):
    _, verdict = judge(world({"synthetic_then_real": 2.5, "real_long": .5}, n_patients=24, seeds=range(5)), margin=.2)
    assert verdict["overall"]["word"] == "too few patients" and "20" in verdict["overall"]["reason"]


def test_one_seed_gives_no_interval_but_a_reason(world):
    _, verdict = judge(world({"real_long": .5}, seeds=(0,)), margin=.2)
    assert verdict["overall"]["word"] == "unpaired" and verdict["overall"]["estimate"] is None
    assert "single seed" in verdict["overall"]["sentence"]


def test_controls_give_their_known_answers(world):
    skills = {"real_long": .9, "oracle_then_real": 2.6, "poison_then_real": .3}
    _, verdict = judge(world(skills, controls=CONTROLS, seeds=range(5)))
    assert {(row["arm"], row["arch"]): row["as_expected"] for row in verdict["controls"]} == {
        (arm, "residual"): True for arm in CONTROLS[1:]}
    assert not find(verdict["records"], contrast="oracle", arch="mean")
    _, wrong = judge(world({"real_long": .9, "null_then_real": 2.6}, controls=CONTROLS, seeds=range(5)))
    null, = find(wrong["controls"], arm="null_then_real")
    assert null["as_expected"] is False and null["verdict"] == "helps on simulated images"


def test_the_share_of_the_oracles_gain(world):
    _, verdict = judge(world(controls=CONTROLS))
    share, = find(verdict["oracle_share"], arm="synthetic_then_real", metric="balanced_accuracy")
    gains = [find(verdict["records"], contrast=name, arch="residual", metric="balanced_accuracy")[0]
             ["estimate"] for name in ("fair", "oracle")]
    assert (share["gain"], share["oracle_gain"]) == pytest.approx(gains, abs=1e-6)
    assert share["share"] == pytest.approx(gains[0] / gains[1], abs=1e-4) and 0 < share["share"] < 1
    _, verdict = judge(world({"oracle_then_real": 1.0}, controls=CONTROLS))
    share, = find(verdict["oracle_share"], arm="synthetic_then_real", metric="balanced_accuracy")
    assert share["share"] is None
    assert judge(world())[1]["oracle_share"] == []


def test_nothing_depends_on_the_order_of_runs(world):
    predictions = world(controls=CONTROLS)
    order = np.random.default_rng(0).permutation(len(predictions.runs))
    shuffled = dataclasses.replace(predictions, runs=predictions.runs.select(order),
                                   probabilities=predictions.probabilities[order])
    (table, verdict), (other_table, other_verdict) = judge(predictions), judge(shuffled)
    assert json.dumps(verdict, sort_keys=True) == json.dumps(other_verdict, sort_keys=True)
    assert table.rows() == other_table.rows()


def test_several_generators_speak_of_the_method(world):
    predictions = world({"synthetic_then_real": 2.5, "real_long": .8}, replicates=range(5), seeds=range(2))
    rows = predictions.rows("validation")
    splits = Table.of_rows(SPLITS, [
        dict(budget="b25", replicate=replicate, image_id=image, role="validation")
        for replicate in range(5) for image in predictions.images["image_id"][rows]])
    with pytest.raises(UserError, match="pass splits.csv"):
        judge(predictions)
    _, verdict = evaluate([predictions], settings_for(predictions, simulated=False), splits=splits)
    overall = verdict["overall"]
    assert (overall["n_generators"], overall["n_seeds"], overall["n_units"]) == (5, 2, 5)
    assert overall["verdict"] == "helps" and overall["sentence"].startswith("The method helps: ")


def test_slices_and_metadata_baselines_stand_in_lists_of_their_own(world):
    first, second = world(n_patients=240), world(n_patients=240, budget="b100")
    scanner = np.where(first.images["label"] == "brain", "E6", "S10")
    first, second = (dataclasses.replace(each, images=each.images.with_columns(scanner=scanner))
                     for each in (first, second))
    development = Table.of_rows(INDEX, [
        {**dict.fromkeys(INDEX.columns, ""), "image_id": image, "label": label, "scanner": scanner}
        for image, label, scanner in (("a", "brain", "E6"), ("b", "femur", "S10"), ("c", "abdomen", "S10"))])
    splits = Table.of_rows(SPLITS, [dict(budget=budget, replicate=0, image_id=image, role="train")
                                    for budget, images in (("b25", "ab"), ("b100", "abc")) for image in images])
    validation = [dict(budget=budget, replicate=0, image_id=image, role="validation") for budget in ("b25", "b100")
                  for image in first.images["image_id"][first.rows("validation")]]
    splits = Table.of_rows(SPLITS, splits.rows() + validation)
    _, verdict = evaluate([first, second], settings_for(first, second), splits=splits, development=development)
    json.dumps(verdict, allow_nan=False)
    rules = {(row["budget"], row["rule"]): row["estimate"] for row in verdict["metadata_baselines"]}
    # brain from E6; S10 holds femur in one budget, and in the other femur and abdomen, of which abdomen comes first
    assert rules["b25", "scanner"] == rules["b100", "scanner"] == pytest.approx(2 / 3, abs=1e-6)
    assert rules["b25", "majority"] == pytest.approx(1 / 3, abs=1e-6) and rules["b25", "operator"] is None
    shown, = find(verdict["slices"], budget="b100", slice="class", value="brain", reference_arm="real")
    level = [find(verdict["slices"], budget="b100", slice="class", value="brain", arm=arm, reference_arm=None)[0]
             for arm in ("synthetic_then_real", "real")]
    assert shown["estimate"] == pytest.approx(level[0]["estimate"] - level[1]["estimate"], abs=2e-6)
    seen = {row["in_training"] for row in find(verdict["slices"], slice="scanner")}
    assert seen == {"seen"}
    # the rest of the verdict is what it is without them
    _, without = evaluate([first, second], settings_for(first, second))
    assert without["metadata_baselines"] == [] and find(without["slices"], slice="scanner_in_training") == []
    rest = [key for key in verdict if key not in ("slices", "metadata_baselines")]
    assert {key: verdict[key] for key in rest} == {key: without[key] for key in rest}


def test_identification_stands_in_the_verdict(world):
    predictions = world()
    _, verdict = evaluate([predictions], settings_for(predictions), {"phantom": {"version": 3}})
    assert verdict["phantom"] == {"version": 3}


def test_missing_runs_and_arms_are_refused(world):
    predictions = world()
    complete = settings_for(predictions)
    less = dataclasses.replace(predictions, runs=predictions.runs.select(np.arange(5)),
                               probabilities=predictions.probabilities[:5])
    with pytest.raises(UserError, match="lack"):
        evaluate([less], complete)
    with pytest.raises(UserError, match="hold"):
        evaluate([predictions], settings_for(less))
    with pytest.raises(UserError, match="confirmatory hypothesis needs"):
        judge(world(arms=("real", "real_long", "synthetic_then_real")))
    with pytest.raises(UserError, match="at budget b25"):
        judge(world(budget="b50"))


def test_no_level_is_a_mean_over_what_happens_to_be_there(world):
    """A plan that is itself lopsided is refused as well: the cells are those expected, but they do not pair."""
    predictions = world()
    lost = np.all([predictions.runs[name] == value for name, value in
                   (("arm", "synthetic"), ("arch", "residual"), ("seed", 2))], axis=0)
    less = dataclasses.replace(predictions, runs=predictions.runs.select(~lost),
                               probabilities=predictions.probabilities[~lost])
    with pytest.raises(UserError, match="the architectures ran `synthetic` with different seeds"):
        judge(less)


def test_one_class_is_refused(world):
    predictions = world()
    images = predictions.images.with_columns(label=["femur"] * len(predictions.images))
    one = dataclasses.replace(predictions, images=images, classes=("femur",),
                              probabilities=np.ones((*predictions.probabilities.shape[:2], 1), np.float32))
    with pytest.raises(UserError, match="at least two classes"):
        judge(one)


def test_budgets_must_share_their_test_images_and_come_once(world):
    with pytest.raises(UserError, match="different test images"):
        judge(world(), world(budget="b100", root=1))
    with pytest.raises(UserError, match="given twice"):
        judge(world(), world())


def test_an_absent_class_is_named(world):
    predictions = world()
    test = predictions.rows("test") & (predictions.images["label"] == "femur")
    moved = predictions.images.with_columns(role=np.where(test, "validation", predictions.images["role"]))
    with pytest.raises(UserError, match="'femur' has no image among the .* test images"):
        judge(dataclasses.replace(predictions, images=moved))


def test_holm_by_hand():
    assert holm([.01, .04, .03, .005]) == pytest.approx([.03, .06, .06, .02])
    assert holm([.9, .8]) == pytest.approx([1, 1])
    assert holm([]) == []
