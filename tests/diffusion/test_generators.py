"""Make all generators of a tiny profile: files on disk, counted work, and what is made again after a change."""

import shutil

import pytest

from synthplanes.data.selection import read_earlier
from synthplanes.diffusion import generators, sampling, training
from synthplanes.diffusion.denoiser import read_denoiser
from synthplanes.diffusion.generators import draw_synthetic_sets, train_generators, train_guides
from synthplanes.diffusion.guidance import read_guide
from synthplanes.diffusion.parts import ALONE
from synthplanes.protocol.cells import Paths
from synthplanes.records import GENERATOR_HISTORY, SYNTHETIC, read_array, read_json, read_table
from tests.tiny_cells import PER_CLASS, cell, tiny_profile, write_prepared

BOTH = ("scarce", "full")


@pytest.fixture
def root(tmp_path):
    write_prepared(tmp_path, BOTH)
    return tmp_path


@pytest.fixture
def work(monkeypatch):
    """Count the batches of denoiser training, trained guides and drawn batches."""
    counts = {"steps": 0, "guides": 0, "batches": 0}

    def counting(module, name, key):
        real = getattr(module, name)

        def counted(*arguments):
            counts[key] += 1
            return real(*arguments)
        monkeypatch.setattr(module, name, counted)

    counting(training, "backward", "steps")
    counting(generators, "train_guide", "guides")
    counting(sampling, "GuidedDenoiser", "batches")
    return counts


def make_all(root, profile=None):
    train_generators(cell(root, "train_diffusion", profile), ALONE)
    train_guides(cell(root, "train_guide", profile))
    draw_synthetic_sets(cell(root, "sample", profile), ALONE)


def test_a_generator_a_guide_and_a_set_of_every_budget(root):
    make_all(root, tiny_profile(BOTH))
    paths = Paths("tiny", root)
    for budget in BOTH:
        denoiser = read_denoiser(paths.replicate("generator", budget, 0))
        assert denoiser.configuration.learned_from == (f"phantom, {budget}",)
        assert not read_guide(paths.replicate("guide", budget, 0)).takes_estimate
        folder = paths.replicate("synthetic", budget, 0)
        index = read_table(folder / "index.csv", SYNTHETIC)
        assert read_array(folder / "images.npy").shape == (6, 16, 16) and set(index["budget"]) == {budget}
        assert (folder / "grid.png").exists()
        assert len(read_table(paths.replicate("generator", budget, 0) / "history.csv", GENERATOR_HISTORY)) == 1
        earlier = read_earlier(folder, [32, 64])
        assert [(seen, images.shape) for seen, images in earlier.items()] == [(64, (6, 16, 16))]
    own = {kind: read_json(paths.artifact(kind) / "cost.json")["items"] for kind in ("generator", "guide", "synthetic")}
    n_held_out = 2 * PER_CLASS // 3
    assert [(item["budget"], item["training_image_passes"], item["forward_image_passes"]) for item in own["generator"]
            ] == [("full", 64, 8 * n_held_out), ("scarce", 64, 8 * n_held_out)]
    assert [item["training_image_passes"] for item in own["guide"]] == [2 * 4] * 2
    passes = [(item["forward_image_passes"], item["training_image_passes"]) for item in own["synthetic"]]
    assert passes == [(24 + 24, 24)] * 2  # with as many images of an earlier moment, without guidance


def test_an_added_budget_makes_nothing_else_again(root, work):
    make_all(root)
    assert work == {"steps": 4, "guides": 1, "batches": 2}  # one of the set, one of an earlier moment
    make_all(root, tiny_profile(BOTH))
    assert work == {"steps": 8, "guides": 2, "batches": 4}
    make_all(root, tiny_profile(BOTH))
    assert work == {"steps": 8, "guides": 2, "batches": 4}
    make_all(root)
    assert work == {"steps": 8, "guides": 2, "batches": 4}
    stages = ("train_diffusion", "train_guide", "sample")
    kept = [len(list(cell(root, stage).checkpoints.iterdir())) for stage in stages]
    assert kept == [1, 1, 2]  # what the last run did not use is deleted


def test_a_change_makes_what_it_touches_again(root, work):
    make_all(root)
    profile = tiny_profile()
    guided = profile.model_copy(update=dict(train_guide=profile.train_guide.model_copy(update=dict(updates=3))))
    make_all(root, guided)
    assert work == {"steps": 4, "guides": 2, "batches": 4}  # sampling depends on the guide
    slower = profile.model_copy(update=dict(train_diffusion=profile.train_diffusion.model_copy(
        update=dict(learning_rate=1e-4))))
    make_all(root, slower)
    assert work == {"steps": 8, "guides": 3, "batches": 6}
    more = profile.model_copy(update=dict(sample=profile.sample.model_copy(update=dict(images_per_class=6))))
    draw_synthetic_sets(cell(root, "sample", more), ALONE)
    assert work["batches"] == 10


def test_a_guide_that_is_not_asked_for_is_not_trained(root, work):
    profile = tiny_profile()
    profile = profile.model_copy(update=dict(sample=profile.sample.model_copy(update=dict(guidance="auto"))))
    make_all(root, profile)
    assert work == {"steps": 4, "guides": 0, "batches": 2}
    assert files(Paths("tiny", root).artifact("guide")).keys() == {"cost.json"}
    make_all(root, profile.model_copy(update=dict(train_guide=profile.train_guide.model_copy(update=dict(updates=3)))))
    assert work == {"steps": 4, "guides": 0, "batches": 2}


def test_a_kept_generator_has_the_bytes_of_a_trained_one(root):
    own = cell(root, "train_diffusion")
    train_generators(own, ALONE)
    folder = own.paths.replicate("generator", "scarce", 0)
    first = files(folder)
    kept, = own.checkpoints.iterdir()
    # The best average, the early one and half-precision earlier ones, no optimiser's moments.
    assert kept.stat().st_size < 3 * len(first["weights.safetensors"])
    shutil.rmtree(folder)
    train_generators(own, ALONE)
    assert files(folder) == first


def files(folder):
    """The bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
