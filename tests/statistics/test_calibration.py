"""The quick form of tests/benchmarks/calibration.py: a few designs, few worlds, the same targets."""

import json
from argparse import Namespace

import numpy as np
import pytest

from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast
from tests.benchmarks import calibration
from tests.benchmarks.calibration import MARGIN, Design, cells, grid, judged, misses
from tests.benchmarks.simulated_worlds import ACCURACY, ARMS, draw

WORLDS, EFFECTS = 400, (0.0, MARGIN)
QUICK = (Design("seed", "fetal_planes", 60, 6), Design("patient", "balanced", 60, 6),
         Design("generator", "fetal_planes", 60, 6))


def quick(design, effects=EFFECTS):
    return list(cells(design, judged(design, 0, range(WORLDS), effects), effects))


def failures(records):
    """Every miss but one: over two references `weaker` is meant to cover more than 95 %."""
    return [(cell["effect"], cell["references"], miss) for cell in records for miss in misses(cell)
            if cell["references"] == "one" or not miss.startswith("covers too much")]


@pytest.mark.parametrize("design", QUICK, ids=lambda design: design.name)
def test_coverage_and_false_words_meet_the_targets(design):
    records = quick(design)
    assert not failures(records)
    for cell in records:
        assert cell["false_word"][1] <= .05, cell                      # the lower end of its Wilson interval
        if cell["effect"] == 0 and cell["references"] == "equal":      # .025 a side and its Monte Carlo error
            assert all(cell["words"].get(word, [0])[0] < .045 for word in ("helps", "hurts")), cell


def patients_ignored(a, b, blocks):
    images = np.arange(len(blocks.of_image))
    return contrast(a, b, Blocks.balanced(blocks.stratum[blocks.of_image], images))


def units_ignored(a, b, blocks):
    same = (np.repeat(table.mean(axis=1, keepdims=True), 6, axis=1) for table in (a, b))
    return contrast(*same, blocks)


@pytest.mark.parametrize("wrong, design", [(patients_ignored, QUICK[1]), (units_ignored, QUICK[0])])
def test_a_wrong_interval_misses_the_same_targets(wrong, design, monkeypatch):
    monkeypatch.setattr(calibration, "contrast", wrong)
    found = failures(quick(design, (0.0,)))
    assert any(miss.startswith("covers too little") for _, _, miss in found)
    assert any(miss.startswith("says helps") for _, _, miss in found)


@pytest.mark.parametrize("dominant", ["generator", "patient"])
def test_the_effect_of_a_world_is_what_it_is_asked_to_be(dominant):
    """The closed form against the mean over many small worlds, for every arm and class."""
    effects, sums, counts = (0.0, -.04, .04), [], []
    for number in range(400):
        world = draw(Design(dominant, "balanced", 60, 6), 0, number)
        is_class = np.equal.outer(np.arange(len(ACCURACY)), world.labels).astype(float)      # [classes, images]
        sums.append([[is_class @ world.correct(arm, effect).mean(axis=0) for effect in effects] for arm in ARMS])
        counts.append(is_class.sum(axis=1))
    sums, counts = np.array(sums), np.array(counts)[:, None, None]        # [worlds, arms, effects, classes]
    share = sums.sum(axis=0) / counts.sum(axis=0)
    error = np.sqrt(np.square(sums - share * counts).sum(axis=0)) / counts.sum(axis=0)
    assert error.max() < .004
    assert (np.abs(share.mean(axis=2) - ACCURACY.mean() - effects) < .005).all()
    assert (np.abs(share[:, 0] - ACCURACY) < 4 * error[:, 0]).all()


def test_worlds_do_not_depend_on_how_they_are_shared_out():
    design = QUICK[2]
    parts = [judged(design, 0, range(2)), judged(design, 0, range(2, 5))]
    assert np.array_equal(np.concatenate(parts), judged(design, 0, range(5)))


def test_the_grid_has_every_level_and_every_pair_of_levels():
    designs = list(grid())
    assert len(designs) == len(set(designs)) == 45
    for one, other, n in (("dominant", "n_patients", 15), ("dominant", "n_units", 15), ("n_patients", "n_units", 9),
                          ("dominant", "classes", 10), ("classes", "n_units", 6)):
        assert len({(getattr(design, one), getattr(design, other)) for design in designs}) == n


def test_the_committed_table_has_every_cell_of_the_grid(repository):
    found = json.loads((repository / "metrics" / "calibration.json").read_text(encoding="utf-8"))
    expected = [(design.dominant, design.classes, design.n_patients, design.n_units, effect, references)
                for design in grid() for effect in calibration.EFFECTS for references in calibration.REFERENCES]
    keys = ("dominant", "classes", "patients", "units", "effect", "references")
    assert [tuple(cell[key] for key in keys) for cell in found["cells"]] == expected
    assert all(cell["worlds"] >= (2000 if cell["effect"] else 4000) for cell in found["cells"])
    assert found["summary"] == calibration.summary(found["cells"]) and found["power"] == calibration.power(found["cells"])
    assert len(found["power"]) == 45 * len(calibration.REFERENCES)
    no_effect, twice_the_margin = (np.array([row["helps"][str(effect)] for row in found["power"]]) for effect in (0., .04))
    assert (twice_the_margin > no_effect).all()


def test_the_table_is_written_one_cell_a_line(tmp_path):
    content = dict(cells=[dict(b=1, a=[2, 3]), dict(a=4)], worlds=5)
    calibration.write(tmp_path / "table.json", content)
    text = (tmp_path / "table.json").read_text(encoding="utf-8")
    assert json.loads(text) == content and '    {"a": [2, 3], "b": 1},\n' in text


def test_more_worlds_at_no_effect_leave_the_others_alone(monkeypatch):
    """The cells at no effect rest on all worlds, the others on the first ones, each as if asked for alone; so for every
    design of a queue, in portions that divide neither number."""
    monkeypatch.setattr(calibration, "PORTION", 2)
    asked = Namespace(worlds=3, worlds_at_no_effect=6, processes=1, root_seed=0)
    found = list(calibration.all_worlds(QUICK[:2], asked))
    fewer = list(calibration.all_worlds(QUICK[:2], Namespace(**vars(asked) | dict(worlds_at_no_effect=0))))
    assert [design for design, _ in found] == [design for design, _ in fewer] == list(QUICK[:2])
    for (design, worlds), (_, without) in zip(found, fewer):
        first, null = judged(design, 0, range(3)), judged(design, 0, range(6), (0.0,))
        own = list(calibration.all_cells(design, worlds))
        assert own[:3] == list(cells(design, null, (0.0,))) and [cell["worlds"] for cell in own] == [6] * 3 + [3] * 9
        assert own[3:] == list(cells(design, first))[3:]
        assert list(calibration.all_cells(design, without)) == list(cells(design, first))
