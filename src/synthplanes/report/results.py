"""Read the committed results of a profile, from which its pages are generated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthplanes import records
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.contrasts import CONTRASTS, HYPOTHESES, ROLES
from synthplanes.protocol.words import PRIMARY_METRIC

TABLES = {schema.name.removesuffix(".csv"): schema for schema in (
    records.SCORES, records.CONTRASTS, records.LEVELS, records.SLICES, records.COMPONENTS, records.CONVERGENCE,
    records.CONTROLS, records.ORACLE_SHARES, records.METADATA_RULES, records.FOLDS, records.AUDIT,
    records.GENERATOR_CURVE, records.CONFUSION)}
JSON_FILES = ("verdict.json", "analysis_plan.json", "data.json")
MEAN = "mean"  # in the column `arch`: over all architectures


@dataclass(frozen=True)
class Results:
    """The files of metrics/<profile>/; a table that is absent has no rows, an absent JSON file is empty."""

    profile: str
    verdict: Mapping[str, Any]
    plan: Mapping[str, Any]
    data: Mapping[str, Any]
    cost: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    test_access: pd.DataFrame
    folder: Path
    sha256: str  # of the tables and JSON files written by the stages before `report`

    @property
    def shares(self) -> dict[str, float]:
        """Return budget -> its share of the training patients, the smallest first."""
        budgets = {name: share for name, share in self.plan["protocol"]["budgets"].items() if share is not None}
        return dict(sorted(budgets.items(), key=lambda item: (item[1], item[0])))

    @property
    def budget(self) -> str:
        """Return the budget to which the verdict applies."""
        return self.verdict["overall"]["budget"]

    @property
    def folds(self) -> int:
        """Return the number of folds of a cross-validation; 0 without one."""
        return self.plan["folds"]

    @property
    def contrasts(self) -> pd.DataFrame:
        """Return the contrasts in balanced accuracy, each in its widest scope, in the order of the protocol."""
        table = self.rows("contrasts", "budget", "role", "contrast", "arch")
        return table[is_widest(table, "budget", "contrast")].reset_index(drop=True)

    @property
    def by_architecture(self) -> pd.DataFrame:
        """Return the naive and confirmatory contrasts of each architecture, where `contrasts` has their mean."""
        table = self.rows("contrasts", "budget", "role", "contrast", "arch")
        return table[~is_widest(table, "budget", "contrast") & table["role"].isin(("naive", "confirmatory"))]

    @property
    def deciding_and_naive(self) -> pd.DataFrame:
        """Return the contrasts of the verdict's hypotheses at its budget, and the naive one; `question` names each."""
        table = self.contrasts[self.contrasts["budget"] == self.budget]
        titles = {each.arm: each.title for each in HYPOTHESES if each.name in self.verdict["hypotheses"]}
        deciding = table[(table["role"] == "confirmatory") & table["arm"].isin(titles)]
        naive = table[table["role"] == "naive"].assign(question="naive")
        return pd.concat([deciding.assign(question=deciding["arm"].map(titles)), naive])

    def converged(self, *references: str) -> bool:
        """Return whether all of these references are shown to have converged; without any, those of the verdict."""
        of_verdict = {name for each in self.verdict["hypotheses"].values() for name in each["against"]}
        return all(self.verdict["converged"].get(name, False) for name in references or of_verdict)

    @property
    def audit(self) -> pd.DataFrame:
        """Return label_fidelity, ceiling and copies, mean over generators, by (budget, class or `all`)."""
        table = self.rows("audit", "budget")
        averaged = (table["replicate"] == MEAN).groupby(table["budget"]).transform("any")
        return table[(table["replicate"] == MEAN) == averaged].groupby(["budget", "label"], sort=False)[
            ["label_fidelity", "ceiling", "copies"]].mean()

    def rows(self, name: str, *by: str) -> pd.DataFrame:
        """Return a table's rows without those in other metrics, sorted `by` columns in the protocol's order."""
        order = {"budget": list(self.shares), "role": ROLES, "contrast": [contrast.name for contrast in CONTRASTS],
                 "arm": list(ARMS), "arch": [MEAN]}
        table = self.tables[name]
        if "metric" in table:
            table = table[table["metric"] == PRIMARY_METRIC]
        return table.sort_values(list(by), kind="stable", key=lambda column: column.map(
            {value: number for number, value in enumerate(order[column.name])})).reset_index(drop=True)


def read_results(folder: Path, complete: bool = False) -> Results:
    """Read metrics/<profile>/.

    verdict.json and analysis_plan.json must exist; with `complete` all other files must, too, as the stage `report`
    requires. A missing or damaged file raises `UserError`.
    """
    folder = Path(folder)

    def json_file(name: str, needed: bool) -> Any:
        path = folder / name
        return records.read_json(path) if needed or path.exists() else {}

    def table(schema: records.Schema, needed: bool) -> pd.DataFrame:
        path = folder / schema.name
        return records.read_table(path, schema) if needed or path.exists() else schema.frame([])

    verdict, plan, data = (json_file(name, complete or name != "data.json") for name in JSON_FILES)
    tables = {name: table(schema, complete) for name, schema in TABLES.items()}
    made_from = [folder / name for name in (*(schema.name for schema in TABLES.values()), *JSON_FILES)]
    return Results(folder.name, verdict, plan, data, json_file("cost.json", False), tables,
                   table(records.TEST_ACCESS, False), folder, records.sha256(*filter(Path.exists, made_from)))


def is_widest(table: pd.DataFrame, *identity: str) -> pd.Series:
    """Mark the mean over architectures of what `identity` names or, where there is none, each architecture's row."""
    mean = table["arch"] == MEAN
    return mean | ~mean.groupby([table[name] for name in identity]).transform("any").astype(bool)
