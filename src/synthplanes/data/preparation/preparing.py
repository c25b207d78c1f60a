"""Prepare a source: apply the guards, reduce every image to one grey square, pack by role, draw the budgets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data import packs
from synthplanes.data.preparation import duplicates, folds, guards, splits
from synthplanes.data.preparation.contact_sheet import write_contact_sheet
from synthplanes.data.preparation.guards import DUPLICATES, Finding, GuardResult
from synthplanes.data.preparation.scanning import scan
from synthplanes.data.sources.opening import Source
from synthplanes.data.sources.publications import PUBLICATIONS
from synthplanes.errors import UserError
from synthplanes.protocol.config import Guards
from synthplanes.protocol.profiles import Profile

# folder of a pack: the role of its rows
SETS = {"development": "train", "test": "test", "fresh": "fresh"}


def prepare(source: Source, profile: Profile, folder: Path) -> dict:
    """Write the packs of a source into `folder` and return the content of `data.json`.

    Writes development/, test/ and fresh/ (each images.npy and index.csv), classes.json, splits.csv (see
    `splits.budget_splits`) and contact_sheet.png. In cross-validation all images of the source are development images,
    test/ stays empty, and every replicate tests a fold of its own (see folds.py). The returned dict holds JSON values:
    counts by role, class and scanner, what was dropped and why, pairs of duplicates, native sizes, images of each
    budget. A finding that stops under the profile's policies raises `UserError` before anything is written.
    """
    folder, parameters, table = Path(folder), profile.prepare, source.table
    if profile.folds:
        table = table.assign(role=table["role"].replace("test", "train"))
        source = replace(source, table=table)
    _raise_first(guards.check_table(source, source.missing(), parameters.guards))
    frames = packs.temporary_frames(folder, (len(table), parameters.image_size, parameters.image_size))
    scanned = scan(source, frames, parameters.masked_boxes)
    result = guards.apply_guards(source, scanned, parameters.guards,
                                 roles=("train",) if profile.folds else ("train", "test"))
    _raise_first(result.findings)
    index = table.assign(patient_id=result.patient_id, sha256=scanned.sha256)[list(records.INDEX.columns)]
    in_training = result.keep & (index["role"] == "train").to_numpy()
    development = index[in_training].reset_index(drop=True)
    alike = result.pairs["near_within_role"]
    tested = folds.folds(development, profile, result.patient_id[alike[in_training[alike].all(axis=1)]]
                         ) if profile.folds else ()
    budgets = splits.budget_splits(development, profile, tested)
    for name, role in SETS.items():
        rows = np.flatnonzero(result.keep & (index["role"] == role))
        packs.write_pack(folder / name, frames, index.iloc[rows], rows=rows)
    records.write_json(folder / "classes.json", list(source.classes))
    records.write_table(folder / "splits.csv", budgets, records.SPLITS)
    write_contact_sheet(folder / "contact_sheet.png", packs.read_pack(folder / "development").images,
                        development["label"].to_numpy(), source.classes)
    return {
        "source": source.name,
        "publication": _publication(source.name),
        "classes": list(source.classes),
        "size_px": parameters.image_size,
        "rows_in_table": len(table),
        "roles": _role_counts(index[result.keep], source.classes),
        "native_sizes": dict(Counter(f"{width}x{height}" for height, width in scanned.sizes[scanned.usable].tolist())),
        "budgets": _budget_counts(development, budgets, source.classes),
        **_guard_counts(table, result, parameters.guards),
    }


@dataclass(frozen=True)
class Inspection:
    """The findings of the guards on a source, as readable lines, and whether `prepare` would stop."""

    lines: list[str]
    stops: bool


def inspect(source: Source, policies: Guards) -> Inspection:
    """Apply the guards of `prepare` to the files that are present, and write nothing."""
    scanned = scan(source)
    result = guards.apply_guards(source, scanned, policies)
    table = source.table
    lines = [f"{source.name}: {len(table):,} images in the table, {int(scanned.usable.sum()):,} of them readable"]
    for role in SETS.values():
        rows = table["role"] == role
        if rows.any():
            lines.append(f"{role}: {_in_words(table[rows])}")
            for label in source.classes:
                here = rows & (table["label"] == label)
                lines.append(f"  {label}: {_in_words(table[here])}, {(here & scanned.usable).sum():,} readable, "
                             f"{(here & result.keep).sum():,} left by the guards")
    lines += [f"{'STOP' if finding.stops else 'note'}: {finding.sentence}" for finding in result.findings]
    for kind in DUPLICATES:
        lines += [f"  {kind}: {' = '.join(table['image_id'].iloc[pair])} ({' / '.join(table['role'].iloc[pair])})"
                  for pair in result.pairs[kind]]
    return Inspection(lines, any(finding.stops for finding in result.findings))


def _raise_first(findings: list[Finding]) -> None:
    """Raise the first finding that stops, and say how many more there are."""
    stopping = [finding for finding in findings if finding.stops]
    if stopping:
        more = f" ({len(stopping) - 1} more: see `synthplanes inspect`)" if len(stopping) > 1 else ""
        raise UserError(stopping[0].sentence + more)


def _publication(name: str) -> dict[str, str] | None:
    if (published := PUBLICATIONS.get(name)) is None:
        return None
    return dict(doi=published.doi, licence=published.licence, citation=published.citation)


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return dict(images=len(rows), patients=rows["patient_id"].nunique())


def _in_words(rows: pd.DataFrame) -> str:
    return "{images:,} images of {patients:,} patients".format(**_counts(rows))


def _images_by_class(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    return {label: int((rows["label"] == label).sum()) for label in classes}


def _role_counts(index: pd.DataFrame, classes: Sequence[str]) -> dict:
    """Return role: {images, patients, classes: {label: {images, patients}}, scanners, sub_planes}."""
    return {role: dict(_counts(rows),
                       classes={label: _counts(rows[rows["label"] == label]) for label in classes},
                       scanners=_counts_by(rows, "scanner", classes),
                       sub_planes=_counts_by(rows[rows["sub_plane"] != ""], "sub_plane", classes))
            for role, rows in index.groupby("role")}


def _counts_by(index: pd.DataFrame, column: str, classes: Sequence[str]) -> dict:
    """Return value of a column: {images, patients, classes: {label: images}}; '' stands for unknown."""
    return {value: dict(_counts(rows), classes=_images_by_class(rows, classes))
            for value, rows in index.groupby(column)}


def _budget_counts(development: pd.DataFrame, budgets: pd.DataFrame, classes: Sequence[str]) -> list[dict]:
    """Return an entry for every budget, replicate and role: images, patients and images per class."""
    members = budgets.merge(development.drop(columns="role"), on="image_id")
    return [dict(budget=budget, replicate=replicate, role=role, **_counts(rows),
                 classes=_images_by_class(rows, classes))
            for (budget, replicate, role), rows in members.groupby(["budget", "replicate", "role"], sort=False)]


def _guard_counts(table: pd.DataFrame, result: GuardResult, policies: Guards) -> dict:
    image_id, label = table["image_id"].to_numpy(), table["label"].to_numpy()
    merged = result.patient_id != table["patient_id"].to_numpy()
    dropped = {}
    for reason, rows in result.dropped.items():
        # An incomplete set may lack thousands of files, so only the first is named.
        named = rows[:1] if reason == "missing" else rows
        dropped[reason] = dict(images=len(rows), by_class=dict(Counter(label[rows].tolist())),
                               image_ids=image_id[named].tolist())
    return {
        "policies": policies.model_dump(),
        "near_duplicate_rule": dict(hash="64-bit DCT", hamming_distance_at_most=policies.near_distance_bits,
                                    thumbnail_correlation_at_least=duplicates.CORRELATION),
        "findings": [dict(kind=finding.kind, sentence=finding.sentence) for finding in result.findings],
        "dropped": dropped,
        "duplicates": {kind: dict(pairs=len(pairs), image_ids=image_id[pairs].tolist() if kind in DUPLICATES else None)
                       for kind, pairs in result.pairs.items()},
        # patient number: the number of the same person in the index
        "linked_patients": dict(zip(table["patient_id"][merged], result.patient_id[merged], strict=True)),
    }
