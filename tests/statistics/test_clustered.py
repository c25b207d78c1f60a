"""The interval against textbook formulas, simulation, and the example that its page works out by hand."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from synthplanes.errors import UserError
from synthplanes.statistics import clustered
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast, interval, level, limits, p_above

PAGE = Path(clustered.__file__).with_name("README.md")


def balanced_table(n_units=5, n_patients=30, per_patient=4, unit=.1, patient=.2, both=.1, image=.0, root=0):
    """d[u, i] = unit + patient + both (+ image) effects; every patient has as many images."""
    rng = np.random.default_rng(root)
    patients = np.repeat(np.arange(n_patients), per_patient)
    d = (rng.normal(0, unit, (n_units, 1)) + rng.normal(0, patient, n_patients)[patients]
         + rng.normal(0, both, (n_units, n_patients))[:, patients]
         + rng.normal(0, image, (n_units, len(patients))))
    return d, patients


def test_balanced_table_gives_the_two_way_analysis_of_variance():
    d, patients = balanced_table(both=.05)
    table = d.reshape(5, 30, 4).mean(axis=2)                                  # [units, patients]
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    variance = (rows.var(ddof=1) / 5 + columns.var(ddof=1) / 30 - np.square(rest).sum() / (4 * 29) / 150)
    found = interval(d, Blocks.uniform(patients, patients))
    assert found.estimate == pytest.approx(table.mean())
    assert found.standard_error ** 2 == pytest.approx(variance)
    assert found.n_effective_patients == pytest.approx(30)
    parts = rows.var(ddof=1) / 5, columns.var(ddof=1) / 30
    quantile = (parts[0] * stats.t.ppf(.975, 4) + parts[1] * stats.t.ppf(.975, 29)) / sum(parts)
    assert stats.t.ppf(.975, found.degrees_of_freedom) == pytest.approx(quantile)
    assert found.high == pytest.approx(found.estimate + quantile * found.standard_error)


def test_the_example_of_the_page_by_hand():
    """Every number of it: two patients with ten images each, two seeds, and the factor for a shared pool."""
    page = PAGE.read_text(encoding="utf-8")
    cells = np.array(re.findall(r"(?m)^\| seed \d \| (\d+) \| (\d+) \| (\.\d+) \|$", page), dtype=float)
    means = np.array(re.search(r"(?m)^\| mean of `d` \| (\S+) \| (\S+) \| (\S+) \|$", page).groups(), dtype=float)
    terms = {name: float(value) for name, value in re.findall(r"(?m)^    (\w+) +=.*= (\.\d{4})$", page)}
    root, error, quantile, low, high = map(float, re.search(
        r"√(\.\d+) = (\.\d+), the\s+quantile.* is (\d+\.\d+), and.*\s+.* = (-\d\.\d+) to (\d\.\d+)\.", page).groups())
    share, factor = map(float, re.search(r"1 \+ 2 · (\.\d+) / \.75 = (\d\.\d+)", page).groups())

    table = cells[:, :2] / 10                                                 # [seeds, patients]
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    assert cells[:, 2] == pytest.approx(table.mean(axis=1))
    assert means == pytest.approx([*table.mean(axis=0), table.mean()])
    assert [terms[f"V_{name}"] for name in ("repetition", "patient", "both")] == pytest.approx(
        [table.mean(axis=1).var(ddof=1) / 2, table.mean(axis=0).var(ddof=1) / 2, np.square(rest).sum() / 4])
    assert root == terms["variance"] == pytest.approx(terms["V_repetition"] + terms["V_patient"] - terms["V_both"])

    corrected = np.arange(10) < cells[:, :2, None]                            # of ten images each
    blocks = Blocks.balanced(np.zeros(20), np.repeat([0, 1], 10))
    found = interval(corrected.reshape(2, 20), blocks)
    assert found.estimate == pytest.approx(means[2]) and found.standard_error ** 2 == pytest.approx(terms["variance"])
    assert found.degrees_of_freedom == pytest.approx(1) and error == round(found.standard_error, 3)
    assert [quantile, low, high] == [round(value, 2) for value in (stats.t.ppf(.975, 1), found.low, found.high)]
    assert factor == round(1 + 2 * share / (1 - share), 2)
    assert interval(corrected.reshape(2, 20), blocks, share).standard_error ** 2 == pytest.approx(
        terms["variance"] + 2 * share / (1 - share) * terms["V_repetition"])


def test_without_patient_variance_it_is_the_t_interval_of_the_seed_means():
    d, patients = balanced_table(patient=0, both=0)
    found = interval(d, Blocks.uniform(patients, patients))
    reference = stats.ttest_1samp(d[:, 0], 0)
    low, high = reference.confidence_interval(.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.degrees_of_freedom == pytest.approx(4)


def test_without_seed_variance_it_is_the_t_interval_of_the_patient_means():
    d, patients = balanced_table(unit=0, both=0)
    found = interval(d, Blocks.uniform(patients, patients))
    reference = stats.ttest_1samp(d[0, ::4], 0)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(.95)))
    narrow = tuple(reference.confidence_interval(.9))
    assert (found.equivalence_low, found.equivalence_high) == pytest.approx(narrow)


def test_variance_is_floored_at_the_larger_one_way_term():
    rng = np.random.default_rng(0)
    rest = rng.normal(size=(5, 30))
    rest -= rest.mean(axis=0)
    rest -= rest.mean(axis=1, keepdims=True)
    unit = rng.normal(0, .1, (5, 1))
    found = interval(unit + rest, Blocks.uniform(np.zeros(30), np.arange(30)))
    # the interaction exceeds the patient term, which is 0 here: without the floor V would fall below V_unit
    assert found.standard_error ** 2 == pytest.approx(unit.var(ddof=1) / 5)


def test_balanced_accuracy_weighs_classes_alike_and_accuracy_images():
    labels = np.array([0] * 8 + [1] * 2)
    d = np.tile(np.where(labels == 0, 1., 0.), (2, 1))
    patients = np.arange(10)
    assert interval(d, Blocks.balanced(labels, patients)).estimate == pytest.approx(.5)
    assert interval(d, Blocks.uniform(labels, patients)).estimate == pytest.approx(.8)


def test_a_rare_class_limits_the_effective_patients():
    labels = np.repeat([0, 1], [1000, 10])
    values = np.tile(np.random.default_rng(0).normal(size=1010), (3, 1))    # no variance between units
    found = interval(values, Blocks.balanced(labels, np.arange(1010)))
    assert 10 < found.n_effective_patients < 10.5
    assert found.degrees_of_freedom == pytest.approx(found.n_effective_patients - 1)
    assert found.n_patients == 1010 and found.n_patients_scarcest == 10


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(.1, 10), st.booleans())
def test_invariances(root, scale, negative):
    rng = np.random.default_rng(root)
    patients = np.sort(rng.integers(0, 25, 120))
    labels = np.concatenate([[0, 1, 2], rng.integers(0, 3, 117)])
    d = rng.normal(.1, 1, (4, 120))
    one = interval(d, Blocks.balanced(labels, patients))
    # names and order of patients, images and units say nothing
    order = rng.permutation(120)
    names = rng.permutation(25)
    other = interval(d[rng.permutation(4)][:, order], Blocks.balanced(labels[order], names[patients[order]]))
    assert vars(other) == pytest.approx(vars(one))
    # equivariance under scaling
    factor = -scale if negative else scale
    scaled = interval(factor * d, Blocks.balanced(labels, patients))
    assert scaled.estimate == pytest.approx(factor * one.estimate)
    assert scaled.standard_error == pytest.approx(scale * one.standard_error)
    assert scaled.p_value == pytest.approx(one.p_value)
    assert one.low < one.equivalence_low < one.estimate < one.equivalence_high < one.high


def test_interval_and_p_value_agree():
    for root in range(40):
        d, patients = balanced_table(root=root)
        found = interval(d + .15, Blocks.uniform(patients, patients))
        assert (found.p_value < .05) == (found.low > 0 or found.high < 0)


def test_contrast_is_antisymmetric_and_zero_against_itself():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 4, 60)) < .7
    labels, patients = rng.integers(0, 3, 60), np.repeat(np.arange(20), 3)
    one, other = (contrast(x, y, Blocks.balanced(labels, patients)) for x, y in ((a, b), (b, a)))
    assert one.estimate == pytest.approx(-other.estimate) and one.low == pytest.approx(-other.high)
    same = contrast(a, a, Blocks.balanced(labels, patients))
    assert (same.low, same.high, same.p_value) == (0, 0, 1)
    levels = [level(x, Blocks.balanced(labels, patients)).estimate for x in (a, b)]
    assert one.estimate == pytest.approx(levels[0] - levels[1])


@pytest.mark.parametrize("share, n_units, factor", [
    (.1, 5, 1 + .5 / .9), (.25, 10, 1 + 2.5 / .75), (0., 8, 1.), (1., 8, 1.)])
def test_units_that_share_a_pool_have_a_larger_variance(share, n_units, factor):
    """The part of the units alone: one image of each of very many patients, none of whom differ."""
    units = np.random.default_rng(0).normal(0, .1, n_units)
    d = np.repeat(units[:, None], 50, axis=1)
    blocks = Blocks.uniform(np.zeros(50), np.arange(50))
    assert interval(d, blocks, share).standard_error == pytest.approx(
        np.sqrt(factor * units.var(ddof=1) / n_units))


@pytest.mark.parametrize("share, n_units", [(.25, 5), (.5, 10)])
def test_the_factor_of_a_shared_pool_covers_a_new_pool(share, n_units):
    """Against simulation: the mean of units that each drew a share of 40 patients, over many pools."""
    rng, size = np.random.default_rng(1), round(share * 40)
    with_factor, plain = [], []
    for _ in range(3000):
        pool = rng.normal(size=40)
        units = np.array([rng.choice(pool, size, replace=False).mean() for _ in range(n_units)])
        variance, t = units.var(ddof=1) / n_units, stats.t.ppf(.975, n_units - 1)
        plain.append(abs(units.mean()) < t * np.sqrt(variance))
        with_factor.append(abs(units.mean()) < t * np.sqrt(variance * (1 + n_units * share / (1 - share))))
    assert np.mean(with_factor) > .93 and np.mean(plain) < .85


def test_one_sided_p_values_and_limits_are_those_of_the_interval():
    d, patients = balanced_table()
    found = interval(d + .1, Blocks.uniform(patients, patients))
    low, high = limits(found, .025)
    assert (low, high) == pytest.approx((found.low, found.high))
    assert limits(found, .05) == pytest.approx((found.equivalence_low, found.equivalence_high))
    assert p_above(found, low) == pytest.approx(.025) and p_above(found, high) == pytest.approx(.975)
    assert p_above(found) == pytest.approx(found.p_value / 2 if found.estimate > 0 else 1 - found.p_value / 2)
    sure = dataclasses.replace(found, standard_error=0., estimate=.1)
    assert (p_above(sure), p_above(sure, .1)) == (0, 1)


def test_one_repetition_is_refused():
    with pytest.raises(UserError, match="at least two repetitions"):
        interval(np.ones((1, 4)), Blocks.uniform(np.zeros(4), np.arange(4)))


def test_one_patient_alone_gives_finite_numbers_for_the_verdict_to_refuse():
    found = interval(np.random.default_rng(0).random((3, 4)), Blocks.uniform(np.zeros(4), np.zeros(4)))
    assert found.n_patients == 1 and found.n_effective_patients == pytest.approx(1)
    assert all(np.isfinite(value) for value in vars(found).values())


@pytest.mark.parametrize("n_images", [3, 7, 49, 101])
def test_one_patient_of_any_size_divides_by_nothing(n_images):
    rows = np.random.default_rng(n_images).random((3, n_images))
    assert np.isfinite(interval(rows, Blocks.uniform(np.zeros(n_images), np.zeros(n_images))).high)


def test_the_smallest_visible_effect_is_seen_in_about_four_of_five_worlds():
    def world(root, effect=0.0):
        d, patients = balanced_table(n_units=6, n_patients=60, unit=.03, root=root)
        return interval(d + effect, Blocks.uniform(patients, patients))

    visible = np.mean([world(root).smallest_visible_effect for root in range(400)])
    seen = np.mean([world(root, visible).p_value < .05 for root in range(400, 800)])
    assert .74 < seen < .86


@pytest.mark.parametrize("share", [0, .1, .3, .5, .7, .9, 1])
@pytest.mark.parametrize("few, most", [(2, .975), (5, .965), (19, .956)])
def test_a_sum_of_two_estimated_variances_gets_a_quantile_that_covers(few, most, share):
    """Integrate a normal estimate of variance share + (1 - share), each part estimated as a chi-square."""
    def variances(total, degrees, n):
        return total * stats.chi2.ppf((np.arange(n) + .5) / n, degrees) / degrees

    covered = []
    for unit in variances(share, few, 400):
        for patient in variances(1 - share, 170, 9):
            degrees = clustered._degrees_of_freedom((unit, few), (patient, 170))
            covered.append(1 - 2 * stats.norm.sf(special.stdtrit(degrees, .975) * np.sqrt(unit + patient)))
    assert .949 <= np.mean(covered) <= most
