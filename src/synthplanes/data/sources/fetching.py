"""Fetch real images: download a published set, or link or unpack local files.

requests and urllib3 repeat a request but do not resume an interrupted body, and pooch restarts a file of two gigabytes
from its first byte. With any of them the ranges, the skipping and the loop would still be needed here.
"""

import hashlib
import http.client
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from synthplanes.data.sources.listed_files import OWN_CSV
from synthplanes.data.sources.opening import Simulated, open_source
from synthplanes.data.sources.published import PUBLICATIONS, Archive
from synthplanes.data.sources.unpacking import unpack
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import Prepare

ATTEMPTS = 5   # in a row without a single new byte
PAUSE_S = 2.0  # the first pause; doubled after each attempt without a new byte
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_RETRIED_STATUSES = (408, 416, 425, 429, 500, 502, 503, 504)


def fetch(parameters: Prepare, raw: Path, from_path: Path | None = None) -> None:
    """Put the files of a profile's source into the folder `raw` (artifacts/raw/<profile>).

    `from_path` is a folder (it is linked, nothing is copied) or a zip (it is unpacked); without it the official archive
    is downloaded. Existing files in `raw` are never overwritten. The table is read as `prepare` will read it. Every
    failure, such as a fault of the table, raises `UserError` and leaves no half-filled `raw` behind.
    """
    source = parameters.source
    if source == Simulated.name:
        raise UserError("the phantom is simulated, not fetched: run `dvc repro`.")

    def check(folder: Path) -> None:
        opened = open_source(parameters, folder, folder)
        table, missing = opened.table, opened.missing()
        notes = list(table.attrs.get("notes", ()))
        if len(missing):
            notes.append(f"{len(missing):,} of {len(table):,} images of the table have no file, such as "
                         f"{table['file'].iloc[missing[0]]}: write paths from the folder of the table in {folder}.")
        if len(missing) == len(table):
            raise UserError(notes[-1])
        for note in notes:
            print(f"note: {note}", file=sys.stderr)

    if raw.is_symlink() and not raw.exists():
        raw.unlink()  # a link to a folder that no longer exists
    if raw.exists():
        if from_path is not None and from_path.resolve() != raw.resolve():
            raise UserError(f"{raw} is already filled from elsewhere: remove it first to use {from_path}.")
        try:
            check(raw)
        except UserError as error:
            raise UserError(f"{raw} is in place, but {str(error).removesuffix('.')}; move it away to fetch something "
                            "else.") from None
        print(f"{raw} already holds {source}", file=sys.stderr)
        return
    if from_path is None:
        archive = _download(source, raw)
        unpack(archive, raw, check)
        archive.unlink()
    elif from_path.is_dir():
        check(from_path)
        try:
            raw.parent.mkdir(parents=True, exist_ok=True)
            raw.symlink_to(from_path.resolve(), target_is_directory=True)
        except OSError as error:
            raise UserError(f"{raw} could not be linked to {from_path} ({error.strerror or error}): check the "
                            "rights of the folder above it.") from error
    else:
        unpack(from_path, raw, check)
    print(f"{raw} holds {source}", file=sys.stderr)


def _download(source: str, raw: Path) -> Path:
    """Download the archive of a published set beside `raw`, where the disk has room for it and for its content."""
    published = PUBLICATIONS.get(source)
    if published is None:
        raise UserError("your own table is not downloaded: run `synthplanes fetch table --profile PROFILE --from "
                        f"FOLDER`, where FOLDER holds {OWN_CSV} and the images.")
    if published.archive is None:
        raise UserError(f"the address and MD5 of {source} are not known here: download its files from "
                        f"{published.record} (the images and {published.csv_name}), then run `synthplanes fetch "
                        f"{source} --profile PROFILE --from FOLDER_OR_ZIP`.")
    raw.parent.mkdir(parents=True, exist_ok=True)
    needed, free = int(2.2 * published.archive.bytes), shutil.disk_usage(raw.parent).free
    if free < needed:
        raise UserError(f"{raw.parent} has {free / 1e9:.1f} GB free where the download and its unpacking "
                        f"need {needed / 1e9:.1f} GB: free some, or use --from.")
    print(f"{published.title}, {published.licence}, doi {published.doi}", file=sys.stderr)
    return download(published.archive, raw.with_name(raw.name + ".zip"))


class _PassingFault(Exception):
    """The network's reason for an incomplete answer; another request may go further."""


def download(archive: Archive, target: Path) -> Path:
    """Download `archive` to `target`, which appears only when its size and MD5 are right, and return `target`.

    Received bytes are kept in `<target>.part`, and a later call resumes from there (a server without ranges sends them
    again, and they are skipped). A file with another MD5 is deleted. Every failure is a `UserError`.
    """
    partial = target.with_name(target.name + ".part")
    try:
        if target.exists() and _md5(target) == archive.md5:
            return target
        _complete(archive, partial)
        if (actual := _md5(partial)) != archive.md5:
            partial.unlink()
            raise UserError(f"{archive.url} gave {archive.bytes:,} bytes with md5 {actual} instead of {archive.md5}: "
                            "the download is deleted; try again later, or get the file by other means and use --from.")
        return partial.replace(target)
    # urllib's errors are OSErrors and are handled in _request; this one comes from the disk.
    except OSError as error:
        raise UserError(f"{partial} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command to go on.") from error


def _complete(archive: Archive, partial: Path) -> None:
    """Request the archive until `partial` has its size."""
    progress, failures = Progress("downloading", archive.bytes, "bytes"), 0
    with partial.open("ab") as file:
        if file.tell() > archive.bytes:
            file.truncate(0)
    while (have := partial.stat().st_size) < archive.bytes:
        try:
            with partial.open("ab") as file:
                for chunk in _request(archive, have):
                    file.write(chunk)
                    progress(file.tell())
        except _PassingFault as fault:
            now = partial.stat().st_size
            failures = 0 if now > have else failures + 1
            if failures >= ATTEMPTS:
                raise UserError(f"{archive.url} cannot be downloaded ({fault}): run the same command later to go on "
                                f"from byte {now:,}.") from None
            time.sleep(PAUSE_S * 2 ** max(0, failures - 1))


def _request(archive: Archive, have: int) -> Iterator[bytes]:
    """Yield what one request gives from byte `have` on, or raise `_PassingFault`."""
    headers = {"User-Agent": "synthplanes", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(archive.url, headers=headers), timeout=TIMEOUT_S) as answer:
            resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            position = have if resumed else 0
            length = answer.headers.get("Content-Length", "")
            if length.isdigit() and position + int(length) != archive.bytes:
                raise _PassingFault(f"the server offers {position + int(length):,} bytes instead of {archive.bytes:,}")
            while position < archive.bytes:
                chunk = answer.read1(min(_CHUNK_BYTES, archive.bytes - position))
                if not chunk:
                    raise _PassingFault(f"the connection ended at {position:,} of {archive.bytes:,} bytes")
                yield chunk[max(0, have - position):]
                position += len(chunk)
    except urllib.error.HTTPError as error:
        error.close()
        answered = f"answers {error.code} {error.reason}"
        if error.code not in _RETRIED_STATUSES:
            raise UserError(f"{archive.url} {answered}: check the address and the network.") from None
        raise _PassingFault(f"the server {answered}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _PassingFault(f"{type(error).__name__}: {str(error)[:120]}".removesuffix(": ")) from None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
