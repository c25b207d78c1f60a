"""What stands beside the intervals of one budget and never decides: variance components and resampling."""

from collections.abc import Iterator

import numpy as np

from synthplanes.statistics import contrasts
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.components import components, shares
from synthplanes.statistics.resampling import bootstrap_interval, family_wise_p, resampled_scores, sign_flip_p
from synthplanes.protocol.settings import PRIMARY_METRIC

RESAMPLED = ("bootstrap_low", "bootstrap_high", "sign_flip_p", "sign_flip_p_family", "n_bootstrap", "n_units")


def variance_components(judged: BudgetVerdict) -> list[dict]:
    """One record per component of every contrast that could be paired and every arm with two runs, per scope.

    In a contrast's record `arm` is null, in an arm's record `contrast` is. A component that the table cannot tell
    has nulls; of the generator's, only its own is listed where there is one generator.
    """
    records = []
    for name, scope, values, pairs in _tables(judged):
        generators = np.array([replicate for replicate, _ in pairs])
        found = components(values, generators, judged.blocks[PRIMARY_METRIC])
        for one, share in zip(found, shares(found)):
            if one.component.endswith("_x_generator") and len(np.unique(generators)) == 1:
                continue
            records.append({"budget": judged.budget, "arch": scope, **name, "metric": PRIMARY_METRIC,
                            "component": one.component, "standard_deviation": one.standard_deviation,
                            "clipped": one.clipped, "standard_error": one.standard_error, "share": share, "n": one.n})
    return records


def _tables(judged: BudgetVerdict) -> Iterator[tuple[dict, str, np.ndarray, list[contrasts.Pair]]]:
    """(name, scope, float64 [runs, images], the runs' pairs)"""
    def mean(arm: str, archs: list[str], pairs: list[contrasts.Pair]) -> np.ndarray:
        return contrasts.runs(judged.predictions, arm, archs, pairs, judged.test).mean(axis=0)

    for row, scope, archs, pairing in judged.pairings():
        if not pairing.why_unpaired:
            gains = mean(row.arm, archs, pairing.pairs) - mean(row.reference, archs, pairing.pairs)
            yield {"contrast": row.name, "arm": None}, scope, gains, pairing.pairs
    for arm in judged.arms:
        for scope, archs in judged.scopes(arm):
            pairs = contrasts.pairs_of(judged.predictions, arm, archs)
            if len(pairs) > 1:
                yield {"contrast": None, "arm": arm}, scope, mean(arm, archs, pairs), pairs


def resampling(budgets: list[BudgetVerdict]) -> list[dict]:
    """One record per contrast, scope and metric, as in `BudgetVerdict.records`; nulls where nothing could be paired.

    The family of `sign_flip_p_family` is Holm's: all contrasts, scopes, metrics and budgets but the confirmatory
    pair at the scarce budget, which is one hypothesis and keeps its own p-value.
    """
    records, family = [], []
    for judged in budgets:
        for record, effects in _resampled(judged):
            records.append(record)
            if record.pop("confirmatory"):
                record["sign_flip_p_family"] = record["sign_flip_p"]
            elif effects:
                family.append((record, effects))
    for (record, _), p_value in zip(family, family_wise_p([effects for _, effects in family])):
        record["sign_flip_p_family"] = p_value
    return records


def _resampled(judged: BudgetVerdict) -> Iterator[tuple[dict, dict]]:
    """(record, unit -> its gain, empty where unpaired)"""
    predictions, root_seed = judged.predictions, judged.settings.root_seed
    correct = predictions.correct[:, judged.test]
    observed = {metric: blocks.mean(correct) for metric, blocks in judged.blocks.items()}
    resampled = {metric: resampled_scores(correct, blocks, root_seed) for metric, blocks in judged.blocks.items()}
    for row, scope, archs, pairing in judged.pairings():
        for metric in judged.blocks:
            record = {"budget": judged.budget, "arch": scope, "metric": metric, "contrast": row.name,
                      "confirmatory": judged.decides(row, scope, metric), **dict.fromkeys(RESAMPLED)}
            effects = {}
            if not pairing.why_unpaired:
                gains, drawn = (contrasts.unit_gains(scores[metric], predictions, row.arm, row.reference, archs,
                                                     pairing.pairs) for scores in (observed, resampled))
                effects = dict(zip(contrasts.unit_of(pairing.pairs)[0], gains.tolist()))
                low, high, n = bootstrap_interval(drawn, root_seed)
                record |= {"bootstrap_low": low, "bootstrap_high": high, "n_bootstrap": n, "n_units": len(gains),
                           "sign_flip_p": sign_flip_p(gains)}
            yield record, effects
