"""The report's account of what went in: counted work, images, and what each arm was given."""

from collections.abc import Mapping

from synthplanes.protocol.arms import ARMS
from synthplanes.report.markdown import code, count, escaped, prose, table

_POOLS = {
    "real": "the budget's labelled training images", "synthetic": "images of the generator, which saw the budget's "
    "training images only", "fresh": "labelled images of further phantom patients (more information than any other "
    "arm: a ceiling, no rival)", "null": "a class-balanced resample of the budget's training images",
    "poison": "synthetic images with permuted labels", "mixed": "real and synthetic images side by side"}


def cost_of_arms(cost: dict, budgets: list[str]) -> list[str]:
    """Counted work by arm; the rows stand by budget, in the order of `budgets`."""
    rows = [[code(arm["arm"]), escaped(arm["budget"]), str(arm["classifier"]["runs"]), str(len(arm["archs"])),
             *(count(arm[part]["forward_equivalents"]) for part in ("classifier", "first_stage", "synthesis", "total"))]
            for arm in sorted(cost["arms"], key=lambda arm: budgets.index(arm["budget"]))]
    return [f"Counted work, the same on every machine; unit: {prose(cost['unit'])}. Passes count images and not "
            "operations: one through the generator costs more than one through a small classifier.",
            table(["arm", "budget", "runs", "architectures", "own training", "first stage",
                   "generator, guide, sampling", "total"], rows),
            f"All stages together: {count(cost['total']['training_image_passes'])} training passes and "
            f"{count(cost['total']['forward_image_passes'])} forward passes."]


def images(data: dict) -> list[str]:
    roles = sorted(data["roles"])
    parts = [table(["images (patients)", *map(escaped, roles)],
                   [[escaped(name), *(_share(data["roles"][role]["classes"][name]) for role in roles)]
                    for name in data["classes"]] + [["all", *(_share(data["roles"][role]) for role in roles)]])]
    parts.append(table(["budget", "replicate", "side", "images", "patients"], [
        [escaped(entry["budget"]), str(entry["replicate"]), escaped(entry["role"]), count(entry["images"]),
         count(entry["patients"])] for entry in data["budgets"]]))
    if data["duplicates"]:
        parts.append(table(["duplicates", "pairs"], [[escaped(kind.replace("_", " ")), count(found["pairs"])]
                                                     for kind, found in sorted(data["duplicates"].items())]))
    parts += [f"Dropped ({escaped(reason.replace('_', ' '))}): {count(found['images'])} images."
              for reason, found in sorted(data["dropped"].items()) if found["images"]]
    return parts + [f"Note: {escaped(finding['sentence'])}" for finding in data["findings"]]


def _share(found: dict) -> str:
    return f"{count(found['images'])} ({count(found['patients'])})"


def information(cost: dict, looks: Mapping[str, int], origins: Mapping[str, list[str]]) -> list[str]:
    """`origins` maps an architecture role to what the weights it begins from had learned from, nothing as a rule."""
    present = {arm["arm"] for arm in cost["arms"]}
    rows = [[code(arm.name), arm.length, *(_POOLS[pool] if pool else "" for pool in (arm.stage_1, arm.stage_2)),
             str(looks[arm.name]), arm.question] for arm in ARMS.values() if arm.name in present]
    return ["P and T are the updates of the first and the second stage; every update sees a batch of the same "
            "size. No arm has unlabelled images. " + _beginning(origins) + " Looks count how often a classifier's "
            "validation images are used, and never for a choice.",
            table(["arm", "updates", "first stage", "second stage", "looks", "question"], rows)]


def _beginning(origins: Mapping[str, list[str]]) -> str:
    begun = [f"{escaped(arch)} (from {escaped(', '.join(names))})" for arch, names in sorted(origins.items()) if names]
    if not begun:
        return "All classifiers begin with random weights."
    return f"With weights that had learned before begin, in every arm alike: {', '.join(begun)}; all others with random ones."
