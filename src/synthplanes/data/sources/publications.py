"""Facts about the published data sets: publisher, licence, archive, size and MD5."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One zip file with all of a data set."""

    url: str
    bytes: int
    md5: str


@dataclass(frozen=True)
class Publication:
    """A data set as its publisher offers it."""

    title: str
    record: str  # the page that offers the files
    doi: str
    licence: str
    citation: str
    archive: Archive | None  # None where its address, size and MD5 are not known here


PUBLICATIONS = {
    "fetal_planes_db": Publication(
        title="FETAL_PLANES_DB: common maternal-fetal ultrasound images, version 1.0",
        record="https://zenodo.org/records/3904280",
        doi="10.5281/zenodo.3904280",
        licence="CC BY 4.0",
        citation="Burgos-Artizzu et al., Sci Rep 10, 10200 (2020)",
        archive=Archive("https://zenodo.org/records/3904280/files/FETAL_PLANES_ZENODO.zip?download=1",
                        2_088_522_169, "2a5fcc2cefb789bcc0f6c1f73e0ea43f")),
    "african_planes": Publication(
        title="Maternal fetal ultrasound planes from low-resource imaging settings in five African countries",
        record="https://zenodo.org/records/7540448",
        doi="10.5281/zenodo.7540448",
        licence="CC BY 4.0",
        citation="Sendra-Balcells et al., Sci Rep 13, 2728 (2023)",
        archive=None),
}
