"""One budget judged: its contrasts, levels, controls and plateau gate, all on the same test rows."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from synthplanes.records import Table
from synthplanes.statistics import contrasts, convergence as plateau, scores
from synthplanes.statistics.blocks import FRAMES
from synthplanes.statistics.clustered import Interval, contrast, level, weaker
from synthplanes.statistics.predictions import Predictions
from synthplanes.protocol.settings import PRIMARY_METRIC, Settings
from synthplanes.statistics.verdict import Evidence, Judgement, judge, on_simulated, sentence, subject


class BudgetVerdict:
    """Everything that `verdict.json` says about one budget."""

    def __init__(self, predictions: Predictions, settings: Settings, splits: Table | None):
        self.predictions, self.settings, self.budget = predictions, settings, predictions.budget
        self.plateau = plateau.measure(predictions, settings.margin, splits)
        self.test = np.flatnonzero(predictions.rows("test"))
        labels = predictions.labels[self.test]
        scores.class_counts(labels, len(predictions.classes), predictions.classes, "test")
        patients = predictions.images["patient_id"][self.test]
        self.blocks = {metric: make(labels, patients) for metric, make in FRAMES.items()}
        self.all_archs = sorted(set(predictions.runs["arch"].tolist()))
        self.arms = sorted(set(predictions.runs["arm"].tolist()))

    @property
    def has_confirmatory_pair(self) -> bool:
        return contrasts.archs_with(self.predictions, contrasts.CONFIRMATORY_ARM,
                                    *contrasts.REFERENCES) == self.all_archs

    def scopes(self, *arms: str) -> Iterator[tuple[str, list[str]]]:
        """(name, architectures): the mean where every architecture ran the arms, and each that did.

        One architecture alone is the mean: the same numbers twice would be the same hypothesis twice.
        """
        archs = contrasts.archs_with(self.predictions, *arms)
        if archs == self.all_archs:
            yield "mean", archs
        if len(self.all_archs) > 1:
            yield from ((arch, [arch]) for arch in archs)

    def pairings(self) -> Iterator[tuple[contrasts.Contrast, str, list[str], contrasts.Pairing]]:
        """(contrast, scope, architectures, pairing) of every contrast whose arms were run."""
        for row in contrasts.CONTRASTS:
            for scope, archs in self.scopes(row.arm, row.reference):
                yield row, scope, archs, contrasts.pair(self.predictions, row.arm, row.reference, archs, self.test)

    def decides(self, row: contrasts.Contrast, scope: str, metric: str) -> bool:
        """Whether a record is one of the confirmatory pair."""
        return (row.role, scope, metric, self.budget) == (
            "confirmatory", "mean", PRIMARY_METRIC, self.settings.scarce_budget)

    def records(self) -> list[dict]:
        """One record per contrast, scope and metric."""
        records = []
        for row, scope, _, pairing in self.pairings():
            for metric in self.blocks:
                interval = self._interval(pairing, metric)
                found = self._judge(interval, row.gated, pairing.why_unpaired, scope, row.arm, row.reference)
                records.append({
                    "source": self.settings.source, "budget": self.budget, "arch": scope, "metric": metric,
                    "contrast": row.name, "arm": row.arm, "reference_arm": row.reference, "role": row.role,
                    "confirmatory": self.decides(row, scope, metric), **_numbers(interval),
                    "n_seeds": pairing.n_seeds, "n_generators": self._generators(pairing),
                    "n_images": len(self.test), **self._words(found)})
        return records

    def levels(self) -> list[dict]:
        """Each arm's own score with its interval, for the figures (no interval from a single repetition)."""
        rows = []
        for arm in self.arms:
            for scope, archs in self.scopes(arm):
                pairs = contrasts.pairs_of(self.predictions, arm, archs)
                correct = contrasts.units(self.predictions, arm, archs, pairs, self.test)
                for metric, blocks in self.blocks.items():
                    interval = level(correct, blocks) if correct.shape[1] > 1 else None
                    rows.append({"budget": self.budget, "arch": scope, "arm": arm, "metric": metric,
                                 **{name: _numbers(interval)[name] for name in ("estimate", "low", "high")}})
        return rows

    def oracle_shares(self) -> list[dict]:
        """What a generator gains over `real` as a share of what fresh patients gain (None unless they do)."""
        rows = []
        for arm, ceiling in contrasts.CEILINGS.items():
            for scope, archs in self.scopes(arm, ceiling, "real"):
                pairings = [contrasts.pair(self.predictions, each, "real", archs, self.test)
                            for each in (arm, ceiling)]
                for metric in self.blocks:
                    gain, best = (self._interval(pairing, metric) for pairing in pairings)
                    known = gain is not None and best is not None
                    rows.append({"budget": self.budget, "arch": scope, "metric": metric, "arm": arm,
                                 "oracle_arm": ceiling, "gain": gain.estimate if known else None,
                                 "oracle_gain": best.estimate if known else None,
                                 "share": gain.estimate / best.estimate if known and best.low > 0 else None})
        return rows

    def controls(self) -> list[dict]:
        """Arms with a known answer: does the whole apparatus give it? (None where it refuses to speak)"""
        rows = []
        for arm, must_help in contrasts.CONTROLS.items():
            for scope, archs in self.scopes(arm, *contrasts.REFERENCES):
                found, _, _ = self._against_both(arm, archs, scope)
                helped = found.word.startswith("helps")
                rows.append({"budget": self.budget, "arch": scope, "arm": arm, "must_help": must_help,
                             "as_expected": None if found.refused else helped == must_help,
                             **self._words(found)})
        return rows

    def overall(self) -> dict:
        """The verdict of the profile: the confirmatory arm against the better of both references."""
        found, interval, pairing = self._against_both(contrasts.CONFIRMATORY_ARM, self.all_archs)
        counts = dict(n_generators=self._generators(pairing), n_seeds=pairing.n_seeds)
        return {"source": self.settings.source, "budget": self.budget, "arch": "mean",
                "archs": self.all_archs, "metric": PRIMARY_METRIC, "arm": contrasts.CONFIRMATORY_ARM,
                "reference_arms": list(contrasts.REFERENCES), "margin": self.settings.margin,
                "subject": subject(pairing.n_generators, self.settings.folds), **_numbers(interval), **counts,
                "n_images": len(self.test), **self._words(found),
                "sentence": sentence(found, interval, self.settings.margin, metric=PRIMARY_METRIC,
                                     references=contrasts.REFERENCES, simulated=self.settings.simulated,
                                     folds=self.settings.folds, **counts)}

    def _against_both(self, arm: str, archs: list[str],
                      scope: str = "mean") -> tuple[Judgement, Interval | None, contrasts.Pairing]:
        """Judge `arm` by the smaller of its gains over both references, with the primary metric."""
        pairings = [contrasts.pair(self.predictions, arm, reference, archs, self.test)
                    for reference in contrasts.REFERENCES]
        why = next((pairing.why_unpaired for pairing in pairings if pairing.why_unpaired), "")
        both = [self._interval(pairing, PRIMARY_METRIC) for pairing in pairings]
        interval = None if why else weaker(*both)
        return self._judge(interval, True, why, scope, arm, contrasts.REFERENCES[0]), interval, pairings[0]

    def _generators(self, pairing: contrasts.Pairing) -> int:
        return self.settings.folds or pairing.n_generators

    def _interval(self, pairing: contrasts.Pairing, metric: str) -> Interval | None:
        if pairing.why_unpaired:
            return None
        return contrast(pairing.arm, pairing.reference, self.blocks[metric])

    def _judge(self, interval: Interval | None, gated: bool, why_unpaired: str, scope: str, arm: str,
               reference: str) -> Judgement:
        why_undertrained = self.plateau.why_undertrained(scope) if gated else ""
        warm = {arm, reference} & self.settings.warm_started
        why_other = f"the generator behind `{min(warm)}` had learned from other images before" if len(warm) == 1 else ""
        return judge(Evidence(interval, self.settings.margin, why_other, why_undertrained, why_unpaired))

    def _words(self, found: Judgement) -> dict:
        return {"verdict": on_simulated(found.word, self.settings.simulated), "word": found.word,
                "reason": found.reason}


def _numbers(interval: Interval | None) -> dict:
    return asdict(interval) if interval is not None else dict.fromkeys(Interval.__dataclass_fields__)
