"""Turn predictions into the scores, intervals and words of one profile: every number of its result tables.

Estimand: the mean difference in balanced accuracy (or accuracy) between two arms that share their seeds and their
labelled images, in the population of which the test patients are a sample, for classifiers trained again with fresh
seeds (and, where a profile has several, fresh generators). The arms of a hypothesis spend equal updates; those
of `naive`, `longer`, `joint_exposure`, `synthetic_only` and `oracle_only` do not (protocol/arms.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import HYPOTHESES, LONGER, PAPER
from synthplanes.protocol.words import DIFFERENCES, FAMILY_LEVEL, PRIMARY_METRIC, REFUSALS
from synthplanes.statistics import scores
from synthplanes.statistics.budget import BudgetVerdict, Row
from synthplanes.statistics.clustered import Interval
from synthplanes.statistics.convergence import why_unconverged
from synthplanes.statistics.cross_validation import is_crossed, pooled
from synthplanes.statistics.hypotheses import holm
from synthplanes.statistics.metadata_rules import check_index, rule_rows, training_sets
from synthplanes.statistics.predictions import Predictions, check_runs
from synthplanes.statistics.slices import slice_rows
from synthplanes.statistics.uncertainty import component_rows, fold_rows, resampling
from synthplanes.statistics.verdict import Evidence, judge

DECIMALS = 6  # so that the files under version control are stable
SCHEMAS = {schema.name.removesuffix(".csv"): schema for schema in (
    records.SCORES, records.CONTRASTS, records.LEVELS, records.SLICES, records.COMPONENTS, records.CONVERGENCE,
    records.CONTROLS, records.ORACLE_SHARES, records.METADATA_RULES, records.FOLDS, records.CONFUSION)}


@dataclass(frozen=True)
class Results:
    """The results of one profile."""

    tables: Mapping[str, pd.DataFrame]  # by the stem of its file, one for each of SCHEMAS
    verdict: Mapping[str, Any]          # the content of verdict.json: the decision and its rule
    summary: Mapping[str, Any]          # the content of summary.json: the verdict in a few short values


class Audited(NamedTuple):
    """What is known of the generators."""

    audit: Mapping[str, Any] | None = None  # the content of the scarcest budget's audit.json
    curve: pd.DataFrame | None = None       # records.GENERATOR_CURVE; without it convergence is not asked for


NOTHING_AUDITED = Audited()


def evaluate(budgets: Sequence[Predictions], settings: Settings, splits: pd.DataFrame | None = None,
             development: pd.DataFrame | None = None, audited: Audited = NOTHING_AUDITED,
             identification: Mapping[str, Any] | None = None) -> Results:
    """Score and judge one profile.

    `budgets` holds one `Predictions` per budget; `splits` (records.SPLITS) is needed where there are several
    replicates. With splits and `development` (records.INDEX) the results also state which scanners occur in training,
    and score rules on the metadata alone. `identification` is copied into the verdict. Folds of a cross-validation are
    pooled first (cross_validation.py). Raises `UserError` where runs are missing or surplus, where test rows differ
    between budgets, where a class is absent from the test rows, or an arm of a hypothesis, and where `development`
    describes an image otherwise than the predictions do.
    """
    check_runs([run for predictions in budgets for run in predictions.identities], settings.expected)
    for predictions in budgets if development is not None else ():
        check_index(predictions, development)
    if development is not None and splits is None:
        raise UserError("The development index was given without splits.csv: give both to evaluate.")
    every_fold = splits
    if splits is not None and is_crossed(splits):
        both = [pooled(predictions, splits) for predictions in budgets]
        budgets = [predictions for predictions, _ in both]
        splits = pd.concat([rows for _, rows in both], ignore_index=True)
    _check_test_rows(budgets)
    curve = audited.curve
    unconverged = {} if curve is None else {
        each.budget: why_unconverged(curve[curve["budget"] == each.budget]) for each in budgets}
    verdicts = [BudgetVerdict(each, settings, splits, unconverged.get(each.budget, "")) for each in budgets]
    training = {} if development is None or every_fold is None else {
        each.budget: training_sets(each, every_fold, development) for each in budgets}
    scarce = next((verdict for verdict in verdicts if verdict.budget == settings.scarce_budget), None)
    for hypothesis in settings.hypotheses:
        if scarce is None or not scarce.archs_of(hypothesis) or (
                hypothesis == PAPER and scarce.archs_of(hypothesis) != scarce.all_archs):
            raise UserError(f"The hypothesis {hypothesis.name} needs the arms {hypothesis.arm}, "
                            f"{' and '.join(hypothesis.references)} at budget {settings.scarce_budget}: run those "
                            "stages.")
    rows: dict[str, list[Row]] = {
        "scores": sorted(_score_rows(budgets), key=lambda row: tuple(row.values())),
        "contrasts": _contrast_rows(verdicts, settings),
        "levels": [row for verdict in verdicts for row in verdict.levels()],
        "slices": [row for each in budgets for row in slice_rows(
            each, training.get(each.budget), settings.shared.get(each.budget, 0.0))],
        "components": [row for verdict in verdicts for row in component_rows(verdict)],
        "convergence": [row for verdict in verdicts for row in verdict.convergence.rows(verdict.budget)],
        "controls": [row for verdict in verdicts for row in verdict.controls()],
        "oracle_shares": [row for verdict in verdicts for row in verdict.oracle_shares()],
        "metadata_rules": [row for each in budgets if each.budget in training
                           for row in rule_rows(
                               each, training[each.budget], settings.shared.get(each.budget, 0.0))],
        "folds": [row for verdict in verdicts if verdict.budget in training
                  for row in fold_rows(verdict, training[verdict.budget].fold)],
        "confusion": [row for each in budgets for row in _confusion_rows(each)],
    }
    assert scarce is not None  # every profile has a hypothesis
    judged = {row["name"]: row for row in scarce.hypotheses()}
    paper, design = judged[PAPER.name], scarce.design
    overall = {
        **{name: paper[name] for name in ("word", "verdict", "reason", "arm", "archs")},
        "subject": design.subject, "n_generators": design.n_generators, "n_seeds": design.n_seeds,
        "sentence": " ".join(row["sentence"] for row in judged.values()), "source": settings.source,
        "budget": settings.scarce_budget, "metric": PRIMARY_METRIC,
        "margin": settings.margin, "n_images": len(scarce.test), "n_patients": scarce.blocks[PRIMARY_METRIC].n_patients}
    verdict = {**(identification or {}), "overall": overall, "hypotheses": judged, "converged": {
        "generators": not scarce.why_unconverged, **{
            reference: scarce.convergence.met(reference) for reference, scope in scarce.convergence.gains
            if scope == "mean"}}}
    return Results({name: schema.frame(_rounded(rows[name])) for name, schema in SCHEMAS.items()}, _rounded(verdict),
                   _summary(verdict, audited.audit))


def write_results(folder: Path, results: Results) -> None:
    """Write one CSV file per table, verdict.json and summary.json into `folder`."""
    for name, schema in SCHEMAS.items():
        records.write_table(folder / f"{name}.csv", results.tables[name], schema)
    records.write_json(folder / "verdict.json", results.verdict)
    records.write_json(folder / "summary.json", results.summary)


def _contrast_rows(verdicts: list[BudgetVerdict], settings: Settings) -> list[Row]:
    """Return the rows of contrasts.csv, with the resampling columns and Holm's adjustment.

    The family are all contrasts that are part of no hypothesis; those keep their own p. A refused row stays in the
    family with p = 1. A word that claims a difference needs the adjusted p as well; without it the first of the other
    rules that holds gives the word.
    """
    resampled = resampling(verdicts)
    rows = [row | resampled[row["budget"], row["arch"], row["metric"], row["contrast"]]
            | {"p_value_holm": row["p_value"]} for verdict in verdicts for row in verdict.contrasts()]
    family = [row for row in rows if not row["confirmatory"]]
    p_values = [1.0 if row["word"] in REFUSALS else row["p_value"] for row in family]
    for row, adjusted in zip(family, holm(p_values), strict=True):
        if row["p_value"] is not None:
            row["p_value_holm"] = adjusted
        if adjusted > FAMILY_LEVEL and row["word"] in DIFFERENCES:
            interval = Interval(**{name: row[name] for name in Interval.__dataclass_fields__})
            row["word"] = judge(Evidence(interval, settings.margin), may_differ=False).word
    return rows


def _score_rows(budgets: Sequence[Predictions]) -> Iterator[Row]:
    for predictions in budgets:
        test = predictions.rows("test")
        labels = predictions.labels[test]
        for number, run in enumerate(predictions.identities):
            values = scores.all_scores(predictions.probabilities[number][test], labels, predictions.classes)
            identity = dict(zip(records.RUNS.columns, run, strict=True))
            yield from ({**identity, "metric": metric, "value": value} for metric, value in values.items())


def _confusion_rows(predictions: Predictions) -> Iterator[Row]:
    """Yield the mean confusion matrix of `real` and of the paper's arm over their runs and architectures."""
    test, classes = predictions.rows("test"), predictions.classes
    for arm in ("real", PAPER.arm):
        runs = (predictions.runs["arm"] == arm).to_numpy()
        if runs.any():
            shares = scores.mean_confusion(predictions.probabilities[runs][:, test], predictions.labels[test], classes)
            for (actual, predicted), share in zip(product(classes, repeat=2), shares.ravel().tolist(), strict=True):
                yield {"budget": predictions.budget, "arm": arm, "actual": actual, "predicted": predicted,
                       "share": share}


def _summary(verdict: Mapping[str, Any], audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the verdict in values and names short enough for a line of `dvc metrics show`.

    `word`, `points`, `low`, `high` (in points) and `p` (one-sided) are those of the paper's hypothesis against the
    reference that it names, `joint` is the word on joint training, or `refused`; `n` counts test patients; `conv` says
    whether `all` have converged, the generators alone (`gen`), the references alone (`ref`) or `none`; `label` is the
    label fidelity and `copy` the share of possible copies, in per cent.
    """
    def per_cent(*fractions: float | None) -> float | None:
        known = [fraction for fraction in fractions if fraction is not None]
        mean = round(sum(known) / len(known), DECIMALS) if known else None
        return None if mean is None else round(100 * mean, 1) + 0.0                # avoids -0.0

    replicates = audit["replicates"] if audit else []
    copies = [replicate["copies"] for replicate in replicates]
    paper, joint = (verdict["hypotheses"].get(each.name) for each in HYPOTHESES)
    bound = paper["against"][paper["bound_reference"]] or {}
    references = {name for each in (paper, joint) if each for name in each["against"]} & set(LONGER)
    return {
        "word": paper["word"], **{name: per_cent(bound.get(key)) for name, key in (
            ("points", "estimate"), ("low", "low"), ("high", "high"))},
        "p": round(paper["p_value"], 3),
        "joint": "-" if not joint else "refused" if joint["word"] in REFUSALS else joint["word"],
        "n": verdict["overall"]["n_patients"],
        "conv": {(True, True): "all", (True, False): "gen", (False, True): "ref", (False, False): "none"}[
            verdict["converged"]["generators"], all(verdict["converged"].get(name, False) for name in references)],
        "label": per_cent(*(replicate["label_fidelity"]["mean_over_classes"] for replicate in replicates)),
        "copy": per_cent(*(each["nearer_than_threshold"] / each["images"] for each in copies))}


def _check_test_rows(budgets: Sequence[Predictions]) -> None:
    """Raise `UserError` where budgets have different test images, or a budget comes twice."""
    names = [predictions.budget for predictions in budgets]
    if len(set(names)) < len(names):
        raise UserError(f"A budget was given twice ({', '.join(names)}): give the folders of one budget together.")
    tests = [predictions.images[["image_id", "patient_id", "label"]][predictions.rows("test")].reset_index(drop=True)
             for predictions in budgets]
    for name, images in zip(names, tests, strict=True):
        if not images.equals(tests[0]):
            raise UserError(f"The budgets {names[0]} and {name} were predicted on different test images: "
                            "run predict again for both.")


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return round(content, DECIMALS)
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list | tuple) else content
