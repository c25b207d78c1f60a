import pytest

from synthplanes.errors import UserError
from synthplanes.records import INDEX, SPLITS
from synthplanes.statistics.metadata_rules import check_index, training_sets

DEVELOPMENT = INDEX.frame({**dict.fromkeys(INDEX.columns, ""), "image_id": name, "scanner": name.upper()}
                          for name in "abcd")


def splits(*rows):
    return SPLITS.frame(dict(zip(SPLITS.columns, row, strict=True)) for row in rows)


def test_only_the_budgets_own_training_images_by_replicate(world):
    table = splits(("scarce", 0, "c", "train"), ("scarce", 0, "a", "validation"), ("scarce", 1, "d", "train"),
                   ("scarce", 1, "b", "train"), ("full", 0, "a", "train"))
    sets = training_sets(world(budget="scarce"), table, DEVELOPMENT)
    scanners = {replicate: images["scanner"].tolist() for replicate, images in sets.images.items()}
    assert scanners == {0: ["C"], 1: ["B", "D"]}


def test_tables_that_do_not_fit_are_refused(world):
    with pytest.raises(UserError, match="no training image of the budget 'full'"):
        training_sets(world(budget="full"), splits(("scarce", 0, "a", "train"), ("full", 0, "a", "validation")),
                      DEVELOPMENT)
    with pytest.raises(UserError, match="names the image 'z', which the development index.csv lacks"):
        training_sets(world(budget="scarce"), splits(("scarce", 0, "z", "train")), DEVELOPMENT)


@pytest.mark.parametrize("column", ["patient_id", "label", "scanner", "operator", "sub_plane"])
def test_an_index_that_calls_an_image_something_else_is_refused(world, column):
    """The same names with other facts: what training saw, and what metadata tells, would be wrong without a word."""
    predictions = world()
    same = predictions.images.assign(sha256="", role="train").iloc[::-1].reset_index(drop=True)
    check_index(predictions, same)
    check_index(predictions, DEVELOPMENT)  # no image in common
    same.loc[5, column] = "something else"
    image = same["image_id"].iloc[5]
    with pytest.raises(UserError, match=f"image '{image}' has another {column} in the predictions of the budget 'b25'"):
        check_index(predictions, same)
