"""`fit`: learning, pairing by seed, separate batch-norm statistics, the schedule, equal learning-rate integrals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from synthplanes.classification import flattening
from synthplanes.classification.augmentation import ANGLE, ERASED, SCALE, SHIFT, augment, augment_strongly
from synthplanes.classification.fitting import (Portion, batch_norm_statistics, class_balanced, fit, patient_balanced,
                                                schedule)
from synthplanes.classification.flattening import Flattened
from synthplanes.classification.networks import build
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import read_profile
from synthplanes.protocol.config import Architecture, Recipe

RECIPE = Recipe.model_validate(dict(
    stage_1_updates=30, stage_2_updates=20, batch_size=16, stage_2_learning_rate_ratio=0.5,
    weight_decay=0.05, label_smoothing=0.0, warmup_fraction=0.1, ema_halflife_updates=4, augmentation=0.3,
    rehearsal_share=0.0, mixed_synthetic_share=0.5, mixed_archs=[], plateau_seeds=1, controls=[], control_archs=[],
    rivals=[], rival_archs=[]))


def squares(n: int = 48, brightness: int = 200) -> LabelledImages:
    """Bright bars above (class a) or below (class b)."""
    labels = np.arange(n) % 2
    images = np.zeros((n, 16, 16), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 8 * label:8 * label + 8] = brightness - row
    return LabelledImages(images, labels.astype(np.int64), np.full(n, ""), np.array([str(i) for i in range(n)]),
                          ("a", "b"))


def network():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build(Architecture(model="test_resnet", learning_rate=0.003, options={}), 2, 16)


def test_it_learns_and_repeats_itself():
    results = []
    for _ in range(2):
        net = network()
        history = fit(net, [Portion(squares(), 16, True)], 40, 3e-3, RECIPE, 7, torch.device("cpu"))
        results.append(net.state_dict())
        assert history[-1][1] < 0.5 * history[0][1]
    assert all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values()))


def test_tensors_of_a_row_begin_where_they_may(monkeypatch):
    monkeypatch.setattr(flattening, "alignment", lambda device: 16)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 5, 1))  # odd sizes
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flat = Flattened(net)
    own = [*net.parameters(), *(one for one in net.buffers() if one.is_floating_point())]
    for row, pieces in ((flat.values, own), (flat.gradients, [one.grad for one in net.parameters()])):
        begins = [(one.data_ptr() - row.data_ptr()) // 4 for one in pieces]
        assert len(set(begins)) == len(begins) and all(begin % 16 == 0 for begin in begins)
    assert len(flat.values) == 16 * (2 + 1 + 1 + 1 + 1 + 1 + 1 + 1) and flat.values.count_nonzero() <= 27 + 3 + 15 + 5 + 12
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("step", [1, 16])
def test_a_row_of_numbers_trains_as_separate_tensors_do(step, monkeypatch):
    """One update by torch's AdamW on each tensor, and its average of weights, are the reference."""
    monkeypatch.setattr(flattening, "alignment", lambda device: step)
    rows, plain = network().to(memory_format=torch.channels_last), network().to(memory_format=torch.channels_last)
    flat = Flattened(rows)
    groups = [dict(params=[p for p in plain.parameters() if p.ndim > 1], weight_decay=0.3),
              dict(params=[p for p in plain.parameters() if p.ndim <= 1], weight_decay=0.0)]
    # A large eps, or Adam makes whole steps of gradients that are nothing but rounding.
    theirs = torch.optim.AdamW(groups, lr=3e-3, eps=1e-3)
    ours = torch.optim.AdamW([dict(params=[flat.decayed], weight_decay=0.3),
                              dict(params=[flat.others], weight_decay=0.0)], lr=3e-3, eps=1e-3, fused=True)
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    for _ in range(3):
        flat.gradients.zero_()
        theirs.zero_grad()
        for net, optimiser in ((rows, ours), (plain, theirs)):
            net.train()(images).square().sum().backward()
            optimiser.step()
    flat.release(flat.values)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(rows.state_dict().values(), plain.state_dict().values()))
    assert rows.body.conv1[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert len({one.untyped_storage().data_ptr() for one in rows.parameters()}) == len(list(rows.parameters()))
    twice = Flattened(rows)
    twice.release(2 * twice.values)
    assert torch.allclose(rows.body.fc.weight, 2 * plain.body.fc.weight, atol=2e-5)


def test_augmentation_warps_as_torch_says(monkeypatch):
    """Its grid of places against `affine_grid`'s, and through it against the definition of every size."""
    grids = []
    monkeypatch.setattr(functional, "grid_sample", lambda images, grid, **_: grids.append(grid) or images)
    augment(torch.zeros(7, 1, 12, 20), 1.0, torch.Generator().manual_seed(5))
    draw = torch.Generator().manual_seed(5)
    amount = 2 * torch.rand(7, 5, generator=draw) - 1
    flip = torch.where(torch.rand(7, generator=draw) < 0.5, -1.0, 1.0)
    scale, angle = 1 + SCALE * amount[:, 0], ANGLE * amount[:, 1]
    theta = torch.zeros(7, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * flip * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * flip * angle.sin(), scale * angle.cos()
    theta[:, :, 2] = 2 * SHIFT * amount[:, 2:4]
    assert torch.allclose(grids[0], functional.affine_grid(theta, [7, 1, 12, 20], align_corners=False), atol=1e-6)


def test_other_portions_leave_batch_norm_statistics_alone():
    net = network().train()
    layers = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    images = torch.rand(8, 1, 16, 16)
    with batch_norm_statistics(layers, kept=False):
        net(images)
    assert before and all(torch.equal(before[k], net.state_dict()[k]) for k in before)
    with batch_norm_statistics(layers, kept=True):
        net(images)
    assert any(not torch.equal(before[k], net.state_dict()[k]) for k in before)


def test_schedule_rises_then_falls_to_zero():
    values = [schedule(update, 100, 0.1) for update in range(100)]
    assert np.argmax(values) in (9, 10) and values[-1] < 1e-3 and 0 < values[0] < 0.1
    # Warm-up and half cosine both average one half: every stage's integral is half its updates times its peak.
    assert np.mean(values) == pytest.approx(0.5, abs=1e-3)


def test_class_balance():
    labels = np.array([0] * 9 + [2])
    assert class_balanced(labels)[labels == 2].sum() == pytest.approx(0.5)


def test_patient_balance():
    """Of class a patient p has three images and q one; class b has one patient with two images."""
    images = replace(squares(6), labels=np.array([0, 0, 0, 0, 1, 1]), patient_ids=np.array(list("pppqqq")))
    assert np.allclose(patient_balanced(images), [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])
    assert np.allclose(patient_balanced(replace(images, patient_ids=None)), class_balanced(images.labels))
    assert np.allclose(Portion(images, 4, True, by_patient=True).chances, patient_balanced(images))


def test_half_of_the_target_comes_from_the_teacher():
    """On images of which a sure teacher always says `b`, the pupil ends between label and teacher."""
    class Sure(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[-20.0, 20.0]]).expand(len(images), 2)

    only_a = replace(squares(), labels=np.zeros(48, dtype=np.int64))
    alone, pupil = network(), network()
    fit(alone, [Portion(only_a, 16, True)], 60, 3e-3, RECIPE, 7, torch.device("cpu"))
    fit(pupil, [Portion(only_a, 16, True)], 60, 3e-3, RECIPE, 7, torch.device("cpu"), teacher=Sure())
    images = torch.from_numpy(to_float(only_a.images)).unsqueeze(1)
    with torch.no_grad():
        sure, torn = (net.train()(images).softmax(dim=1)[:, 0].mean().item() for net in (alone, pupil))
    assert sure > 0.9 and torn == pytest.approx(0.5, abs=0.1)


def test_strong_augmentation_does_more_and_erases_some(repository):
    images = torch.full((400, 1, 32, 32), 0.2)
    mild, strong = (change(images, 1.0, torch.Generator().manual_seed(0)) for change in (augment, augment_strongly))
    assert torch.equal(augment_strongly(images, 0.0, torch.Generator()), images)
    assert strong.min() >= -1 and strong.max() <= 1 and strong.isfinite().all()
    inner = (slice(None), 0, slice(12, 20), slice(12, 20))  # no warp of these sizes moves the border so far in
    assert (mild[inner] > -1).all()
    erased = (strong[inner].amin(dim=(1, 2)) == -1).float().mean().item()
    assert 0 < erased < ERASED
    level = [change[inner].amax(dim=(1, 2)) for change in (mild, strong)]
    assert level[1].std() > 1.5 * level[0].std()


def test_augmentation_keeps_range_and_is_off_at_zero():
    images = torch.rand(5, 1, 16, 16) * 2 - 1
    assert torch.equal(augment(images, 0.0, torch.Generator()), images)
    moved = augment(images, 1.0, torch.Generator().manual_seed(0))
    assert moved.min() >= -1 and moved.max() <= 1 and not torch.equal(moved, images)


LEVIT = Architecture(model="levit_128s", learning_rate=0.01, options=dict(
    img_size=32, stem_type="s8", embed_dim=[32, 64, 64], key_dim=16, num_heads=[2, 3, 4], depth=[1, 1, 1]))


@pytest.mark.parametrize("role", ["residual", "convolutional", "attention", "LeViT"])
def test_weights_read_back_predict_as_the_trained_network_did(repository, role):
    """Also where a network keeps what it computed from its weights (the attention biases of LeViT)."""
    known = {**read_profile("african", repository / "params.yaml").used_archs(), "LeViT": LEVIT}
    architecture = known[role]
    images = torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    trained = build(architecture, 3, 32)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    trained.train()(images)
    trained.eval()
    again = build(architecture, 3, 32)
    again.eval()(images)  # whatever it keeps now belongs to other weights
    again.load_state_dict(trained.state_dict())
    again.eval()
    with torch.no_grad():
        assert torch.equal(again(images), trained(images))


def test_faults_are_one_sentence():
    with pytest.raises(UserError, match="loss is nan"):
        fit(network(), [Portion(squares(), 16, True)], 5, float("inf"), RECIPE, 7, torch.device("cpu"))
    with pytest.raises(UserError, match="timm has no model 'resnet_of_dreams'"):
        build(Architecture(model="resnet_of_dreams", learning_rate=0.1, options={}), 2, 16)
    with pytest.raises(UserError, match="does not take 20 px"):
        build(Architecture(model="test_vit", learning_rate=0.1, options={"img_size": 32, "patch_size": 8}), 2, 20)
