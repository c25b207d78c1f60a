"""From a source to packed sets: guards, one grey square per image, budgets, contact sheet and counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.data.preparation import duplicates, folds, guards, splits
from synthplanes.data import images, packs
from synthplanes.data.preparation.contact_sheet import write_contact_sheet
from synthplanes.data.preparation.guards import Finding, Judgement, Policies
from synthplanes.data.sources.publications import PUBLICATIONS
from synthplanes.data.preparation.scanning import Scan, scan
from synthplanes.data.sources.opening import Source
from synthplanes.errors import UserError

# folder of a pack: the role of its rows
SETS = {"development": "train", "test": "test", "fresh": "fresh"}


def prepare(source: Source, size: int, policies: Policies, fractions: Mapping[str, float],
            validation_fraction: float, replicates: int, root_seed: int, folder: Path,
            text_boxes: Sequence[images.Box] = (), cross_validation: str = "none") -> dict:
    """Write the packs of `source` with frames of `size` x `size` pixels into `folder`; returns `data.json`.

    Written are development/, test/ and fresh/ (each images.npy and index.csv), classes.json, splits.csv (see
    `splits.budget_splits`) and contact_sheet.png. `text_boxes` are masked in every native frame. With
    `cross_validation` by patients or scanners all of the source's images are development, test/ stays empty, and
    every replicate tests a fold of its own (see folds.py). The returned
    dict is JSON: counts by role, class and scanner, what was dropped and why, pairs of duplicates, native
    sizes, images of each budget. A finding that stops under `policies` raises `UserError` before anything is
    written.
    """
    folder = Path(folder)
    crossed = cross_validation != "none"
    if crossed:
        role = source.table["role"]
        source = replace(source, table=source.table.with_columns(role=np.where(role == "test", "train", role)))
    _refuse(guards.check_table(source.table, source.classes, source.missing(), policies))
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / ".frames.npy"
    try:
        frames = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8,
                                           shape=(len(source.table), size, size))

        def keep_frame(row: int, grey: np.ndarray) -> None:
            frames[row] = images.frame(grey, size, text_boxes)

        scanned = scan(source, keep_frame)
        judgement = guards.judge(source.table, source.classes, scanned, policies,
                                 roles=("train",) if crossed else ("train", "test"))
        _refuse(judgement.findings)
        index = _index(source.table, scanned, judgement)
        role_of = source.table["role"]
        development = index.select(judgement.keep & (role_of == "train"))
        tested = folds.folds(development, cross_validation, replicates, _alike(development, source.table, judgement),
                              root_seed) if crossed else ()
        budgets = splits.budget_splits(development, fractions, validation_fraction, replicates, root_seed, tested)
        for name, role in SETS.items():
            rows = np.flatnonzero(judgement.keep & (role_of == role))
            packs.write_pack(folder / name, frames, index.select(rows), rows)
    except OSError as error:
        raise UserError(f"{folder} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command again.") from error
    finally:
        scratch.unlink(missing_ok=True)
    records.write_json(folder / "classes.json", list(source.classes))
    records.write_table(folder / "splits.csv", budgets)
    write_contact_sheet(folder / "contact_sheet.png", packs.read_pack(folder / "development").images,
                        development["label"], source.classes)
    return {
        "source": source.name,
        "publication": _publication(source.name),
        "classes": list(source.classes),
        "size_px": size,
        "rows_in_table": len(source.table),
        "roles": _role_counts(index.select(judgement.keep), source.classes),
        "native_sizes": _native_sizes(scanned),
        "budgets": _budget_counts(development, budgets, source.classes),
        **_guard_report(source.table, judgement, policies),
    }


@dataclass(frozen=True)
class Inspection:
    lines: list[str]
    stops: bool  # whether `prepare` would refuse under the same policies


def inspect(source: Source, policies: Policies) -> Inspection:
    """The same guards as `prepare`, on whatever files are there, as lines for people."""
    scanned = scan(source)
    judgement = guards.judge(source.table, source.classes, scanned, policies)
    table = source.table
    lines = [f"{source.name}: {len(table):,} images in the table, {int(scanned.usable.sum()):,} of them "
             "readable"]
    for role in ("train", "test", "fresh"):
        rows = table["role"] == role
        if rows.any():
            lines.append(f"{role}: {rows.sum():,} images of {len(np.unique(table['patient_id'][rows])):,} "
                         "patients")
        for label in (source.classes if rows.any() else ()):
            these = rows & (table["label"] == label)
            lines.append(f"  {label}: {these.sum():,} images of "
                         f"{len(np.unique(table['patient_id'][these])):,} patients, "
                         f"{(these & scanned.usable).sum():,} readable, {(these & judgement.keep).sum():,} "
                         "left by the guards")
    lines += [f"{'STOP' if finding.stops else 'note'}: {finding.sentence}" for finding in judgement.findings]
    for kind in _LISTED_PAIRS:
        lines += [f"  {kind}: {' = '.join(table['image_id'][pair])} ({' / '.join(table['role'][pair])})"
                  for pair in judgement.pairs[kind]]
    return Inspection(lines, any(finding.stops for finding in judgement.findings))


_LISTED_PAIRS = ("exact_across_roles", "exact_within_role", "near_across_roles", "near_within_role")


def _refuse(findings: list[Finding]) -> None:
    """Raise the first finding that stops, and say how many more there are."""
    stopping = [finding for finding in findings if finding.stops]
    if stopping:
        more = f" ({len(stopping) - 1} more: see `synthplanes inspect`)" if len(stopping) > 1 else ""
        raise UserError(stopping[0].sentence + more)


def _alike(development: records.Table, table: records.Table, judgement: Judgement) -> np.ndarray:
    """int [n, 2]: rows of `development` whose images are near duplicates although their patients differ."""
    row_of = {image_id: row for row, image_id in enumerate(development["image_id"].tolist())}
    pairs = table["image_id"][judgement.pairs["near_within_role"]].reshape(-1, 2).tolist()
    return np.array([[row_of[name] for name in pair] for pair in pairs if set(pair) <= set(row_of)]).reshape(-1, 2)


def _index(table: records.Table, scanned: Scan, judgement: Judgement) -> records.Table:
    same = ("image_id", "label", "role", "scanner", "operator", "sub_plane")
    return records.Table(records.INDEX, {**{name: table[name] for name in same},
                                         "patient_id": judgement.patient_id, "sha256": scanned.digests})


def _publication(name: str) -> dict | None:
    published = PUBLICATIONS.get(name)
    return published and dict(doi=published.doi, licence=published.licence, citation=published.citation)


def _role_counts(index: records.Table, classes: Sequence[str]) -> dict:
    """role: {images, patients, classes: {label: {images, patients}}, scanners, sub_planes}."""
    counts = {}
    for role in np.unique(index["role"]).tolist():
        here = index.select(index["role"] == role)
        counts[role] = dict(
            _images_and_patients(here),
            classes={label: _images_and_patients(here.select(here["label"] == label)) for label in classes},
            scanners=_by(here, "scanner", classes),
            sub_planes=_by(here.select(here["sub_plane"] != ""), "sub_plane", classes))
    return counts


def _by(index: records.Table, column: str, classes: Sequence[str]) -> dict:
    """value of a column: {images, patients, classes: {label: images}}; '' stands for unknown."""
    result = {}
    for value in np.unique(index[column]).tolist():
        here = index.select(index[column] == value)
        result[value] = dict(_images_and_patients(here),
                             classes={label: int((here["label"] == label).sum()) for label in classes})
    return result


def _images_and_patients(index: records.Table) -> dict:
    return dict(images=len(index), patients=len(np.unique(index["patient_id"])))


def _native_sizes(scanned: Scan) -> dict:
    """How many images have which width x height in pixels."""
    return dict(Counter(f"{width}x{height}" for height, width in scanned.sizes[scanned.usable].tolist()))


def _budget_counts(development: records.Table, budgets: records.Table, classes: Sequence[str]) -> list[dict]:
    """One entry per budget, replicate and side: images, patients and images per class."""
    row_of = {image_id: row for row, image_id in enumerate(development["image_id"].tolist())}
    members: dict[tuple, list[int]] = {}
    for entry in budgets.rows():
        side = (entry["budget"], entry["replicate"], entry["role"])
        members.setdefault(side, []).append(row_of[entry["image_id"]])
    counts = []
    for (budget, replicate, role), rows in members.items():
        here = development.select(np.array(rows))
        counts.append(dict(budget=budget, replicate=replicate, role=role, **_images_and_patients(here),
                           classes={label: int((here["label"] == label).sum()) for label in classes}))
    return counts


def _guard_report(table: records.Table, judgement: Judgement, policies: Policies) -> dict:
    image_id, label = table["image_id"], table["label"]
    merged = judgement.patient_id != table["patient_id"]
    dropped = {}
    for reason, rows in judgement.dropped.items():
        # A set with few of its files may lack thousands: of those only the first is named.
        named = rows[:1] if reason == "missing" else rows
        dropped[reason] = dict(images=len(rows), by_class=dict(Counter(label[rows].tolist())),
                               image_ids=image_id[named].tolist())
    return {
        "policies": vars(policies),
        "near_duplicate_rule": dict(hash="64-bit DCT", hamming_distance_at_most=policies.near_distance_bits,
                                    thumbnail_correlation_at_least=duplicates.CORRELATION),
        "findings": [dict(kind=finding.kind, sentence=finding.sentence) for finding in judgement.findings],
        "dropped": dropped,
        "duplicates": {kind: dict(pairs=len(pairs),
                                  image_ids=image_id[pairs].tolist() if kind in _LISTED_PAIRS else None)
                       for kind, pairs in judgement.pairs.items()},
        # patient number: the number of the same person under which the image stands in the index
        "linked_patients": dict(zip(table["patient_id"][merged].tolist(),
                                    judgement.patient_id[merged].tolist())),
    }
