"""Training and sampling on tiny images: same bytes twice, learning, and independence of the batch size."""

import numpy as np
import pytest
import torch
from tests.tiny_generator import PARAMETERS, SAMPLE, squares

from synthplanes.diffusion import training
from synthplanes.diffusion.batches import draw_chances
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.errors import UserError


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))


def test_same_bytes_twice(trained):
    again = training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(trained.tensors.values(), again.tensors.values()))
    assert again.history.rows() == trained.history.rows()


def test_it_learns_and_counts(trained):
    losses = trained.history["held_out_loss"]
    assert losses[-1] < losses[0]
    assert trained.history["images_seen"].tolist() == [64, 128, 192, 256]
    assert trained.training_image_passes == 256 and trained.forward_image_passes == 4 * 8 * 6


def test_samples_do_not_depend_on_the_batch_size(trained):
    denoiser = Denoiser(trained.configuration)
    denoiser.load_state_dict(trained.tensors)
    index = plan(squares(), denoiser.configuration.scanners, SAMPLE, "scarce", 0, root_seed=1)
    six, passes, _ = draw(denoiser, None, index, SAMPLE, torch.device("cpu"))
    one, _, _ = draw(denoiser, None, index, SAMPLE.model_copy(update=dict(batch_size=1)), torch.device("cpu"))
    side_by_side, _, _ = draw(denoiser, None, index, SAMPLE.model_copy(update=dict(batch_size=1)),
                              torch.device("cpu"), workers=2)
    assert np.array_equal(side_by_side, one)
    # Convolutions of another batch size may round differently: a grey level at most.
    assert np.abs(six.astype(int) - one.astype(int)).max() <= 1
    assert index["label"].tolist() == ["a"] * 3 + ["b"] * 3 and set(index["scanner"].tolist()) <= {"x", "y"}
    assert passes == 6 * 4 * 2


def drawn(trained, sample, **more):
    denoiser = Denoiser(trained.configuration)
    denoiser.load_state_dict(trained.tensors)
    index = plan(squares(), denoiser.configuration.scanners, sample, "scarce", 0, root_seed=1)
    return index, draw(denoiser, more.pop("guide", None), index, sample, torch.device("cpu"), **more)


def test_the_plan_is_a_table_of_class_and_scanner(trained):
    index, (images, *_) = drawn(trained, SAMPLE.model_copy(update=dict(plan={"b": {"x": 2, "": 1}})))
    rows = [(row["label"], row["scanner"]) for row in index.rows() if row["label"] == "b"]
    assert rows == [("b", "x"), ("b", "x"), ("b", "")] and index["label"].tolist().count("a") == 3
    for wrong in ({"c": {"x": 1}}, {"a": {"z": 1}}):
        with pytest.raises(UserError, match="sample.plan in params.yaml names '[cz]'"):
            plan(squares(), ("x", "y"), SAMPLE.model_copy(update=dict(plan=wrong)), "scarce", 0, 1)


def test_a_little_noise_leaves_the_real_image_and_its_name(trained):
    near = SAMPLE.model_copy(update=dict(start="real", start_noise=0.03, scanners="as_in_class", guidance="none"))
    index, (images, *_) = drawn(trained, near, real=squares())
    place = {image_id: row for row, image_id in enumerate(squares().image_ids)}
    sources = [place[source] for source in index["source"]]
    assert [("a", "b")[label] for label in squares().labels[sources]] == index["label"].tolist()
    assert [squares().scanners[row] for row in sources] == index["scanner"].tolist()
    assert np.abs(images.astype(int) - squares().images[sources]).mean() < 15
    far, (others, *_) = drawn(trained, near.model_copy(update=dict(start_noise=20.0)), real=squares())
    assert np.abs(others.astype(int) - squares().images[sources]).mean() > 30
    assert drawn(trained, SAMPLE)[0]["source"].tolist() == [""] * 6


def test_every_solver_and_the_early_average_draw(trained):
    early = Denoiser(trained.configuration)
    early.load_state_dict(trained.early)
    assert any(not torch.equal(trained.early[name], trained.tensors[name]) for name in trained.tensors)
    for solver, passes in (("multistep", 4), ("heun", 7), ("ancestral", 4)):
        sample = SAMPLE.model_copy(update=dict(solver=solver, guidance="none"))
        assert drawn(trained, sample)[1][1] == 6 * passes
    auto = SAMPLE.model_copy(update=dict(guidance="auto"))
    assert drawn(trained, auto, guide=early)[1][1] == 6 * 4 * 2
    with pytest.raises(UserError, match="no early average was kept"):
        drawn(trained, auto)


def test_coarse_images_cost_a_quarter():
    half = PARAMETERS.model_copy(update=dict(coarse_share=0.5, early_average_share=0.0))
    found = training.train(squares(), squares(6), half, 1, 0, torch.device("cpu"))
    assert found.training_image_passes == 128 + 128 // 4 and found.early == {}
    assert found.history["images_seen"].tolist() == [64, 128, 192, 256]


def test_out_of_memory_names_the_batch_that_fits(monkeypatch):
    real = training.loss_per_image

    def small_memory(denoiser, clean, *others):
        if len(clean) > 5:
            raise torch.OutOfMemoryError
        return real(denoiser, clean, *others)

    monkeypatch.setattr(training, "loss_per_image", small_memory)
    with pytest.raises(UserError, match="batch_size 16 needs more memory than the cpu has: 4 fits"):
        training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))


def test_with_patience_it_ends_where_the_held_out_loss_no_longer_falls(monkeypatch, trained):
    def after(patience: int, *curve: float) -> training.Trained:
        told = iter(curve)
        monkeypatch.setattr(training, "held_out_loss", lambda *_: next(told))
        return training.train(squares(), squares(6), PARAMETERS.model_copy(update=dict(patience_images=patience)), 1, 0,
                              torch.device("cpu"))

    def same(a: training.Trained, b: training.Trained) -> bool:
        return all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)

    ended = after(64, .5, .3, .4)
    assert ended.history["images_seen"].tolist() == [64, 128, 192] and ended.training_image_passes == 192
    waited = after(192, .5, .3, .4, .6)
    assert waited.training_image_passes == 256
    assert same(ended, waited) and not same(waited, trained)  # both kept the average of 128 images
    assert same(after(64, .5, .4, .3, .2), trained)           # the last was the best


def test_balanced_draws():
    labels = np.array([0] * 90 + [1] * 10)
    chances = draw_chances(labels, class_balance=1.0)
    assert chances[labels == 1].sum().item() == pytest.approx(0.5) and chances.sum().item() == pytest.approx(1.0)
    assert torch.allclose(draw_chances(labels, 0.0), torch.full((100,), 0.01, dtype=torch.float64))


def test_faults_are_one_sentence():
    with pytest.raises(UserError, match="image_size 16 is no multiple of 64"):
        network = PARAMETERS.network.model_copy(update=dict(unshuffle=8, channels=[16, 16, 16, 16]))
        training.configure(squares(), PARAMETERS.model_copy(update=dict(network=network)), ())
    with pytest.raises(UserError, match="loss is nan"):
        training.train(squares(), squares(6), PARAMETERS.model_copy(update=dict(learning_rate=float("inf"))), 1, 0,
                       torch.device("cpu"))
    with pytest.raises(UserError, match="no guide was trained"):
        denoiser = Denoiser(training.configure(squares(), PARAMETERS, ()))
        draw(denoiser, None, plan(squares(), (), SAMPLE, "scarce", 0, 1),
             SAMPLE.model_copy(update=dict(guidance="classifier")), torch.device("cpu"))


def test_half_the_precision_trains_and_rounds():
    rough = training.train(squares(), squares(6), PARAMETERS.model_copy(update=dict(precision="bfloat16")), 1, 0,
                           torch.device("cpu"))
    exact = training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))
    a, b = rough.history["held_out_loss"], exact.history["held_out_loss"]
    assert not np.array_equal(a, b) and np.allclose(a, b, rtol=0.05)
    assert all(tensor.dtype == torch.float32 for tensor in rough.tensors.values())
