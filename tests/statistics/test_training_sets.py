import pytest

from synthplanes.errors import UserError
from synthplanes.records import INDEX, SPLITS, Table
from synthplanes.statistics.training_sets import refuse_another_index, training_sets

DEVELOPMENT = Table.of_rows(INDEX, [{**{name: "" for name in INDEX.columns}, "image_id": name, "scanner": name.upper()}
                                    for name in "abcd"])


def splits(*rows):
    return Table.of_rows(SPLITS, [dict(zip(SPLITS.columns, row)) for row in rows])


def test_only_the_budgets_own_training_images_by_replicate():
    table = splits(("scarce", 0, "c", "train"), ("scarce", 0, "a", "validation"), ("scarce", 1, "d", "train"),
                   ("scarce", 1, "b", "train"), ("full", 0, "a", "train"))
    found = training_sets(table, DEVELOPMENT, "scarce")
    assert {replicate: images["scanner"].tolist() for replicate, images in found.items()} == {0: ["C"], 1: ["B", "D"]}


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="no training image of the budget 'full'"):
        training_sets(splits(("scarce", 0, "a", "train"), ("full", 0, "a", "validation")), DEVELOPMENT, "full")
    with pytest.raises(UserError, match="names the image 'z', which the development index.csv lacks"):
        training_sets(splits(("scarce", 0, "z", "train")), DEVELOPMENT, "scarce")


@pytest.mark.parametrize("column", ["patient_id", "label", "scanner", "operator", "sub_plane"])
def test_an_index_that_calls_an_image_something_else_is_refused(world, column):
    """The same names with other facts: what training saw, and what metadata tells, would be wrong without a word."""
    predictions = world()
    same = Table.of_rows(INDEX, [{**row, "sha256": "", "role": "train"} for row in predictions.images.rows()][::-1])
    refuse_another_index(predictions, same)
    refuse_another_index(predictions, DEVELOPMENT)  # no image in common
    values = same[column].copy().astype(object)
    values[5] = "something else"
    image = same["image_id"][5]
    with pytest.raises(UserError, match=f"image '{image}' has another {column} in the predictions of the budget 'b25'"):
        refuse_another_index(predictions, same.with_columns(**{column: values.astype(str)}))
