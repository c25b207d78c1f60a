"""A whole profile is judged: every table is complete, agrees with scikit-learn, and the words follow the rules."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import Settings
from synthplanes.records import INDEX, SPLITS, read_table
from synthplanes.statistics.evaluation import SCHEMAS, evaluate, holm, write_results
from tests.statistics.selecting import find, keep_runs, only, with_columns

CONTROLS = ("oracle", "oracle_then_real", "resampled_then_real", "permuted_labels_then_real")
AUDIT = {"replicates": [{"label_fidelity": {"mean_over_classes": fidelity}, "copies": {"nearer_than_threshold": copies,
                                                                                       "images": 100}}
                        for fidelity, copies in ((.5, 1), (.75, 4))]}


def settings_for(*budgets, margin=.02, simulated=True):
    runs = frozenset(run for predictions in budgets for run in predictions.identities)
    return Settings(source="phantom", simulated=simulated, margin=margin, scarce_budget="b25", expected=runs,
                    root_seed=1)


def judge(*budgets, **changes):
    return evaluate(budgets, settings_for(*budgets, **changes))


def contrasts_of(*budgets, **changes):
    return judge(*budgets, **changes).tables["contrasts"]


def overall_of(*budgets, **changes):
    return judge(*budgets, **changes).verdict["overall"]


def test_every_table_has_its_columns_and_each_contrast_comes_once(world):
    results = judge(world(controls=CONTROLS))
    assert set(results.tables) == set(SCHEMAS)
    assert all(list(results.tables[name].columns) == list(schema.columns) for name, schema in SCHEMAS.items())
    assert not results.tables["contrasts"].duplicated(["budget", "arch", "metric", "contrast"]).any()
    json.dumps([results.verdict, results.summary], allow_nan=False)


def test_results_are_written_and_read_back(world, tmp_path):
    results = evaluate([world()], settings_for(world()), None, None, AUDIT, {"phantom": {"version": "1"}})
    write_results(tmp_path, results)
    for name, schema in SCHEMAS.items():
        pd.testing.assert_frame_equal(read_table(tmp_path / f"{name}.csv", schema), results.tables[name])
    assert {path.name for path in tmp_path.iterdir()} == {*(f"{name}.csv" for name in SCHEMAS), "verdict.json",
                                                          "summary.json"}
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict == results.verdict and verdict["phantom"] == {"version": "1"}
    assert verdict["convergence"]["b25"]["limit"] == .01
    assert len((tmp_path / "verdict.json").read_text().splitlines()) <= 60
    assert json.loads((tmp_path / "summary.json").read_text()) == results.summary


def test_an_estimate_is_the_difference_of_scikit_learns_scores(world):
    predictions = world()
    tables = judge(predictions).tables
    rows = predictions.rows("test")
    top = predictions.probabilities[:, rows].argmax(axis=2)
    score = {identity: balanced_accuracy_score(predictions.labels[rows], top[run])
             for run, identity in enumerate(predictions.identities)}
    whose = [(arch, "b25", 0, seed) for arch in ("residual", "convolutional") for seed in range(4)]
    expected = np.mean([score["synthetic_then_real", *run] - score["real", *run] for run in whose])
    fair = only(tables["contrasts"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert fair["estimate"] == pytest.approx(expected, abs=1e-6)
    counts = ("n_patients", "n_images", "n_seeds", "n_generators", "n_units")
    assert [fair[name] for name in counts] == [60, 180, 4, 1, 4]
    by_run = {tuple(row[name] for name in ("arm", "arch", "budget", "replicate", "seed")): row["value"]
              for row in find(tables["scores"], metric="balanced_accuracy")}
    assert by_run == pytest.approx(score, abs=1e-6)
    level = only(tables["levels"], arm="real", arch="residual", metric="balanced_accuracy")
    mean = np.mean([score["real", "residual", "b25", 0, seed] for seed in range(4)])
    assert level["estimate"] == pytest.approx(mean, abs=1e-6)


def test_scores_cover_every_run_and_metric_in_order(world):
    predictions = world()
    table = judge(predictions).tables["scores"]
    assert len(table) == len(predictions.runs) * (5 + 3)
    assert all(value == round(value, 6) for value in table["value"].tolist())
    keys = list(zip(*(table[name].tolist() for name in ("arm", "arch", "replicate", "seed", "metric")), strict=True))
    assert keys == sorted(keys)
    rows = predictions.rows("test")
    auroc = only(table, arm="joint", arch="residual", seed=2, metric="macro_auroc")
    run = predictions.identities.index(("joint", "residual", "b25", 0, 2))
    labels, p = predictions.labels[rows], predictions.probabilities[run][rows]
    mean = np.mean([roc_auc_score(labels == c, p[:, c]) for c in range(3)])
    assert auroc["value"] == pytest.approx(mean, abs=1e-6)


def test_the_confusion_is_the_mean_over_runs_and_architectures(world):
    predictions = world()
    table = judge(predictions).tables["confusion"]
    assert set(table["arm"]) == {"real", "synthetic_then_real"} and len(table) == 2 * 9
    rows, runs = predictions.rows("test"), (predictions.runs["arm"] == "real").to_numpy()
    expected = np.mean([confusion_matrix(predictions.labels[rows], run[rows].argmax(axis=1), normalize="true")
                        for run in predictions.probabilities[runs]], axis=0)
    real = [row["share"] for row in find(table, arm="real")]
    np.testing.assert_allclose(np.reshape(real, (3, 3)), expected, atol=1e-6)
    assert [row["actual"] for row in find(table, arm="real")][:4] == ["abdomen"] * 3 + ["brain"]


def test_the_summary_is_the_verdict_in_short(world):
    predictions = world({"synthetic_then_real": 2.5, "real_long": .95}, seeds=range(5))
    results = evaluate([predictions], settings_for(predictions), audit=AUDIT)
    overall, summary = results.verdict["overall"], results.summary
    points = {name: round(100 * overall[of], 1) for name, of in (("points", "estimate"), ("low",) * 2, ("high",) * 2)}
    assert summary == {"word": "helps", **points, "p": round(overall["p_value"], 3),
                       "n": 60, "conv": "yes", "label": 62.5, "copy": 2.5}
    undertrained = judge(world({"real_long": 2.0}, seeds=range(5))).summary
    assert (undertrained["conv"], undertrained["word"], undertrained["label"]) == ("no", "undertrained", None)


def test_exactly_one_hypothesis_is_confirmatory(world):
    skills = {"synthetic_then_real": 1.03}
    table = contrasts_of(world(skills), world(skills, budget="b100"))
    pair = find(table, confirmatory=True)
    assert [(row["budget"], row["arch"], row["metric"], row["arm"]) for row in pair] == [
        ("b25", "mean", "balanced_accuracy", "synthetic_then_real")] * 2
    assert [row["reference"] for row in pair] == ["real", "real_two_stage"]
    assert all(row["p_value_holm"] == row["p_value"] for row in pair)
    rest = find(table, confirmatory=False)
    assert [row["p_value_holm"] for row in rest] == pytest.approx(holm([row["p_value"] for row in rest]), abs=1e-4)


def test_a_strong_arm_helps_and_the_sentence_says_where(world):
    overall = overall_of(world({"synthetic_then_real": 2.5, "real_long": .95}, seeds=range(5)))
    assert overall["verdict"] == "helps on simulated images" and overall["word"] == "helps"
    assert overall["sentence"].startswith("This synthetic set helps on simulated images: balanced accuracy")
    assert overall["p_value"] < .05 and overall["low"] > 0


def test_helps_needs_superiority_over_both_references(world):
    """The arm beats `real` by far, but `real_two_stage` does so too."""
    results = judge(world({"synthetic_then_real": 2.5, "real_two_stage": 2.5, "real_long": .9}, seeds=range(5)))
    fair = only(results.tables["contrasts"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert fair["word"] == "helps"
    assert not results.verdict["overall"]["word"].startswith("helps")
    assert results.verdict["overall"]["low"] <= 0


def test_an_undertrained_real_arm_silences_all_but_the_naive_contrast(world):
    results = judge(world({"synthetic_then_real": 2.5, "real_long": 2.0}, seeds=range(5)))
    assert results.verdict["convergence"]["b25"]["met"] is False
    assert not only(results.tables["convergence"], arch="mean")["met"]
    assert results.verdict["overall"]["verdict"] == "undertrained on simulated images"
    assert "undertrained" in results.verdict["overall"]["sentence"]
    words = {row["contrast"]: row["word"] for row in find(results.tables["contrasts"])}
    assert words.pop("naive") == "helps" and words.pop("longer") == "helps"
    assert set(words.values()) == {"undertrained"}


def test_a_pretrained_generator_is_other_information(world):
    predictions = world(seeds=range(5))
    pretrained = dataclasses.replace(settings_for(predictions),
                                     pretrained=frozenset({"synthetic", "synthetic_then_real", "joint"}))
    results = evaluate([predictions], pretrained)
    words = {row["contrast"]: row["word"] for row in find(results.tables["contrasts"])}
    assert {name for name, word in words.items() if word == "other information"} == {
        "naive", "fair", "fair_two_stage", "synthetic_only", "joint", "joint_two_stage"}
    assert results.verdict["overall"]["word"] == "other information"


def test_a_secondary_row_claims_a_difference_only_after_holm(world):
    """Over many worlds with a weak joint arm, some rows are significant alone and not in the family."""
    seen = 0
    for root in range(12):
        for row in find(contrasts_of(world({"joint": 1.18, "real_long": .5}, root=root, seeds=range(5)))):
            claims = row["word"] == "hurts" or row["word"].startswith("helps")
            if row["p_value_holm"] is not None and not row["confirmatory"]:
                assert not claims or row["p_value_holm"] <= .05
                seen += row["p_value"] < .05 < row["p_value_holm"] and not claims
                if row["p_value_holm"] > .05 and row["high"] < .02:
                    assert row["word"] in ("equivalent", "no worthwhile gain"), row
    assert seen > 0


def test_one_architecture_is_the_mean_and_no_second_hypothesis(world):
    """Each contrast and metric once, so that Holm counts it once."""
    tables = judge(world(archs=("residual",), controls=CONTROLS)).tables
    for name in ("contrasts", "levels", "controls", "oracle_shares", "components", "convergence"):
        assert set(tables[name]["arch"]) == {"mean"}, name
    assert not tables["contrasts"].duplicated(["contrast", "metric"]).any()
    rest = find(tables["contrasts"], confirmatory=False)
    least = min(rest, key=lambda row: row["p_value"])
    assert least["p_value_holm"] == pytest.approx(min(1, len(rest) * least["p_value"]), abs=1e-4)


def test_four_seeds_are_too_few_for_a_word_and_keep_their_interval(world):
    overall = overall_of(world({"synthetic_then_real": 2.5, "real_long": .95}, seeds=range(4)))
    assert overall["word"] == "too few repetitions" and "4 repetitions" in overall["sentence"]
    assert overall["low"] > 0


def test_too_few_patients_are_refused(world):
    overall = overall_of(world({"synthetic_then_real": 2.5, "real_long": .5}, n_patients=24, seeds=range(5)), margin=.2)
    assert overall["word"] == "too few patients" and "20" in overall["reason"]


def test_one_seed_gives_no_interval_but_a_reason(world):
    results = judge(world({"real_long": .5}, seeds=(0,)), margin=.2)
    overall = results.verdict["overall"]
    assert overall["word"] == "unpaired" and overall["estimate"] is None
    assert "single seed" in overall["sentence"]
    assert results.summary["points"] is None and results.summary["n"] == 60
    row = only(results.tables["contrasts"], contrast="fair", arch="mean", metric="accuracy")
    assert np.isnan(row["estimate"]) and (row["n_units"], row["n_patients"], row["n_bootstrap"]) == (0, 60, 0)


def test_controls_give_their_known_answers(world):
    skills = {"real_long": .9, "oracle_then_real": 2.6, "permuted_labels_then_real": .3}
    tables = judge(world(skills, controls=CONTROLS, seeds=range(5))).tables
    assert {(row["control"], row["arch"]): row["as_expected"] for row in find(tables["controls"])} == {
        (arm, "residual"): "yes" for arm in CONTROLS[1:]}
    assert not find(tables["contrasts"], contrast="oracle", arch="mean")
    wrong = judge(world({"real_long": .9, "resampled_then_real": 2.6}, controls=CONTROLS, seeds=range(5))).tables
    null = only(wrong["controls"], control="resampled_then_real")
    assert null["as_expected"] == "no" and null["word"] == "helps"
    refused = judge(world({"real_long": 2.}, controls=CONTROLS, seeds=range(5))).tables["controls"]
    assert set(refused["as_expected"]) == {"refused"} and set(refused["word"]) == {"undertrained"}


def test_the_share_of_the_oracles_gain(world):
    tables = judge(world(controls=CONTROLS)).tables
    share = only(tables["oracle_shares"], arm="synthetic_then_real", metric="balanced_accuracy")
    gains = [only(tables["contrasts"], contrast=name, arch="residual", metric="balanced_accuracy")["estimate"]
             for name in ("fair", "oracle")]
    assert (share["gain"], share["oracle_gain"]) == pytest.approx(gains, abs=1e-6)
    assert share["share"] == pytest.approx(gains[0] / gains[1], abs=1e-4) and 0 < share["share"] < 1
    weak = judge(world({"oracle_then_real": 1.0}, controls=CONTROLS)).tables["oracle_shares"]
    assert np.isnan(only(weak, arm="synthetic_then_real", metric="balanced_accuracy")["share"])
    assert judge(world()).tables["oracle_shares"].empty


def test_nothing_depends_on_the_order_of_runs(world):
    predictions = world(controls=CONTROLS)
    shuffled = keep_runs(predictions, np.random.default_rng(0).permutation(len(predictions.runs)))
    one, other = judge(predictions), judge(shuffled)
    assert (one.verdict, one.summary) == (other.verdict, other.summary)
    for name in SCHEMAS:
        pd.testing.assert_frame_equal(one.tables[name], other.tables[name], check_exact=True)


def test_several_generators_speak_of_the_method(world):
    predictions = world({"synthetic_then_real": 2.5, "real_long": .8}, replicates=range(5), seeds=range(2))
    images = predictions.column("image_id")[predictions.rows("validation")]
    splits = SPLITS.frame(dict(budget="b25", replicate=replicate, image_id=image, role="validation")
                          for replicate in range(5) for image in images)
    with pytest.raises(UserError, match="pass splits.csv"):
        judge(predictions)
    overall = evaluate([predictions], settings_for(predictions, simulated=False), splits).verdict["overall"]
    assert (overall["n_generators"], overall["n_seeds"], overall["n_units"]) == (5, 2, 5)
    assert overall["verdict"] == "helps" and overall["sentence"].startswith("The method helps: ")


def test_training_images_add_to_slices_and_rules_and_change_nothing_else(world):
    first, second = world(n_patients=240), world(n_patients=240, budget="b100")
    scanner = np.where(first.column("label") == "brain", "E6", "S10")
    first, second = (with_columns(each, scanner=scanner) for each in (first, second))
    development = INDEX.frame(
        {**dict.fromkeys(INDEX.columns, ""), "image_id": image, "label": label, "scanner": scanner}
        for image, label, scanner in (("a", "brain", "E6"), ("b", "femur", "S10"), ("c", "abdomen", "S10")))
    validation = first.column("image_id")[first.rows("validation")]
    splits = SPLITS.frame(dict(budget=budget, replicate=0, image_id=image, role=role)
                          for budget, trained in (("b25", "ab"), ("b100", "abc"))
                          for role, images in (("train", trained), ("validation", validation)) for image in images)
    tables = evaluate([first, second], settings_for(first, second), splits, development).tables
    rules = {(row["budget"], row["rule"]): row["estimate"] for row in find(tables["metadata_rules"])}
    # brain from E6; S10 holds femur in one budget, and in the other femur and abdomen, of which abdomen comes first
    assert rules["b25", "scanner"] == rules["b100", "scanner"] == pytest.approx(2 / 3, abs=1e-6)
    assert rules["b25", "majority"] == pytest.approx(1 / 3, abs=1e-6) and np.isnan(rules["b25", "operator"])
    shown = only(tables["slices"], budget="b100", slice="class", value="brain", reference="real")
    level = [only(tables["slices"], budget="b100", slice="class", value="brain", arm=arm, reference="")
             for arm in ("synthetic_then_real", "real")]
    assert shown["estimate"] == pytest.approx(level[0]["estimate"] - level[1]["estimate"], abs=2e-6)
    assert {row["in_training"] for row in find(tables["slices"], slice="scanner")} == {"seen"}
    without = judge(first, second).tables
    assert without["metadata_rules"].empty and not find(without["slices"], slice="scanner_in_training")
    for name in set(SCHEMAS) - {"slices", "metadata_rules"}:
        pd.testing.assert_frame_equal(tables[name], without[name], check_exact=True)
    with pytest.raises(UserError, match="without splits.csv"):
        evaluate([first, second], settings_for(first, second), None, development)


def test_missing_runs_and_arms_are_refused(world):
    predictions = world()
    less = keep_runs(predictions, np.arange(5))
    with pytest.raises(UserError, match="lack"):
        evaluate([less], settings_for(predictions))
    with pytest.raises(UserError, match="hold"):
        evaluate([predictions], settings_for(less))
    with pytest.raises(UserError, match="confirmatory hypothesis needs"):
        judge(world(arms=("real", "real_long", "synthetic_then_real")))
    with pytest.raises(UserError, match="at budget b25"):
        judge(world(budget="b50"))


def test_no_level_is_a_mean_over_what_happens_to_be_there(world):
    """A plan that is itself lopsided is refused as well: the runs are those expected, but they do not pair."""
    predictions = world()
    lost = np.all([predictions.runs[name] == value for name, value in
                   (("arm", "synthetic"), ("arch", "residual"), ("seed", 2))], axis=0)
    with pytest.raises(UserError, match="the architectures ran `synthetic` with different seeds"):
        judge(keep_runs(predictions, ~lost))


def test_one_class_is_refused(world):
    predictions = with_columns(world(), label=["femur"] * 270)
    with pytest.raises(UserError, match="at least two classes"):
        judge(dataclasses.replace(predictions, classes=("femur",), probabilities=np.ones(
            (*predictions.probabilities.shape[:2], 1), np.float32)))


def test_budgets_must_share_their_test_images_and_come_once(world):
    with pytest.raises(UserError, match="different test images"):
        judge(world(), world(budget="b100", root=1))
    with pytest.raises(UserError, match="given twice"):
        judge(world(), world())


def test_an_absent_class_is_named(world):
    predictions = world()
    role = np.where(predictions.column("label") == "femur", "validation", predictions.column("role"))
    with pytest.raises(UserError, match="'femur' has no image among the .* test images"):
        judge(with_columns(predictions, role=role))


def test_holm_by_hand():
    assert holm([.01, .04, .03, .005]) == pytest.approx([.03, .06, .06, .02])
    assert holm([.9, .8]) == pytest.approx([1, 1])
    assert holm([]) == []
