"""Prepare a source: apply the guards, reduce every image to one grey square, pack by role, draw the budgets."""

import sys
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
from synthplanes.data.preparation.duplicates import ALTERED_CORRELATION, CORRELATION, CROP, near_groups
from synthplanes.data.preparation.guards import IN_WORDS, Finding
from synthplanes.data.preparation.scanning import Scan, scan
from synthplanes.data.sources.listed_files import ListedFiles
from synthplanes.data.sources.opening import Source
from synthplanes.data.sources.published import PUBLICATIONS
from synthplanes.errors import UserError
from synthplanes.protocol.config import Guards
from synthplanes.protocol.profiles import Profile

# folder of a pack: the role of its rows
SETS = {"development": "train", "test": "test", "fresh": "fresh"}
# What data.json and `inspect` show of long lists: so many entries, groups of duplicates, and images of a group.
_MOST, _MOST_GROUPS, _MOST_OF_A_GROUP = 50, 25, 4


def prepare(source: Source, profile: Profile, folder: Path) -> dict:
    """Write the packs of a source into `folder` and return the content of `data.json`.

    Writes development/, test/ and fresh/ (each images.npy and index.csv), classes.json, splits.csv (see
    `splits.budget_splits`) and contact_sheet.png. In cross-validation all images of the source are development images,
    and test/ stays empty. A finding that stops under the profile's policies raises `UserError` before that.
    """
    parameters, policies, classes = profile.prepare, profile.prepare.guards, list(source.classes)
    if profile.folds:
        source = replace(source, table=source.table.assign(role=source.table["role"].replace("test", "train")))
    _raise_first(guards.check_table(source, source.missing(), policies))
    frames = packs.temporary_frames(folder, (len(source.table), parameters.image_size, parameters.image_size))
    scanned = scan(source, frames, parameters.masked_boxes)
    source, near = _with_roles(source, scanned, policies)
    result = guards.apply_guards(source, scanned, near, policies, ("train",) if profile.folds else ("train", "test"))
    _raise_first(result.findings)
    for finding in result.findings:
        print(f"note: {finding.sentence}", file=sys.stderr)
    table = source.table
    index = table.assign(patient_id=result.patient_id, sha256=scanned.sha256)[list(records.INDEX.columns)]
    in_training = result.keep & (index["role"] == "train").to_numpy()
    development = index[in_training].reset_index(drop=True)
    alike = splits.alike_patients(result.patient_id[in_training], near[in_training])
    tested = splits.folds(development, profile, alike) if profile.folds else []
    budgets = splits.budget_splits(development, profile, tested, alike)
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
    linked = dict(zip(table["patient_id"][merged], result.patient_id[merged], strict=True))
    return {
        "source": source.name,
        "publication": published and dict(doi=published.doi, licence=published.licence, citation=published.citation),
        "classes": classes,
        "size_px": parameters.image_size,
        "rows_in_table": len(table),
        "roles": _role_counts(index[result.keep], classes),
        "native_sizes": _most_common(f"{width}x{height}" for height, width in scanned.sizes[scanned.usable].tolist()),
        "budgets": [dict(zip(by, values, strict=True), **_counts_with_classes(rows, classes))
                    for values, rows in members.groupby(by, sort=False)],
        "policies": policies.model_dump(),
        "near_duplicate_rule": dict(
            hash="64-bit DCT", hamming_distance_at_most=policies.near_distance_bits,
            thumbnail_correlation_at_least=CORRELATION, altered_correlation_at_least=ALTERED_CORRELATION,
            altered=f"turned by 90, 180 or 270 degrees or mirrored; without its border; {CROP:.0%} cut from any sides, "
                    "as it is or mirrored"),
        "findings": [dict(kind=finding.kind, sentence=finding.sentence) for finding in result.findings],
        # An incomplete set may lack thousands of files, so only the first is named.
        "dropped": {reason: dict(images=len(rows), by_class=table["label"].iloc[rows].value_counts().to_dict(),
                                 image_ids=image_id[rows[:1 if reason == "missing" else _MOST]].tolist())
                    for reason, rows in result.dropped.items()},
        "duplicates": {kind: dict(
            groups=len(groups), images=sum(map(len, groups)),
            image_ids=[image_id[group[:_MOST_OF_A_GROUP]].tolist() for group in groups[:_MOST_GROUPS]]
            if kind in IN_WORDS else None) for kind, groups in result.groups.items()},
        # patient number: the number of the same person in the index
        "linked_patients": dict(list(linked.items())[:_MOST]),
    }


def _with_roles(source: Source, scanned: Scan, policies: Guards) -> tuple[Source, np.ndarray]:
    """Return the source, and the group of nearly equal images of each row (`near_groups`).

    Where the source drew its test patients, it did so without a look at the images. They are drawn again, with patients
    of nearly equal images on one side; without such patients the draw is the same.
    """
    near = near_groups(scanned.sha256, scanned.thumbnails, scanned.trimmed, policies.near_distance_bits)
    alike = splits.alike_patients(source.table["patient_id"].to_numpy(), near)
    if len(alike) and isinstance(source, ListedFiles) and source.drawn and (source.table["role"] == "test").any():
        try:
            role = splits.draw_test(source.table, *source.drawn, alike)
        except UserError as error:
            patients = source.table["patient_id"].groupby(near).nunique()
            shared = source.table["image_id"][near == patients.idxmax()]
            raise UserError(f"{str(error).removesuffix('.')}; {patients.max():,} patients share an image, such "
                            f"as {shared.iloc[0]} or {shared.iloc[1]}: if it is a title or a test frame, remove its "
                            "rows.") from None
        source = replace(source, table=source.table.assign(role=role))
    return source, near


def inspect(source: Source, policies: Guards) -> tuple[list[str], bool]:
    """Apply the guards of `prepare` to the files that are present; return readable lines and whether it would stop."""
    scanned = scan(source)
    source, near = _with_roles(source, scanned, policies)
    result, table = guards.apply_guards(source, scanned, near, policies), source.table
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
    for kind in IN_WORDS:
        for group in result.groups[kind][:_MOST_GROUPS]:
            more = f" and {len(group) - _MOST_OF_A_GROUP:,} more" if len(group) > _MOST_OF_A_GROUP else ""
            lines.append(f"  {kind}: {' = '.join(table['image_id'].iloc[group[:_MOST_OF_A_GROUP]])}{more} "
                         f"({' / '.join(dict.fromkeys(table['role'].iloc[group]))})")
        if len(result.groups[kind]) > _MOST_GROUPS:
            lines.append(f"  {kind}: {len(result.groups[kind]) - _MOST_GROUPS:,} smaller groups")
    return lines, any(finding.stops for finding in result.findings)


def _raise_first(findings: Iterable[Finding]) -> None:
    """Raise the first finding that stops, and say how many more there are."""
    stopping = [finding.sentence for finding in findings if finding.stops]
    if stopping:
        more = f" ({len(stopping) - 1} more: see `synthplanes inspect`)" if len(stopping) > 1 else ""
        raise UserError(stopping[0] + more)


def _most_common(values: Iterable[str]) -> dict[str, int]:
    """Count the values; of many different ones, the rare ones together."""
    counts = Counter(values)
    kept = dict(counts if len(counts) <= _MOST else counts.most_common(_MOST))
    rest = counts.total() - sum(kept.values())
    return kept | ({"others": rest} if rest else {})


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
