"""Folds are pooled: each test image has the classifiers that never saw it, and scores that scikit-learn gives, too."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import PAPER
from synthplanes.records import INDEX, PREDICTED, RUNS, SPLITS
from synthplanes.statistics.convergence import check_convergence
from synthplanes.statistics.cross_validation import is_crossed, pooled
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.predictions import Predictions
from tests.statistics.selecting import find, keep_runs, with_columns

CLASSES, FOLDS, PATIENTS, SEEDS = ("a", "b"), 3, 60, 3
ARMS = ("real_short", "real", "real_two_stage", "real_long", "synthetic", "synthetic_then_real")


@pytest.fixture
def crossed():
    """Two images of each patient p, whose fold is p % 3; validation of fold f are the patients with p // 3 % 4 == f."""
    draw = np.random.default_rng(0)
    images = PREDICTED.frame(
        dict(image_id=f"p{p}-{c}", patient_id=f"p{p}", label=c, role="test", scanner="", operator="", sub_plane="")
        for p in range(PATIENTS) for c in CLASSES)
    splits = SPLITS.frame(
        dict(budget="all", replicate=f, image_id=f"p{p}-{c}",
             role="test" if p % FOLDS == f else "validation" if p // 3 % 4 == f else "train")
        for f in range(FOLDS) for p in range(PATIENTS) for c in CLASSES)
    runs = RUNS.frame(dict(arm=arm, arch="residual", budget="all", replicate=f, seed=s)
                                for arm in ARMS for f in range(FOLDS) for s in range(SEEDS))
    p = draw.random((len(runs), len(images), 1)).astype(np.float32)
    return Predictions(runs, images, np.concatenate([p, 1 - p], axis=2), CLASSES), splits


def settings(predictions) -> Settings:
    return Settings(source="table", simulated=False, margin=0.02, scarce_budget="all", folds=FOLDS, hypotheses=(PAPER,),
                    expected=frozenset(predictions.identities), root_seed=0)


def test_every_image_is_judged_by_the_fold_that_tests_it(crossed):
    predictions, splits = crossed
    one, held_out = pooled(predictions, splits)
    assert is_crossed(splits) and not is_crossed(held_out) and not is_crossed(None)
    assert set(one.identities) == {(*whose, 0, seed) for *whose, _, seed in predictions.identities}
    assert len(one.identities) == len(ARMS) * SEEDS
    test = one.rows("test")
    assert sorted(one.column("image_id")[test]) == sorted(predictions.images["image_id"])
    position = {name: row for row, name in enumerate(predictions.images["image_id"].tolist())}
    for run, (arm, arch, budget, replicate, seed) in enumerate(one.identities):
        assert replicate == 0
        for column in np.flatnonzero(test)[::7]:
            name = str(one.images["image_id"].iloc[column])
            fold = int(name[1:].split("-")[0]) % FOLDS
            theirs = predictions.identities.index((arm, arch, budget, fold, seed))
            assert np.array_equal(one.probabilities[run, column], predictions.probabilities[theirs, position[name]])


def test_validation_rows_are_those_of_their_fold(crossed):
    predictions, splits = crossed
    one, held_out = pooled(predictions, splits)
    planned = splits[splits["role"] == "validation"].reset_index(drop=True)
    names = [f"{row['image_id']} (fold {row['replicate']})" for row in planned.to_dict("records")]
    assert sorted(held_out["image_id"]) == sorted(names)
    row = predictions.images["image_id"].tolist().index(str(planned["image_id"][0]))
    fold = int(planned["replicate"][0])
    column = one.images["image_id"].tolist().index(f"{planned['image_id'][0]} (fold {fold})")
    for run, (arm, arch, budget, _, seed) in enumerate(one.identities):
        theirs = predictions.identities.index((arm, arch, budget, fold, seed))
        assert np.array_equal(one.probabilities[run, column], predictions.probabilities[theirs, row])
    assert check_convergence(one, 0.02, held_out).n_images == len(planned)


def test_the_verdict_speaks_of_the_collection(crossed):
    predictions, splits = crossed
    results = evaluate([predictions], settings(predictions), splits=splits)
    scores, verdict = results.tables["scores"], results.verdict
    assert "one for each fold" in verdict["overall"]["sentence"] or verdict["overall"]["reason"]
    assert verdict["overall"]["subject"] == "this collection of 3 synthetic sets"
    assert verdict["overall"]["n_generators"] == FOLDS and verdict["overall"]["n_images"] == 2 * PATIENTS
    assert (results.tables["contrasts"]["n_patients"] == PATIENTS).all()
    assert (results.tables["contrasts"]["n_seeds"] == SEEDS).all()
    assert set(scores["replicate"].tolist()) == {0}
    one, _ = pooled(predictions, splits)
    test = one.rows("test")
    for run, (arm, _, _, _, seed) in enumerate(one.identities):
        mine = ((scores["arm"] == arm) & (scores["seed"] == seed) & (scores["metric"] == "balanced_accuracy"))
        guess = np.array(CLASSES)[one.probabilities[run, test].argmax(axis=1)]
        assert scores["value"][mine].iloc[0] == pytest.approx(
            balanced_accuracy_score(one.column("label")[test], guess), abs=1e-6)


def test_what_the_metadata_tell_is_learned_in_the_fold_that_tests(crossed):
    """Of leave-one-scanner-out no fold knows the scanner that it tests."""
    predictions, splits = crossed
    scanner = [f"scanner {int(name[1:].split('-')[0]) % FOLDS}" for name in predictions.images["image_id"].tolist()]
    predictions = with_columns(predictions, scanner=scanner)
    development = predictions.images.assign(sha256="")[list(INDEX.columns)]
    tables = evaluate([predictions], settings(predictions), splits, development).tables
    assert {row["in_training"] for row in find(tables["slices"], slice="scanner")} == {"unseen"}
    unseen = {row["rule"]: row["share_unseen"] for row in find(tables["metadata_rules"])}
    assert unseen == pytest.approx({"majority": 0, "scanner": 1, "operator": np.nan}, nan_ok=True)
    folds = find(tables["folds"], contrast="fair")
    assert [row["fold"] for row in folds] == [*map(str, range(FOLDS)), "mean"]
    assert folds[-1]["n_patients"] == PATIENTS and folds[-1]["low"] < folds[-1]["estimate"] < folds[-1]["high"]
    assert sum(row["n_images"] for row in folds[:-1]) == folds[-1]["n_images"] == 2 * PATIENTS


def test_faults_are_sentences(crossed):
    predictions, splits = crossed
    twice = splits.assign(role=splits["role"].where(splits["image_id"] != "p5-a", "test"))
    with pytest.raises(UserError, match="'p5-a' tested by 3 folds"):
        pooled(predictions, twice)
    with pytest.raises(UserError, match="lack arm real_short, .* fold 0, seed 0"):
        pooled(keep_runs(predictions, np.arange(1, len(predictions.runs))), splits)
    fewer = predictions.images.iloc[:-1]
    with pytest.raises(UserError, match="lack the image 'p59-b'"):
        pooled(replace(predictions, images=fewer, probabilities=predictions.probabilities[:, :-1]), splits)
