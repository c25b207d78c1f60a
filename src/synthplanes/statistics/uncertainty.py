"""Describe the uncertainty of one budget by variance components, resampling and folds; no verdict depends on them.

In cross-validation the interval of the verdict clusters by patient and takes the folds' generators and training sets as
given. In folds.csv the fold is the unit: its test patients, generator and classifiers vary together, and t has as many
degrees of freedom as there are folds less one. Folds share training images, so their differences depend on each other
by an amount that nothing estimates without bias (Bengio & Grandvalet 2004).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from synthplanes.protocol.words import CONFIDENCE, PRIMARY_METRIC
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.components import components
from synthplanes.statistics.pairing import Pair, pairs_of, runs, unit_gains, unit_names
from synthplanes.statistics.resampling import bootstrap_interval, family_wise_p, resampled_scores, sign_flip_p

Place = tuple[str, str, str, str]
"""The identity of a row of contrasts.csv: (budget, architecture role or `mean`, metric, contrast)."""


def component_rows(verdict: BudgetVerdict) -> Iterator[dict[str, Any]]:
    """Yield the rows of components.csv: per component of every contrast that is paired and every arm with two runs.

    A component that the table of runs and images does not identify has NaN. With a single generator, only the
    component `generator` itself is listed of those that involve it.
    """
    correct = verdict.predictions.correct[:, verdict.test]

    def mean(arm: str, archs: list[str], pairs: list[Pair]) -> np.ndarray:
        return correct[runs(verdict.predictions, arm, archs, pairs)].mean(axis=0)      # [pairs, images]

    tables = []
    for row, scope, archs, pairing in verdict.pairings():
        pairs = list(pairing.pairs)
        if pairs:
            gains = mean(row.arm, archs, pairs) - mean(row.reference, archs, pairs)
            tables.append(({"contrast": row.name, "arm": "", "arch": scope}, gains, pairs))
    for arm in verdict.arms:
        for scope, archs in verdict.scopes(arm):
            pairs = pairs_of(verdict.predictions, arm, archs)
            if len(pairs) > 1:
                tables.append(({"contrast": "", "arm": arm, "arch": scope}, mean(arm, archs, pairs), pairs))
    for identity, values, pairs in tables:
        generators = np.array([replicate for replicate, _ in pairs])
        found = components(values, generators, verdict.blocks[PRIMARY_METRIC])
        if len(set(generators)) == 1:
            found = found[~found["component"].str.endswith("_x_generator")]
        yield from ({"budget": verdict.budget, **identity, "metric": PRIMARY_METRIC, **part}
                    for part in found.to_dict("records"))


def resampling(verdicts: list[BudgetVerdict]) -> dict[Place, dict[str, Any]]:
    """Return the resampling columns of contrasts.csv by row; a contrast that is not paired has None and no draws.

    The family of `sign_flip_p_family` is Holm's: all contrasts, scopes, metrics and budgets but those that are part of
    a hypothesis, which keep their own p-values.
    """
    columns: dict[Place, dict[str, Any]] = {}
    family: dict[Place, dict[tuple[int, ...], float]] = {}
    for verdict in verdicts:
        root_seed, correct = verdict.settings.root_seed, verdict.predictions.correct[:, verdict.test]
        scores = {metric: (blocks.mean(correct), resampled_scores(correct, blocks, root_seed))
                  for metric, blocks in verdict.blocks.items()}
        for row, scope, archs, pairing in verdict.pairings():
            for metric, both in scores.items():
                place = (verdict.budget, scope, metric, row.name)
                columns[place] = {"bootstrap_low": None, "bootstrap_high": None, "n_bootstrap": 0,
                                  "sign_flip_p": None, "sign_flip_p_family": None}
                if pairing.why_unpaired:
                    continue
                gains, drawn = (unit_gains(each, verdict.predictions, row.arm, row.reference, archs, pairing.pairs)
                                for each in both)
                low, high, n = bootstrap_interval(drawn, root_seed)
                own_p = sign_flip_p(gains)
                columns[place] = {"bootstrap_low": low, "bootstrap_high": high, "n_bootstrap": n,
                                  "sign_flip_p": own_p, "sign_flip_p_family": own_p}
                if not verdict.decides(row, archs, metric):
                    family[place] = dict(zip(unit_names(pairing.pairs), gains.tolist(), strict=True))
    for place, p_value in zip(family, family_wise_p(list(family.values())), strict=True):
        columns[place]["sign_flip_p_family"] = p_value
    return columns


def fold_rows(verdict: BudgetVerdict, fold: np.ndarray | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of folds.csv: of each naive or confirmatory contrast, one per fold and their mean.

    `fold`, int [test images], is the fold that tests each; without folds there are no rows. Contrasts are in the mean
    over architectures. A fold's estimate is over the `n_classes` classes that it tests.
    """
    if fold is None:
        return
    label, patient, scanner = (
        verdict.predictions.column(name)[verdict.test] for name in ("label", "patient_id", "scanner"))
    parts = {str(number): fold == number for number in np.unique(fold)}
    for row, scope, _, pairing in verdict.pairings():
        if row.role not in ("naive", "confirmatory") or scope != "mean" or pairing.why_unpaired:
            continue
        gains = (pairing.arm - pairing.reference).mean(axis=(0, 1))                    # [test images]
        numbers: dict[str, dict[str, Any]] = {name: {
            "estimate": float(Blocks.balanced(label[own], patient[own]).mean(gains[None, own])[0]),
            "low": None, "high": None, "p_value": None} for name, own in parts.items()}
        estimates = [each["estimate"] for each in numbers.values()]
        test = stats.ttest_1samp(estimates, 0)
        interval = test.confidence_interval(CONFIDENCE)
        numbers["mean"] = {"estimate": float(np.mean(estimates)), "low": float(interval.low),
                           "high": float(interval.high), "p_value": float(test.pvalue)}
        for name, own in {**parts, "mean": np.ones(len(fold), bool)}.items():
            yield {"budget": verdict.budget, "contrast": row.name, "arm": row.arm, "reference": row.reference,
                   "fold": name, "scanners": "; ".join(sorted(set(scanner[own]))), "n_images": int(own.sum()),
                   "n_patients": len(set(patient[own])), "n_classes": len(set(label[own])), **numbers[name]}
