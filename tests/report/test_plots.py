"""What `dvc plots show` draws: templates that DVC fills and whose fields are columns of the tables."""

import json
import re
from pathlib import Path

import pytest
from dvc_render.vega import VegaRenderer
from ruamel.yaml import YAML

from synthplanes import records
from synthplanes.protocol.contrasts import ROLES
from synthplanes.report.results import TABLES

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".dvc" / "plots"
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PLOTS = {name: plot for entry in PIPELINE["plots"] for name, plot in entry.items()}


def table_of(plot: dict) -> tuple[str, str]:
    """Return the name of the table and of the column on the y axis."""
    (path, column), = plot["y"].items()
    assert path.startswith("metrics/${profile}/")
    return Path(path).stem, column


def filled(plot: dict, rows: list[dict]) -> dict:
    """Fill a plot's template as DVC does."""
    return VegaRenderer([{**row, "rev": "workspace"} for row in rows], "plot", template=plot["template"],
                        template_dir=str(TEMPLATES), x=plot["x"], y=table_of(plot)[1],
                        title=plot["title"]).get_filled_template()


def names_in(specification: dict) -> tuple[set[str], set[str]]:
    """Return the fields that a specification reads and those that its transforms make."""
    text = json.dumps(specification)
    read = set(re.findall(r'"field": "([^"]+)"', text))
    read |= {name for names in re.findall(r"datum\.(\w+)|datum\['([^']+)'\]", text) for name in names if name}
    lists = {key: {name for names in re.findall(rf'"{key}": \[([^\]]+)\]', text)
                   for name in re.findall('"([^"]+)"', names)} for key in ("groupby", "fold", "as")}
    return read | lists["groupby"] | lists["fold"], set(re.findall(r'"as": "([^"]+)"', text)) | lists["as"]


def test_contrasts_levels_learning_curve_and_confusion_are_declared():
    assert set(PLOTS) == {"contrasts", "levels", "generator_curve", "confusion"} == {
        table_of(plot)[0] for plot in PLOTS.values()}
    assert {plot["template"] for plot in PLOTS.values()} == {path.stem for path in TEMPLATES.glob("*.json")}
    assert not [stage for stage, entry in PIPELINE["stages"].items() if "plots" in entry]  # DVC would draw them twice


@pytest.mark.parametrize("name", PLOTS)
def test_dvc_fills_the_template_with_columns_that_exist(name, finished):
    schema = TABLES[name]
    rows = records.read_table(finished / "metrics" / "tiny" / schema.name, schema).astype(str).to_dict("records")
    specification = filled(PLOTS[name], rows)
    assert "<DVC_METRIC" not in json.dumps(specification) and len(specification["data"]["values"]) == len(rows)
    specification["data"] = {}
    read, made = names_in(specification)
    assert read - made - {"value"} <= set(schema.columns) | {"rev"}


def test_every_role_has_a_colour_and_a_shape():
    text = (TEMPLATES / "contrasts.json").read_text(encoding="utf-8")
    domains = [set(re.findall(r'"(\w+)"', part)) for part in re.findall(r'"domain": (\[[^\]]+\])', text)]
    assert domains.count(set(ROLES)) == 2
