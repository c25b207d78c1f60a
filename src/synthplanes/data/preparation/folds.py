"""Divide the patients for cross-validation: each is tested by one replicate, whose networks never train on it."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthplanes import seeds
from synthplanes.data.preparation.splits import Holdings
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile

DRAWS = 32  # random divisions, of which the most even is taken


def folds(index: pd.DataFrame, profile: Profile, alike: np.ndarray) -> list[np.ndarray]:
    """Return the test patients (str [n]) of each of the profile's folds: every patient is in one.

    With `prepare.cross_validation: patients` they are divided at random; of several draws the one is taken whose folds
    hold the most even shares of every class. Patients with nearly identical images (`alike`, pairs of patient numbers,
    str [n, 2]) stay together. With `scanners` each scanner is a fold, in the order of names. Raises `UserError` where
    there are not as many scanners as folds, and where there are fewer groups of patients than folds.
    """
    if profile.prepare.cross_validation == "scanners":
        patients_of = {name: np.unique(rows["patient_id"]) for name, rows in index.groupby("scanner")}
        if len(patients_of) != profile.folds or "" in patients_of:
            raise UserError(f"cross-validation by scanners needs a replication.generators for each of the "
                            f"{len(patients_of)} scanners ({', '.join(patients_of)}), all known, and has "
                            f"{profile.folds}: change params.yaml.")
        return list(patients_of.values())
    holdings = Holdings.of(index)
    links = np.searchsorted(holdings.patients, alike)
    n_patients = len(holdings.patients)
    graph = coo_array((np.ones(len(links)), links.T), (n_patients, n_patients))
    n_groups, group = connected_components(graph, directed=False)
    if n_groups < profile.folds:
        raise UserError(f"{n_groups} patients, or groups of patients with near-duplicate images, cannot be divided "
                        f"into {profile.folds} folds: lower replication.generators in params.yaml.")
    total = holdings.images.sum(axis=0)
    rng = seeds.generator(profile.replication.root_seed, "folds")
    divisions = []
    for _ in range(DRAWS):
        parts = np.array_split(rng.permutation(n_groups), profile.folds)
        divisions.append([np.flatnonzero(np.isin(group, part)) for part in parts])

    def unevenness(division: list[np.ndarray]) -> tuple[int, float]:
        shares = np.array([holdings.images[fold].sum(axis=0) / total for fold in division])
        return int((shares == 0).sum()), float(np.abs(shares - 1 / profile.folds).sum())

    return [holdings.patients[fold] for fold in min(divisions, key=unevenness)]
