"""What later stages demand of the data is asked by `prepare`, in a sentence with a remedy that helps."""

import numpy as np
import pandas as pd
import pytest

from synthplanes import records
from synthplanes.data.preparation import demands
from synthplanes.data.preparation.demands import Prepared, check_demands
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile
from synthplanes.statistics.blocks import Blocks
from tests.small_profile import small_profile_parameters

CLASSES = ("a", "b")


def profile(cross_validation: str = "none") -> Profile:
    parameters = small_profile_parameters()
    parameters["prepare"]["cross_validation"] = cross_validation
    parameters["replication"]["generators"] = 1 if cross_validation == "none" else 2
    return Profile.model_validate(parameters)


def prepared(n: int = 12, folds: bool = False, blank: tuple = (), **changes) -> Prepared:
    """`n` patients of each role and class with two images, a third of the development patients for validation."""
    rows = [dict(image_id=f"{role}{label}{number}-{image}", patient_id=f"{role}{label}{number}", label=label, role=role,
                 scanner="", operator="", sub_plane="", sha256="")
            for role in ("train", "test", "fresh") for label in CLASSES for number in range(n) for image in (0, 1)]
    index = records.INDEX.frame(rows)
    train = index[index["role"] == "train"]
    number = train["patient_id"].str[len("trainb"):].astype(int)
    splits = train.assign(budget="scarce", replicate=0, role=np.where(number % 3 == 0, "validation", "train"))
    if folds:
        index = index[index["role"] == "train"]
        splits = pd.concat([splits, splits.assign(role="test", replicate=number % 2)])
    made = dict(index=index, splits=records.SPLITS.typed(splits), classes=CLASSES,
                profile=profile("scanners" if folds else "none"), blank=blank)
    return Prepared(**{**made, **{name: change(made[name]) for name, change in changes.items()}})


def without(role: str, label: str):
    return lambda index: index[~((index["role"] == role) & (index["label"] == label))]


def no_split(role: str, label: str):
    return lambda splits: splits[~((splits["role"] == role) & splits["image_id"].str.startswith(f"train{label}"))]


@pytest.mark.parametrize("made, words", [
    (lambda: prepared(index=without("test", "b")), "no test patient has an image of b.*give the role test"),
    (lambda: prepared(splits=no_split("train", "a")), "budget 'scarce', replicate 0 has no training image of a"),
    (lambda: prepared(index=without("fresh", "a")), "no fresh patient has an image of a.*simulate.fresh_images"),
    (lambda: prepared(blank=("x.png",)), "1 image.s. are a single grey value.*first x.png: make prepare.masked_boxes"),
])
def test_a_demand_that_is_not_met_stops(made, words):
    with pytest.raises(UserError, match=words) as caught:
        check_demands(made())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made, words", [
    (lambda: prepared(9), "18.0 of equal weight .20 are needed., and 9 have the class 'a' .10"),
    (lambda: prepared(splits=no_split("validation", "b")), "has no validation image of b"),
])
def test_what_refuses_a_word_alone_is_a_note(made, words, capsys):
    check_demands(made())
    assert pd.Series(capsys.readouterr().err.splitlines()).str.contains(f"^note: .*{words}").sum() == 1


def test_good_data_have_no_note(capsys):
    check_demands(prepared())
    check_demands(prepared(folds=True))
    check_demands(prepared(index=lambda index: index[index["role"] != "fresh"]))
    assert capsys.readouterr().err == ""


def test_the_number_of_effective_patients_is_that_of_the_verdict():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"label": rng.choice(["a", "b", "c"], 200, p=[.7, .2, .1]),
                         "patient_id": rng.geometric(.1, 200).astype(str)})
    expected = Blocks.balanced(rows["label"].to_numpy(str), rows["patient_id"].to_numpy(str)).n_effective_patients
    assert demands.effective_patients(rows) == pytest.approx(expected)
