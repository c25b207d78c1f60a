"""Fetch real images: download a published set, or link or unpack local files.

requests and urllib3 repeat a request but do not resume an interrupted body, and pooch restarts a file of two gigabytes
from its first byte. With any of them the ranges, the skipping and the loop would still be needed here.
"""

import hashlib
import http.client
import lzma
import shutil
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from synthplanes.data.sources.listed_files import OWN, OWN_CSV, find_root
from synthplanes.data.sources.opening import Simulated
from synthplanes.data.sources.published import PUBLICATIONS, Archive
from synthplanes.errors import UserError
from synthplanes.progress import Progress

ATTEMPTS = 5   # in a row without a single new byte
PAUSE_S = 2.0  # the first pause; doubled after each attempt without a new byte
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_RETRIED_STATUSES = (408, 416, 425, 429, 500, 502, 503, 504)
MEMBERS_LIMIT = 200_000
BYTES_LIMIT = 50_000_000_000
# Unpacked bytes per packed byte of the whole archive; image archives stay near 1, a bomb has a thousand.
RATIO_LIMIT = 100
_SMALL_BYTES = 50_000_000  # below this the ratio is not limited


def fetch(source: str, raw: Path, from_path: Path | None = None) -> None:
    """Put the files of a kind of source into the folder `raw` (artifacts/raw/<profile>).

    `from_path` is a folder (it is linked, nothing is copied) or a zip (it is unpacked); without it the official archive
    is downloaded. Existing files in `raw` are never overwritten. Every failure, such as files of another source there,
    raises `UserError` and leaves no half-filled `raw` behind.
    """
    if source == Simulated.name:
        raise UserError("the phantom is simulated, not fetched: run `dvc repro`.")
    if raw.is_symlink() and not raw.exists():
        raw.unlink()  # a link to a folder that no longer exists
    if raw.exists():
        _check_content(source, f"{raw} holds something else: move it away, then fetch again", raw)
        if from_path is not None and from_path.resolve() != raw.resolve():
            raise UserError(f"{raw} is already filled from elsewhere: remove it first to use {from_path}.")
        print(f"{raw} already holds {source}", file=sys.stderr)
        return
    if from_path is None:
        archive = _download(source, raw)
        unpack(archive, raw, source)
        archive.unlink()
    elif from_path.is_dir():
        _check_content(source, "name the folder that holds it", from_path)
        try:
            raw.parent.mkdir(parents=True, exist_ok=True)
            raw.symlink_to(from_path.resolve(), target_is_directory=True)
        except OSError as error:
            raise UserError(f"{raw} could not be linked to {from_path} ({error.strerror or error}): check the "
                            "rights of the folder above it.") from error
    else:
        unpack(from_path, raw, source)
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


def unpack(archive: Path, folder: Path, source: str) -> None:
    """Unpack the zip `archive`, of unknown origin, into the new `folder`, which appears only when all is in place.

    Absolute names, names that lead out of the folder, links, devices, repeated or encrypted members and archives beyond
    the limits above raise `UserError` before a byte is written; damage and the lack of the source's table do so later.
    """
    partial = folder.with_name(f".{folder.name}.unpacked")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            _check_members(archive, content.infolist())
            partial.mkdir(parents=True)
            # zipfile reads no more than the declared size of a member, and checks its CRC at the end.
            content.extractall(partial)
        _check_content(source, f"{archive} is not the archive of {source}", partial)
        partial.rename(folder)
    except FileNotFoundError:
        raise UserError(f"{archive} does not exist: give the path of the zip.") from None
    # Damage raises any of these, an unknown compression as NotImplementedError, encryption as RuntimeError.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
            UnicodeDecodeError) as error:
        raise UserError(f"{archive} is no sound zip ({error}): delete it and fetch it again.") from None
    except OSError as error:
        raise UserError(f"{archive} could not be unpacked into {folder} ({error.strerror or error}): free or "
                        "mend the disk, then run the same command again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_members(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MEMBERS_LIMIT:
        raise UserError(f"{archive} holds {len(members):,} members, more than {MEMBERS_LIMIT:,}: it is not "
                        "what it claims.")
    total, packed = sum(member.file_size for member in members), max(1, archive.stat().st_size)
    if total > BYTES_LIMIT or total > max(_SMALL_BYTES, RATIO_LIMIT * packed):
        raise UserError(f"{archive} of {packed:,} bytes would unpack to {total:,} bytes: it is not what it claims.")
    seen = set()
    for member in members:
        name, path = member.filename, PurePosixPath(member.filename)
        wrong = (
            "a member without a name" if not path.parts and not name.endswith("/") else
            "an absolute name" if path.is_absolute() or name[1:2] == ":" else
            "a name that leads out of the folder" if ".." in path.parts or "\\" in name else
            "a link or device" if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR) else
            "an encrypted member" if member.flag_bits & 1 else
            "a repeated name" if path in seen else
            None)
        if wrong:
            raise UserError(f"{archive} holds {wrong}, {name!r}: it is not what it claims, and nothing was unpacked.")
        seen.add(path)


def _check_content(source: str, what_to_do: str, folder: Path) -> None:
    """Raise `UserError` for a folder without the source's table; a user's own table may bear any name."""
    if source != OWN:
        find_root(folder, PUBLICATIONS[source].csv_name, what_to_do)
    elif not any((*folder.glob("*.csv"), *folder.glob("*/*.csv"))):
        raise UserError(f"{folder} holds no CSV: {what_to_do}.")
