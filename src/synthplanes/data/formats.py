"""Name the formats that people have in place of the image files that are read."""

from pathlib import Path

_TIFF = "a TIFF that is damaged or of a rare kind"
# Place of the mark, the mark, what such a file is.
_MARKS = (
    (128, b"DICM", "a DICOM file"), (0, b"\x08\x00\x05\x00", "a DICOM file"), (0, b"\x08\x00\x00\x00", "a DICOM file"),
    (344, b"n+1\0", "a NIfTI file"), (344, b"ni1\0", "a NIfTI file"), (0, b"NRRD", "an NRRD file"),
    (0, b"ObjectType", "a MetaImage header"), (0, b"NDims", "a MetaImage header"),
    (4, b"jP  \r\n", "a JPEG 2000 file"), (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (0, b"\xff\x0a", "a JPEG XL file"), (4, b"JXL \r\n", "a JPEG XL file"),
    (0, b"II\xbc", "a JPEG XR file"), (4, b"ftypavif", "an AVIF file"), (4, b"ftypavis", "an AVIF file"),
    (4, b"ftyphe", "a HEIC file"), (4, b"ftypmif1", "a HEIC file"), (4, b"ftypmsf1", "a HEIC file"),
    (4, b"ftyp", "a film"), (8, b"AVI ", "a film"), (0, b"\x1a\x45\xdf\xa3", "a film"), (0, b"\0\0\x01\xba", "a film"),
    (0, b"%PDF", "a PDF file"), (0, b"%!PS", "a PostScript file"), (0, b"<svg", "an SVG drawing"),
    (0, b"8BPS", "a Photoshop file"), (0, b"\0\0\1\0", "an icon"), (0, b"SIMPLE  =", "a FITS file"),
    (0, b"II*\0", _TIFF), (0, b"MM\0*", _TIFF), (0, b"II+\0", _TIFF), (0, b"MM\0+", _TIFF),
    (0, b"v/1\1", "an OpenEXR file"), (0, b"#?RADIANCE", "a Radiance file"), (0, b"qoif", "a QOI file"),
    (0, b"\x93NUMPY", "a NumPy array"), (0, b"\x89HDF", "an HDF5 file"), (0, b"MATLAB", "a MATLAB file"))
_NO_IMAGE = (
    (0, b"version https://git-lfs", "a pointer of Git LFS, without the image: run `git lfs pull`"),
    (0, b"PK\3\4", "a zip: unpack it"), (0, b"\x1f\x8b", "a gzip: unpack it"), (0, b"7z\xbc\xaf", "a 7-Zip: unpack it"),
    (0, b"Rar!", "a RAR: unpack it"), (0, b"<!doctype html", "a web page: download the image itself"),
    (0, b"<html", "a web page: download the image itself"))


def other_format(path: Path) -> str:
    """Say what a file is, with what to do, if it is none of the images that are read; '' if it is unknown."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        return "has no byte: fetch it again or remove its row from the table"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for place, mark, what in _NO_IMAGE:
        if head.startswith(mark, place) or text.startswith(mark):
            return f"is {what}"
    if text.startswith(b"<?xml") and b"<svg" in text:
        return "is an SVG drawing, which is not read: convert it to PNG"
    return next((f"is {what}, which is not read: convert it to PNG" for place, mark, what in _MARKS
                 if head.startswith(mark, place) or not place and text.startswith(mark.lower())), "")
