"""Download one file over HTTP: resume after interruptions, retry, and keep the file only if its MD5 is right.

requests and urllib3 repeat a request but do not resume an interrupted body, and pooch restarts a file of two gigabytes
from its first byte. With any of them the ranges, the skipping and the loop would still be needed here.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from synthplanes.data.sources.publications import Archive
from synthplanes.errors import UserError
from synthplanes.progress import Progress

ATTEMPTS = 5   # in a row without a single new byte
PAUSE_S = 2.0  # the first pause; doubled after each attempt without a new byte
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_RETRIED_STATUSES = (408, 416, 425, 429, 500, 502, 503, 504)


def download(archive: Archive, target: Path, pause_s: float) -> None:
    """Download `archive` to `target`, which appears only when its size and MD5 are right.

    Received bytes are kept in `<target>.part`, and a later call resumes from there (a server without ranges sends them
    again, and they are skipped). A complete `target` is left unchanged; a file with another MD5 is deleted. Every
    failure is a `UserError`.
    """
    url, size, md5 = archive.url, archive.bytes, archive.md5
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"'{url}' is no http(s) address: give one, or use --from with what is on disk.")
    target = Path(target)
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.stat().st_size == size and _md5(target) == md5:
            return
        _complete(url, partial, size, pause_s)
        if (actual := _md5(partial)) != md5:
            partial.unlink()
            raise UserError(f"{url} gave {size:,} bytes with md5 {actual} instead of {md5}: the download "
                            "is deleted; try again later, or get the file by other means and use --from.")
        partial.replace(target)
    # urllib's errors are OSErrors and are handled in _complete; this one comes from the disk.
    except OSError as error:
        raise UserError(f"{partial} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command to go on.") from error


def _complete(url: str, partial: Path, size: int, pause_s: float) -> None:
    """Request `url` until `partial` has `size` bytes."""
    progress = Progress("downloading", size, "bytes")
    longest = failures = 0
    while (have := partial.stat().st_size if partial.exists() else 0) != size:
        if have > size:
            partial.unlink()
            continue
        fault = _go_on(url, partial, have, size, progress)
        now = partial.stat().st_size if partial.exists() else 0
        if now == size:
            return
        failures = 0 if now > max(longest, have) else failures + 1
        longest = max(longest, now)
        if failures >= ATTEMPTS:
            raise UserError(f"{url} cannot be downloaded ({fault}): run the same command later to go on from "
                            f"byte {now:,}.")
        time.sleep(pause_s * 2 ** max(0, failures - 1))


def _go_on(url: str, partial: Path, have: int, size: int, progress: Progress) -> str:
    """Append to `partial` from byte `have` up to byte `size` by one request; return why it ended."""
    headers = {"User-Agent": "synthplanes", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in _RETRIED_STATUSES:
            raise UserError(f"{url} answers {error.code} {error.reason}: check the address and the network.") from None
        return f"the server answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return _in_words(error)
    with answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        position = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and position + int(length) != size:
            return f"the server offers {position + int(length):,} bytes instead of {size:,}"
        with partial.open("ab") as file:
            while position < size:
                try:
                    chunk = answer.read1(min(_CHUNK_BYTES, size - position))
                except (OSError, http.client.HTTPException) as error:
                    return _in_words(error)
                if not chunk:
                    return f"the connection ended at {position:,} of {size:,} bytes"
                file.write(chunk[max(0, have - position):])
                position += len(chunk)
                progress(max(have, position))
    return "complete"


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:120]}" if str(error) else type(error).__name__


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
