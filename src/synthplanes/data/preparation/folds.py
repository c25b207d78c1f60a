"""Cross-validation: which replicate tests whom, so that nets that never saw them judge all patients, each once."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthplanes import records, seeds
from synthplanes.data.preparation.splits import Holdings
from synthplanes.errors import UserError

DRAWS = 32  # random divisions, of which the most even one is taken


def folds(index: records.Table, by: str, number: int, alike: np.ndarray, root_seed: int) -> list[np.ndarray]:
    """The test patients (str [n]) of each of `number` folds: every patient is in one.

    By `patients`: patients at random, of several draws the one whose folds hold the most even shares of every class;
    patients whose images are near duplicates (`alike` int [n, 2], rows of `index`) stay together. By `scanners`: a
    fold is a scanner, in the order of names; their number must be `number`. Raises `UserError` where it is not, and
    where there are fewer groups of patients than folds.
    """
    if by == "scanners":
        names = np.unique(index["scanner"])
        if len(names) != number or "" in names:
            raise UserError(f"cross-validation by scanners needs a replication.generators for each of the {len(names)} "
                            f"scanners ({', '.join(names)}), all known, and has {number}: change params.yaml.")
        return [np.unique(index["patient_id"][index["scanner"] == name]) for name in names]
    holdings = Holdings.of(index)
    place = {patient: row for row, patient in enumerate(holdings.patients.tolist())}
    links = np.array([[place[index["patient_id"][row]] for row in pair] for pair in alike.tolist()]).reshape(-1, 2)
    n = len(holdings.patients)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), (n, n))
    _, group = connected_components(graph, directed=False)
    groups = [np.flatnonzero(group == one) for one in range(group.max() + 1)]
    if len(groups) < number:
        raise UserError(f"{len(groups)} patients, or groups of patients with near-duplicate images, cannot be divided "
                        f"into {number} folds: lower replication.generators in params.yaml.")
    total = holdings.images.sum(axis=0)
    draw = seeds.generator(root_seed, "folds")
    partitions = []
    for _ in range(DRAWS):
        parts = np.array_split(draw.permutation(len(groups)), number)
        partitions.append([np.concatenate([groups[one] for one in part]) for part in parts])

    def fault(partition: list[np.ndarray]) -> tuple[int, float]:
        shares = np.array([holdings.images[fold].sum(axis=0) / total for fold in partition])
        return int((shares == 0).sum()), float(np.abs(shares - 1 / number).sum())

    return [holdings.patients[np.sort(fold)] for fold in min(partitions, key=fault)]
