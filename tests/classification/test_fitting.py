"""`fit`: learning, pairing by seed, separate batch-norm statistics, the schedule, equal learning-rate integrals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from synthplanes.classification.fitting import (
    ANGLE,
    ERASED,
    SCALE,
    SHIFT,
    Portion,
    TrainingStage,
    augment,
    augment_strongly,
    batch_norm_statistics,
    fit,
    schedule,
)
from synthplanes.classification.networks import build, probabilities
from synthplanes.compute.draws import class_balanced, patient_balanced
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture, Recipe

CPU = torch.device("cpu")

RECIPE = Recipe.model_validate(dict(
    stage_1_updates=30, stage_2_updates=20, batch_size=16, stage_2_learning_rate_ratio=0.5,
    weight_decay=0.05, label_smoothing=0.0, warmup_fraction=0.1, ema_halflife_updates=4, augmentation=0.3,
    rehearsal_fraction=0.0, joint_synthetic_fraction=0.5, optional_arms={}))


def squares(n: int = 48, brightness: int = 200) -> LabelledImages:
    """Bright bars above (class a) or below (class b)."""
    labels = np.arange(n) % 2
    images = np.zeros((n, 16, 16), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 8 * label:8 * label + 8] = brightness - row
    return LabelledImages(images, labels.astype(np.int64), np.full(n, ""), np.array([str(i) for i in range(n)]),
                          ("a", "b"))


def network():
    torch.manual_seed(0)
    return build(Architecture(model="test_resnet", learning_rate=0.003, options={}), 2, 16)


def test_it_learns_and_repeats_itself():
    results = []
    for _ in range(2):
        net = network()
        history = fit(net, TrainingStage([Portion(squares(), 16, True)], 40, 3e-3, 7), RECIPE, CPU)
        results.append(net.state_dict())
        assert history[-1][1] < 0.5 * history[0][1]
    assert all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values()))


def test_an_update_is_torchs_own(monkeypatch):
    """Updates by torch's plain AdamW on contiguous tensors, and the average of the weights by its formula."""
    # A large eps, or Adam makes whole steps of gradients that are nothing but rounding.
    monkeypatch.setattr(torch.optim, "AdamW", partial(torch.optim.AdamW, eps=1e-3))
    recipe = RECIPE.model_copy(update=dict(augmentation=0.0))
    stage = TrainingStage([Portion(squares(), 16, True)], 3, 3e-3, 7)
    ours, plain = network(), network().train()
    fit(ours, stage, recipe, CPU)
    groups = [dict(params=[p for p in plain.parameters() if p.ndim > 1], weight_decay=recipe.weight_decay),
              dict(params=[p for p in plain.parameters() if p.ndim <= 1], weight_decay=0.0)]
    optimiser, generator = torch.optim.AdamW(groups, foreach=False), torch.Generator().manual_seed(7)
    average = {name: value.clone() for name, value in plain.state_dict().items()}
    chances = torch.from_numpy(class_balanced(squares().labels))
    for update in range(3):
        rows = torch.multinomial(chances, 16, replacement=True, generator=generator)
        images = torch.from_numpy(to_float(squares().images[rows])).unsqueeze(1)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * schedule(update, 3, recipe.warmup_fraction)
        optimiser.zero_grad()
        functional.cross_entropy(plain(images), torch.from_numpy(squares().labels[rows])).backward()
        optimiser.step()
        keep = min(0.5 ** (1 / recipe.ema_halflife_updates), (1 + update) / (10 + update))
        for name, value in plain.state_dict().items():
            average[name] = keep * average[name] + (1 - keep) * value
    for name, value in ours.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, average[name], atol=1e-5), name


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


def test_a_portion_draws_by_image_or_by_patient():
    images = replace(squares(6), labels=np.array([0, 0, 0, 0, 1, 1]), patient_ids=np.array(list("pppqqq")))
    assert np.allclose(Portion(images, 4, True).chances, class_balanced(images.labels))
    assert np.allclose(Portion(images, 4, True, by_patient=True).chances, patient_balanced(images))


def test_half_of_the_target_comes_from_the_teacher():
    """On images of which a sure teacher always says `b`, the pupil ends between label and teacher."""
    class Sure(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[-20.0, 20.0]]).expand(len(images), 2)

    only_a = replace(squares(), labels=np.zeros(48, dtype=np.int64))
    alone, pupil = network(), network()
    stage = TrainingStage([Portion(only_a, 16, True)], 60, 3e-3, 7)
    fit(alone, stage, RECIPE, CPU)
    fit(pupil, stage, RECIPE, CPU, teacher=Sure())
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


NETWORKS = {
    "residual": Architecture(model="test_resnet", learning_rate=0.01, options={
        "stem_width": 8, "channels": [16, 32, 32, 64], "block_args": {"attn_layer": "nl"}}),
    "convolutional": Architecture(model="test_efficientnet", learning_rate=0.01, options={}), "LeViT": LEVIT}


@pytest.mark.parametrize("role", NETWORKS)
def test_weights_read_back_predict_as_the_trained_network_did(role):
    """Also where a network keeps what it computed from its weights (the attention biases of LeViT)."""
    architecture = NETWORKS[role]
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


def test_probabilities_do_not_depend_on_the_number_of_images(monkeypatch):
    monkeypatch.setattr("synthplanes.classification.networks.BATCH", 10)
    net = network()
    all_of_them = probabilities(net, squares().images, CPU)
    assert all_of_them.shape == (48, 2) and all_of_them.dtype == np.float32
    assert np.allclose(all_of_them.sum(axis=1), 1, atol=1e-6) and not net.training
    assert np.allclose(all_of_them[20:25], probabilities(net, squares().images[20:25], CPU), atol=1e-6)
    assert probabilities(net, squares().images[:0], CPU).shape == (0, 2)


def test_faults_are_one_sentence():
    with pytest.raises(UserError, match="loss is nan"):
        fit(network(), TrainingStage([Portion(squares(), 16, True)], 5, float("inf"), 7), RECIPE, CPU)
    with pytest.raises(UserError, match="timm has no model 'resnet_of_dreams'"):
        build(Architecture(model="resnet_of_dreams", learning_rate=0.1, options={}), 2, 16)
    with pytest.raises(UserError, match="does not take 20 px"):
        build(Architecture(model="test_vit", learning_rate=0.1, options={"img_size": 32, "patch_size": 8}), 2, 20)
