"""Prepare a source: apply the guards, reduce every image to one grey square, pack by role, draw the budgets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data import packs
from synthplanes.data.preparation import guards, splits
from synthplanes.data.preparation.demands import Prepared, check_demands
from synthplanes.data.preparation.guards import DUPLICATES, Finding
from synthplanes.data.preparation.scanning import CORRELATION, scan
from synthplanes.data.sources.opening import Source
from synthplanes.data.sources.published import PUBLICATIONS
from synthplanes.errors import UserError
from synthplanes.protocol.config import Guards
from synthplanes.protocol.profiles import Profile

# folder of a pack: the role of its rows
SETS = {"development": "train", "test": "test", "fresh": "fresh"}


def prepare(source: Source, profile: Profile, folder: Path) -> dict:
    """Write the packs of a source into `folder` and return the content of `data.json`.

    Writes development/, test/ and fresh/ (each images.npy and index.csv), classes.json, splits.csv (see
    `splits.budget_splits`) and contact_sheet.png. In cross-validation all images of the source are development images,
    and test/ stays empty. A finding that stops under the profile's policies raises `UserError` before that.
    """
    parameters, policies, table, classes = profile.prepare, profile.prepare.guards, source.table, list(source.classes)
    if profile.folds:
        table = table.assign(role=table["role"].replace("test", "train"))
        source = replace(source, table=table)
    _raise_first(guards.check_table(source, source.missing(), policies))
    frames = packs.temporary_frames(folder, (len(table), parameters.image_size, parameters.image_size))
    scanned = scan(source, frames, parameters.masked_boxes)
    result = guards.apply_guards(source, scanned, policies, ("train",) if profile.folds else ("train", "test"))
    _raise_first(result.findings)
    index = table.assign(patient_id=result.patient_id, sha256=scanned.sha256)[list(records.INDEX.columns)]
    in_training = result.keep & (index["role"] == "train").to_numpy()
    development = index[in_training].reset_index(drop=True)
    tested = []
    if profile.folds:
        alike = result.pairs["near_within_role"]
        tested = splits.folds(development, profile, result.patient_id[alike[in_training[alike].all(axis=1)]])
    budgets = splits.budget_splits(development, profile, tested)
    blank = [row for row in np.flatnonzero(result.keep) if frames[row].min() == frames[row].max()]
    check_demands(Prepared(index[result.keep], budgets, classes, profile, index["image_id"].iloc[blank].tolist()))
    for name, role in SETS.items():
        rows = np.flatnonzero(result.keep & (index["role"] == role))
        packs.write_pack(folder / name, frames, index.iloc[rows], rows=rows)
    records.write_json(folder / "classes.json", classes)
    records.write_table(folder / "splits.csv", budgets, records.SPLITS)
    packs.write_contact_sheet(folder / "contact_sheet.png", packs.read_pack(folder / "development").images,
                              development["label"].to_numpy(), classes)
    published = PUBLICATIONS.get(source.name)
    by, members = ["budget", "replicate", "role"], budgets.merge(development.drop(columns="role"), on="image_id")
    image_id, merged = table["image_id"].to_numpy(), result.patient_id != table["patient_id"].to_numpy()
    return {
        "source": source.name,
        "publication": published and dict(doi=published.doi, licence=published.licence, citation=published.citation),
        "classes": classes,
        "size_px": parameters.image_size,
        "rows_in_table": len(table),
        "roles": _role_counts(index[result.keep], classes),
        "native_sizes": dict(Counter(f"{width}x{height}" for height, width in scanned.sizes[scanned.usable].tolist())),
        "budgets": [dict(zip(by, values, strict=True), **_counts_with_classes(rows, classes))
                    for values, rows in members.groupby(by, sort=False)],
        "policies": policies.model_dump(),
        "near_duplicate_rule": dict(hash="64-bit DCT", hamming_distance_at_most=policies.near_distance_bits,
                                    thumbnail_correlation_at_least=CORRELATION),
        "findings": [dict(kind=finding.kind, sentence=finding.sentence) for finding in result.findings],
        # An incomplete set may lack thousands of files, so only the first is named.
        "dropped": {reason: dict(images=len(rows), by_class=table["label"].iloc[rows].value_counts().to_dict(),
                                 image_ids=image_id[rows[:1] if reason == "missing" else rows].tolist())
                    for reason, rows in result.dropped.items()},
        "duplicates": {kind: dict(pairs=len(pairs), image_ids=image_id[pairs].tolist() if kind in DUPLICATES else None)
                       for kind, pairs in result.pairs.items()},
        # patient number: the number of the same person in the index
        "linked_patients": dict(zip(table["patient_id"][merged], result.patient_id[merged], strict=True)),
    }


def inspect(source: Source, policies: Guards) -> tuple[list[str], bool]:
    """Apply the guards of `prepare` to the files that are present; return readable lines and whether it would stop."""
    scanned, table = scan(source), source.table
    result = guards.apply_guards(source, scanned, policies)
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
    return lines, any(finding.stops for finding in result.findings)


def _raise_first(findings: Iterable[Finding]) -> None:
    """Raise the first finding that stops, and say how many more there are."""
    stopping = [finding.sentence for finding in findings if finding.stops]
    if stopping:
        more = f" ({len(stopping) - 1} more: see `synthplanes inspect`)" if len(stopping) > 1 else ""
        raise UserError(stopping[0] + more)


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return dict(images=len(rows), patients=rows["patient_id"].nunique())


def _in_words(rows: pd.DataFrame) -> str:
    return "{images:,} images of {patients:,} patients".format(**_counts(rows))


def _counts_with_classes(rows: pd.DataFrame, classes: Sequence[str]) -> dict:
    """Return {images, patients, classes: {label: images}}."""
    return dict(_counts(rows), classes={label: int((rows["label"] == label).sum()) for label in classes})


def _role_counts(index: pd.DataFrame, classes: Sequence[str]) -> dict:
    """Return role: {images, patients, classes, scanners, sub_planes}, each of the last three counted by value."""
    return {role: dict(_counts(rows), classes={label: _counts(rows[rows["label"] == label]) for label in classes},
                       **{f"{column}s": {value: _counts_with_classes(own, classes)
                                         for value, own in rows.groupby(column) if value or column == "scanner"}
                          for column in ("scanner", "sub_plane")})
            for role, rows in index.groupby("role")}
