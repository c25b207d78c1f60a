"""Describe one patient's anatomy, and the sizes of its planes.

Sizes follow the usual biometry charts (Hadlock et al. 1984, Radiology 152) in rounded form.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fetus:
    """The anatomy of one patient; lengths in cm, levels in dB, ratios without unit."""

    weeks: float            # gestational age
    build: float            # size relative to the chart, about 1
    cephalic: float         # width / length of the head
    liver: float            # levels of the organs
    lung: float
    brain: float
    placenta: float
    bone: float             # level of bone facing the probe
    calcified: float        # strength of shadows, about 1
    heart: float            # heart diameter / thorax diameter
    stomach: float          # stomach diameter / abdomen diameter
    fluid: float            # amniotic fluid: width of the gap around the fetus, cm
    wall: float             # thickness of the mother's abdominal wall, cm
    texture: float          # large-scale unevenness of tissue, dB
    skin: float             # level of skin lines


def half_size(plane: str, fetus: Fetus) -> float:
    """Return half of the plane's long axis in cm at the age of the fetus."""
    t = fetus.weeks
    length = {"Fetal brain": -2.6 + 0.44 * t - 0.0024 * t * t + 1.2,
              "Fetal abdomen": -1.1 + 0.315 * t,
              "Fetal thorax": -0.9 + 0.275 * t,
              "Fetal femur": -4.0 + 0.395 * t - 0.0026 * t * t,
              "Maternal cervix": 4.0}[plane]
    return 0.5 * length * fetus.build
