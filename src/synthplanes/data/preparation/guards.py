"""Check a set of images, and apply the declared policy to each finding.

A policy is `error` (stop), `drop_from_train` (take images out of training, never out of test) or `keep` (report only);
`missing` is `error` or `use_what_is_there` (leave out files that are missing, damaged or empty).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from synthplanes.data import identity
from synthplanes.data.preparation.duplicates import connected, exact_groups
from synthplanes.data.preparation.scanning import FEW_LEVELS, Scan, depth
from synthplanes.data.sources.opening import Source
from synthplanes.protocol.config import Guards

# Of two rows with different roles the one of lower rank stays, so that no guard ever changes a test set.
ROLE_RANK = {"test": 0, "train": 1, "fresh": 2}
# The kinds of duplicates, in the order of treatment: what the images of a group share, and in what they must differ.
# Near ones of one patient are natural, and have no policy.
DUPLICATES = {
    "exact_across_roles": (["exact"], ["role"]),
    "near_across_roles": (["near"], ["role", "exact"]),
    "exact_within_role": (["exact", "role"], ["row"]),
    "near_within_role": (["near", "role"], ["patient", "exact"]),
    "near_within_patient": (["near", "role", "patient"], ["exact"]),
}
IN_WORDS = {
    "exact_across_roles": "identical images on two roles",
    "near_across_roles": "nearly identical images on two roles",
    "exact_within_role": "identical images on one role",
    "near_within_role": "nearly identical images of two patients on one role",
}
# What names of masks hold, and what names of their images may hold in its place.
_MASK = re.compile(r"(?<![a-z])(masks?|seg(mentations?)?|gt|ground[ _-]?truth|annotations?|rois?|"
                   r"labels?(tr|ts)?|contours?|outlines?|overlays?|heatmaps?|bbox(es)?)"
                   r"(?![a-z])(([ _-]?\d+)?$|(?=/))")
_LARGE_PATIENT = 0.1  # fraction of all images
_MANY = 30            # images, of which some are usually of one person
_DARK = 64            # grey level that a set of images reaches, if it uses its 8 bits
_IMAGE = re.compile(r"(?<![a-z])(images?(tr|ts)?|imgs?|originals?|us)(?![a-z])")


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
    groups: dict[str, list[np.ndarray]]  # kind: rows of each group of duplicates, whatever its policy; largest first
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
    yield from _odd_patients(table["patient_id"])
    masks = _masks(table["file"])
    if masks:
        mask, image = next(iter(masks.items()))
        yield Finding("masks", True, f"{_number(len(masks), 'image')} have the name of a mask, first {mask} beside "
                                     f"{image}: remove the rows of masks from the table.")
    if len(missing):
        yield Finding("missing", guards.missing == "error",
                      f"{len(missing):,} of {len(table):,} images of the table have no file, first "
                      f"{table['file'].iloc[missing[0]]}: fetch the complete set, or set missing to use_what_is_there.")


def _odd_patients(patients: pd.Series) -> Iterator[Finding]:
    """Note numbers that are perhaps no patients: one for each image, or one for all whose patient is not known."""
    images = patients.value_counts()
    if len(images) >= _MANY and images.max() == 1:
        yield Finding("patients", False, f"each of the {len(images):,} images is of a patient of its own: if some are "
                                         "of one person, intervals are too narrow and persons stand on two sides.")
    elif images.max() > max(10 * images.median(), _LARGE_PATIENT * len(patients)):
        yield Finding("patients", False, f"{images.max():,} of {len(patients):,} images are of the patient "
                                         f"{images.idxmax()}: see that this is a person, and not a word for unknown.")


def _masks(files: pd.Series) -> dict[str, str]:
    """Return file: the image beside it, of those that only a word such as mask tells from the name of another file."""
    names = files.str.replace(r"\.\w+$", "", regex=True).str.lower()
    plain = [re.sub("[^a-z0-9]", "", _IMAGE.sub("", _MASK.sub("", name))) for name in names]
    named = [bool(_MASK.search(name)) for name in names]
    images = {key: file for key, file, mask in zip(plain, files, named, strict=True) if not mask}
    return {file: images[key] for key, file, mask in zip(plain, files, named, strict=True) if mask and key in images}


def apply_guards(source: Source, scan: Scan, near: np.ndarray, guards: Guards,
                 roles: Iterable[str] = ("train", "test")) -> GuardResult:
    """Apply all guards to a scanned source, of which `roles` must hold every class; `near` is from `near_groups`."""
    table, complete = source.table, guards.missing == "error"
    exact = exact_groups(scan.sha256)
    result = GuardResult(np.ones(len(table), dtype=bool), table["patient_id"].to_numpy(),
                         _find_groups(table, scan, exact, near), list(check_table(source, scan.missing, guards)))
    result.drop("missing", scan.missing)
    if scan.unreadable:
        first = next(iter(scan.unreadable.values()))
        result.findings.append(Finding(
            "unreadable", complete, f"{_number(len(scan.unreadable), 'image file')} cannot be used, first: {first}"))
        result.drop("unreadable", scan.unreadable)
    if scan.deep:
        largest, row = 2 ** depth(scan.deep) - 1, max(scan.deep, key=scan.deep.__getitem__)
        result.findings.append(Finding(
            "grey_scale", False, f"{_number(len(scan.deep), 'image')} hold 16-bit grey, {scan.deep[row]:,} at "
                                 f"most in all of them ({table['file'].iloc[row]}): 0 to {largest:,} is scaled to 0 "
                                 "to 255."))
    if scan.usable.any() and (brightest := int(scan.thumbnails.max())) < _DARK:
        result.findings.append(Finding(
            "dark", False, f"no image is brighter than about {brightest} of 255: see that the conversion to 8 bits "
                           "kept the greys."))
    coarse = np.flatnonzero(scan.usable & (scan.levels < FEW_LEVELS))
    if len(coarse):
        result.findings.append(Finding(
            "few_levels", False, f"{_number(len(coarse), 'image')} have fewer than {FEW_LEVELS} grey levels, first "
                                 f"{table['file'].iloc[coarse[0]]} with {scan.levels[coarse[0]]}: see that they are no "
                                 "masks or drawings, and that no conversion lost their greys."))
    if guards.patient_on_two_roles == "drop_from_train":
        result.drop("patient_on_two_roles", _outranked(table["patient_id"], table["role"], result.keep))
    policies = guards.model_dump()
    for kind in IN_WORDS:
        _treat_duplicates(result, table, kind, policies[kind])
    _link_patients(result, table, exact, guards.exact_across_roles)
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


def _find_groups(table: pd.DataFrame, scan: Scan, exact: np.ndarray, near: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Return the groups of equal or nearly equal images by kind, in each the row first that outranks the others."""
    rows = pd.DataFrame(dict(row=np.arange(len(table)), exact=exact, near=near, role=_rank(table["role"]),
                             patient=table["patient_id"]))[scan.usable].sort_values("role", kind="stable")
    groups = {}
    for kind, (shared, differing) in DUPLICATES.items():
        several = rows.groupby(shared)[differing].transform("nunique").gt(1).all(axis=1)
        found = [group.to_numpy() for _, group in rows[several].groupby(shared, sort=False)["row"]]
        groups[kind] = sorted(found, key=lambda group: (-len(group), group.min()))
    return groups


def _treat_duplicates(result: GuardResult, table: pd.DataFrame, kind: str, policy: str) -> None:
    groups, label = result.groups[kind], table["label"].to_numpy()
    if not groups:
        return
    unlike = sum(len(np.unique(label[group])) > 1 for group in groups)
    result.findings.append(Finding(
        kind, policy == "error",
        f"{_number(len(groups), 'group')} of {IN_WORDS[kind]} ({sum(map(len, groups)):,} images; {unlike:,} with "
        f"unlike labels), first {' and '.join(table['image_id'].iloc[groups[0][:2]])}: policy {kind} is {policy}."))
    if policy == "drop_from_train":
        role, patient = table["role"].to_numpy(), table["patient_id"].to_numpy()
        for group in groups:
            rows = group if kind.endswith("across_roles") else group[result.keep[group]]
            # Of one role the first image stays, and what is nearly the same of its patient.
            same = {"exact_within_role": rows[:1] == rows, "near_within_role": patient[rows[:1]] == patient[rows]}
            result.drop(kind, rows[~same.get(kind, role[rows] == role[rows[:1]]) & (role[rows] != "test")])


def _link_patients(result: GuardResult, table: pd.DataFrame, exact: np.ndarray, policy: str) -> None:
    """Merge patient numbers that share an identical image, since they are one person (unless the policy is `keep`)."""
    number, patients = pd.factorize(table["patient_id"])  # numbered in the order of the table
    _, person = connected(len(patients), np.stack([number, number[exact]], axis=1))
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
    rank = _rank(role)
    return np.flatnonzero(keep & (rank > rank.groupby(identity.forms(patient)).transform("min")))


def _rank(role: pd.Series) -> pd.Series:
    return role.map(ROLE_RANK).fillna(len(ROLE_RANK))


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
