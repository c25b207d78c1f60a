"""Train runs: the pools behind the controls, pairing across arms, and what each stage trains on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synthplanes.classification.fitting import schedule
from synthplanes.classification.runs import Task, images_of, stages_of, train_one
from synthplanes.compute.checkpoints import Checkpoints, images_sha256
from synthplanes.compute.weights import read_weights
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.arms import ARMS, single_stage_ratio
from synthplanes.protocol.profiles import read_profile


def labelled(n: int, seed: int, classes=("a", "b", "c")) -> LabelledImages:
    draw = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % len(classes))
    return LabelledImages(draw.integers(0, 255, (n, 16, 16)).astype(np.uint8), labels.astype(np.int64), np.full(n, ""),
                          np.array([f"{seed}-{i}" for i in range(n)]), classes)


POOLS = {"real": labelled(30, 0), "synthetic": labelled(60, 1), "fresh": labelled(60, 2)}
SHA256 = {name: images_sha256(images) for name, images in POOLS.items()}


@pytest.fixture
def recipe(repository):
    return read_profile("smoke", repository / "params.yaml").recipe.model_copy(
        update=dict(stage_1_updates=4, stage_2_updates=3, batch_size=8))


@pytest.fixture
def task(recipe, repository, tmp_path):
    architecture = read_profile("smoke", repository / "params.yaml").archs["residual"]

    def make(arm: str, **changes) -> Task:
        own = Task(ARMS[arm], "residual", architecture, recipe, replicate=0, seed=0, root_seed=5, pools=POOLS,
                   out=tmp_path / f"{arm}-s0.safetensors")
        return replace(own, **changes)
    return make


def same(a: Path, b: Path) -> bool:
    return a.read_bytes() == b.read_bytes()


def test_pools_of_the_controls(task):
    resampled = images_of(task("resampled"), "resampled")
    permuted_labels = images_of(task("permuted_labels"), "permuted_labels")
    assert len(resampled) == len(POOLS["synthetic"]) and set(resampled.image_ids) <= set(POOLS["real"].image_ids)
    assert np.array_equal(permuted_labels.images, POOLS["synthetic"].images)
    assert sorted(permuted_labels.labels) == sorted(POOLS["synthetic"].labels)
    assert not np.array_equal(permuted_labels.labels, POOLS["synthetic"].labels)
    assert images_of(task("oracle"), "fresh") is POOLS["fresh"]


def test_the_null_control_draws_classes_alike(task):
    few = replace(POOLS["real"], labels=np.array([0] * 28 + [1, 2]))
    many = labelled(3000, 1)
    counts = np.bincount(images_of(task("resampled", pools={"real": few, "synthetic": many}), "resampled").labels)
    assert np.all(np.abs(counts - 1000) < 100)


def test_arms_share_initialisation_and_batches(task):
    """Two arms of one seed differ only by their images: the same images give the same weights."""
    train_one(task("synthetic"))
    train_one(task("oracle", pools={**POOLS, "fresh": POOLS["synthetic"]}))
    assert same(task("synthetic").out, task("oracle").out)


def test_stages_of_an_arm(task, recipe):
    """(number, updates, peak over the architecture's) of every stage."""
    def stages(arm, **changes):
        rate = task(arm).architecture.learning_rate
        return [(number, stage.updates, pytest.approx(stage.peak_learning_rate / rate))
                for number, stage in stages_of(task(arm, **changes))]

    ratio = recipe.stage_2_learning_rate_ratio
    assert stages("real_short") == [(2, 3, 1.0)]
    assert stages("real") == [(1, 7, single_stage_ratio(recipe))]
    assert stages("real_long") == [(1, 14, single_stage_ratio(recipe))]
    assert stages("real_two_stage") == [(1, 4, 1.0), (2, 3, ratio)]
    assert stages("real_two_stage_long") == [(1, 8, 1.0), (2, 6, ratio)]
    for arm, updates in (("joint", 7), ("oracle_joint", 7), ("duplicate_joint", 7), ("duplicate_joint_long", 14),
                         ("real_equal_exposure", 2)):  # a quarter of 7 updates
        assert stages(arm) == [(1, updates, single_stage_ratio(recipe))]
    assert stages("synthetic") == [(1, 4, 1.0)]
    assert stages("synthetic_then_real", first_stage=Path("made")) == [(2, 3, ratio)]


@pytest.fixture
def portions(task, recipe):
    """The (pool, size, keeps statistics) of every portion of every stage; a quarter of a joint batch joins the rest."""
    uneven = recipe.model_copy(update=dict(joint_synthetic_fraction=0.25))

    def of(arm, **changes):
        names = {id(images): name for name, images in POOLS.items()}
        return [[(names[id(part.images)], part.size, part.keeps_statistics) for part in stage.portions]
                for _, stage in stages_of(task(arm, recipe=uneven, **changes))]
    return of


def test_what_a_batch_holds(portions):
    """Real images keep the batch-norm statistics of every joint batch, whatever joins them."""
    whole = ("real", 8, True)
    assert portions("real") == portions("real_long") == portions("real_equal_exposure") == [[whole]]
    assert portions("real_two_stage") == portions("real_two_stage_long") == [[whole], [whole]]
    assert portions("joint") == [[("real", 6, True), ("synthetic", 2, False)]]
    assert portions("oracle_joint") == [[("real", 6, True), ("fresh", 2, False)]]
    assert portions("duplicate_joint") == portions("duplicate_joint_long") == [[("real", 6, True), ("real", 2, False)]]
    assert portions("duplicate_joint", pools={"real": POOLS["real"]}) == portions("duplicate_joint")


def test_a_duplicate_is_worth_a_synthetic_image(portions):
    """`duplicate_joint` spends as many real and duplicate images in a batch as `joint` real and synthetic ones."""
    def spent(arm):
        (kept, joined), = portions(arm)
        return kept, joined[1:]

    assert spent("duplicate_joint") == spent("joint") == spent("oracle_joint")


def test_duplicates_train_as_joint_does_on_real_images_for_synthetic_ones(task):
    train_one(task("duplicate_joint", pools={"real": POOLS["real"]}))
    train_one(task("joint", pools={**POOLS, "synthetic": POOLS["real"]}))
    train_one(task("oracle_joint", pools={**POOLS, "fresh": POOLS["real"]}))
    train_one(task("real"))
    assert same(task("duplicate_joint").out, task("joint").out) and same(task("joint").out, task("oracle_joint").out)
    assert not same(task("duplicate_joint").out, task("real").out)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_equal_exposure_shows_as_many_real_images_as_joint(task, recipe, fraction):
    own = recipe.model_copy(update=dict(stage_1_updates=800, stage_2_updates=160, joint_synthetic_fraction=fraction))
    seen = {}
    for arm in ("joint", "real_equal_exposure"):
        (_, stage), = stages_of(task(arm, recipe=own))
        seen[arm] = stage.updates * stage.portions[0].size
    assert seen["real_equal_exposure"] == seen["joint"] == round((1 - fraction) * 960 * 8)


def test_every_arm_has_its_integral_of_the_learning_rate(task, recipe):
    """In units of the two-stage arms': 1 where the updates are P+T, and in proportion to the updates elsewhere."""
    own = recipe.model_copy(update=dict(stage_1_updates=800, stage_2_updates=160, joint_synthetic_fraction=0.75))

    def integral(arm, **changes):
        return sum(stage.peak_learning_rate * sum(schedule(update, stage.updates, own.warmup_fraction)
                                                  for update in range(stage.updates))
                   for _, stage in stages_of(task(arm, recipe=own, **changes)))

    unit = integral("real_two_stage")
    for arm, share in {"real": 1, "joint": 1, "oracle_joint": 1, "duplicate_joint": 1, "real_long": 2,
                       "real_two_stage_long": 2, "duplicate_joint_long": 2, "real_equal_exposure": 0.25}.items():
        assert integral(arm) == pytest.approx(share * unit, rel=1e-3), arm


def test_rehearsal_is_a_second_portion(task, recipe):
    rehearsing = recipe.model_copy(update=dict(rehearsal_fraction=0.25))
    (_, second), = stages_of(task("synthetic_then_real", recipe=rehearsing, first_stage=Path("made")))
    assert [(part.size, part.keeps_statistics) for part in second.portions] == [(6, True), (2, False)]
    (_, only), = stages_of(task("real_short", recipe=rehearsing))
    assert len(only.portions) == 1


def test_a_pupil_learns_from_its_teacher(task, tmp_path):
    train_one(task("real"))
    train_one(task("real_distilled", teacher=task("real").out))
    train_one(task("real_distilled", out=tmp_path / "alone"))
    assert not same(task("real_distilled").out, task("real").out)
    assert same(tmp_path / "alone", task("real").out)  # without a teacher the arm is `real`


def test_a_kept_classifier_is_not_trained_again(task, tmp_path, monkeypatch):
    own = task("real", piece=Checkpoints(tmp_path / "checkpoints").piece("real"))
    history = train_one(own)
    first = own.out.read_bytes()
    own.out.unlink()
    monkeypatch.setattr("synthplanes.classification.runs.fit", lambda *_: pytest.fail("trained again"))
    assert train_one(own) == history and own.out.read_bytes() == first


def test_all_that_decides_the_result_is_part_of_its_identity(task, recipe):
    def identity(arm="synthetic", sha256=SHA256, **changes):
        return task(arm, **changes).identity(sha256)

    own = identity()
    faster = task("synthetic").architecture.model_copy(update=dict(learning_rate=0.1))
    others = [identity(seed=1), identity(replicate=1), identity(root_seed=6), identity("real"), identity(arch="other"),
              identity(architecture=faster), identity(recipe=recipe.model_copy(update=dict(weight_decay=0.1))),
              identity(sha256={**SHA256, "real": "0"}), identity(sha256={**SHA256, "synthetic": "0"})]
    assert identity() == own and all(other != own for other in others)
    # What other runs there are, and images that the arm does not use, change nothing.
    assert identity(recipe=recipe.model_copy(update=dict(optional_arms={}))) == own
    assert identity(sha256={**SHA256, "fresh": "0"}) == own
    for arm in ("real", "duplicate_joint", "oracle_joint"):
        assert identity(arm, sha256={**SHA256, "synthetic": "0"}) == identity(arm)
    assert identity("oracle_joint", sha256={**SHA256, "fresh": "0"}) != identity("oracle_joint")
    assert identity("duplicate_joint", sha256={**SHA256, "real": "0"}) != identity("duplicate_joint")


def test_the_first_stage_is_part_of_the_identity(task, tmp_path):
    train_one(task("synthetic"))
    first = task("synthetic_then_real", first_stage=task("synthetic").out)
    before = first.identity(SHA256)
    train_one(task("synthetic", seed=1))
    assert first.identity(SHA256) != before
    train_one(first)
    a, b = read_weights(first.out), read_weights(task("synthetic").out)
    assert not all(torch.equal(a[name], b[name]) for name in a)
