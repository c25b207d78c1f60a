"""Define the words of a verdict and when each applies; statistics/verdict.py has the rules under the same names.

Refusals come first, then findings; the first that holds gives the word.
"""

CONFIDENCE = 0.95
EQUIVALENCE_CONFIDENCE = 0.90  # two one-sided tests at 5 % each (Schuirmann 1987)
POWER = 0.80
FAMILY_LEVEL = 0.05            # of the whole family of secondary contrasts
PRIMARY_METRIC = "balanced_accuracy"
MIN_REPETITIONS = 5            # with fewer, the repetitions' part of the variance is too uncertain
MIN_EFFECTIVE_PATIENTS = 20    # with fewer, the patients' part of the variance is too uncertain
MIN_PATIENTS_PER_CLASS = 3     # with fewer, one patient decides a class, whose variance is hardly known

REFUSALS = {
    "other information":   "one arm rests on images that the other never had",
    "undertrained":        "`real` still gains from more updates, so any difference may be one of training time",
    "unpaired":            "the two arms were not trained with the same seeds",
    "too few repetitions": f"there are fewer than {MIN_REPETITIONS} generators or, with one generator or one for each "
                           "fold, classifier seeds",
    "too few patients":    f"the test patients weigh as much as fewer than {MIN_EFFECTIVE_PATIENTS} equal ones, or a "
                           f"class has fewer than {MIN_PATIENTS_PER_CLASS}",
}
FINDINGS = {
    "hurts":               "the 95 % interval lies below 0",
    "helps":               "the 95 % interval lies above 0 and reaches above the margin",
    "helps, negligibly":   "the 95 % interval lies above 0 and ends below the margin",
    "equivalent":          "the 90 % interval lies within the margin on both sides of 0",
    "no worthwhile gain":  "the 95 % interval ends below the margin",
}
OTHERWISE = ("inconclusive", "none of these holds: the data cannot tell")
DIFFERENCES = ("hurts", "helps", "helps, negligibly")  # words that claim a difference
