"""Judge a budget: its contrasts, levels, controls and convergence check, all on the same test rows."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.arms import ARMS, uses_synthetic
from synthplanes.protocol.contrasts import CEILINGS, CONTRASTS, CONTROLS, LONGER, PAPER, Contrast, Hypothesis
from synthplanes.protocol.words import GAINS, PRIMARY_METRIC
from synthplanes.statistics.blocks import FRAMES
from synthplanes.statistics.clustered import Interval, contrast, level
from synthplanes.statistics.convergence import check_convergence
from synthplanes.statistics.hypotheses import Case, Design, decide, sentences
from synthplanes.statistics.pairing import Pairing, archs_with, pair, pairs_of, units
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.scores import check_classes
from synthplanes.statistics.verdict import Evidence, judge, on_simulated

Row = dict[str, Any]


class BudgetVerdict:
    """The results of one budget; the rows that its methods yield have the columns of their schema."""

    def __init__(self, predictions: Predictions, settings: Settings, splits: pd.DataFrame | None,
                 why_unconverged: str = ""):
        self.predictions, self.settings, self.budget = predictions, settings, predictions.budget
        self.why_unconverged = why_unconverged  # of the generators; '' where they have converged
        self.shared = settings.shared.get(self.budget, 0.0)
        self.convergence = check_convergence(predictions, settings.margin, splits)
        self.test = np.flatnonzero(predictions.rows("test"))
        labels = predictions.labels[self.test]
        check_classes(labels, predictions.classes)
        patients = predictions.column("patient_id")[self.test]
        self.blocks = {metric: frame_of(labels, patients) for metric, frame_of in FRAMES.items()}
        self.all_archs = sorted(set(predictions.runs["arch"]))
        self.arms = sorted(set(predictions.runs["arm"]))

    def archs_of(self, hypothesis: Hypothesis) -> list[str]:
        """Return the architectures that ran all arms of a hypothesis; its verdict is in the mean over them."""
        return archs_with(self.predictions, hypothesis.arm, *hypothesis.references, *hypothesis.harm_also)

    def scopes(self, *arms: str) -> Iterator[tuple[str, list[str]]]:
        """Yield (name, architectures): the mean where every architecture ran the arms, and each that did.

        A single architecture is listed as the mean only, because the same hypothesis must not be tested twice.
        """
        archs = archs_with(self.predictions, *arms)
        if archs == self.all_archs:
            yield "mean", archs
        if len(self.all_archs) > 1:
            yield from ((arch, [arch]) for arch in archs)

    def pairings(self) -> Iterator[tuple[Contrast, str, list[str], Pairing]]:
        """Yield (contrast, scope, architectures, pairing) of every contrast whose arms were run."""
        for row in CONTRASTS:
            for scope, archs in self.scopes(row.arm, row.reference):
                yield row, scope, archs, pair(self.predictions, row.arm, row.reference, archs, self.test)

    def decides(self, row: Contrast, archs: list[str], metric: str) -> bool:
        """Return whether a contrast is part of a hypothesis."""
        return (row.role, metric, self.budget) == ("confirmatory", PRIMARY_METRIC, self.settings.scarce_budget) and any(
            row.arm == each.arm and archs == self.archs_of(each) for each in self.settings.hypotheses)

    def contrasts(self) -> Iterator[Row]:
        """Yield one row per contrast, scope and metric, without the columns that Holm and `uncertainty` add."""
        for row, scope, archs, pairing in self.pairings():
            for metric, blocks in self.blocks.items():
                evidence = self._evidence(row.arm, row.reference, scope, pairing, metric, row.needs_convergence)
                yield {"budget": self.budget, "contrast": row.name, "role": row.role, "arm": row.arm,
                       "reference": row.reference, "arch": scope, "metric": metric,
                       "confirmatory": self.decides(row, archs, metric), **asdict(judge(evidence)),
                       **_numbers(evidence.interval), "n_generators": self._generators(pairing),
                       "n_seeds": pairing.n_seeds, "n_images": len(self.test), "n_patients": blocks.n_patients,
                       "n_effective_patients": blocks.n_effective_patients,
                       "n_patients_scarcest": int(blocks.patients_in_stratum.min()),
                       "n_units": 0 if evidence.interval is None else evidence.interval.n_units}

    def levels(self) -> Iterator[Row]:
        """Yield each arm's own score with its interval (none from a single repetition)."""
        for arm in self.arms:
            for scope, archs in self.scopes(arm):
                pairs = pairs_of(self.predictions, arm, archs)
                correct = units(self.predictions, arm, archs, pairs, self.test)
                for metric, blocks in self.blocks.items():
                    numbers = _numbers(level(correct, blocks, self.shared) if correct.shape[1] > 1 else None)
                    yield {"budget": self.budget, "arm": arm, "arch": scope, "metric": metric, **numbers}

    def oracle_shares(self) -> Iterator[Row]:
        """Yield the gain of synthetic images over `real` as a share of the gain of fresh patients.

        The share is None where fresh patients gain nothing.
        """
        for arm, ceiling in CEILINGS.items():
            for scope, archs in self.scopes(arm, ceiling, "real"):
                pairings = [pair(self.predictions, each, "real", archs, self.test) for each in (arm, ceiling)]
                for metric in self.blocks:
                    gain, best = (self._interval(pairing, metric) for pairing in pairings)
                    shown: tuple[float | None, ...] = (None, None, None)
                    if gain is not None and best is not None:
                        shown = (gain.estimate, best.estimate, gain.estimate / best.estimate if best.low > 0 else None)
                    yield {"budget": self.budget, "arm": arm, "oracle": ceiling, "arch": scope, "metric": metric,
                           **dict(zip(("gain", "oracle_gain", "share"), shown, strict=True))}

    def controls(self) -> Iterator[Row]:
        """Yield the arms with a known answer, and whether the word of each agrees with it."""
        for arm, must_gain in CONTROLS.items():
            for scope, archs in self.scopes(arm, *PAPER.references):
                judgement = decide([self._case(replace(PAPER, arm=arm), archs, scope)])[0].judgement
                as_expected = "yes" if (judgement.word in GAINS) == must_gain else "no"
                yield {"budget": self.budget, "control": arm, "arch": scope, "must_gain": must_gain,
                       "word": judgement.word, "as_expected": "refused" if judgement.refused else as_expected,
                       "reason": judgement.reason}

    def hypotheses(self) -> Iterator[Row]:
        """Yield the verdict on each hypothesis of the profile, judged together."""
        cases = [self._case(each, self.archs_of(each)) for each in self.settings.hypotheses]
        for case, decision in zip(cases, decide(cases), strict=True):
            hypothesis, judgement = case.hypothesis, decision.judgement
            against = {name: case.evidence[name].interval for name in hypothesis.references}
            yield {"name": hypothesis.name, "arm": hypothesis.arm, "bound_reference": hypothesis.bound_reference,
                   "archs": self.archs_of(hypothesis), **asdict(judgement),
                   "verdict": on_simulated(judgement.word, self.settings.simulated),
                   "p_value": decision.p_value, "p_value_holm": decision.p_value_holm,
                   "against": {name: each and {limit: _numbers(each)[limit] for limit in ("estimate", "low", "high")}
                               for name, each in against.items()},
                   "sentence": sentences(hypothesis, judgement, against, self.design)}

    @property
    def design(self) -> Design:
        """Return how the gains of all hypotheses are measured."""
        pairing = pair(self.predictions, PAPER.arm, PAPER.bound_reference, self.all_archs, self.test)
        return Design(PRIMARY_METRIC, self.settings.margin, self.settings.simulated, self._generators(pairing),
                      pairing.n_seeds, self.settings.folds, self.shared == 1)

    def _case(self, hypothesis: Hypothesis, archs: list[str], scope: str = "") -> Case:
        """Collect the evidence on a hypothesis; without a `scope` it is that of its architectures."""
        scope = scope or ("mean" if archs == self.all_archs or len(archs) > 1 else archs[0])
        return Case(hypothesis, {
            name: self._evidence(hypothesis.arm, name, scope,
                                 pair(self.predictions, hypothesis.arm, name, archs, self.test), PRIMARY_METRIC,
                                 name in hypothesis.references)
            for name in (*hypothesis.references, *hypothesis.harm_also)})

    def _generators(self, pairing: Pairing) -> int:
        return self.settings.folds or pairing.n_generators

    def _interval(self, pairing: Pairing, metric: str) -> Interval | None:
        if pairing.why_unpaired:
            return None
        return contrast(pairing.arm, pairing.reference, self.blocks[metric], self.shared)

    def _evidence(self, arm: str, reference: str, scope: str, pairing: Pairing, metric: str,
                  needs_convergence: bool) -> Evidence:
        checked = reference if reference in LONGER else "real"
        why_undertrained = self.convergence.why_undertrained(checked, scope) if needs_convergence else ""
        pretrained = {arm, reference} & self.settings.pretrained
        why_other = (f"the generator behind `{min(pretrained)}` had learned from other images before"
                     if len(pretrained) == 1 else "")
        draws = any(ARMS[each].kind == "arm" and uses_synthetic(each) for each in (arm, reference))
        return Evidence(self._interval(pairing, metric), self.settings.margin, why_other, why_undertrained,
                        pairing.why_unpaired, self.why_unconverged if draws else "")


def _numbers(interval: Interval | None) -> Row:
    return asdict(interval) if interval is not None else dict.fromkeys(Interval.__dataclass_fields__)
