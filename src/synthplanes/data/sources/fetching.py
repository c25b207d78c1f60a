"""Fetch real images: download a published set, or link or unpack local files."""

import shutil
import sys
from pathlib import Path

from synthplanes.data.sources import african_planes, archives, downloading, fetal_planes_db, simulated, table
from synthplanes.data.sources.listed_files import find_root
from synthplanes.data.sources.publications import PUBLICATIONS, Archive
from synthplanes.errors import UserError

_CSV_OF = {fetal_planes_db.NAME: fetal_planes_db.CSV_NAME, african_planes.NAME: african_planes.CSV_NAME,
           table.NAME: table.CSV_NAME}


def fetch(source: str, raw: Path, from_path: Path | None = None) -> None:
    """Put the files of a kind of source into the folder `raw` (artifacts/raw/<profile>).

    `from_path` is a folder (it is linked, nothing is copied) or a zip (it is unpacked); without it the official archive
    is downloaded. Existing files in `raw` are never overwritten: if they are this source's, nothing happens, otherwise
    `UserError` is raised. Every failure raises `UserError` and leaves no half-filled `raw` behind.
    """
    raw = Path(raw)
    if source == simulated.NAME:
        raise UserError("the phantom is simulated, not fetched: run `dvc repro`.")
    if raw.is_symlink() and not raw.exists():
        raw.unlink()  # a link to a folder that no longer exists
    if raw.exists():
        _check_content(source, raw, f"{raw} holds something else: move it away, then fetch again")
        if from_path is not None and Path(from_path).resolve() != raw.resolve():
            raise UserError(f"{raw} is already filled from elsewhere: remove it first to use {from_path}.")
        print(f"{raw} already holds {source}", file=sys.stderr)
        return
    if from_path is None:
        _download(source, raw)
    elif Path(from_path).is_dir():
        _check_content(source, Path(from_path), "name the folder that holds it")
        _link(Path(from_path), raw)
    else:
        _unpack(source, Path(from_path), raw)
    print(f"{raw} holds {source}", file=sys.stderr)


def _download(source: str, raw: Path) -> None:
    published = PUBLICATIONS.get(source)
    if published is None:
        raise UserError("your own table is not downloaded: run `synthplanes fetch table --profile PROFILE --from "
                        f"FOLDER`, where FOLDER holds {table.CSV_NAME} and the images.")
    if published.archive is None:
        raise UserError(f"the address and MD5 of {source} are not known here: download its files from "
                        f"{published.record} (the images and {_CSV_OF[source]}), then run `synthplanes fetch "
                        f"{source} --profile PROFILE --from FOLDER_OR_ZIP`.")
    _check_space(raw, published.archive)
    archive = raw.with_name(raw.name + ".zip")
    print(f"{published.title}, {published.licence}, doi {published.doi}", file=sys.stderr)
    downloading.download(published.archive, archive, downloading.PAUSE_S)
    _unpack(source, archive, raw)
    archive.unlink()


def _check_space(raw: Path, archive: Archive) -> None:
    """Raise `UserError` where the disk has no room for the archive and its content at the same time."""
    raw.parent.mkdir(parents=True, exist_ok=True)
    needed, free = int(2.2 * archive.bytes), shutil.disk_usage(raw.parent).free
    if free < needed:
        raise UserError(f"{raw.parent} has {free / 1e9:.1f} GB free where the download and its unpacking "
                        f"need {needed / 1e9:.1f} GB: free some, or use --from.")


def _unpack(source: str, archive: Path, raw: Path) -> None:
    fresh = raw.with_name(f".{raw.name}.unpacked")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        archives.unpack(archive, fresh)
        _check_content(source, fresh, f"{archive} is not the archive of {source}")
        fresh.rename(raw)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_content(source: str, folder: Path, what_to_do: str) -> None:
    """Raise `UserError` for a folder without the source's table; a user's own table may bear any name."""
    if source == table.NAME:
        if not any((*folder.glob("*.csv"), *folder.glob("*/*.csv"))):
            raise UserError(f"{folder} holds no CSV: {what_to_do}.")
    else:
        find_root(folder, _CSV_OF[source], what_to_do)


def _link(folder: Path, raw: Path) -> None:
    try:
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.symlink_to(folder.resolve(), target_is_directory=True)
    except OSError as error:
        raise UserError(f"{raw} could not be linked to {folder} ({error.strerror or error}): check the "
                        "rights of the folder above it.") from error
