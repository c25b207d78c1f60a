"""Seeds: fixed for ever, in range, and different wherever anything differs."""

import itertools

from synthplanes import seeds


def test_the_derivation_never_changes():
    # Changing these numbers would change every published result.
    assert seeds.derive(1, "sampling noise", 0, 5) == 7340808657198821621


def test_range_and_independence_of_types():
    drawn = {seeds.derive(root, purpose, *index) for root, purpose, index in itertools.product(
        range(20), ("a", "b"), [(), (0,), (1,), ("1",), (0, 1), (1, 0), ("01",)])}
    assert len(drawn) == 20 * 2 * 7
    assert all(0 <= seed < 2 ** 63 for seed in drawn)


def test_generators_repeat():
    one, two = (seeds.generator(3, "x", 1).random(4).tolist() for _ in range(2))
    assert one == two != seeds.generator(3, "x", 2).random(4).tolist()
