"""Describe the uncertainty of one budget by variance components and resampling; no verdict depends on them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.components import components, shares
from synthplanes.statistics.pairing import Pair, pairs_of, runs, unit_gains, unit_of
from synthplanes.statistics.resampling import bootstrap_interval, family_wise_p, resampled_scores, sign_flip_p

Place = tuple[str, str, str, str]
"""The identity of a row of contrasts.csv: (budget, architecture role or `mean`, metric, contrast)."""


def component_rows(verdict: BudgetVerdict) -> Iterator[dict[str, Any]]:
    """Yield the rows of components.csv: per component of every contrast that is paired and every arm with two runs.

    A component that the table of runs and images does not identify has None. With a single generator, only the
    component `generator` itself is listed of those that involve it.
    """
    for identity, scope, values, pairs in _tables(verdict):
        generators = np.array([replicate for replicate, _ in pairs])
        parts = components(values, generators, verdict.blocks[PRIMARY_METRIC])
        for part, share in zip(parts, shares(parts), strict=True):
            if part.component.endswith("_x_generator") and len(np.unique(generators)) == 1:
                continue
            yield {"budget": verdict.budget, **identity, "arch": scope, "metric": PRIMARY_METRIC,
                   "component": part.component, "standard_deviation": part.standard_deviation,
                   "standard_error": part.standard_error, "share": share, "clipped": bool(part.clipped), "n": part.n}


def _tables(verdict: BudgetVerdict) -> Iterator[tuple[dict[str, str], str, np.ndarray, list[Pair]]]:
    """Yield (contrast or arm, scope, float64 [runs, images], the runs' pairs)."""
    def mean(arm: str, archs: list[str], pairs: list[Pair]) -> np.ndarray:
        return runs(verdict.predictions, arm, archs, pairs, verdict.test).mean(axis=0)

    for row, scope, archs, pairing in verdict.pairings():
        if not pairing.why_unpaired:
            pairs = list(pairing.pairs)
            gains = mean(row.arm, archs, pairs) - mean(row.reference, archs, pairs)
            yield {"contrast": row.name, "arm": ""}, scope, gains, pairs
    for arm in verdict.arms:
        for scope, archs in verdict.scopes(arm):
            pairs = pairs_of(verdict.predictions, arm, archs)
            if len(pairs) > 1:
                yield {"contrast": "", "arm": arm}, scope, mean(arm, archs, pairs), pairs


def resampling(verdicts: list[BudgetVerdict]) -> dict[Place, dict[str, Any]]:
    """Return the resampling columns of contrasts.csv by row; a contrast that is not paired has None and no draws.

    The family of `sign_flip_p_family` is Holm's: all contrasts, scopes, metrics and budgets but those that are part of
    a hypothesis, which keep their own p-values.
    """
    columns: dict[Place, dict[str, Any]] = {}
    family: dict[Place, dict[tuple[int, ...], float]] = {}
    for verdict in verdicts:
        for decides, place, effects, resampled in _resampled(verdict):
            columns[place] = resampled
            if decides:
                resampled["sign_flip_p_family"] = resampled["sign_flip_p"]
            elif effects:
                family[place] = effects
    for place, p_value in zip(family, family_wise_p(list(family.values())), strict=True):
        columns[place]["sign_flip_p_family"] = p_value
    return columns


def _resampled(verdict: BudgetVerdict
               ) -> Iterator[tuple[bool, Place, dict[tuple[int, ...], float], dict[str, Any]]]:
    """Yield (whether it is part of a hypothesis, place, unit -> its gain, columns); no gains where unpaired."""
    predictions, root_seed = verdict.predictions, verdict.settings.root_seed
    correct = predictions.correct[:, verdict.test]
    observed = {metric: blocks.mean(correct) for metric, blocks in verdict.blocks.items()}
    drawn = {metric: resampled_scores(correct, blocks, root_seed) for metric, blocks in verdict.blocks.items()}
    for row, scope, archs, pairing in verdict.pairings():
        for metric in verdict.blocks:
            place, decides = (verdict.budget, scope, metric, row.name), verdict.decides(row, archs, metric)
            if pairing.why_unpaired:
                yield decides, place, {}, {"bootstrap_low": None, "bootstrap_high": None, "n_bootstrap": 0,
                                       "sign_flip_p": None, "sign_flip_p_family": None}
                continue
            gains, gains_drawn = (unit_gains(scores[metric], predictions, row.arm, row.reference, archs, pairing.pairs)
                                  for scores in (observed, drawn))
            low, high, n = bootstrap_interval(gains_drawn, root_seed)
            yield (decides, place, dict(zip(unit_of(pairing.pairs)[0], gains.tolist(), strict=True)),
                   {"bootstrap_low": low, "bootstrap_high": high, "n_bootstrap": n,
                    "sign_flip_p": sign_flip_p(gains), "sign_flip_p_family": None})
