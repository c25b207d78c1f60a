"""The words and tables of the report: pure functions from the contents of the metric files to Markdown."""

from collections.abc import Mapping

import numpy as np

from synthplanes.report import uncertainty as report_uncertainty
from synthplanes.protocol.arms import ARMS
from synthplanes.report.markdown import accuracy, code, count, escaped, p_value, percent, points, prose, table
from synthplanes.protocol.profiles import Profile
from synthplanes.records import Table
from synthplanes.report.budgets import by_share, low_data
from synthplanes.report.inputs import cost_of_arms, images, information
from synthplanes.report.rivals import rivals
from synthplanes.report.slices import metadata_baselines, slices

METRIC = "balanced_accuracy"
_ROLES = ("naive", "confirmatory", "secondary", "rival", "control")
_FURTHER_METRICS = ("accuracy", "macro_f1", "macro_auroc", "calibration_error")
_WORDS = (
    ("other information", "refused: one arm rests on images that the other never had"),
    ("undertrained", "refused: `real` still gains from more updates, so any difference may be one of training time"),
    ("unpaired", "refused: the arms were not run with the same seeds"),
    ("too few repetitions", "refused: too few generators or, with one generator or one for each fold, classifier seeds"),
    ("too few patients", "refused: the test patients are too few for an interval"),
    ("hurts", "the 95 % interval lies below 0"),
    ("helps", "the 95 % interval lies above 0 and reaches above the margin, against both references"),
    ("helps, negligibly", "above 0, but below the margin"),
    ("equivalent", "the 90 % interval lies within the margin on both sides of 0"),
    ("no worthwhile gain", "the 95 % interval lies below the margin"),
    ("inconclusive", "none of these: the data cannot tell"),
)


def page(name: str, profile: Profile, data: dict, verdict: dict, scores: Table, cost: dict,
         audits: Mapping[str, dict], looks: Mapping[str, int], origins: Mapping[str, list[str]],
         picture: Mapping[str, str]) -> str:
    """The whole report.md.

    `looks` maps an arm to its classifiers' looks at validation images, `origins` an architecture role to what the weights
    it begins from had learned from, `picture` a figure's file name to the Markdown that shows it.
    """
    budgets = by_share(profile.used_budgets())
    main, folds = _main(verdict, budgets), profile.prepare.cross_validation != "none"
    parts = [
        f"# Do synthetic images help? Profile {code(name)}", f"**{prose(verdict['overall']['sentence'])}**",
        _subject(profile, data, verdict),
        "## Real beside synthetic", "The figures are made by `dvc repro` and lie outside of version control.",
        *(picture[f"real_and_synthetic_{budget}.png"] for budget in budgets),
        "## Accuracy of every arm", *_accuracy(verdict, scores, budgets), picture["accuracy.png"],
        *(picture[f"{name}_{budget}.png"] for budget in budgets for name in ("seeds", "confusion", "reliability")),
        *low_data(verdict, profile.used_budgets()), picture.get("low_data.png", ""),
        "## The naive contrast beside the fair ones", *_contrasts(verdict, budgets), picture["contrasts.png"],
        "## Where the uncertainty comes from", *report_uncertainty.variance_components(verdict, main, folds),
        "## The same differences resampled", *report_uncertainty.resampling(verdict, main, folds),
        *report_uncertainty.fold_by_fold(verdict),
        "## Plateau", _plateau(verdict, budgets, folds),
        "## Controls", *_controls(verdict),
        "## Rivals", *rivals(main),
        "## For whom: slices of the test images", *slices(verdict, budgets),
        "## Without looking at a pixel", *metadata_baselines(verdict),
        "## Audit of the synthetic images", *_audit(audits), picture["learning_curves.png"],
        "## Cost", *cost_of_arms(cost, budgets),
        "## Data", *images(data),
        "## What each arm was given", *information(cost, looks, origins),
        "## What the words mean", table(("word", "means"), [(word, meaning) for word, meaning in _WORDS]),
        f"The margin is {points(profile.evaluate.margin).lstrip('+')} points of balanced accuracy, fixed before any "
        "run. An interval holds the uncertainty of the test patients and of the repetitions together.",
        _openings(verdict["analysis_plan"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _openings(plan: dict) -> str:
    return (f"Test images were predicted under the analysis plan of SHA-256 {plan['digest'][:12]} (analysis_plan.json). "
            f"The ledger openings.csv, which knows of nothing before its first row, counts {plan['openings']} "
            f"opening(s) under {plan['plans']} plan(s). The code that judged has SHA-256 {plan['code'][:12]} "
            "(artifacts/code/evaluate.json).")


def in_order(found: list[dict], budgets: list[str]) -> list[dict]:
    """Contrast records, budget after budget as given, from the naive to the controls."""
    return sorted(found, key=lambda record: (budgets.index(record["budget"]), _ROLES.index(record["role"]),
                                             record["contrast"], record["arch"] != "mean", record["arch"]))


def widest(record: dict, found: list[dict]) -> bool:
    """Whether a record is its contrast's mean over architectures, or there is no such mean."""
    return record["arch"] == "mean" or not any(
        other["arch"] == "mean" and (other["budget"], other["contrast"]) == (record["budget"], record["contrast"])
        for other in found)


def levels_of(verdict: dict, budget: str, arch: str) -> list[dict]:
    """The levels of balanced accuracy of one budget and architecture, in the order of the protocol's arms."""
    order = list(ARMS)
    found = [level for level in verdict["levels"]
             if (level["budget"], level["arch"], level["metric"]) == (budget, arch, METRIC)]
    return sorted(found, key=lambda level: order.index(level["arm"]))


def _subject(profile: Profile, data: dict, verdict: dict) -> str:
    replication = profile.replication
    phantom = "".join(f", {escaped(key.replace('_', ' '))} {escaped(value)}"
                      for key, value in sorted(verdict["phantom"].items()) if value is not None)
    return (f"Source: {escaped(data['source'])}{phantom}. Images of {data['size_px']} px. "
            f"Generators per budget: {replication.generators}; classifier seeds for each: {replication.seeds}. "
            + _folds(profile) +
            "All differences are on test patients, in points of balanced accuracy.")


def _folds(profile: Profile) -> str:
    if profile.prepare.cross_validation == "none":
        return ""
    return (f"Cross-validation by {profile.prepare.cross_validation}: every generator has test patients of its own, whom "
            "neither it nor its classifiers saw; their answers are pooled. ")


def _accuracy(verdict: dict, scores: Table, budgets: list[str]) -> list[str]:
    parts = ["Balanced accuracy in per cent, mean over seeds, with its 95 % interval."]
    for budget in budgets:
        archs = sorted({level["arch"] for level in verdict["levels"] if level["budget"] == budget},
                       key=lambda arch: (arch != "mean", arch))
        cells = {(level["arm"], arch): accuracy(level) for arch in archs for level in levels_of(verdict, budget, arch)}
        arms = [arm for arm in ARMS if any((arm, arch) in cells for arch in archs)]
        parts += [f"Budget {escaped(budget)}:",
                  table(["arm", *map(escaped, archs)],
                        [[code(arm), *(cells.get((arm, arch), "") for arch in archs)] for arm in arms]),
                  "Further scores in per cent, mean over seeds:",
                  table(["arm", "architecture", *(metric.replace("_", " ") for metric in _FURTHER_METRICS)],
                        [[code(arm), escaped(arch), *(_mean(scores, budget, arm, arch, metric)
                                                      for metric in _FURTHER_METRICS)]
                         for arch in sorted(set(scores["arch"].tolist())) for arm in arms
                         if np.any((scores["arm"] == arm) & (scores["arch"] == arch))])]
    return parts


def _mean(scores: Table, budget: str, arm: str, arch: str, metric: str) -> str:
    rows = ((scores["budget"] == budget) & (scores["arm"] == arm) & (scores["arch"] == arch)
            & (scores["metric"] == metric))
    return percent(float(np.mean(scores["value"][rows]))) if rows.any() else ""


def _main(verdict: dict, budgets: list[str]) -> list[dict]:
    """The record of every contrast's widest scope, in balanced accuracy, from the naive to the controls."""
    found = in_order([record for record in verdict["records"] if record["metric"] == METRIC], budgets)
    return [record for record in found if widest(record, found)]


def _contrasts(verdict: dict, budgets: list[str]) -> list[str]:
    found = in_order([record for record in verdict["records"] if record["metric"] == METRIC], budgets)
    main, several = _main(verdict, budgets), len(budgets) > 1
    others = [record for record in found if record not in main and record["role"] in ("naive", "confirmatory")]
    planned = verdict["overall"]["budget"]
    naive, fair = (next((r for r in main if (r["budget"], r["contrast"]) == (planned, name)
                         and r["estimate"] is not None), None) for name in ("naive", "fair"))
    parts = []
    if naive and fair:
        at = f"At budget {escaped(planned)}, of which the verdict speaks, a" if several else "A"
        parts.append(f"{at} comparison with unequal training would claim {points(naive['estimate'])} points; "
                     f"at equal updates the difference is {points(fair['estimate'])} points.")
    header = ["arm", "against", "budget", "architecture", "points", "95 % interval", "p", "p (Holm)", "could be seen",
              "verdict"]
    parts += [table(header, map(_contrast_row, main)),
              "The word of a row speaks of one reference; the profile's verdict needs both `real` and "
              "`real_two_stage`. Outside of that pair a word that claims a difference needs p (Holm) below .05; without it "
              "the next word that holds is said. The family of Holm holds all other contrasts, budgets, metrics and "
              "architectures, also the naive, the refused ones and the controls, whose own section judges them without it. "
              + _unequal(main)]
    if others:
        parts += ["Per architecture:", table(header, map(_contrast_row, others))]
    for budget in budgets:
        if reasons := sorted({record["reason"] for record in main if record["budget"] == budget and record["reason"]}):
            parts.append("Why a verdict is refused" + (f" at budget {escaped(budget)}" if several else "") + ": "
                         + "; ".join(map(prose, reasons)) + ".")
    return parts


def _unequal(found: list[dict]) -> str:
    """Which rows compare arms of different length."""
    pairs = sorted({(record["arm"], record["reference_arm"]) for record in found
                    if ARMS[record["arm"]].length != ARMS[record["reference_arm"]].length})
    rows = "; ".join(f"{code(arm)} against {code(other)}, {ARMS[arm].length} against {ARMS[other].length}"
                     for arm, other in pairs)
    return f"Not at equal updates: {rows}." if rows else ""


def _contrast_row(record: dict) -> list[str]:
    known = record["estimate"] is not None
    return [code(record["arm"]), code(record["reference_arm"]), escaped(record["budget"]), escaped(record["arch"]),
            points(record["estimate"]), f"{points(record['low'])} to {points(record['high'])}" if known else "unknown",
            p_value(record["p_value"]), p_value(record["p_value_holm"]), percent(record["smallest_visible_effect"]),
            ("naive: " if record["role"] == "naive" else "") + escaped(record["verdict"])]


def _plateau(verdict: dict, budgets: list[str], folds: bool) -> str:
    rows = []
    for budget in budgets:
        gate = verdict["plateau"][budget]
        each = gate["gain_by_arch"]
        for arch, gain in [("mean", gate["gain"]), *(sorted(each.items()) if len(each) > 1 else ())]:
            met = gain is not None and gain <= gate["limit"]
            error = percent(gate["standard_error"]) if arch == "mean" and gate["standard_error"] is not None else ""
            rows.append([escaped(budget), escaped(arch), points(gain, 2), error, points(gate["limit"], 2), str(gate["n_seeds"]),
                         count(gate["n_images"]), count(gate["n_patients"]), "met" if met else "not met"])
    return ("`real` at twice the updates may gain at most half the margin on validation images. The mean decides the verdict, "
            "an architecture's own gain what is said of it alone. The gain is an estimate, whose error over seeds stands beside "
            "it: a gate that is met shows no sign of too little training, and does not prove that there is none."
            + (" An image counts once in every fold that validates on it." if folds else "") + "\n\n"
            + table(["budget", "architecture", "gain, points", "standard error", "allowed", "seeds", "images", "patients",
                     "gate"], rows))


def _controls(verdict: dict) -> list[str]:
    if not verdict["controls"]:
        return ["This profile runs no controls."]
    expected = {True: "as expected", False: "NOT as expected", None: "refused to say"}
    parts = ["A control is judged as the confirmatory arm is, against both references and without Holm; where it ran on "
             "every architecture the mean answers.",
             table(["control", "budget", "architecture", "must help", "verdict", "outcome"], [
        [code(row["arm"]), escaped(row["budget"]), escaped(row["arch"]), "yes" if row["must_help"] else "no",
         escaped(row["verdict"]), expected[row["as_expected"]]] for row in verdict["controls"]])]
    shares = [row for row in verdict["oracle_share"] if row["metric"] == METRIC]
    if shares:
        parts += ["How much of the gain from as many fresh phantom patients the generator brings (no share where the "
                  "fresh patients' own gain is not above 0):",
                  table(["arm", "ceiling", "budget", "architecture", "gain", "ceiling's gain", "share"], [
                      [code(row["arm"]), code(row["oracle_arm"]), escaped(row["budget"]), escaped(row["arch"]),
                       points(row["gain"]), points(row["oracle_gain"]),
                       "none" if row["share"] is None else f"{100 * row['share']:.0f} %"] for row in shares])]
    return parts


def _audit(audits: Mapping[str, dict]) -> list[str]:
    parts = ["A judge that is in no arm looks at the synthetic images: how many per cent show the class they "
             "were drawn for? The ceiling is the same judge on the budget's real validation images."]
    for budget, audit in audits.items():
        for replicate, found in enumerate(audit["replicates"]):
            fidelity, ceiling, copies = found["label_fidelity"], found["ceiling_on_validation_images"], found["copies"]
            rows = [[escaped(name), percent(value), percent(ceiling["per_class"].get(name))]
                    for name, value in fidelity["per_class"].items()]
            rows.append(["mean over classes", percent(fidelity["mean_over_classes"]),
                         percent(ceiling["mean_over_classes"])])
            parts += [f"Budget {escaped(budget)}, generator {replicate} (the judge learned from "
                      f"{escaped(found['judge_learned_from'])}):",
                      table(["class", "label fidelity, %", "ceiling, %"], rows),
                      f"Possible copies: {count(copies['nearer_than_threshold'])} of {count(copies['images'])} "
                      "synthetic images are nearer to a training image than 99 % of the validation images are."]
    return parts
