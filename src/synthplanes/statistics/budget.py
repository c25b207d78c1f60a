"""Judge a budget: its contrasts, levels, controls and convergence check, all on the same test rows."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import CEILINGS, CONFIRMATORY_ARM, CONTRASTS, CONTROLS, REFERENCES, Contrast
from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics import scores
from synthplanes.statistics.blocks import FRAMES
from synthplanes.statistics.clustered import Interval, contrast, level, weaker
from synthplanes.statistics.convergence import check_convergence
from synthplanes.statistics.pairing import Pairing, archs_with, pair, pairs_of, units
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.verdict import Design, Evidence, Judgement, judge, on_simulated, sentence, subject

Row = dict[str, Any]


class BudgetVerdict:
    """The results of one budget; the rows that its methods yield have the columns of their schema."""

    def __init__(self, predictions: Predictions, settings: Settings, splits: pd.DataFrame | None):
        self.predictions, self.settings, self.budget = predictions, settings, predictions.budget
        self.convergence = check_convergence(predictions, settings.margin, splits)
        self.test = np.flatnonzero(predictions.rows("test"))
        labels = predictions.labels[self.test]
        scores.check_classes(labels, len(predictions.classes), predictions.classes, "test")
        patients = predictions.column("patient_id")[self.test]
        self.blocks = {metric: frame_of(labels, patients) for metric, frame_of in FRAMES.items()}
        self.all_archs = sorted(set(predictions.runs["arch"]))
        self.arms = sorted(set(predictions.runs["arm"]))

    @property
    def has_confirmatory_pair(self) -> bool:
        """Return whether every architecture ran the arms of the confirmatory hypothesis."""
        return archs_with(self.predictions, CONFIRMATORY_ARM, *REFERENCES) == self.all_archs

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

    def decides(self, row: Contrast, scope: str, metric: str) -> bool:
        """Return whether a contrast is one of the confirmatory pair."""
        return (row.role, scope, metric, self.budget) == (
            "confirmatory", "mean", PRIMARY_METRIC, self.settings.scarce_budget)

    def contrasts(self) -> Iterator[Row]:
        """Yield one row per contrast, scope and metric, without the columns that Holm and `uncertainty` add."""
        for row, scope, _, pairing in self.pairings():
            for metric, blocks in self.blocks.items():
                interval = self._interval(pairing, metric)
                judgement = self._judge(interval, row.needs_convergence, pairing.why_unpaired, scope,
                                        (row.arm, row.reference))
                yield {"budget": self.budget, "contrast": row.name, "role": row.role, "arm": row.arm,
                       "reference": row.reference, "arch": scope, "metric": metric,
                       "confirmatory": self.decides(row, scope, metric), "word": judgement.word,
                       "reason": judgement.reason, **_numbers(interval), "n_generators": self._generators(pairing),
                       "n_seeds": pairing.n_seeds, "n_images": len(self.test), "n_patients": blocks.n_patients,
                       "n_effective_patients": blocks.n_effective_patients,
                       "n_patients_scarcest": int(blocks.patients_in_stratum.min()),
                       "n_units": interval.n_units if interval is not None else 0}

    def levels(self) -> Iterator[Row]:
        """Yield each arm's own score with its interval (none from a single repetition)."""
        for arm in self.arms:
            for scope, archs in self.scopes(arm):
                pairs = pairs_of(self.predictions, arm, archs)
                correct = units(self.predictions, arm, archs, pairs, self.test)
                for metric, blocks in self.blocks.items():
                    numbers = _numbers(level(correct, blocks) if correct.shape[1] > 1 else None)
                    yield {"budget": self.budget, "arm": arm, "arch": scope, "metric": metric, **numbers}

    def oracle_shares(self) -> Iterator[Row]:
        """Yield the gain of synthetic images over `real` as a share of the gain of fresh patients.

        The share is None where fresh patients gain nothing.
        """
        for arm, ceiling in CEILINGS.items():
            for scope, archs in self.scopes(arm, ceiling, "real"):
                pairings = [pair(self.predictions, each, "real", archs, self.test) for each in (arm, ceiling)]
                for metric in self.blocks:
                    row: Row = {"budget": self.budget, "arm": arm, "oracle": ceiling, "arch": scope, "metric": metric,
                                "gain": None, "oracle_gain": None, "share": None}
                    gain, best = (self._interval(pairing, metric) for pairing in pairings)
                    if gain is not None and best is not None:
                        row |= {"gain": gain.estimate, "oracle_gain": best.estimate,
                                "share": gain.estimate / best.estimate if best.low > 0 else None}
                    yield row

    def controls(self) -> Iterator[Row]:
        """Yield the arms with a known answer, and whether the word of each agrees with it."""
        for arm, must_help in CONTROLS.items():
            for scope, archs in self.scopes(arm, *REFERENCES):
                judgement, _, _ = self._against_both(arm, archs, scope)
                as_expected = "yes" if judgement.word.startswith("helps") == must_help else "no"
                yield {"budget": self.budget, "control": arm, "arch": scope, "must_help": must_help,
                       "word": judgement.word, "as_expected": "refused" if judgement.refused else as_expected,
                       "reason": judgement.reason}

    def overall(self) -> Row:
        """Return the verdict of the profile: the confirmatory arm against the better of both references."""
        judgement, interval, pairing = self._against_both(CONFIRMATORY_ARM, self.all_archs)
        design = Design(PRIMARY_METRIC, REFERENCES, self.settings.margin, self.settings.simulated,
                        self._generators(pairing), pairing.n_seeds, self.settings.folds)
        return {"source": self.settings.source, "budget": self.budget, "arch": "mean", "archs": self.all_archs,
                "metric": PRIMARY_METRIC, "arm": CONFIRMATORY_ARM, "reference_arms": list(REFERENCES),
                "margin": design.margin, "subject": subject(pairing.n_generators, design.folds), **_numbers(interval),
                "n_generators": design.n_generators, "n_seeds": design.n_seeds, "n_images": len(self.test),
                "word": judgement.word, "verdict": on_simulated(judgement.word, design.simulated),
                "reason": judgement.reason, "sentence": sentence(judgement, interval, design)}

    def _against_both(self, arm: str, archs: list[str],
                      scope: str = "mean") -> tuple[Judgement, Interval | None, Pairing]:
        """Judge `arm` by the smaller of its gains over both references, with the primary metric."""
        pairings = [pair(self.predictions, arm, reference, archs, self.test) for reference in REFERENCES]
        why = next((pairing.why_unpaired for pairing in pairings if pairing.why_unpaired), "")
        one, other = (self._interval(pairing, PRIMARY_METRIC) for pairing in pairings)
        interval = None if one is None or other is None else weaker(one, other)
        return self._judge(interval, True, why, scope, (arm, REFERENCES[0])), interval, pairings[0]

    def _generators(self, pairing: Pairing) -> int:
        return self.settings.folds or pairing.n_generators

    def _interval(self, pairing: Pairing, metric: str) -> Interval | None:
        if pairing.why_unpaired:
            return None
        return contrast(pairing.arm, pairing.reference, self.blocks[metric])

    def _judge(self, interval: Interval | None, needs_convergence: bool, why_unpaired: str, scope: str,
               arms: tuple[str, str]) -> Judgement:
        why_undertrained = self.convergence.why_undertrained(scope) if needs_convergence else ""
        pretrained = set(arms) & self.settings.pretrained
        why_other = (f"the generator behind `{min(pretrained)}` had learned from other images before"
                     if len(pretrained) == 1 else "")
        return judge(Evidence(interval, self.settings.margin, why_other, why_undertrained, why_unpaired))


def _numbers(interval: Interval | None) -> Row:
    return asdict(interval) if interval is not None else dict.fromkeys(Interval.__dataclass_fields__)
