"""The official facts of the published data sets: one record each, the only place where they stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Publication:
    """A data set as its publisher offers it; `url`, `bytes` and `md5` are None where not known here."""

    title: str
    record: str  # the page that offers the files
    doi: str
    licence: str
    citation: str
    url: str | None  # one zip file
    bytes: int | None
    md5: str | None


PUBLICATIONS = {
    "fetal_planes_db": Publication(
        title="FETAL_PLANES_DB: common maternal-fetal ultrasound images, version 1.0",
        record="https://zenodo.org/records/3904280",
        doi="10.5281/zenodo.3904280",
        licence="CC BY 4.0",
        citation="Burgos-Artizzu et al., Sci Rep 10, 10200 (2020)",
        url="https://zenodo.org/records/3904280/files/FETAL_PLANES_ZENODO.zip?download=1",
        bytes=2_088_522_169,
        md5="2a5fcc2cefb789bcc0f6c1f73e0ea43f"),
    # The archive's address, size and digest were not at hand when this was written; they are not guessed.
    "african_planes": Publication(
        title="Maternal fetal ultrasound planes from low-resource imaging settings in five African countries",
        record="https://zenodo.org/records/7540448",
        doi="10.5281/zenodo.7540448",
        licence="CC BY 4.0",
        citation="Sendra-Balcells et al., Sci Rep 13, 2728 (2023)",
        url=None, bytes=None, md5=None),
}
