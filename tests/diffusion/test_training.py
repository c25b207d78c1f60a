"""Train on tiny images: same bytes twice, learning, patience, precision, and faults in one sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthplanes.diffusion import training
from synthplanes.diffusion.training import State, train
from synthplanes.errors import UserError
from tests.tiny_generator import squares, task

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train(task(), CPU)


def same(a: State, b: State) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def of_history(state: State, column: str) -> list:
    return [row[column] for row in state.history]


def test_same_bytes_twice(trained):
    again = train(task(), CPU)
    assert same(trained, again) and again.history == trained.history


def test_it_learns_and_counts(trained):
    losses = of_history(trained, "held_out_loss")
    assert losses[-1] < losses[0]
    assert of_history(trained, "images_seen") == [64, 128, 192, 256]
    assert trained.seen == 256


def test_the_early_average_is_of_an_earlier_moment(trained):
    assert any(not torch.equal(trained.early[name], trained.weights[name]) for name in trained.weights)
    assert train(task(early_average_fraction=0.0, images_seen=32), CPU).early == {}


def test_out_of_memory_names_the_batch_that_fits(monkeypatch):
    real = training.loss_per_image

    def small_memory(denoiser, clean, *others):
        if len(clean) > 5:
            raise torch.OutOfMemoryError
        return real(denoiser, clean, *others)

    monkeypatch.setattr(training, "loss_per_image", small_memory)
    with pytest.raises(UserError, match="batch_size 16 needs more memory than the cpu has: 4 fits"):
        train(task(), CPU)


def after(monkeypatch, patience: int, *curve: float, **changes) -> State:
    """Train with these held-out losses, one for each 64 images, in place of the measured ones."""
    losses = iter(curve)
    monkeypatch.setattr(training, "held_out_loss", lambda *_: next(losses))
    return train(task(patience_images=patience, **changes), CPU)


def test_it_ends_where_the_held_out_loss_no_longer_falls(monkeypatch, trained):
    ended = after(monkeypatch, 64, .5, .3, .4)
    assert of_history(ended, "images_seen") == [64, 128, 192] and ended.seen == 192
    waited = after(monkeypatch, 192, .5, .3, .4, .6)
    assert waited.seen == 256
    assert same(ended, waited) and not same(waited, trained)  # both kept the average of 128 images
    assert same(after(monkeypatch, 64, .5, .4, .3, .2), trained)  # the last was the best


def test_the_averages_of_earlier_moments_are_kept_at_doubling_numbers_of_looks_and_at_the_end(monkeypatch, trained):
    assert list(trained.earlier) == [64, 128, 256]
    assert all(torch.equal(trained.earlier[256][name], trained.weights[name].half()) for name in trained.weights)
    many = after(monkeypatch, 384, .5, .4, .3, .2, .3, .3, images_seen=384)
    assert list(many.earlier) == [64, 128, 256, 384]
    assert list(after(monkeypatch, 64, .5, .4, .3, .4, images_seen=640).earlier) == [64, 128, 256]


def test_the_held_out_loss_takes_evenly_spaced_images(monkeypatch):
    monkeypatch.setattr(training, "HELD_OUT_IMAGES", 4)
    own = replace(task(), held_out=squares(9))
    assert own.looked_at.image_ids.tolist() == ["i0", "i3", "i6"]
    assert replace(task(), held_out=squares(3)).looked_at.image_ids.tolist() == ["i0", "i1", "i2"]


def test_all_that_decides_the_result_is_part_of_its_identity():
    own = task().identity()
    others = [task(threads=2), task(learning_rate=1e-4), replace(task(), root_seed=2), replace(task(), replicate=1),
              replace(task(), learned_from="phantoms"), replace(task(), held_out=squares(12)),
              replace(task(), train_set=replace(squares(), scanners=np.full(24, "x")))]
    assert task().identity() == own and all(other.identity() != own for other in others)


def test_a_fault_is_one_sentence():
    with pytest.raises(UserError, match="loss is nan"):
        train(task(learning_rate=float("inf")), CPU)


def test_half_the_precision_trains_and_rounds(trained):
    rough = train(task(precision="bfloat16"), CPU)
    a, b = of_history(rough, "held_out_loss"), of_history(trained, "held_out_loss")
    assert not np.array_equal(a, b) and np.allclose(a, b, rtol=0.05)
    assert all(tensor.dtype == torch.float32 for tensor in rough.weights.values())
