"""Draw the population: patients and their anatomy, their scanner and operator, the images of each, label noise.

The table `PRESENCE` is counted from the label table of FETAL_PLANES_DB (patients by majority scanner): the share of
patients that have a plane at all, and the mean number of its images in those patients.
"""

from typing import NamedTuple

import numpy as np

from synthplanes import seeds

STANDARD = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax", "Maternal cervix")
CLASSES = (*STANDARD, "Other")
SUB_PLANES = ("Trans-thalamic", "Trans-cerebellum", "Trans-ventricular", "Other")
SUB_PLANE_SHARES = {"test": (0.52, 0.23, 0.205, 0.045), "train": (0.539, 0.231, 0.182, 0.048)}

# role -> scanner -> (share of patients, ((share of patients with the class, images per such patient), ...)),
# classes in the order of CLASSES. Fresh patients follow `train`.
PRESENCE = {
    "train": {
        "Aloka": (.4297, ((.28, 1.1), (.40, 2.5), (.37, 1.3), (.27, 1.8), (.56, 1.4), (.42, 13.5))),
        "Voluson E6": (.4632, ((.40, 1.2), (.82, 3.3), (.47, 1.5), (.77, 2.6), (.51, 2.8), (.52, 1.9))),
        "Voluson S10": (.0011, ((.80, 1.4), (.99, 2.9), (.72, 1.1), (.53, 1.5), (.25, 1.5), (0., 1.0))),
        "Other": (.1060, ((.21, 1.6), (.42, 2.6), (.32, 1.0), (.20, 1.5), (.75, 1.2), (.08, 1.0)))},
    "test": {
        "Aloka": (.4342, ((.22, 1.1), (.28, 2.4), (.24, 1.1), (.15, 1.8), (.73, 1.1), (.25, 9.1))),
        "Voluson E6": (.4353, ((.36, 1.2), (.83, 2.9), (.54, 1.6), (.53, 2.4), (.28, 2.9), (.46, 1.0))),
        "Voluson S10": (.0993, ((.80, 1.4), (.99, 2.9), (.72, 1.1), (.53, 1.5), (.25, 1.5), (.72, 8.5))),
        "Other": (.0312, ((.14, 1.0), (.86, 1.0), (.64, 1.0), (.05, 1.0), (.11, 1.0), (.29, 1.0)))}}
# The kinds of view filed under Other: half the long axis in cm per week of age.
OTHER_KINDS = {"limb": 0.05, "profile": 0.11, "placenta": 0.16, "cord": 0.11, "kidneys": 0.12, "spine": 0.15,
               "vessel": 0.07}
MOST_OF_A_CLASS = (5, 15, 7, 12, 12, 71)            # images of one patient, by class
OPERATORS = {"Aloka": {"Op. 3": .62, "Other": .38}, "Voluson E6": {"Op. 1": .55, "Op. 2": .43, "Other": .02},
             "Voluson S10": {"Other": 1.}, "Other": {"Other": 1.}}
LABEL_NOISE = 0.02                                  # share of images labelled Other that show a standard plane


class Scanner(NamedTuple):
    """The settings of a machine; lengths in cm, angles in rad, levels in dB (see `ultrasound.Acquisition`)."""

    radius: float
    half_angle: float
    axial_spread: float             # at a depth of 10 cm
    lateral_spread: float
    dynamic_range: float
    gain: float
    gamma: float
    noise_floor: float
    aspects: tuple[float, ...]      # width / height of its displays
    magnified: float                # share of frames that show a part of the sector only


SCANNERS = {
    "Voluson E6": Scanner(4.2, 0.62, .030, .10, 46, -9.5, 1.35, -62, (1.45, 1.45, 1.33, 1.63), .75),
    "Aloka": Scanner(6.0, 0.52, .045, .15, 50, -11.0, 1.20, -58, (1.45, 1.45, 1.33, 1.63), .65),
    "Voluson S10": Scanner(5.0, 0.58, .036, .12, 46, -9.0, 1.28, -60, (1.63, 1.45, 1.45), .70),
    "Other": Scanner(5.5, 0.56, .055, .17, 46, -10.0, 1.15, -56, (1.24, 1.33, 1.48), .55)}


class Operator(NamedTuple):
    """The habits of a person who scans."""

    fills: float                    # share of the display that an object fills
    centring: float                 # standard deviation of its centre, cm
    tilt: float                     # standard deviation of its rotation, rad
    gain: float                     # dB
    mirrored: float                 # share of frames with the head on the other side


HABITS = {"Op. 1": Operator(.78, .30, .22, 0.0, .3), "Op. 2": Operator(.84, .25, .30, 1.5, .6),
          "Op. 3": Operator(.72, .40, .35, -1.5, .4), "Other": Operator(.75, .40, .40, 0.5, .5)}


class Fetus:
    """The anatomy of one patient; lengths in cm, levels in dB, ratios without unit."""

    def __init__(self, rng: np.random.Generator, spread: float):
        """Draw a patient; `spread` scales the differences between patients."""
        def normal(mean: float, sd: float) -> float:
            return mean + spread * sd * float(np.clip(rng.normal(), -2.2, 2.2))

        age = rng.choice([20.5, 29.0, 35.0], p=[.6, .2, .2])
        self.weeks = float(np.clip(age + rng.normal(0, 1.8), 17.5, 40))
        self.build = normal(1, .05)                 # size relative to the chart
        self.cephalic = normal(.78, .03)            # width / length of the head
        self.liver = normal(-23, 2)                 # levels of the organs
        self.lung = normal(-19, 2)
        self.brain = normal(-35, 2.5)
        self.placenta = normal(-20, 2)
        self.bone = normal(4, 2)                    # level of bone facing the probe
        self.calcified = normal(1, .2)              # strength of shadows
        self.heart = normal(.54, .04)               # heart diameter / thorax diameter
        self.stomach = normal(.27, .03)             # stomach diameter / abdomen diameter
        self.fluid = abs(normal(1.0, .5)) + .1      # amniotic fluid: width of the gap around the fetus
        self.wall = abs(normal(1.4, .4)) + .3       # thickness of the mother's abdominal wall
        self.texture = normal(2.8, .6)              # large-scale unevenness of tissue
        self.skin = normal(-12, 2)                  # level of skin lines

    def half_size(self, plane: str) -> float:
        """Return half the long axis of a standard plane or kind of Other.

        Sizes follow the usual biometry charts (Hadlock et al. 1984, Radiology 152) in rounded form.
        """
        t = self.weeks
        if plane in OTHER_KINDS:
            return self.build * OTHER_KINDS[plane] * t
        length = {"Fetal brain": -2.6 + 0.44 * t - 0.0024 * t * t + 1.2,
                  "Fetal abdomen": -1.1 + 0.315 * t,
                  "Fetal thorax": -0.9 + 0.275 * t,
                  "Fetal femur": -4.0 + 0.395 * t - 0.0026 * t * t,
                  "Maternal cervix": 4.0}[plane]
        return 0.5 * length * self.build


class View(NamedTuple):
    """The intended content of one image."""

    label: str                      # the class under which it is filed
    plane: str                      # the class that it shows; another one under label noise
    sub_plane: str                  # of a brain, otherwise ''


class Patient(NamedTuple):
    """A patient and its images, not rendered yet."""

    number: int
    role: str                       # train, test or fresh
    scanner: str
    operator: str
    views: tuple[View, ...]


def patients(root_seed: int, role: str, count: int | None, at_least_images: int = 0) -> list[Patient]:
    """Draw the patients of a role: `count` of them or, if that is None, until they have `at_least_images` images.

    With a count, scanners get their share exactly (largest remainder, at least one patient each); without, every
    patient draws its own.
    """
    likeness = "test" if role == "test" else "train"
    names, shares = list(PRESENCE[likeness]), [share for share, _ in PRESENCE[likeness].values()]
    scanners = None
    if count is not None:
        scanners = _quota(names, shares, count)
        seeds.generator(root_seed, "phantom scanners", role).shuffle(scanners)
    people: list[Patient] = []
    images = 0
    while len(people) < count if count is not None else images < at_least_images:
        number = len(people)
        rng = seeds.generator(root_seed, "phantom patient", role, number)
        drawn = str(rng.choice(names, p=shares))
        scanner = scanners[number] if scanners else drawn
        operator = str(rng.choice(list(OPERATORS[scanner]), p=list(OPERATORS[scanner].values())))
        people.append(Patient(number, role, scanner, operator, _views(rng, likeness, scanner)))
        images += len(people[-1].views)
    return people


def _views(rng: np.random.Generator, likeness: str, scanner: str) -> tuple[View, ...]:
    labels: list[str] = []
    while not labels:
        for label, (share, mean), most in zip(CLASSES, PRESENCE[likeness][scanner][1], MOST_OF_A_CLASS, strict=True):
            if rng.random() < share:
                extra = rng.poisson(rng.gamma(0.7, (mean - 1) / 0.7)) if mean > 1 else 0
                labels += [label] * min(1 + int(extra), most)
    views = []
    for label in labels:
        wrong = label == "Other" and rng.random() < LABEL_NOISE
        plane = str(rng.choice(STANDARD)) if wrong else label
        sub_plane = str(rng.choice(SUB_PLANES, p=SUB_PLANE_SHARES[likeness])) if plane == "Fetal brain" else ""
        views.append(View(label, plane, sub_plane))
    return tuple(views[i] for i in rng.permutation(len(views)))


def _quota(names: list[str], shares: list[float], count: int) -> list[str]:
    exact = np.array(shares) / sum(shares) * count
    parts = np.maximum(np.floor(exact), 1 if count >= 2 * len(names) else 0).astype(int)
    while parts.sum() != count:
        step = 1 if parts.sum() < count else -1
        gaps = np.where((step < 0) & (parts <= 1), -np.inf, step * (exact - parts))
        parts[np.argmax(gaps)] += step
    return np.repeat(names, parts).tolist()
