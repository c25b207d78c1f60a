"""Describe one patient's anatomy, and the sizes of its planes.

Sizes follow the usual biometry charts (Hadlock et al. 1984, Radiology 152) in rounded form.
"""

from dataclasses import dataclass

import numpy as np

# The kinds of view filed under Other: half the long axis in cm per week of age.
OTHER_KINDS = {"limb": 0.05, "profile": 0.11, "placenta": 0.16, "cord": 0.11, "kidneys": 0.12, "spine": 0.15,
               "vessel": 0.07}


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


def draw_fetus(rng: np.random.Generator, spread: float) -> Fetus:
    """Draw one patient's anatomy; `spread` scales the differences between patients."""
    def normal(mean: float, sd: float) -> float:
        return mean + spread * sd * float(np.clip(rng.normal(), -2.2, 2.2))

    weeks = float(np.clip(rng.choice([20.5, 29.0, 35.0], p=[.6, .2, .2]) + rng.normal(0, 1.8), 17.5, 40))
    return Fetus(weeks=weeks, build=normal(1, .05), cephalic=normal(.78, .03), liver=normal(-23, 2),
                 lung=normal(-19, 2), brain=normal(-35, 2.5), placenta=normal(-20, 2), bone=normal(4, 2),
                 calcified=normal(1, .2), heart=normal(.54, .04), stomach=normal(.27, .03),
                 fluid=abs(normal(1.0, .5)) + .1, wall=abs(normal(1.4, .4)) + .3, texture=normal(2.8, .6),
                 skin=normal(-12, 2))


def half_size(plane: str, fetus: Fetus) -> float:
    """Return half the long axis, in cm, of a standard plane or kind of Other at the age of the fetus."""
    t = fetus.weeks
    if plane in OTHER_KINDS:
        return fetus.build * OTHER_KINDS[plane] * t
    length = {"Fetal brain": -2.6 + 0.44 * t - 0.0024 * t * t + 1.2,
              "Fetal abdomen": -1.1 + 0.315 * t,
              "Fetal thorax": -0.9 + 0.275 * t,
              "Fetal femur": -4.0 + 0.395 * t - 0.0026 * t * t,
              "Maternal cervix": 4.0}[plane]
    return 0.5 * length * fetus.build
