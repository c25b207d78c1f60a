"""Unpack a zip of unknown origin safely."""

import errno
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from synthplanes.data.sources.file_kinds import kind_of
from synthplanes.errors import UserError

MEMBERS_LIMIT = 200_000
BYTES_LIMIT = 50_000_000_000
# Unpacked bytes per packed byte of the whole archive; image archives stay near 1, a bomb has a thousand.
RATIO_LIMIT = 100
_SMALL_BYTES = 50_000_000  # below this the ratio is not limited
_UTF_8 = 0x800  # the flag of a member whose name is UTF-8


def unpack(archive: Path, folder: Path, check: Callable[[Path], None]) -> None:
    r"""Unpack the zip `archive`, of unknown origin, into the new `folder`, which appears only when all is in place.

    A `\` in the name of a member separates folders, as in zips of some Windows programs. Files that are no zip,
    absolute names, names that lead out of the folder, links, devices, repeated or encrypted members and archives beyond
    the limits above raise `UserError` before a byte is written. Damage, and what `check` finds in the content, do so
    later.
    """
    partial = folder.with_name(f".{folder.name}.unpacked")
    shutil.rmtree(partial, ignore_errors=True)
    by_hand = "unpack it with another program, then give the folder with --from"
    try:
        with archive.open("rb") as file:
            kind = kind_of(file.read(512))
        if kind != "a zip" and not zipfile.is_zipfile(archive):
            cure = (by_hand if "archive" in kind or "part" in kind else "delete it and fetch it again" if kind else
                    "give a zip, or the folder that holds the table")
            raise UserError(f"{archive} is {kind or 'no archive'}, not a zip of images: {cure}.")
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            if "[Content_Types].xml" in content.namelist():
                raise UserError(f"{archive} is an Office document (.xlsx, .docx), not a zip of images: save the table "
                                "as CSV in UTF-8 beside the images, and give their folder.")
            for member in members:
                member.filename = _name(member)
            _check_members(archive, members, by_hand)
            partial.mkdir(parents=True)
            # zipfile reads no more than the declared size of a member, and checks its CRC at the end.
            content.extractall(partial, members)
        try:
            check(partial)
        except UserError as error:
            raise UserError(str(error).replace(str(partial), str(archive))) from None
        partial.rename(folder)
    except FileNotFoundError:
        raise UserError(f"{archive} does not exist: give the path of the zip.") from None
    except NotImplementedError as error:
        raise UserError(f"{archive} is packed in a way that is not read here ({error}): {by_hand}.") from None
    # Damage raises any of these, encryption RuntimeError.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeDecodeError) as error:
        raise UserError(f"{archive} is no sound zip ({error}), damaged or incomplete: delete it and fetch it "
                        "again.") from None
    except OSError as error:
        by_name = error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
        cure = "give its files other names" if by_name else "free or mend the disk, then run the same command again"
        reason = error.strerror or error
        raise UserError(f"{archive} could not be unpacked into {folder} ({reason}): {cure}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name(member: zipfile.ZipInfo) -> str:
    """Return a member's path with `/`; a name in UTF-8 that the archive does not declare as such is decoded as that."""
    name = member.filename
    if not member.flag_bits & _UTF_8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")


def _check_members(archive: Path, members: list[zipfile.ZipInfo], by_hand: str) -> None:
    if len(members) > MEMBERS_LIMIT:
        raise UserError(f"{archive} holds {len(members):,} members, more than {MEMBERS_LIMIT:,}: it is not "
                        "what it claims.")
    total, packed = sum(member.file_size for member in members), max(1, archive.stat().st_size)
    if total > BYTES_LIMIT or total > max(_SMALL_BYTES, RATIO_LIMIT * packed):
        raise UserError(f"{archive} of {packed:,} bytes would unpack to {total:,} bytes: it is not what it claims.")
    seen = set()
    for member in members:
        name, path = member.filename, PurePosixPath(member.filename)
        if member.flag_bits & 1:
            raise UserError(f"{archive} holds an encrypted member, {name!r}: {by_hand}.")
        wrong = (
            "a member without a name" if not path.parts and not name.endswith("/") else
            "an absolute name" if path.is_absolute() or name[1:2] == ":" else
            "a name that leads out of the folder" if ".." in path.parts else
            "a link or device" if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR) else
            "a repeated name" if path in seen and not name.endswith("/") else
            None)
        if wrong:
            raise UserError(f"{archive} holds {wrong}, {name!r}: it is not what it claims, and nothing was unpacked.")
        seen.add(path)
