"""Define the words of a verdict and when each applies; statistics/verdict.py has the rules under the same names.

Refusals come first, then findings; the first that holds gives the word. A finding in favour of an arm needs references
that have converged; without them the word is *undertrained*.
"""

CONFIDENCE = 0.95
EQUIVALENCE_CONFIDENCE = 0.90  # two one-sided tests at 5 % each (Schuirmann 1987)
CONVERGENCE_CONFIDENCE = 0.95  # one-sided
POWER = 0.80
FAMILY_LEVEL = 0.05            # two-sided, of the family of secondary contrasts
HYPOTHESES_LEVEL = 0.025       # one-sided, of the family of hypotheses
PRIMARY_METRIC = "balanced_accuracy"
MIN_REPETITIONS = 5            # with fewer, the repetitions' part of the variance is too uncertain
MIN_EFFECTIVE_PATIENTS = 20    # with fewer, the patients' part of the variance is too uncertain
MIN_PATIENTS_PER_CLASS = 10    # with fewer, the interval covers too little (metrics/calibration.csv)

GENERATOR_LAST_PART = 0.25     # of the images that a generator saw in training
GENERATOR_LARGEST_FALL = 0.01  # of the held-out loss within that part, relative; more: the generator was still learning

REFUSALS = {
    "other information":     "one arm rests on images that the other never had",
    "unpaired":              "the two arms were not trained with the same seeds",
    "generator unconverged": "the arm uses synthetic images, and a generator was still learning: in the last "
                             f"{GENERATOR_LAST_PART:.0%} of its training the held-out loss fell by more than "
                             f"{GENERATOR_LARGEST_FALL:.0%}",
    "too few repetitions":   f"there are fewer than {MIN_REPETITIONS} generators or, with one generator or one for "
                             "each fold, classifier seeds",
    "too few patients":      f"there are fewer than {MIN_EFFECTIVE_PATIENTS} effective test patients, or fewer than "
                             f"{MIN_PATIENTS_PER_CLASS} of a class",
    "undertrained":          "a finding would favour the arm, and nothing shows that its references have converged",
}
FINDINGS = {
    "worthwhile gain":        "the lower limit is above the margin",
    "gain, size open":        "the lower limit is above 0 and the upper limit above the margin",
    "gain, below the margin": "the lower limit is above 0 and the upper limit at or below the margin",
    "harm":                   "the upper limit is below 0",
    "equivalent":             "the 90 % interval is within the margin on both sides of 0",
    "no worthwhile gain":     "the upper limit is at or below the margin",
}
OTHERWISE = ("inconclusive", "none of these holds: the data cannot tell")
GAINS = ("worthwhile gain", "gain, size open", "gain, below the margin")
FAVOURABLE = (*GAINS, "equivalent")  # words that need converged references
DIFFERENCES = (*GAINS, "harm")       # words that claim a difference
