"""Runs of a cell: the pools behind the controls, files on disk, pairing across arms, and prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthplanes.protocol.arms import ARMS
from synthplanes.classification.prediction import Trained, predict
from synthplanes.classification.runs import Task, images_of, second_stage, train_cell, train_one
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.profiles import read_profile
from synthplanes.records import CLASSIFIER_HISTORY, read_table
from synthplanes.protocol.config import Architecture
from synthplanes.compute.weights import read_weights


def labelled(n: int, seed: int, classes=("a", "b", "c")) -> LabelledImages:
    draw = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % len(classes))
    return LabelledImages(draw.integers(0, 255, (n, 16, 16)).astype(np.uint8), labels.astype(np.int64), np.full(n, ""),
                          np.array([f"{seed}-{i}" for i in range(n)]), classes)


POOLS = {"real": labelled(30, 0), "synthetic": labelled(60, 1), "fresh": labelled(60, 2)}


@pytest.fixture
def smoke(repository):
    profile = read_profile("smoke", repository / "params.yaml")
    recipe = profile.recipe.model_copy(update=dict(stage_1_updates=4, stage_2_updates=3, batch_size=8))
    return profile.model_copy(update=dict(recipe=recipe, compute=profile.compute.model_copy(update=dict(processes=1))))


def task(profile, name, out, seed=0, start=None):
    return Task(ARMS[name], seed, 0, "residual", profile.used_archs()["residual"], profile.recipe, 5, POOLS, start, out)


def test_pools_of_the_controls(smoke, tmp_path):
    one = task(smoke, "null", tmp_path / "x")
    null, poison = images_of(one, "null"), images_of(one, "poison")
    assert len(null) == len(POOLS["synthetic"]) and set(null.image_ids) <= set(POOLS["real"].image_ids)
    assert np.array_equal(poison.images, POOLS["synthetic"].images)
    assert sorted(poison.labels) == sorted(POOLS["synthetic"].labels)
    assert not np.array_equal(poison.labels, POOLS["synthetic"].labels)
    assert images_of(one, "fresh") is POOLS["fresh"]


def test_arms_share_initialisation_and_batches(smoke, tmp_path):
    """real and null-free two-stage arms of one seed differ only by their images: same images, same weights."""
    train_one(task(smoke, "synthetic", tmp_path / "synthetic-s0.safetensors"))
    swapped = {**POOLS, "fresh": POOLS["synthetic"]}
    other = task(smoke, "oracle", tmp_path / "oracle-s0.safetensors")
    train_one(Task(**{**other.__dict__, "pools": swapped}))
    a, b = (read_weights(tmp_path / f"{name}-s0.safetensors") for name in ("synthetic", "oracle"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_rehearsal_is_a_second_portion(smoke, tmp_path):
    rehearsing = smoke.model_copy(update=dict(recipe=smoke.recipe.model_copy(update=dict(rehearsal_share=0.25))))
    portions = second_stage(task(rehearsing, "synthetic_then_real", tmp_path / "x"))
    assert [(p.size, p.keeps_statistics) for p in portions] == [(6, True), (2, False)]
    assert len(second_stage(task(rehearsing, "real_short", tmp_path / "x"))) == 1


def test_a_cell_twice_gives_the_same_bytes_for_any_number_of_processes(smoke, tmp_path):
    two = smoke.model_copy(update=dict(compute=smoke.compute.model_copy(update=dict(processes=2))))
    train_cell("pretrain", smoke, "residual", [POOLS], tmp_path / "one")
    train_cell("pretrain", two, "residual", [POOLS], tmp_path / "two")
    files = sorted(p.name for p in (tmp_path / "one" / "r0").iterdir())
    assert len(files) == 4 * smoke.replication.seeds + 1  # synthetic, oracle, null, poison, and the history
    for name in files:
        assert (tmp_path / "one" / "r0" / name).read_bytes() == (tmp_path / "two" / "r0" / name).read_bytes()

    train_cell("finetune", smoke, "residual", [POOLS], tmp_path / "fine", tmp_path / "one")
    trained = [Trained("synthetic_then_real", seed, 0, tmp_path / "fine" / "r0" / f"synthetic_then_real-s{seed}.safetensors")
               for seed in range(2)]
    p = predict(trained, Architecture(model="test_resnet", learning_rate=0.003, options={}), 3, POOLS["real"].images, torch.device("cpu"))
    assert p.shape == (2, 30, 3) and p.dtype == np.float32 and np.allclose(p.sum(axis=2), 1, atol=1e-5)
    assert not np.array_equal(p[0], p[1])


def test_a_pupil_learns_from_the_teacher_of_its_seed(smoke, tmp_path):
    for processes in (1, 2):
        profile = smoke.model_copy(update=dict(compute=smoke.compute.model_copy(update=dict(processes=processes))))
        train_cell("baseline", profile, "residual", [POOLS], tmp_path / str(processes))
    one, two = (tmp_path / str(processes) / "r0" for processes in (1, 2))
    names = sorted(path.name for path in one.iterdir())
    assert {f"real_{rival}-s1.safetensors" for rival in ("augmented", "by_patient", "distilled")} <= set(names)
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    history = read_table(one / "history.csv", CLASSIFIER_HISTORY)
    assert history["arm"][-1] == "real_distilled"  # after the others, its teacher among them
    pupil = task(smoke, "real_distilled", tmp_path / "pupil-s0.safetensors")
    train_one(replace(pupil, root_seed=smoke.replication.root_seed, teacher=one / "real-s0.safetensors"))
    taught, (a, b) = read_weights(one / "real_distilled-s0.safetensors"), (
        read_weights(tmp_path / "pupil-s0.safetensors"), read_weights(one / "real-s0.safetensors"))
    assert all(torch.equal(taught[k], a[k]) for k in a) and not all(torch.equal(taught[k], b[k]) for k in b)


def test_a_cell_of_no_arms_is_an_empty_history(smoke, tmp_path):
    nothing = smoke.model_copy(update=dict(recipe=smoke.recipe.model_copy(update=dict(mixed_archs=[]))))
    assert train_cell("joint", nothing, "residual", [POOLS], tmp_path) == {}
    assert [path.name for path in (tmp_path / "r0").iterdir()] == ["history.csv"]
