"""What may be wrong with a set of images, and what is done about it by declared policy.

Findings that stop are errors of the data under the policies; the others are facts that the report shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from synthplanes import records
from synthplanes.data.preparation import duplicates
from synthplanes.data.preparation.scanning import Scan
from synthplanes.errors import UserError

# Of two rows on different roles the one of the lower rank stays: a test set is never changed by a guard.
ROLE_RANK = {"test": 0, "train": 1, "fresh": 2}
_POLICIES = ("error", "drop_from_train", "keep")


@dataclass(frozen=True)
class Policies:
    """What the guards do: `drop_from_train` takes images out of training, never of test; `keep` reports."""

    missing: str = "error"  # or use_what_is_there: leave out files that are missing, damaged or empty
    exact_across_roles: str = "drop_from_train"
    exact_within_role: str = "drop_from_train"
    near_across_roles: str = "drop_from_train"
    # Between different patients only: frames of one patient are alike by nature, and are merely counted.
    near_within_role: str = "keep"
    near_distance_bits: int = duplicates.HAMMING_DISTANCE
    patient_on_two_roles: str = "error"

    def __post_init__(self):
        for policy in fields(self):
            words = ("error", "use_what_is_there") if policy.name == "missing" else _POLICIES
            if policy.type is str and getattr(self, policy.name) not in words:
                raise UserError(f"policy '{policy.name}' is '{getattr(self, policy.name)}': choose one of "
                                f"{', '.join(words)}.")


@dataclass(frozen=True)
class Finding:
    kind: str
    stops: bool
    sentence: str


@dataclass
class Judgement:
    """The outcome for every row of a source's table."""

    keep: np.ndarray  # bool [N]
    patient_id: np.ndarray  # str [N], linked patients under the number that comes first in the table
    findings: list[Finding]
    dropped: dict[str, list[int]]  # reason: rows; no row is dropped twice
    pairs: dict[str, np.ndarray]  # kind: integer [M, 2], every pair found, whatever its policy


def check_table(table: records.Table, classes: Iterable[str], missing: np.ndarray,
                policies: Policies) -> list[Finding]:
    """The guards that need no pixel; `missing` are the rows without a file."""
    findings = []
    ids, counts = np.unique(table["image_id"], return_counts=True)
    if (counts > 1).any():
        findings.append(Finding(
            "image_id", True,
            f"{_number((counts > 1).sum(), 'image')} stand in the table more than once, first "
            f"{ids[counts > 1][0]}: remove the surplus rows."))
    unknown = ~np.isin(table["label"], list(classes))
    if unknown.any():
        first = np.flatnonzero(unknown)[0]
        findings.append(Finding(
            "unknown_class", True,
            f"{_number(unknown.sum(), 'image')} have an unknown class, first {table['image_id'][first]} with "
            f"'{table['label'][first]}': use one of {', '.join(classes)}."))
    stray = ~np.isin(table["role"], list(ROLE_RANK))
    if stray.any():
        first = np.flatnonzero(stray)[0]
        findings.append(Finding(
            "unknown_role", True,
            f"{_number(stray.sum(), 'image')} have no known role, first {table['image_id'][first]} with "
            f"'{table['role'][first]}': use train or test."))
    elif (rows := _outranked(table["patient_id"], table["role"], np.ones(len(table), dtype=bool))).size:
        patients = np.unique(table["patient_id"][rows])
        findings.append(Finding(
            "patient_on_two_roles", policies.patient_on_two_roles == "error",
            f"{_number(len(patients), 'patient')} stand on two roles with "
            f"{_number(len(rows), 'training image')}, first {patients[0]}: repair the roles, or set "
            "patient_on_two_roles to drop_from_train."))
    if len(missing):
        findings.append(Finding(
            "missing", policies.missing == "error",
            f"{len(missing):,} of {len(table):,} images of the table have no file, first "
            f"{table['file'][missing[0]]}: fetch the complete set, or set missing to use_what_is_there."))
    return findings


def judge(table: records.Table, classes: Iterable[str], scan: Scan, policies: Policies,
          roles: Iterable[str] = ("train", "test")) -> Judgement:
    """All guards, on a table that `check_table` let pass: which rows stay, who is one person, and why.

    `roles` are those that must hold every class.
    """
    role, patient = table["role"], table["patient_id"]
    pairs = _find_pairs(table, scan, policies.near_distance_bits)
    outcome = Judgement(np.ones(len(table), dtype=bool), patient, [], {}, pairs)
    outcome.findings += check_table(table, classes, np.flatnonzero(scan.missing), policies)
    _drop(outcome, "missing", np.flatnonzero(scan.missing))
    if scan.unreadable:
        outcome.findings.append(Finding(
            "unreadable", policies.missing == "error",
            f"{_number(len(scan.unreadable), 'image file')} cannot be used, first: "
            f"{next(iter(scan.unreadable.values()))}"))
        _drop(outcome, "unreadable", list(scan.unreadable))
    if policies.patient_on_two_roles == "drop_from_train":
        _drop(outcome, "patient_on_two_roles", _outranked(patient, role, outcome.keep))
    for kind in ("exact_across_roles", "near_across_roles", "exact_within_role", "near_within_role"):
        _apply_to_pairs(outcome, table, kind, getattr(policies, kind))
    _link_patients(outcome, table, policies.exact_across_roles)
    _check_classes(outcome, table, classes, policies, roles)
    return outcome


def _find_pairs(table: records.Table, scan: Scan, near_distance_bits: int) -> dict[str, np.ndarray]:
    """Every pair of equal or nearly equal images by kind, the row that outranks the other first."""
    rank = np.array([ROLE_RANK.get(role, len(ROLE_RANK)) for role in table["role"].tolist()])
    usable = np.flatnonzero(scan.usable)
    exact = duplicates.exact_pairs(scan.digests)
    near = usable[duplicates.near_pairs(scan.hashes[usable], scan.thumbnails[usable], near_distance_bits)]
    near = near[scan.digests[near[:, 0]] != scan.digests[near[:, 1]]]
    pairs = {}
    for name, found in (("exact", exact), ("near", near)):
        found = np.where((rank[found[:, 0]] > rank[found[:, 1]])[:, None], found[:, ::-1], found)
        across = rank[found[:, 0]] != rank[found[:, 1]]
        same_patient = table["patient_id"][found[:, 0]] == table["patient_id"][found[:, 1]]
        pairs[f"{name}_across_roles"] = found[across]
        pairs[f"{name}_within_role"] = found[~across & ~same_patient] if name == "near" else found[~across]
        if name == "near":
            pairs["near_within_patient"] = found[~across & same_patient]
    return pairs


def _apply_to_pairs(outcome: Judgement, table: records.Table, kind: str, policy: str) -> None:
    pairs = outcome.pairs[kind]
    if not len(pairs):
        return
    first = " and ".join(table["image_id"][pairs[0]])
    unlike = int((table["label"][pairs[:, 0]] != table["label"][pairs[:, 1]]).sum())
    outcome.findings.append(Finding(
        kind, policy == "error",
        f"{_number(len(pairs), 'pair')} of {_KIND_WORDS[kind]} ({unlike} with unlike labels), first {first}: "
        f"policy {kind} is {policy}."))
    if policy == "drop_from_train":
        # A row goes only if the one that it repeats stays, or has gone itself because of a test image.
        for one, other in pairs.tolist():
            if table["role"][other] != "test" and (outcome.keep[one] or kind.endswith("across_roles")):
                _drop(outcome, kind, [other])


def _link_patients(outcome: Judgement, table: records.Table, policy: str) -> None:
    """Two patient numbers that share an exact image are one person, and become one patient (unless `keep`).

    Where that person is on two roles, the other training images of that person are dropped too.
    """
    first_of = {}
    for row, patient in enumerate(table["patient_id"].tolist()):
        first_of.setdefault(patient, row)
    leader = {patient: patient for patient in first_of}

    def lead(patient: str) -> str:
        while leader[patient] != patient:
            patient = leader[patient]
        return patient

    same_image = [outcome.pairs["exact_across_roles"], outcome.pairs["exact_within_role"]]
    for one, other in np.concatenate(same_image).tolist():
        ends = sorted({lead(str(table["patient_id"][row])) for row in (one, other)}, key=first_of.get)
        leader[ends[-1]] = ends[0]
    merged = np.array([lead(patient) for patient in table["patient_id"].tolist()], dtype=np.str_)
    persons = np.unique(merged[merged != table["patient_id"]])
    if not len(persons):
        return
    rows = _outranked(merged, table["role"], outcome.keep)
    numbers = np.unique(table["patient_id"][np.isin(merged, persons)])
    outcome.findings.append(Finding(
        "linked_patients", False,
        f"{_number(len(numbers), 'patient number')} share identical images and stand for "
        f"{_number(len(persons), 'person')} ({numbers[0]} is one of them); besides duplicates "
        f"{_number(len(rows), 'training image')} belong to persons of the test set: policy "
        f"exact_across_roles is {policy}."))
    if policy != "keep":
        outcome.patient_id = merged
    if policy == "drop_from_train":
        _drop(outcome, "linked_patients", rows)


def _check_classes(outcome: Judgement, table: records.Table, classes: Iterable[str],
                   policies: Policies, roles: Iterable[str]) -> None:
    complete = policies.missing == "error"
    for role in roles:
        present = table["label"][outcome.keep & (table["role"] == role)]
        absent = [label for label in classes if label not in present]
        if not len(present):
            finding = Finding("absent_classes", complete or role == "train",
                              f"no image is left with the role {role}: complete the images or repair the "
                              "roles.")
        elif absent:
            finding = Finding("absent_classes", complete,
                              f"no image with the role {role} is left of {', '.join(absent)}: complete the "
                              "images or repair the table.")
        else:
            continue
        outcome.findings.append(finding)


def _outranked(patient: np.ndarray, role: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The kept rows (integer) of patients who also have rows of a role that outranks this row's."""
    rank = np.array([ROLE_RANK.get(name, len(ROLE_RANK)) for name in role.tolist()])
    _, number = np.unique(patient, return_inverse=True)
    best = np.full(number.max(initial=-1) + 1, len(ROLE_RANK) + 1)
    np.minimum.at(best, number, rank)
    return np.flatnonzero(keep & (rank > best[number]))


def _drop(outcome: Judgement, reason: str, rows: Iterable[int]) -> None:
    for row in (int(row) for row in rows):
        if outcome.keep[row]:
            outcome.keep[row] = False
            outcome.dropped.setdefault(reason, []).append(row)


def _number(count: int, noun: str) -> str:
    return f"{int(count):,} {noun}{'' if count == 1 else 's'}"


_KIND_WORDS = {
    "exact_across_roles": "identical images on two roles",
    "exact_within_role": "identical images on one role",
    "near_across_roles": "nearly identical images on two roles",
    "near_within_role": "nearly identical images of two patients on one role",
}
