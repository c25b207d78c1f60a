"""Ask, before anything is trained, for all that later stages demand of the data.

A demand that is not met stops. What leaves a verdict without a word but does no other harm is a note on stderr.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile
from synthplanes.protocol.words import MIN_EFFECTIVE_PATIENTS, MIN_PATIENTS_PER_CLASS


@dataclass(frozen=True)
class Prepared:
    """The data as later stages will find them."""

    index: pd.DataFrame     # records.INDEX, the images that the guards left, of all roles
    splits: pd.DataFrame    # records.SPLITS
    classes: Sequence[str]
    profile: Profile        # the parameters that `prepare` reads
    blank: Sequence[str]    # image_id of images that are one grey value as they are packed

    @property
    def tested(self) -> pd.DataFrame:
        """Return the images on which the verdict rests."""
        return self.index[self.index["role"] == ("train" if self.profile.folds else "test")]

    def lacking(self, rows: pd.DataFrame) -> list[str]:
        """Return the classes without an image among some rows."""
        return sorted(set(self.classes) - set(rows["label"]))

    def parts(self, role: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the images of a role of every budget and replicate, with its name."""
        for (budget, replicate), rows in self.splits[self.splits["role"] == role].groupby(["budget", "replicate"]):
            yield f"budget '{budget}', replicate {replicate}", self.index[self.index["image_id"].isin(rows["image_id"])]


def check_demands(prepared: Prepared) -> None:
    """Raise `UserError` for the first demand that is not met, and print notes."""
    for demand in DEMANDS:
        if sentence := demand(prepared):
            raise UserError(sentence)
    for note in NOTES:
        if sentence := note(prepared):
            print(f"note: {sentence}", file=sys.stderr)


def _no_blank_image(prepared: Prepared) -> str:
    blank = prepared.blank
    return "" if not blank else (
        f"{len(blank):,} image(s) are a single grey value once they are masked and reduced, first {blank[0]}: make "
        "prepare.masked_boxes smaller, or remove their rows from the table.")


def _every_class_is_tested(prepared: Prepared) -> str:
    lacking = prepared.lacking(prepared.tested)
    return "" if not lacking else (
        f"no test patient has an image of {', '.join(lacking)}, and balanced accuracy needs every class: give the role "
        "test to some patients who have one (a table without the column role does so itself), complete the images, or "
        "remove the class from the table.")


def _every_class_is_learned(prepared: Prepared) -> str:
    return next((f"{part} has no training image of {', '.join(lacking)}: add patients of that class, raise the budget, "
                 "or lower prepare.validation_fraction."
                 for part, rows in prepared.parts("train") if (lacking := prepared.lacking(rows))), "")


def _fresh_patients_have_every_class(prepared: Prepared) -> str:
    fresh = prepared.index[prepared.index["role"] == "fresh"]
    lacking = prepared.lacking(fresh) if len(fresh) else []
    return "" if not lacking else (
        f"no fresh patient has an image of {', '.join(lacking)}, and oracles and audit learn from fresh patients: "
        "raise simulate.fresh_images, or set it to 0.")


def _enough_patients(prepared: Prepared) -> str:
    effective, scarcest = effective_patients(prepared.tested), prepared.tested.groupby("label")["patient_id"].nunique()
    if effective >= MIN_EFFECTIVE_PATIENTS and scarcest.min() >= MIN_PATIENTS_PER_CLASS:
        return ""
    return (f"the verdict will be refused for too few patients: those tested count as {effective:.1f} of equal weight "
            f"({MIN_EFFECTIVE_PATIENTS} are needed), and {scarcest.min()} have the class '{scarcest.idxmin()}' "
            f"({MIN_PATIENTS_PER_CLASS} are needed); more test patients or cross-validation help.")


def _every_class_is_validated(prepared: Prepared) -> str:
    return next((f"{part} has no validation image of {', '.join(lacking)}, which its convergence check leaves out; "
                 "more patients of that class help."
                 for part, rows in prepared.parts("validation") if (lacking := prepared.lacking(rows))), "")


def effective_patients(rows: pd.DataFrame) -> float:
    """Return the number of patients of equal weight that carry as much information (`Blocks.n_effective_patients`)."""
    weight = 1 / rows.groupby("label")["label"].transform("size")
    information = np.square(weight).groupby(rows["patient_id"]).sum()
    return float(information.sum() ** 2 / np.square(information).sum())


Table = tuple[Callable[[Prepared], Any], ...]  # each returns its sentence, or '' where all is well
DEMANDS: Table = (_no_blank_image, _every_class_is_tested, _every_class_is_learned, _fresh_patients_have_every_class)
NOTES: Table = (_enough_patients, _every_class_is_validated)
