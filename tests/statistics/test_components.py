import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import interval
from synthplanes.statistics.components import NAMES, components

# The levels on which each component's effects differ: (of the runs, of the images).
LEVELS = {"generator": ("generator", None), "seed": ("seed", None),
          "patient": (None, "patient"), "patient_x_generator": ("generator", "patient"),
          "patient_x_seed": ("seed", "patient"), "image": (None, "image"),
          "image_x_generator": ("generator", "image"), "image_x_seed": ("seed", "image")}


def variances(*args):
    return {one.component: None if np.isnan(one.variance) else one.variance for one in components(*args).itertuples()}


def effect_numbers(name, generators, patients):
    """int [runs, images]: which effect of a component each entry of the table holds."""
    n_runs, n_images = len(generators), len(patients)
    of_run = {None: np.zeros(n_runs, int), "generator": np.unique(generators, return_inverse=True)[1],
              "seed": np.arange(n_runs)}[LEVELS[name][0]]
    of_image = {None: np.zeros(n_images, int), "patient": np.unique(patients, return_inverse=True)[1],
                "image": np.arange(n_images)}[LEVELS[name][1]]
    return of_run[:, None] * n_images + of_image


def world(rng, deviations, generators, patients):
    """One table whose effects are normal with these standard deviations."""
    table = np.zeros((len(generators), len(patients)))
    for name, deviation in deviations.items():
        numbers = effect_numbers(name, generators, patients)
        table += rng.normal(0, deviation, numbers.max() + 1)[numbers]
    return table


def test_names_are_those_of_the_levels():
    assert set(LEVELS) == set(NAMES)


def test_a_balanced_table_gives_the_two_way_analysis_of_variance():
    """U seeds x P patients x n images: the mean squares of the textbook and their expectations."""
    u, p, n = 5, 12, 3
    d = np.random.default_rng(0).normal(size=(u, p, n))
    seed, patient = d.mean(axis=(1, 2)), d.mean(axis=(0, 2))
    both, image = d.mean(axis=2), d.mean(axis=0)
    ms_seed = p * n * seed.var(ddof=1)
    ms_patient = u * n * patient.var(ddof=1)
    ms_both = n * np.square(both - seed[:, None] - patient + d.mean()).sum() / ((u - 1) * (p - 1))
    ms_image = u * np.square(image - patient[:, None]).sum() / (p * (n - 1))
    ms_rest = np.square(d - both[..., None] - image + patient[:, None]).sum() / ((u - 1) * p * (n - 1))
    expected = {"seed": (ms_seed - ms_both) / (p * n), "patient": (ms_patient - ms_both - ms_image + ms_rest) / (u * n),
                "patient_x_seed": (ms_both - ms_rest) / n, "image": (ms_image - ms_rest) / u, "image_x_seed": ms_rest}
    patients = np.repeat(np.arange(p), n)
    found = variances(d.reshape(u, -1), np.zeros(u), Blocks.uniform(patients, patients))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_balanced_table_of_generators_gives_the_nested_analysis_of_variance():
    g, s, p = 3, 4, 10
    d = np.random.default_rng(1).normal(size=(g, s, p))                            # one image per patient
    generator, seed, patient, both = d.mean(axis=(1, 2)), d.mean(axis=2), d.mean(axis=(0, 1)), d.mean(axis=1)
    ms_generator = s * p * generator.var(ddof=1)
    ms_seed = p * np.square(seed - generator[:, None]).sum() / (g * (s - 1))
    ms_patient = g * s * patient.var(ddof=1)
    ms_gp = s * np.square(both - generator[:, None] - patient + d.mean()).sum() / ((g - 1) * (p - 1))
    ms_sp = np.square(d - seed[..., None] - both[:, None] + generator[:, None, None]).sum() / (g * (s - 1) * (p - 1))
    expected = {"generator": (ms_generator - ms_seed - ms_gp + ms_sp) / (s * p), "seed": (ms_seed - ms_sp) / p,
                "patient": (ms_patient - ms_gp) / (g * s), "patient_x_generator": (ms_gp - ms_sp) / s,
                "patient_x_seed": ms_sp, "image": None, "image_x_generator": None, "image_x_seed": None}
    patients = np.arange(p)
    found = variances(d.reshape(g * s, p), np.repeat(np.arange(g), s), Blocks.uniform(patients, patients))
    assert found == pytest.approx(expected)


def test_the_patients_of_the_mean_over_seeds_are_scipys_one_way_analysis():
    u, p, n = 4, 15, 5
    d = np.random.default_rng(2).normal(size=(u, p, n)) + np.random.default_rng(3).normal(size=(p, 1))
    patients = np.repeat(np.arange(p), n)
    found = variances(d.reshape(u, -1), np.zeros(u), Blocks.uniform(patients, patients))
    ratio = stats.f_oneway(*d.mean(axis=0)).statistic
    within = found["image"] + found["image_x_seed"] / u
    assert found["patient"] + found["patient_x_seed"] / u == pytest.approx(within * (ratio - 1) / n)


def test_in_a_balanced_table_the_parts_add_up_to_the_variance_of_the_interval():
    patients, rng = np.repeat(np.arange(40), 3), np.random.default_rng(4)
    deviations = {"seed": .1, "patient": .2, "patient_x_seed": .05, "image": .1, "image_x_seed": .1}
    d = world(rng, deviations, np.zeros(5), patients)
    found = components(d, np.zeros(5), Blocks.uniform(patients, patients))
    total = (found["variance"] * found["factor"]).sum()
    assert total == pytest.approx(interval(d, Blocks.uniform(patients, patients)).standard_error ** 2)
    assert found["share"].sum() == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(2, 3), st.booleans())
def test_every_estimator_is_unbiased_in_any_unbalanced_table(root, n_generators, n_seeds, balanced):
    """Exactly, not by simulation. The estimates are quadratic forms, and the expectation of a quadratic form over
    independent effects of variance 1 is the sum of its values on the single effects (tables of 0 and 1)."""
    rng = np.random.default_rng(root)
    patients = np.sort(np.concatenate([[0, 0, 1, 1, 2, 3], rng.integers(0, 6, 8)]))
    labels = np.concatenate([[0, 0, 0, 0, 1, 1], rng.integers(0, 3, 8)])
    blocks = (Blocks.balanced if balanced else Blocks.uniform)(labels, patients)
    generators = np.repeat(np.arange(n_generators), n_seeds)
    known = [name for name in NAMES if n_generators > 1 or LEVELS[name][0] != "generator"]
    for true in known:
        numbers = effect_numbers(true, generators, patients)
        tables = [variances((numbers == number).astype(float), generators, blocks)
                  for number in np.unique(numbers)]
        expectation = {name: sum(table[name] for table in tables) for name in known}
        assert expectation == pytest.approx({name: float(name == true) for name in known}, abs=1e-9)


@pytest.mark.parametrize("n_generators, n_seeds", [(1, 6), (5, 3)])
def test_simulated_worlds_of_known_components(n_generators, n_seeds):
    """Unequal patients and classes, 400 worlds: every mean estimate lies within 4 Monte Carlo standard errors."""
    rng, n_worlds = np.random.default_rng(5), 400
    generators = np.repeat(np.arange(n_generators), n_seeds)
    deviations = {"generator": .03, "seed": .02, "patient": .2, "patient_x_generator": .1, "patient_x_seed": .1,
                  "image": .3, "image_x_generator": .1, "image_x_seed": .25}
    sizes = np.clip(np.exp(rng.normal(1, 1, 60)).round().astype(int), 1, 30)
    patients = np.repeat(np.arange(60), sizes)
    blocks = Blocks.balanced(rng.choice(4, len(patients), p=[.5, .3, .15, .05]), patients)
    found = [variances(world(rng, deviations, generators, patients), generators, blocks)
             for _ in range(n_worlds)]
    # A single generator's effects are part of the estimate: its patients' and images' join those of all generators.
    for name, deviation in deviations.items():
        estimates = [table[name] for table in found]
        if n_generators == 1 and "generator" in name:
            assert estimates == [None] * n_worlds
            continue
        true = deviation ** 2
        if n_generators == 1 and name in ("patient", "image"):
            true += deviations[f"{name}_x_generator"] ** 2
        error = np.std(estimates, ddof=1) / np.sqrt(n_worlds)
        assert abs(np.mean(estimates) - true) < 4 * error, name
        assert error < .15 * max(true, .002), name                       # the simulation can tell it from 0


def test_the_variance_of_the_estimate_over_worlds_is_the_sum_of_the_parts():
    rng, n_worlds = np.random.default_rng(6), 1500
    generators, patients = np.repeat(np.arange(3), 2), np.repeat(np.arange(20), np.arange(20) % 4 + 1)
    deviations = dict(zip(NAMES, (.05, .05, .1, .1, .1, .2, .1, .2)))
    blocks = Blocks.balanced(np.arange(len(patients)) % 3, patients)
    tables = [world(rng, deviations, generators, patients) for _ in range(n_worlds)]
    estimates = [interval(table, blocks).estimate for table in tables]
    factors = {one.component: one.factor for one in components(tables[0], generators, blocks).itertuples()}
    true = sum(deviations[name] ** 2 * factors[name] for name in NAMES)
    # The variance of n normal numbers has the relative standard error sqrt(2 / (n - 1)).
    assert np.var(estimates, ddof=1) == pytest.approx(true, rel=4 * np.sqrt(2 / (n_worlds - 1)))


def test_what_the_table_cannot_tell_is_unknown_and_never_zero():
    rng, patients = np.random.default_rng(7), np.repeat(np.arange(10), 2)
    d = rng.normal(size=(6, 20))

    def unknown(generators, its_patients):
        found = variances(d, generators, Blocks.uniform(its_patients, its_patients))
        return {name for name, value in found.items() if value is None}

    def of(*words):
        return {name for name in NAMES if any(word in name for word in words)}
    assert unknown(np.zeros(6), patients) == of("generator")                 # one generator
    assert unknown(np.arange(6), patients) == of("seed")                     # one seed of each
    assert unknown(np.zeros(6), np.arange(20)) == of("generator", "image")   # one image of each patient
    one_patient = components(d, np.zeros(6), Blocks.uniform(np.zeros(20), np.zeros(20)))
    assert one_patient["component"].tolist() == list(NAMES)
    assert one_patient[["variance", "standard_deviation", "standard_error", "share"]].isna().all().all()


def test_a_negative_estimate_counts_as_zero_and_says_so():
    """Without an effect of the seeds, half of the worlds estimate theirs below 0."""
    patients, clipped = np.repeat(np.arange(20), 3), 0
    for root in range(40):
        d = np.random.default_rng(root).normal(size=(4, 60))
        found = components(d, np.zeros(4), Blocks.uniform(patients, patients))
        seed = next(one for one in found.itertuples() if one.component == "seed")
        assert seed.clipped == (seed.variance < 0) and (seed.standard_deviation == 0) == seed.clipped
        assert found["share"].dropna().between(0, 1).all()
        clipped += seed.clipped
    assert 8 < clipped < 32


def test_a_table_without_variance_has_no_shares():
    patients = np.repeat(np.arange(5), 2)
    found = components(np.ones((3, 10)), np.zeros(3), Blocks.uniform(patients, patients))
    assert found["variance"].dropna().tolist() == [0] * 5
    assert not found["clipped"].any() and found["share"].isna().all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(.1, 10))
def test_names_and_order_say_nothing_and_variances_scale(root, scale):
    rng = np.random.default_rng(root)
    patients, labels = np.sort(rng.integers(0, 12, 60)), np.concatenate([[0, 1, 2], rng.integers(0, 3, 57)])
    generators, d = np.repeat([0, 1, 2], 2), rng.normal(size=(6, 60))
    one = components(d, generators, Blocks.balanced(labels, patients))
    images, runs, names = rng.permutation(60), rng.permutation(6), rng.permutation(12)
    other = components(scale * d[runs][:, images], generators[runs] + 7,
                       Blocks.balanced(labels[images], names[patients[images]]))
    for before, after in zip(one.itertuples(), other.itertuples()):
        assert after.variance == pytest.approx(scale ** 2 * before.variance, rel=1e-6, abs=1e-9 * scale ** 2)
        assert (after.factor, after.n) == (pytest.approx(before.factor), before.n)
