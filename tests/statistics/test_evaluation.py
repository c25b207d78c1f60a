"""A whole profile is judged: every table is complete, agrees with scikit-learn, and the words follow the rules."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import HYPOTHESES, PAPER
from synthplanes.protocol.words import DIFFERENCES, GAINS, REFUSALS
from synthplanes.records import GENERATOR_CURVE, INDEX, SPLITS, read_table
from synthplanes.statistics.evaluation import SCHEMAS, Audited, evaluate, write_results
from synthplanes.statistics.hypotheses import holm
from tests.statistics.conftest import ARMS, JOINT
from tests.statistics.selecting import find, keep_runs, only, with_columns

CONTROLS = ("oracle", "oracle_then_real", "resampled_then_real", "permuted_labels_then_real")
AUDIT = {"replicates": [{"label_fidelity": {"mean_over_classes": fidelity}, "copies": {"nearer_than_threshold": copies,
                                                                                       "images": 100}}
                        for fidelity, copies in ((.5, 1), (.75, 4))]}


def settings_for(*budgets, margin=.02, simulated=True):
    runs = frozenset(run for predictions in budgets for run in predictions.identities)
    ran = {run[0] for run in runs}
    hypotheses = tuple(each for each in HYPOTHESES if each == PAPER or {*each.references, *each.harm_also} <= ran)
    return Settings(source="phantom", simulated=simulated, margin=margin, scarce_budget="b25", hypotheses=hypotheses,
                    expected=runs, root_seed=1)


def judge(*budgets, **changes):
    return evaluate(budgets, settings_for(*budgets, **changes))


def contrasts_of(*budgets, **changes):
    return judge(*budgets, **changes).tables["contrasts"]


def paper_of(*budgets, **changes):
    return judge(*budgets, **changes).verdict["hypotheses"]["paper_order"]


def test_every_table_has_its_columns_and_each_contrast_comes_once(world):
    results = judge(world(controls=CONTROLS))
    assert set(results.tables) == set(SCHEMAS)
    assert all(list(results.tables[name].columns) == list(schema.columns) for name, schema in SCHEMAS.items())
    assert not results.tables["contrasts"].duplicated(["budget", "arch", "metric", "contrast"]).any()
    json.dumps([results.verdict, results.summary], allow_nan=False)


def test_results_are_written_and_read_back(world, tmp_path):
    results = evaluate([world()], settings_for(world()), None, None, Audited(AUDIT), {"phantom": {"version": "1"}})
    write_results(tmp_path, results)
    for name, schema in SCHEMAS.items():
        pd.testing.assert_frame_equal(read_table(tmp_path / f"{name}.csv", schema), results.tables[name])
    assert {path.name for path in tmp_path.iterdir()} == {*(f"{name}.csv" for name in SCHEMAS), "verdict.json",
                                                          "summary.json"}
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict == results.verdict and verdict["phantom"] == {"version": "1"}
    assert verdict["converged"] == {"generators": True, "real": True, "real_two_stage": True}
    assert len((tmp_path / "verdict.json").read_text().splitlines()) <= 80
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
    predictions = world({"synthetic_then_real": 2.5}, arms=(*ARMS, *JOINT), seeds=range(5))
    results = evaluate([predictions], settings_for(predictions), audited=Audited(AUDIT))
    paper, summary = results.verdict["hypotheses"]["paper_order"], results.summary
    bound = paper["against"]["real_two_stage"]
    points = {name: round(100 * bound[of], 1) for name, of in (("points", "estimate"), ("low",) * 2, ("high",) * 2)}
    assert summary == {"word": "worthwhile gain", **points, "p": round(paper["p_value"], 3),
                       "joint": results.verdict["hypotheses"]["joint"]["word"], "n": 60, "conv": "all",
                       "label": 62.5, "copy": 2.5}
    undertrained = judge(world({"real_long": 2.0, "synthetic_then_real": 2.5}, seeds=range(5))).summary
    assert [undertrained[name] for name in ("conv", "word", "label", "joint")] == ["gen", "undertrained", None, "-"]


def test_the_contrasts_of_a_hypothesis_are_confirmatory(world):
    skills = {"synthetic_then_real": 1.03}
    every = dict(arms=(*ARMS, *JOINT), seeds=range(5))
    table = contrasts_of(world(skills, **every), world(skills, **every, budget="b100"))
    own = find(table, confirmatory=True)
    assert [(row["budget"], row["arch"], row["metric"], row["arm"], row["reference"]) for row in own] == [
        ("b25", "mean", "balanced_accuracy", each.arm, reference)
        for each in HYPOTHESES for reference in each.references]
    assert all(row["p_value_holm"] == row["p_value"] for row in own)
    rest = find(table, confirmatory=False)
    refused = [1. if row["word"] in REFUSALS else row["p_value"] for row in rest]
    assert [row["p_value_holm"] for row in rest] == pytest.approx(holm(refused), abs=1e-4)


def test_a_hypothesis_that_some_architectures_ran_is_judged_on_those(world):
    predictions = world(arms=ARMS[:-1], controls=("joint", *JOINT), seeds=range(5))
    results = judge(predictions)
    joint = results.verdict["hypotheses"]["joint"]
    assert joint["archs"] == ["residual"]
    rows = find(results.tables["contrasts"], confirmatory=True, arm="joint")
    assert [(row["arch"], row["reference"]) for row in rows] == [
        ("residual", name) for name in HYPOTHESES[1].references]
    assert joint["against"]["real"]["estimate"] == rows[0]["estimate"]


def test_a_strong_arm_gains_and_the_sentence_says_where(world):
    paper = paper_of(world({"synthetic_then_real": 2.5}, seeds=range(5)))
    assert paper["verdict"] == "worthwhile gain on simulated images" and paper["word"] == "worthwhile gain"
    assert paper["sentence"].startswith("Pretraining on synthetic images brings a worthwhile gain on simulated images:")
    assert paper["p_value"] < .025 and all(each["low"] > 0 for each in paper["against"].values())


def test_a_gain_needs_superiority_over_both_references(world):
    """The arm beats `real` by far, but `real_two_stage` does so too."""
    results = judge(world({"synthetic_then_real": 2.5, "real_two_stage": 2.5}, seeds=range(5)))
    fair = only(results.tables["contrasts"], contrast="fair", arch="mean", metric="balanced_accuracy")
    assert fair["word"] == "worthwhile gain"
    assert results.verdict["hypotheses"]["paper_order"]["word"] not in GAINS


def test_joint_training_must_also_beat_its_twin(world):
    """Real images in place of the synthetic ones do as well."""
    skills = {"joint": 2.5, "duplicate_joint": 2.5}
    results = judge(world(skills, arms=(*ARMS, *JOINT), seeds=range(5)))
    assert results.verdict["hypotheses"]["joint"]["word"] not in GAINS
    alone = judge(world({"joint": 2.5}, arms=(*ARMS, *JOINT), seeds=range(5)))
    assert alone.verdict["hypotheses"]["joint"]["word"] == "worthwhile gain"


def test_an_undertrained_reference_silences_words_in_favour(world):
    results = judge(world({"synthetic_then_real": 2.5, "synthetic": .1, "real_long": 2.0}, seeds=range(5)))
    assert results.verdict["converged"] == {"generators": True, "real": False, "real_two_stage": True}
    assert not only(results.tables["convergence"], arch="mean", reference="real")["met"]
    paper = results.verdict["hypotheses"]["paper_order"]
    assert paper["verdict"] == "undertrained on simulated images" and "undertrained" in paper["sentence"]
    words = {row["contrast"]: row["word"] for row in find(results.tables["contrasts"], arch="mean",
                                                          metric="balanced_accuracy")}
    assert words["naive"] == words["longer"] == words["fair_two_stage"] == "worthwhile gain"
    assert words["fair"] == "undertrained" and words["synthetic_only"] == "harm"


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
        for row in find(contrasts_of(world({"joint": 1.18}, root=root, seeds=range(5)))):
            claims = row["word"] in DIFFERENCES
            if row["p_value_holm"] is not None and not row["confirmatory"]:
                assert not claims or row["p_value_holm"] <= .05
                seen += row["p_value"] < .05 < row["p_value_holm"] and not claims
                if row["p_value_holm"] > .05 and row["high"] < .02:
                    assert row["word"] in ("equivalent", "no worthwhile gain"), row
    assert seen > 0


def test_one_architecture_is_the_mean_and_no_second_hypothesis(world):
    """Each contrast and metric once, so that Holm counts it once."""
    tables = judge(world(archs=("residual",), controls=CONTROLS, seeds=range(5))).tables
    for name in ("contrasts", "levels", "controls", "oracle_shares", "components", "convergence"):
        assert set(tables[name]["arch"]) == {"mean"}, name
    assert not tables["contrasts"].duplicated(["contrast", "metric"]).any()
    rest = find(tables["contrasts"], confirmatory=False)
    least = min(rest, key=lambda row: row["p_value"])
    assert least["p_value_holm"] == pytest.approx(min(1, len(rest) * least["p_value"]), abs=1e-4)


def test_four_seeds_are_too_few_for_a_word_and_keep_their_interval(world):
    paper = paper_of(world({"synthetic_then_real": 2.5}, seeds=range(4)))
    assert paper["word"] == "too few repetitions" and "4 repetitions" in paper["sentence"]
    assert paper["against"]["real"]["low"] > 0


def test_an_unconverged_generator_refuses_every_word_on_its_images_and_no_other(world):
    """The oracle's gain and those among real arms stay; so does the control with permuted labels."""
    predictions = world({"synthetic_then_real": .2}, seeds=range(5), controls=(
        "oracle", "oracle_then_real", "permuted_labels_then_real"))
    rows = [dict(budget="b25", replicate=0, images_seen=seen, train_loss=1., held_out_loss=loss, label_fidelity=None,
                 copies=None) for seen, loss in ((10, .5), (20, .4), (30, .3), (40, .2))]

    def words(curve):
        audited = Audited(curve=GENERATOR_CURVE.frame(curve))
        results = evaluate([predictions], settings_for(predictions), audited=audited)
        table = results.tables["contrasts"]
        return results, {row.contrast: row.word for row in table[table["arch"] == "mean"].itertuples()}

    results, refused = words(rows)
    assert results.verdict["overall"]["word"] == "generator unconverged" and results.summary["conv"] == "ref"
    assert "the held-out loss of 1 of 1 generator(s) fell" in results.verdict["overall"]["sentence"]
    synthetic = {"naive", "fair", "fair_two_stage", "joint", "joint_two_stage", "orders", "synthetic_only"}
    assert {name for name, word in refused.items() if word == "generator unconverged"} == synthetic & set(refused)
    results, said = words(rows[:3] + [rows[2] | dict(images_seen=40)])
    assert results.verdict["overall"]["word"] == "harm" and results.summary["conv"] == "all"
    assert {name: word for name, word in said.items() if name not in synthetic} == {
        name: word for name, word in refused.items() if name not in synthetic}


def test_too_few_patients_are_refused(world):
    paper = paper_of(world({"synthetic_then_real": 2.5}, n_patients=24, seeds=range(5)), margin=.2)
    assert paper["word"] == "too few patients" and "20" in paper["reason"]


def test_one_seed_gives_no_interval_but_a_reason(world):
    results = judge(world(seeds=(0,)), margin=.2)
    paper = results.verdict["hypotheses"]["paper_order"]
    assert paper["word"] == "unpaired" and set(paper["against"].values()) == {None}
    assert "single seed" in paper["sentence"]
    assert results.summary["points"] is None and results.summary["n"] == 60
    row = only(results.tables["contrasts"], contrast="fair", arch="mean", metric="accuracy")
    assert np.isnan(row["estimate"]) and (row["n_units"], row["n_patients"], row["n_bootstrap"]) == (0, 60, 0)


def test_controls_give_their_known_answers(world):
    skills = {"oracle_then_real": 2.6, "permuted_labels_then_real": .3}
    tables = judge(world(skills, controls=CONTROLS, seeds=range(5))).tables
    assert {(row["control"], row["arch"]): row["as_expected"] for row in find(tables["controls"])} == {
        (arm, "residual"): "yes" for arm in CONTROLS[1:]}
    assert not find(tables["contrasts"], contrast="oracle", arch="mean")
    wrong = judge(world({"resampled_then_real": 2.6}, controls=CONTROLS, seeds=range(5))).tables
    null = only(wrong["controls"], control="resampled_then_real")
    assert null["as_expected"] == "no" and null["word"] == "worthwhile gain"
    refused = judge(world({**skills, "real_long": 2.}, controls=CONTROLS, seeds=range(5))).tables["controls"]
    assert only(refused, control="oracle_then_real")["as_expected"] == "refused"
    assert only(refused, control="permuted_labels_then_real")["word"] == "harm"


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
    predictions = world({"synthetic_then_real": 2.5}, replicates=range(5), seeds=range(2))
    images = predictions.column("image_id")[predictions.rows("validation")]
    splits = SPLITS.frame(dict(budget="b25", replicate=replicate, image_id=image, role="validation")
                          for replicate in range(5) for image in images)
    with pytest.raises(UserError, match="pass splits.csv"):
        judge(predictions)
    results = evaluate([predictions], settings_for(predictions, simulated=False), splits)
    overall, paper = results.verdict["overall"], results.verdict["hypotheses"]["paper_order"]
    assert (overall["n_generators"], overall["n_seeds"]) == (5, 2) and paper["verdict"] == "worthwhile gain"
    assert "This holds for the method (5 generators, 2 seeds each" in paper["sentence"]
    shared = dataclasses.replace(settings_for(predictions), shared={"b25": .25})
    wide, narrow = (find(evaluate([predictions], settings, splits).tables["contrasts"], confirmatory=True)
                    for settings in (shared, settings_for(predictions)))
    assert all(one["high"] - one["low"] > other["high"] - other["low"] for one, other in zip(wide, narrow, strict=True))


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
    shown = only(tables["slices"], budget="b100", slice="class", value="brain", reference="real",
                 arm="synthetic_then_real")
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
    with pytest.raises(UserError, match="hypothesis paper_order needs the arms"):
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
