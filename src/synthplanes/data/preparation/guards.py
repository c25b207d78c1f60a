"""Check a set of images, and apply the declared policy to each finding.

A policy is `error` (stop), `drop_from_train` (take images out of training, never out of test) or `keep` (report only);
`missing` is `error` or `use_what_is_there` (leave out files that are missing, damaged or empty). Findings that stop are
errors of the data under its policies; the others are facts that the report shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthplanes.data.preparation import duplicates
from synthplanes.data.preparation.scanning import Scan
from synthplanes.data.sources.opening import Source
from synthplanes.protocol.config import Guards

# Of two rows with different roles the one of lower rank stays, so that no guard ever changes a test set.
ROLE_RANK = {"test": 0, "train": 1, "fresh": 2}
# The kinds of duplicates that have a policy, in the order in which they are treated. Nearly identical frames of one
# patient are natural and have none.
DUPLICATES = {
    "exact_across_roles": "identical images on two roles",
    "near_across_roles": "nearly identical images on two roles",
    "exact_within_role": "identical images on one role",
    "near_within_role": "nearly identical images of two patients on one role",
}


@dataclass(frozen=True)
class Finding:
    """A fault or a fact of the data; `stops` says whether it is an error under the policies."""

    kind: str
    stops: bool
    sentence: str


@dataclass
class GuardResult:
    """The decision of the guards on every row of a source's table."""

    keep: np.ndarray                # bool [N]
    patient_id: np.ndarray          # str [N], linked patients under the number that comes first in the table
    pairs: dict[str, np.ndarray]    # kind: integer [M, 2], every pair of duplicates, whatever its policy
    findings: list[Finding] = field(default_factory=list)
    dropped: dict[str, list[int]] = field(default_factory=dict)  # reason: rows; no row is dropped twice

    def drop(self, reason: str, rows: Iterable[int]) -> None:
        """Drop those of the rows that have not been dropped before."""
        for row in map(int, rows):
            if self.keep[row]:
                self.keep[row] = False
                self.dropped.setdefault(reason, []).append(row)


def check_table(source: Source, missing: np.ndarray, guards: Guards) -> list[Finding]:
    """Apply the guards that need no pixel; `missing` are the rows without a file, integer."""
    table, findings = source.table, []
    if (repeated := table["image_id"][table["image_id"].duplicated(keep=False)]).size:
        findings.append(Finding(
            "image_id", True,
            f"{_number(repeated.nunique(), 'image')} stand in the table more than once, first "
            f"{repeated.min()}: remove the surplus rows."))
    if len(unknown := table[~table["label"].isin(source.classes)]):
        first = unknown.iloc[0]
        findings.append(Finding(
            "unknown_class", True,
            f"{_number(len(unknown), 'image')} have an unknown class, first {first['image_id']} with "
            f"'{first['label']}': use one of {', '.join(source.classes)}."))
    if len(unknown := table[~table["role"].isin(ROLE_RANK)]):
        first = unknown.iloc[0]
        findings.append(Finding(
            "unknown_role", True,
            f"{_number(len(unknown), 'image')} have no known role, first {first['image_id']} with "
            f"'{first['role']}': use train or test."))
    elif len(rows := _outranked(table["patient_id"], table["role"])):
        patients = np.unique(table["patient_id"].iloc[rows])
        findings.append(Finding(
            "patient_on_two_roles", guards.patient_on_two_roles == "error",
            f"{_number(len(patients), 'patient')} stand on two roles with "
            f"{_number(len(rows), 'training image')}, first {patients[0]}: repair the roles, or set "
            "patient_on_two_roles to drop_from_train."))
    if len(missing):
        findings.append(Finding(
            "missing", guards.missing == "error",
            f"{len(missing):,} of {len(table):,} images of the table have no file, first "
            f"{table['file'].iloc[missing[0]]}: fetch the complete set, or set missing to use_what_is_there."))
    return findings


def apply_guards(source: Source, scan: Scan, guards: Guards, roles: Iterable[str] = ("train", "test")) -> GuardResult:
    """Apply all guards to a scanned source: which rows stay, which patient numbers are one person, and why.

    `roles` are those that must hold every class.
    """
    table = source.table
    missing = np.flatnonzero(scan.missing)
    result = GuardResult(np.ones(len(table), dtype=bool), table["patient_id"].to_numpy(),
                         _find_pairs(table, scan, guards.near_distance_bits), check_table(source, missing, guards))
    result.drop("missing", missing)
    if scan.unreadable:
        result.findings.append(Finding(
            "unreadable", guards.missing == "error",
            f"{_number(len(scan.unreadable), 'image file')} cannot be used, first: "
            f"{next(iter(scan.unreadable.values()))}"))
        result.drop("unreadable", scan.unreadable)
    if guards.patient_on_two_roles == "drop_from_train":
        result.drop("patient_on_two_roles", _outranked(table["patient_id"], table["role"], result.keep))
    policies = guards.model_dump()
    for kind in DUPLICATES:
        _treat_duplicates(result, table, kind, policies[kind])
    _link_patients(result, table, guards.exact_across_roles)
    _check_classes(result, source, complete=guards.missing == "error", roles=roles)
    return result


def _find_pairs(table: pd.DataFrame, scan: Scan, near_distance_bits: int) -> dict[str, np.ndarray]:
    """Return every pair of equal or nearly equal images by kind, the row that outranks the other first."""
    rank, patient = _rank(table["role"]).to_numpy(), table["patient_id"].to_numpy()
    usable = np.flatnonzero(scan.usable)
    exact = duplicates.exact_pairs(scan.sha256)
    near = usable[duplicates.near_pairs(scan.hashes[usable], scan.thumbnails[usable], near_distance_bits)]
    near = near[scan.sha256[near[:, 0]] != scan.sha256[near[:, 1]]]
    exact, near = (np.where((rank[pairs[:, 0]] > rank[pairs[:, 1]])[:, None], pairs[:, ::-1], pairs)
                   for pairs in (exact, near))
    exact_across, near_across = (rank[pairs[:, 0]] != rank[pairs[:, 1]] for pairs in (exact, near))
    same_patient = patient[near[:, 0]] == patient[near[:, 1]]
    return {"exact_across_roles": exact[exact_across], "exact_within_role": exact[~exact_across],
            "near_across_roles": near[near_across], "near_within_role": near[~near_across & ~same_patient],
            "near_within_patient": near[~near_across & same_patient]}


def _treat_duplicates(result: GuardResult, table: pd.DataFrame, kind: str, policy: str) -> None:
    pairs = result.pairs[kind]
    if not len(pairs):
        return
    label, role = table["label"].to_numpy(), table["role"].to_numpy()
    first = " and ".join(table["image_id"].iloc[pairs[0]])
    unlike = int((label[pairs[:, 0]] != label[pairs[:, 1]]).sum())
    result.findings.append(Finding(
        kind, policy == "error",
        f"{_number(len(pairs), 'pair')} of {DUPLICATES[kind]} ({unlike} with unlike labels), first {first}: "
        f"policy {kind} is {policy}."))
    if policy == "drop_from_train":
        # A row is dropped only if its duplicate stays, or is itself dropped because of a test image.
        for original, repeat in pairs.tolist():
            if role[repeat] != "test" and (result.keep[original] or kind.endswith("across_roles")):
                result.drop(kind, [repeat])


def _link_patients(result: GuardResult, table: pd.DataFrame, policy: str) -> None:
    """Merge patient numbers that share an identical image, since they are one person (unless the policy is `keep`).

    Where that person has two roles, the other training images of that person are dropped too.
    """
    number, patients = pd.factorize(table["patient_id"])  # numbered in the order of the table
    links = number[np.concatenate([result.pairs["exact_across_roles"], result.pairs["exact_within_role"]])]
    graph = coo_array((np.ones(len(links)), links.T), (len(patients), len(patients)))
    _, person = connected_components(graph, directed=False)
    _, first = np.unique(person, return_index=True)
    linked = patients.to_numpy()[first[person[number]]]
    changed = linked != table["patient_id"].to_numpy()
    if not changed.any():
        return
    persons = np.unique(linked[changed])
    rows = _outranked(linked, table["role"], result.keep)
    numbers = np.unique(table["patient_id"][np.isin(linked, persons)])
    result.findings.append(Finding(
        "linked_patients", False,
        f"{_number(len(numbers), 'patient number')} share identical images and stand for "
        f"{_number(len(persons), 'person')} ({numbers[0]} is one of them); besides duplicates "
        f"{_number(len(rows), 'training image')} belong to persons of the test set: policy "
        f"exact_across_roles is {policy}."))
    if policy != "keep":
        result.patient_id = linked
    if policy == "drop_from_train":
        result.drop("linked_patients", rows)


def _check_classes(result: GuardResult, source: Source, complete: bool, roles: Iterable[str]) -> None:
    for role in roles:
        present = set(source.table["label"][result.keep & (source.table["role"] == role)])
        absent = [label for label in source.classes if label not in present]
        if not present:
            result.findings.append(Finding(
                "absent_classes", complete or role == "train",
                f"no image is left with the role {role}: complete the images or repair the roles."))
        elif absent:
            result.findings.append(Finding(
                "absent_classes", complete,
                f"no image with the role {role} is left of {', '.join(absent)}: complete the images or repair the "
                "table."))


def _rank(role: pd.Series) -> pd.Series:
    return role.map(ROLE_RANK).fillna(len(ROLE_RANK))


def _outranked(patient: Sequence | pd.Series, role: pd.Series, keep: np.ndarray | bool = True) -> np.ndarray:
    """Return the kept rows (integer) of patients who also have rows of a role that outranks this row's."""
    rank = _rank(role)
    return np.flatnonzero(keep & (rank > rank.groupby(np.asarray(patient)).transform("min")))


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
