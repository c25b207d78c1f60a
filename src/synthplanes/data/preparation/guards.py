"""Check a set of images, and apply the declared policy to each finding.

A policy is `error` (stop), `drop_from_train` (take images out of training, never out of test) or `keep` (report only);
`missing` is `error` or `use_what_is_there` (leave out files that are missing, damaged or empty).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from synthplanes.data import identity
from synthplanes.data.preparation.scanning import Scan, exact_pairs, near_pairs
from synthplanes.data.preparation.splits import connected
from synthplanes.data.sources.opening import Source
from synthplanes.protocol.config import Guards

# Of two rows with different roles the one of lower rank stays, so that no guard ever changes a test set.
ROLE_RANK = {"test": 0, "train": 1, "fresh": 2}
# The kinds of duplicates that have a policy, in the order of treatment. Near ones of one patient are natural.
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
    findings: list[Finding]
    dropped: dict[str, list[int]] = field(default_factory=dict)  # reason: rows; no row is dropped twice

    def drop(self, reason: str, rows: Iterable[int]) -> None:
        """Drop those of the rows that have not been dropped before."""
        for row in map(int, rows):
            if self.keep[row]:
                self.keep[row] = False
                self.dropped.setdefault(reason, []).append(row)


def check_table(source: Source, missing: np.ndarray, guards: Guards) -> Iterator[Finding]:
    """Apply the guards that need no pixel; `missing` are the rows without a file, integer."""
    table = source.table
    for note in table.attrs.get("notes", ()):
        yield Finding("spelling", False, note)
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        yield Finding("image_id", True, f"{_number(repeated.nunique(), 'image')} stand in the table more than once, "
                                        f"first {repeated.min()}: remove the surplus rows.")
    for kind, column, known, fault, advice in (
            ("unknown_class", "label", source.classes, "an unknown class", f"one of {', '.join(source.classes)}"),
            ("unknown_role", "role", ROLE_RANK, "no known role", "train or test")):
        unknown = table[~table[column].isin(known)]
        if len(unknown):
            yield Finding(kind, True, f"{_number(len(unknown), 'image')} have {fault}, first "
                                      f"{unknown['image_id'].iloc[0]} with '{unknown[column].iloc[0]}': use {advice}.")
    rows = _outranked(table["patient_id"], table["role"])
    if len(rows) and table["role"].isin(ROLE_RANK).all():
        patients = np.unique(table["patient_id"].iloc[rows])
        yield Finding("patient_on_two_roles", guards.patient_on_two_roles == "error",
                      f"{_number(len(patients), 'patient')} stand on two roles with "
                      f"{_number(len(rows), 'training image')}, first {patients[0]}: repair the roles, or set "
                      "patient_on_two_roles to drop_from_train.")
    if len(missing):
        yield Finding("missing", guards.missing == "error",
                      f"{len(missing):,} of {len(table):,} images of the table have no file, first "
                      f"{table['file'].iloc[missing[0]]}: fetch the complete set, or set missing to use_what_is_there.")


def apply_guards(source: Source, scan: Scan, guards: Guards, roles: Iterable[str] = ("train", "test")) -> GuardResult:
    """Apply all guards to a scanned source, of which `roles` must hold every class."""
    table, complete = source.table, guards.missing == "error"
    result = GuardResult(np.ones(len(table), dtype=bool), table["patient_id"].to_numpy(),
                         _find_pairs(table, scan, guards.near_distance_bits),
                         list(check_table(source, scan.missing, guards)))
    result.drop("missing", scan.missing)
    if scan.unreadable:
        first = next(iter(scan.unreadable.values()))
        result.findings.append(Finding(
            "unreadable", complete, f"{_number(len(scan.unreadable), 'image file')} cannot be used, first: {first}"))
        result.drop("unreadable", scan.unreadable)
    if guards.patient_on_two_roles == "drop_from_train":
        result.drop("patient_on_two_roles", _outranked(table["patient_id"], table["role"], result.keep))
    policies = guards.model_dump()
    for kind in DUPLICATES:
        _treat_duplicates(result, table, kind, policies[kind])
    _link_patients(result, table, guards.exact_across_roles)
    for role in roles:
        present = set(table["label"][result.keep & (table["role"] == role)])
        absent = [label for label in source.classes if label not in present]
        if absent:
            result.findings.append(Finding(
                "absent_classes", complete or role == "train" and not present,
                f"no image with the role {role} is left of {', '.join(absent)}: complete the images or repair the "
                "table." if present else
                f"no image is left with the role {role}: complete the images or repair the roles."))
    return result


def _find_pairs(table: pd.DataFrame, scan: Scan, near_distance_bits: int) -> dict[str, np.ndarray]:
    """Return every pair of equal or nearly equal images by kind, the row that outranks the other first."""
    rank = table["role"].map(ROLE_RANK).fillna(len(ROLE_RANK)).to_numpy()
    usable = np.flatnonzero(scan.usable)
    near = usable[near_pairs(scan.hashes[usable], scan.thumbnails[usable], near_distance_bits)]
    near = near[scan.sha256[near[:, 0]] != scan.sha256[near[:, 1]]]
    pairs: dict[str, np.ndarray] = {}
    for name, found in (("exact", exact_pairs(scan.sha256)), ("near", near)):
        first, second = rank[found].T
        found = np.where((first > second)[:, None], found[:, ::-1], found)
        pairs |= {f"{name}_across_roles": found[first != second], f"{name}_within_role": found[first == second]}
    within = pairs["near_within_role"]
    first, second = table["patient_id"].to_numpy()[within].T
    return pairs | {"near_within_role": within[first != second], "near_within_patient": within[first == second]}


def _treat_duplicates(result: GuardResult, table: pd.DataFrame, kind: str, policy: str) -> None:
    pairs = result.pairs[kind]
    if not len(pairs):
        return
    first, second = table["label"].to_numpy()[pairs].T
    result.findings.append(Finding(
        kind, policy == "error",
        f"{_number(len(pairs), 'pair')} of {DUPLICATES[kind]} ({(first != second).sum()} with unlike labels), first "
        f"{' and '.join(table['image_id'].iloc[pairs[0]])}: policy {kind} is {policy}."))
    if policy == "drop_from_train":
        # A row is dropped only if its duplicate stays, or is itself dropped because of a test image.
        for original, repeat in pairs.tolist():
            if table["role"].iloc[repeat] != "test" and (result.keep[original] or kind.endswith("across_roles")):
                result.drop(kind, [repeat])


def _link_patients(result: GuardResult, table: pd.DataFrame, policy: str) -> None:
    """Merge patient numbers that share an identical image, since they are one person (unless the policy is `keep`)."""
    number, patients = pd.factorize(table["patient_id"])  # numbered in the order of the table
    links = number[np.concatenate([result.pairs["exact_across_roles"], result.pairs["exact_within_role"]])]
    _, person = connected(len(patients), links)
    linked = table["patient_id"].groupby(person[number]).transform("first").to_numpy()
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
        f"{_number(len(rows), 'training image')} belong to persons of the test set: policy exact_across_roles is "
        f"{policy}."))
    if policy != "keep":
        result.patient_id = linked
    if policy == "drop_from_train":
        result.drop("linked_patients", rows)  # where that person has two roles


def _outranked(patient: np.ndarray | pd.Series, role: pd.Series, keep: np.ndarray | bool = True) -> np.ndarray:
    """Return the kept rows (integer) of patients who also have rows of a role that outranks this row's."""
    rank = role.map(ROLE_RANK).fillna(len(ROLE_RANK))
    return np.flatnonzero(keep & (rank > rank.groupby(identity.forms(patient)).transform("min")))


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
