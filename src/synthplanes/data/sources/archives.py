"""Unpack a zip of unknown origin without trusting any name or size in it."""

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from synthplanes.errors import UserError

MEMBERS_LIMIT = 200_000
BYTES_LIMIT = 50_000_000_000
# Unpacked bytes per packed byte of the whole archive; image archives stay near 1, a bomb has a thousand.
RATIO_LIMIT = 100
_SMALL_BYTES = 50_000_000  # below this the ratio is not limited
_CHUNK_BYTES = 1 << 20


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the zip `archive` into the new folder `folder`, which appears only when everything is in place.

    Absolute names, names that lead out of the folder, links, devices, repeated or encrypted members and archives that
    would exceed the limits above raise `UserError` before a byte is written. So does damage detected while unpacking,
    after what was written has been removed.
    """
    archive, folder = Path(archive), Path(folder)
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            _check(archive, members)
            partial.mkdir(parents=True)
            for member in members:
                _unpack_member(content, member, partial)
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


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MEMBERS_LIMIT:
        raise UserError(f"{archive} holds {len(members):,} members, more than {MEMBERS_LIMIT:,}: it is not "
                        "what it claims.")
    total = sum(member.file_size for member in members)
    packed = max(1, archive.stat().st_size)
    if total > BYTES_LIMIT or total > max(_SMALL_BYTES, RATIO_LIMIT * packed):
        raise UserError(f"{archive} of {packed:,} bytes would unpack to {total:,} bytes: it is not what it "
                        "claims.")
    seen = set()
    for member in members:
        name = member.filename
        path = PurePosixPath(name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        wrong = (
            "a member without a name" if not path.parts and not name.endswith("/") else
            "an absolute name" if path.is_absolute() or name[1:2] == ":" else
            "a name that leads out of the folder" if ".." in path.parts or "\\" in name else
            "a link or device" if kind not in (0, stat.S_IFREG, stat.S_IFDIR) else
            "an encrypted member" if member.flag_bits & 1 else
            "a repeated name" if path in seen else
            None)
        if wrong:
            raise UserError(f"{archive} holds {wrong}, {name!r}: it is not what it claims, and nothing was "
                            "unpacked.")
        seen.add(path)


def _unpack_member(content: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads no more than the declared size of a member, and checks its CRC at the end.
    with content.open(member) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
