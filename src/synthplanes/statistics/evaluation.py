"""Predictions in, scores and verdict out: every number of `scores.csv` and `verdict.json`.

Estimand: the mean difference in balanced accuracy (or accuracy) between two arms that share their seeds and see
the same labelled images, in the population of which the test patients are a sample, for classifiers trained again
with fresh seeds (and, where a profile has several, fresh generators). The arms of the confirmatory hypothesis spend
equal updates; those of `naive`, `longer`, `synthetic_only` and `oracle_only` do not (classification/arms.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import SCORES, Table
from synthplanes.statistics import contrasts, cross_validation, fold_means, metadata_baselines, scores, slices
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.clustered import Interval
from synthplanes.statistics.predictions import Predictions, refuse_other_cells
from synthplanes.protocol.settings import FAMILY_LEVEL, Settings
from synthplanes.statistics.training_sets import TrainingSets, folds_of, refuse_another_index, training_sets
from synthplanes.statistics.uncertainty import resampling, variance_components
from synthplanes.statistics.verdict import DIFFERENCES, Evidence, judge, on_simulated

DECIMALS = 6  # so that the files under version control are stable


def evaluate(budgets: Sequence[Predictions], settings: Settings, identification: Mapping | None = None,
             splits: Table | None = None, development: Table | None = None) -> tuple[Table, dict]:
    """Score and judge one profile.

    `budgets` holds one `Predictions` per budget; `identification` is copied into the verdict (the phantom's
    version and digest); `splits` (records.SPLITS) is needed where there are several replicates. With splits and
    `development` (records.INDEX) it is also said which scanners training saw and what the metadata alone can tell.
    Returns the table SCORES of the test rows and the content of `verdict.json`, rounded to 6 decimals.
    Raises `UserError` where runs are missing or surplus, where test rows differ between budgets, where a
    class is absent from the test rows, or where an arm of the confirmatory hypothesis is, and where `development` says
    something else of an image than the predictions do.
    Folds of a cross-validation are pooled first (cross_validation.py).
    """
    refuse_other_cells([cell for predictions in budgets for cell in predictions.cells], settings.expected)
    for predictions in budgets if development is not None else ():
        refuse_another_index(predictions, development)
    every_fold, crossed = splits, cross_validation.is_crossed(splits)
    if crossed:
        budgets, splits = cross_validation.all_pooled(budgets, splits)
    _refuse_other_test_rows(budgets)
    judged = {predictions.budget: BudgetVerdict(predictions, settings, splits) for predictions in budgets}
    training = {} if development is None else {
        one.budget: _training(one, every_fold, development, crossed) for one in budgets}
    scarce = judged.get(settings.scarce_budget)
    if scarce is None or not scarce.has_confirmatory_pair:
        raise UserError(f"The confirmatory hypothesis needs the arms {contrasts.CONFIRMATORY_ARM}, "
                        f"{' and '.join(contrasts.REFERENCES)} of every architecture at budget "
                        f"{settings.scarce_budget}: run those stages.")
    records = [record for one in judged.values() for record in one.records()]
    _adjust(records, settings)
    verdict = {
        **(identification or {}),
        "records": sorted(records, key=_place),
        "levels": [row for one in judged.values() for row in one.levels()],
        "slices": [row for one in budgets for row in slices.slice_records(one, training.get(one.budget))],
        "metadata_baselines": [row for one in budgets if one.budget in training
                               for row in metadata_baselines.baseline_records(one, training[one.budget])],
        "plateau": {budget: {**asdict(one.plateau), "met": one.plateau.met}
                    for budget, one in judged.items()},
        "oracle_share": [row for one in judged.values() for row in one.oracle_shares()],
        "controls": [row for one in judged.values() for row in one.controls()],
        "variance_components": [row for one in judged.values() for row in variance_components(one)],
        "resampling": sorted(resampling(list(judged.values())), key=_place),
        "folds": [row for name, one in judged.items() if crossed and name in training
                  for row in fold_means.fold_records(one, training[name].fold)],
        "overall": scarce.overall(),
    }
    return _score_table(budgets), _rounded(verdict)


def _training(predictions: Predictions, splits: Table, development: Table, crossed: bool) -> TrainingSets:
    images = training_sets(splits, development, predictions.budget)
    tested = predictions.images["image_id"][predictions.rows("test")]
    return TrainingSets(images, folds_of(tested, splits, predictions.budget) if crossed else None)


def _place(record: dict) -> tuple[str, ...]:
    return tuple(record[name] for name in ("budget", "arch", "metric", "contrast"))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: with p_(0) <= p_(1) ..., max over j <= i of min(1, (m - j) p_(j))."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, (len(p) - np.arange(len(p))) * p[order]))
    return adjusted.tolist()


def _adjust(records: list[dict], settings: Settings) -> None:
    """Add `p_value_holm`: over all but the confirmatory pair, which is one hypothesis and keeps its own p.

    A word that claims a difference needs the adjusted p as well; without it the first of the other rules that holds
    gives the word.
    """
    family = [record for record in records if not record["confirmatory"] and record["p_value"] is not None]
    for record in records:
        record["p_value_holm"] = record["p_value"]
    for record, adjusted in zip(family, holm([record["p_value"] for record in family])):
        record["p_value_holm"] = adjusted
        if adjusted > FAMILY_LEVEL and record["word"] in DIFFERENCES:
            interval = Interval(**{name: record[name] for name in Interval.__dataclass_fields__})
            record["word"] = judge(Evidence(interval, settings.margin), may_differ=False).word
            record["verdict"] = on_simulated(record["word"], settings.simulated)


def _score_table(budgets: Sequence[Predictions]) -> Table:
    rows = []
    for predictions in budgets:
        test = np.flatnonzero(predictions.rows("test"))
        labels = predictions.labels[test]
        for run, cell in enumerate(predictions.cells):
            values = scores.all_scores(predictions.probabilities[run][test], labels, predictions.classes,
                                       "test")
            rows += [(*cell, metric, round(value, DECIMALS)) for metric, value in values.items()]
    return Table(SCORES, dict(zip(SCORES.columns, zip(*sorted(rows)))))


def _refuse_other_test_rows(budgets: Sequence[Predictions]) -> None:
    """Budgets differ in training and validation images, never in test images; none comes twice."""
    names = [predictions.budget for predictions in budgets]
    if len(set(names)) < len(names):
        raise UserError(f"A budget was given twice ({', '.join(names)}): "
                        "give the folders of one budget together.")
    tests = [predictions.images.select(predictions.rows("test")) for predictions in budgets]
    for name, images in zip(names, tests):
        if any(not np.array_equal(tests[0][column], images[column])
               for column in ("image_id", "patient_id", "label")):
            raise UserError(f"The budgets {names[0]} and {name} were predicted on different test images: "
                            "run predict again for both.")


def _rounded(content):
    if isinstance(content, float):
        return round(content, DECIMALS)
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list | tuple) else content
