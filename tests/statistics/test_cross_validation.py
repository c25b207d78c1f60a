"""Folds pooled: each test image by the nets that never saw it, in scores that scikit-learn gives, too."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from synthplanes.errors import UserError
from synthplanes.records import INDEX, PREDICTED, RUNS, SPLITS, Table
from synthplanes.statistics.cross_validation import all_pooled, is_crossed, pooled, pooled_cells
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.convergence import measure
from synthplanes.statistics.predictions import Predictions
from synthplanes.protocol.settings import Settings

CLASSES, FOLDS, PATIENTS, SEEDS = ("a", "b"), 3, 60, 3
ARMS = ("real_short", "real", "real_two_stage", "real_long", "synthetic", "synthetic_then_real")


@pytest.fixture
def crossed():
    """Two images of each patient p, whose fold is p % 3; validation of fold f are the patients with p // 3 % 4 == f."""
    draw = np.random.default_rng(0)
    images = Table.of_rows(PREDICTED, (
        dict(image_id=f"p{p}-{c}", patient_id=f"p{p}", label=c, role="test", scanner="", operator="", sub_plane="")
        for p in range(PATIENTS) for c in CLASSES))
    splits = Table.of_rows(SPLITS, (
        dict(budget="all", replicate=f, image_id=f"p{p}-{c}",
             role="test" if p % FOLDS == f else "validation" if p // 3 % 4 == f else "train")
        for f in range(FOLDS) for p in range(PATIENTS) for c in CLASSES))
    runs = Table.of_rows(RUNS, (dict(arm=arm, arch="residual", budget="all", replicate=f, seed=s)
                                for arm in ARMS for f in range(FOLDS) for s in range(SEEDS)))
    p = draw.random((len(runs), len(images), 1)).astype(np.float32)
    return Predictions(runs, images, np.concatenate([p, 1 - p], axis=2), CLASSES), splits


def settings(predictions) -> Settings:
    return Settings(source="table", simulated=False, margin=0.02, scarce_budget="all", folds=FOLDS,
                    expected=frozenset(predictions.cells), root_seed=0)


def test_every_image_is_judged_by_the_fold_that_tests_it(crossed):
    predictions, splits = crossed
    one, held_out = pooled(predictions, splits)
    assert is_crossed(splits) and not is_crossed(held_out) and not is_crossed(None)
    assert set(one.cells) == pooled_cells(frozenset(predictions.cells)) and len(one.cells) == len(ARMS) * SEEDS
    test = one.rows("test")
    assert sorted(one.images["image_id"][test]) == sorted(predictions.images["image_id"])
    position = {name: row for row, name in enumerate(predictions.images["image_id"].tolist())}
    for run, (arm, arch, budget, replicate, seed) in enumerate(one.cells):
        assert replicate == 0
        for column in np.flatnonzero(test)[::7]:
            name = str(one.images["image_id"][column])
            fold = int(name[1:].split("-")[0]) % FOLDS
            theirs = predictions.cells.index((arm, arch, budget, fold, seed))
            assert np.array_equal(one.probabilities[run, column], predictions.probabilities[theirs, position[name]])


def test_validation_rows_are_those_of_their_fold(crossed):
    predictions, splits = crossed
    one, held_out = pooled(predictions, splits)
    planned = splits.select(splits["role"] == "validation")
    assert sorted(held_out["image_id"]) == sorted(f"{row['image_id']} (fold {row['replicate']})" for row in planned.rows())
    row = predictions.images["image_id"].tolist().index(str(planned["image_id"][0]))
    fold = int(planned["replicate"][0])
    column = one.images["image_id"].tolist().index(f"{planned['image_id'][0]} (fold {fold})")
    for run, (arm, arch, budget, _, seed) in enumerate(one.cells):
        theirs = predictions.cells.index((arm, arch, budget, fold, seed))
        assert np.array_equal(one.probabilities[run, column], predictions.probabilities[theirs, row])
    assert measure(one, 0.02, held_out).n_images == len(planned)


def test_the_verdict_speaks_of_the_collection(crossed):
    predictions, splits = crossed
    scores, verdict = evaluate([predictions], settings(predictions), splits=splits)
    assert "one for each fold" in verdict["overall"]["sentence"] or verdict["overall"]["reason"]
    assert verdict["overall"]["subject"] == "this collection of 3 synthetic sets"
    assert verdict["overall"]["n_generators"] == FOLDS and verdict["overall"]["n_images"] == 2 * PATIENTS
    assert all(record["n_patients"] == PATIENTS and record["n_seeds"] == SEEDS for record in verdict["records"])
    assert set(scores["replicate"].tolist()) == {0}
    one, _ = all_pooled([predictions], splits)
    test = one[0].rows("test")
    for run, (arm, _, _, _, seed) in enumerate(one[0].cells):
        mine = ((scores["arm"] == arm) & (scores["seed"] == seed) & (scores["metric"] == "balanced_accuracy"))
        guess = np.array(CLASSES)[one[0].probabilities[run, test].argmax(axis=1)]
        assert scores["value"][mine][0] == pytest.approx(balanced_accuracy_score(one[0].images["label"][test], guess), abs=1e-6)


def test_what_the_metadata_tell_is_learned_in_the_fold_that_tests(crossed):
    """Of leave-one-scanner-out no fold knows the scanner that it tests."""
    predictions, splits = crossed
    scanner = [f"scanner {int(name[1:].split('-')[0]) % FOLDS}" for name in predictions.images["image_id"].tolist()]
    predictions = replace(predictions, images=predictions.images.with_columns(scanner=scanner))
    development = Table.of_rows(INDEX, ({name: row.get(name, "") for name in INDEX.columns}
                                        for row in predictions.images.rows()))
    _, verdict = evaluate([predictions], settings(predictions), splits=splits, development=development)
    assert {row["in_training"] for row in verdict["slices"] if row["slice"] == "scanner"} == {"unseen"}
    unseen = {row["rule"]: row["share_unseen"] for row in verdict["metadata_baselines"]}
    assert unseen == {"majority": 0, "scanner": 1, "operator": None}


def test_faults_are_sentences(crossed):
    predictions, splits = crossed
    twice = splits.with_columns(role=np.where(splits["image_id"] == "p5-a", "test", splits["role"]))
    with pytest.raises(UserError, match="'p5-a' tested by 3 folds"):
        pooled(predictions, twice)
    lacking = replace(predictions, runs=predictions.runs.select(np.arange(1, len(predictions.runs))),
                      probabilities=predictions.probabilities[1:])
    with pytest.raises(UserError, match="lack arm real_short, .* fold 0, seed 0"):
        pooled(lacking, splits)
    fewer = predictions.images.select(np.arange(len(predictions.images) - 1))
    with pytest.raises(UserError, match="lack the image 'p59-b'"):
        pooled(replace(predictions, images=fewer, probabilities=predictions.probabilities[:, :-1]), splits)
