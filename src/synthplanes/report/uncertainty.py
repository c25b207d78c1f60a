"""The report's sections on what stands beside the intervals and never decides: Markdown from verdict.json."""

from synthplanes.report.markdown import code, count, escaped, p_value, percent, points, table

# Component of verdict.json -> its words; the interactions with the generator only where there are several.
_COMPONENTS = {"generator": "generator", "seed": "seed", "patient": "patient",
               "patient_x_generator": "patient x generator", "patient_x_seed": "patient x seed",
               "image": "image", "image_x_generator": "image x generator", "image_x_seed": "image x seed"}
_SHOWN_ARMS = ("real", "synthetic_then_real")


def variance_components(verdict: dict, main: list[dict], folds: bool) -> list[str]:
    """Of the confirmatory contrasts among `main` (records of verdict.json) and of the arms that they compare; `folds`:
    whether the generators are those of a cross-validation."""
    found: dict[tuple, dict[str, dict]] = {}
    for row in verdict["variance_components"]:
        found.setdefault((row["budget"], row["arch"], row["contrast"], row["arm"]), {})[row["component"]] = row
    confirmatory = [record for record in main if record["role"] == "confirmatory"]
    words = {(record["budget"], record["arch"], record["contrast"], None):
             f"{code(record['arm'])} against {code(record['reference_arm'])}" for record in confirmatory}
    words |= {(record["budget"], record["arch"], None, arm): code(arm)
              for arm in _SHOWN_ARMS for record in confirmatory}
    shown = [(key, found[key]) for key in words if key in found]
    if not shown:
        return ["No table of runs and patients can be formed: see why a verdict is refused."]
    present = [name for name in _COMPONENTS if any(name in row for _, row in shown)]
    unknown = any(row["generator"]["standard_deviation"] is None for _, row in shown)
    return ["How much do repetitions, patients and images vary? Standard deviations of single effects in points; in "
            "parentheses the share of the estimate's variance that they bring, to which an effect adds less the more "
            "seeds, patients or images there are. "
            + (("The part of generators is unknown where each has patients of its own. " if folds else
                "The part of generators is unknown with one of them: another generator may give another answer. ")
               if unknown else "")
            + "The table explains the intervals and decides nothing.",
            table(["difference or arm", "budget", "architecture", *(_COMPONENTS[name] for name in present)], [
                [words[key], *map(escaped, key[:2]), *(_component(row.get(name)) for name in present)]
                for key, row in shown])]


def _component(row: dict | None) -> str:
    if row is None or row["standard_deviation"] is None:
        return "unknown"
    if row["clipped"]:
        return "0 (estimated below 0)"
    return percent(row["standard_deviation"]) + ("" if row["share"] is None else f" ({100 * row['share']:.0f} %)")


def resampling(verdict: dict, main: list[dict], folds: bool) -> list[str]:
    """The bootstrap intervals and sign-flip tests of `main` beside what decides; arguments as above."""
    place = ("budget", "arch", "metric", "contrast")
    rows = {tuple(row[name] for name in place): row for row in verdict["resampling"]}
    found = [(record, rows[tuple(record[name] for name in place)]) for record in main if record["estimate"] is not None]
    if not found:
        return ["No pair of runs can be formed: see why a verdict is refused."]
    units = max(row["n_units"] for _, row in found)
    # In cross-validation every generator has patients of its own: what repeats there is the seed, as without replicates.
    noun = "generators" if any(record["n_generators"] > 1 for record, _ in found) and not folds else "seeds"
    draws = min(row["n_bootstrap"] for _, row in found)
    return ["What decides is the interval, and p (Holm) of the table above. Beside them, and never deciding: a "
            f"bootstrap of patients and {noun} (percentiles of at least {count(draws)} draws), which is too narrow "
            f"where so few {noun} dominate; and the exact test that flips the signs of the {noun}, which speaks of "
            f"these test patients only and cannot give less than {2 / 2 ** units:.2g} with {units} {noun}. Its second "
            "p is adjusted for the family: all contrasts, scopes, metrics and budgets but the confirmatory pair, which "
            "keeps its own.",
            table(["arm", "against", "budget", "architecture", "points", "95 % interval (decides)", "bootstrap", "p",
                   "p (signs)", "p (signs, family)"], [
                [code(record["arm"]), code(record["reference_arm"]), escaped(record["budget"]), escaped(record["arch"]),
                 points(record["estimate"]), _between(record["low"], record["high"]),
                 _between(row["bootstrap_low"], row["bootstrap_high"]),
                 *(p_value(value) for value in (record["p_value"], row["sign_flip_p"], row["sign_flip_p_family"]))]
                for record, row in found])]


def fold_by_fold(verdict: dict) -> list[str]:
    """The differences of every fold, and of all with a fold as one observation; nothing without cross-validation."""
    if not verdict["folds"]:
        return []
    rows = [[code(row["arm"]), code(row["reference_arm"]), escaped(row["budget"]), str(fold["fold"]),
             escaped(", ".join(filter(None, fold["scanners"]))), f"{count(fold['images'])} ({count(fold['patients'])})",
             str(fold["classes"]), points(fold["estimate"])] for row in verdict["folds"] for fold in row["folds"]]
    together = [[code(row["arm"]), code(row["reference_arm"]), escaped(row["budget"]), str(len(row["folds"])),
                 points(row["estimate"]), _between(row["low"], row["high"]), p_value(row["p_value"])]
                for row in verdict["folds"]]
    return ["## Fold by fold", "Each fold's own difference, over the classes that it tests, and beneath it the mean of folds "
            "with a t interval in which a fold is one observation, its patients, generator and classifiers together. The "
            "interval that decides takes these folds as given. This one asks about further folds; it leaves out that folds "
            "share training images, and decides nothing.",
            table(["arm", "against", "budget", "fold", "scanners", "images (patients)", "classes", "points"], rows),
            table(["arm", "against", "budget", "folds", "mean of folds", "95 % interval", "p"], together)]


def _between(low: float | None, high: float | None) -> str:
    return "unknown" if low is None else f"{points(low)} to {points(high)}"
