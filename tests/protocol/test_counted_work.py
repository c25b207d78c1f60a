"""Counted work: sums that can be done by head, refusals, and the forecast against its formula."""

import pytest

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol import counted_work
from synthplanes.protocol.cells import Paths
from tests.small_profile import small_profile

BOTH = ("residual", "transformer")
# Of small_profile: batch size x seeds x updates of real_short, the three references, their longer arms and
# real_equal_exposure.
BASELINE = 8 * 6 * (20 + 3 * 60 + 3 * 120 + 30)


def item(name, arch="", training=0, forward=0, runs=1):
    return {"item": name, "budget": "scarce", "arch": arch, "runs": runs,
            "training_image_passes": training, "forward_image_passes": forward}


def write_costs(root, archs=BOTH) -> Paths:
    """One budget: generator 1000 + 10, sampling 200; per architecture real 50, synthetic 30, then 20."""
    written = {"generator": [item("generator", training=1000, forward=10)], "guide": [],
               "synthetic": [item("sampling", forward=200)], "audit": [item("audit", training=7)], "joint": [],
               "baseline": [item("real", arch, 50, runs=2) for arch in archs],
               "pretrain": [row for arch in archs for row in (item("synthetic", arch, 30, runs=2),
                                                              item("resampled", arch, 30))],
               "finetune": [row for arch in archs for row in (item("synthetic_then_real", arch, 20, runs=2),
                                                              item("resampled_then_real", arch, 20))],
               "predictions": [item("prediction", arch, forward=5, runs=2) for arch in archs]}
    paths = Paths("tiny", root)
    for kind, items in written.items():
        records.write_cost(paths.artifact(kind), items)
    return paths


def test_an_arm_on_synthetic_images_pays_for_their_making(tmp_path):
    cost = counted_work.collect(small_profile(archs=BOTH), write_costs(tmp_path))
    arms = {arm["arm"]: arm for arm in cost["arms"]}
    assert list(arms) == ["real", "synthetic", "resampled", "synthetic_then_real", "resampled_then_real"]
    assert arms["real"]["total"]["forward_equivalents"] == 2 * 3 * 50
    assert arms["real"]["total"]["runs"] == 2 * 2
    assert arms["real"]["synthesis"]["forward_equivalents"] == 0
    assert arms["synthetic"]["total"]["forward_equivalents"] == 2 * 3 * 30 + (3 * 1000 + 10 + 200)
    assert arms["synthetic_then_real"]["total"]["forward_equivalents"] == 2 * 3 * (30 + 20) + (3 * 1000 + 10 + 200)
    assert arms["resampled_then_real"]["total"]["training_image_passes"] == 2 * (30 + 20)
    assert cost["total"]["training_image_passes"] == 1000 + 7 + 2 * (50 + 30 + 30 + 20 + 20)
    assert cost["total"]["forward_image_passes"] == 10 + 200 + 2 * 5


def test_a_missing_stage_is_refused_with_its_name(tmp_path):
    paths = write_costs(tmp_path)
    (paths.artifact("joint") / "cost.json").unlink()
    with pytest.raises(UserError, match="joint/tiny/cost.json does not exist"):
        counted_work.collect(small_profile(archs=BOTH), paths)


@pytest.mark.parametrize("content", [{}, [], {"items": {}}, {"items": [{"item": "real"}]},
                                     {"items": [{**item("real", "residual"), "runs": "2"}]},
                                     {"items": [item("reel", "residual")]}])
def test_ill_formed_costs_are_refused(tmp_path, content):
    paths = write_costs(tmp_path)
    records.write_json(paths.artifact("baseline") / "cost.json", content)
    with pytest.raises(UserError, match="delete it and run its stage again"):
        counted_work.collect(small_profile(archs=("residual",)), paths)


def test_the_forecast_follows_its_formula():
    profile = small_profile(archs=("residual",), guidance="classifier", optional=("oracle", "resampled"))
    rows = {row["stage"]: row for row in counted_work.expected(profile, n_classes=6)}
    # small_profile: G 1, S 6, P 40, T 20, B 8; 512 images seen; 3 per class, 5 steps; guide 10 x 4
    assert rows["train_diffusion"]["training_image_passes"] == 512
    assert rows["train_guide"]["training_image_passes"] == 40
    assert rows["sample"]["forward_image_passes"] == rows["sample"]["training_image_passes"] == 6 * 3 * 5
    assert rows["audit"]["training_image_passes"] == 8 * 10
    assert rows["baseline"]["training_image_passes"] == BASELINE
    assert rows["pretrain"]["training_image_passes"] == 8 * 3 * 6 * 40
    assert rows["finetune"]["training_image_passes"] == 8 * 3 * 6 * 20
    assert rows["joint"]["training_image_passes"] == 8 * 6 * 60
    assert rows["joint"]["forward_equivalents"] == 3 * 8 * 6 * 60


def test_a_pupil_pays_for_its_teacher(tmp_path):
    profile = small_profile(archs=BOTH, optional=("augmented", "distilled"))
    rows = {(row["stage"], row["arch"]): row for row in counted_work.expected(profile, n_classes=6)}
    assert rows["baseline", "residual"]["training_image_passes"] == BASELINE + 8 * 6 * 2 * 60
    assert rows["baseline", "residual"]["forward_image_passes"] == 8 * 6 * 60  # what the teachers say
    assert rows["baseline", "transformer"]["training_image_passes"] == BASELINE  # without baselines
    assert rows["baseline", "transformer"]["forward_image_passes"] == 0
    paths = write_costs(tmp_path, archs=("residual",))
    path = paths.artifact("baseline") / "cost.json"
    records.write_json(path, {"items": [*records.read_json(path)["items"], item("real_distilled", "residual")]})
    arms = {row["arm"]: row for row in counted_work.collect(profile, paths)["arms"]}
    real = next(one for one in records.read_json(path)["items"] if one["item"] == "real")
    assert arms["real_distilled"]["first_stage"]["training_image_passes"] == real["training_image_passes"]


@pytest.mark.parametrize("guidance, forward, gradient", [("none", 5, 0), ("classifier_free", 10, 0),
                                                         ("classifier", 5, 5)])
def test_guidance_evaluates_twice(guidance, forward, gradient):
    rows = {row["stage"]: row for row in counted_work.expected(small_profile(guidance=guidance), 6)}
    assert rows["sample"]["forward_image_passes"] == 6 * 3 * forward
    assert rows["sample"]["training_image_passes"] == 6 * 3 * gradient


def test_a_guide_on_estimates_asks_the_generator_each_time():
    profile = small_profile(guidance="classifier")
    section = profile.train_guide.model_copy(update={"input": "denoised_estimate"})
    rows = {row["stage"]: row for row in counted_work.expected(profile.model_copy(update={"train_guide": section}), 6)}
    assert (rows["train_guide"]["training_image_passes"], rows["train_guide"]["forward_image_passes"]) == (40, 40)
    assert rows["sample"]["training_image_passes"] == 2 * 6 * 3 * 5  # there and back through guide and generator


def test_a_training_pass_counts_three_forward_equivalents():
    items = [item("real", runs=1, training=10, forward=5), item("synthetic", runs=2, training=1)]
    assert counted_work.total(items) == {"runs": 3, "training_image_passes": 11, "forward_image_passes": 5,
                                         "forward_equivalents": 38}
