"""Tell what a file really is by its first bytes, whatever its name says."""

_BEGINNINGS = {
    b"PK\x03\x04": "a zip", b"PK\x05\x06": "an empty zip", b"PK\x07\x08": "one part of a zip in several",
    b"\x1f\x8b": "a gzip archive (.gz, .tar.gz)", b"BZh": "a bzip2 archive (.bz2)",
    b"\xfd7zXZ\0": "an xz archive (.xz)", b"(\xb5/\xfd": "a Zstandard archive (.zst)",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive (.7z)", b"Rar!\x1a\x07": "a RAR archive (.rar)",
    b"\xd0\xcf\x11\xe0": "a file of an old Office program (.xls)", b"%PDF": "a PDF", b"\x89PNG": "an image (PNG)",
    b"\xff\xd8\xff": "an image (JPEG)", b"SQLite": "a database (SQLite)", b"PAR1": "a Parquet table",
    b"version https://git-lfs": "a pointer of Git LFS without the file (`git lfs pull` brings it)"}
_TAR_MARK = slice(257, 262)  # bytes that say `ustar`


def kind_of(content: bytes) -> str:
    """Return the kind of a file from its first 512 bytes in words, '' where it is none that is known."""
    if not content:
        return "an empty file"
    if content[_TAR_MARK] == b"ustar":
        return "a tar archive (.tar)"
    if content.lstrip(b"\xef\xbb\xbf \r\n\t")[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
        return "a web page (HTML), such as a server sends in place of a file"
    return next((kind for beginning, kind in _BEGINNINGS.items() if content.startswith(beginning)), "")
