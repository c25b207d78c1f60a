"""Describe the inputs of the results in Markdown: images, arms, synthetic images and counted work."""

from synthplanes.protocol.arms import ARMS
from synthplanes.report import markdown as md
from synthplanes.report.results import MEAN, TABLES, Results
from synthplanes.report.tables import crossed

SIDES = ("train", "test", "fresh")  # in this order
POOLS = {None: "", "real": "real images of the budget", "synthetic": "synthetic images",
         "fresh": "images of fresh phantom patients",
         "resampled": "a class-balanced resample of the budget's real images",
         "permuted_labels": "synthetic images with permuted labels", "joint": "real and synthetic images together"}


def subject(r: Results) -> str:
    """Describe the origin of the images, and what is repeated."""
    protocol, phantom = r.plan["protocol"], r.verdict["phantom"]
    described = [md.code(r.verdict["overall"]["source"]), *(
        f"{md.escaped(name.replace('_', ' '))} {md.escaped(str(phantom[name])[:12])}" for name in sorted(phantom)
        if phantom[name] is not None)] + ([f"images of {r.data['size_px']} px"] if r.data else [])
    folds = (f" Cross-validation by {protocol['prepare']['cross_validation']}: every generator has test patients of "
             "its own, whom neither it nor its classifiers saw; their predictions are pooled." if r.folds else "")
    return (f"Source: {', '.join(described)}. Generators of each budget: {protocol['replication']['generators']}; "
            f"classifier seeds for each generator: {protocol['replication']['seeds']}.{folds}")


def platform(r: Results) -> str:
    """Describe the platform of the predictions."""
    noted = r.verdict.get("platform")
    return (f"{noted['instructions']} instructions, {md.counted(noted['threads'], 'thread')}, torch "
            f"{md.escaped(noted['torch'])}" if noted else "not recorded")


def audited(r: Results) -> dict[tuple[str, str], dict[str, float]]:
    """Return (budget, class or `all`) -> label_fidelity, ceiling, copies and n_images, mean over generators."""
    rows = r.by_share("audit")
    averaged = (rows["replicate"] == MEAN).groupby(rows["budget"]).transform("any")
    means = rows[(rows["replicate"] == MEAN) == averaged].groupby(["budget", "label"], sort=False)[
        ["label_fidelity", "ceiling", "copies", "n_images"]].mean()
    return dict(zip(means.index, means.to_dict("records"), strict=True))


def label_fidelity(r: Results) -> str:
    """Show label fidelity by class, beside that of the same classifier on real images."""
    cells, headers = {}, {}
    for (budget, label), row in audited(r).items():
        for column in ("label_fidelity", "ceiling"):
            headers[budget, column] = f"{column.replace('_', ' ')}, %" + (f", {budget}" if len(r.shares) > 1 else "")
            name = "mean over classes" if label == "all" else md.escaped(label)
            cells[name, (budget, column)] = md.percent(row[column])
    return crossed("class", cells, headers)


def unknown_ceilings(r: Results) -> str:
    """Explain why classes have no ceiling; '' where all have one."""
    known = [md.known(row["ceiling"]) for (_, label), row in audited(r).items() if label != "all"]
    if all(known):
        return ""
    return ("A class without validation images has no ceiling." if any(known) else
            "The ceilings of single classes were not recorded with these results.")


def absent(r: Results) -> list[str]:
    """Return the names of result tables that a run writes today and that these results lack."""
    return [schema.name for schema in TABLES.values() if not (r.folder / schema.name).exists()]


def copies(r: Results) -> str:
    """Show the share of possible copies, by budget."""
    return "; ".join(f"{md.percent(row['copies'])} %" + (f" at budget {budget}" if len(r.shares) > 1 else "")
                     for (budget, label), row in audited(r).items() if label == "all")


def roles(r: Results) -> str:
    """Count images and patients of each class on each side of the split."""
    sides = {side: r.data["roles"][side] for side in SIDES if side in r.data.get("roles", {})}
    rows = [[md.escaped(name), *(_both(side["classes"][name]) for side in sides.values())]
            for name in r.data.get("classes", ())]
    return md.table(["images (patients)", *sides], [*rows, ["all", *map(_both, sides.values())]] if sides else [])


def _both(counts: dict[str, int]) -> str:
    return f"{md.count(counts['images'])} ({md.count(counts['patients'])})"


def side_of(r: Results, budget: str, role: str) -> str:
    """Count images (patients) of one side of a budget, as a range over its generators' draws."""
    entries = [entry for entry in r.data.get("budgets", ()) if (entry["budget"], entry["role"]) == (budget, role)]
    images, patients = ([entry[what] for entry in entries] for what in ("images", "patients"))
    return f"{md.span(images)} ({md.span(patients)})" if entries else "unknown"


def budgets(r: Results) -> str:
    """Show the numbers of training and validation images of each budget."""
    return md.table(["budget", "of the training patients", "training images (patients)",
                     "validation images (patients)"], [
        [md.escaped(budget), f"{100 * share:g} %", *(side_of(r, budget, role) for role in ("train", "validation"))]
        for budget, share in r.shares.items()] if r.data else [])


def duplicates(r: Results) -> str:
    """Count pairs of equal or nearly equal images, and show the policy on them."""
    return md.table(["duplicates", "pairs", "policy"], [
        [_words(kind), md.count(entry["pairs"]), _words(r.data.get("policies", {}).get(kind, "keep"))]
        for kind, entry in sorted(r.data.get("duplicates", {}).items())])


def dropped(r: Results) -> list[str]:
    """Count the images that were taken out, by reason."""
    return [f"{md.count(entry['images'])} ({_words(reason)})"
            for reason, entry in sorted(r.data.get("dropped", {}).items()) if entry["images"]]


def _words(name: str) -> str:
    return md.escaped(name.replace("_", " "))


def arms(r: Results) -> str:
    """Show the training images, the updates and the question of each arm."""
    present = set(r.tables["levels"]["arm"])
    return md.table(["arm", "updates", "first stage", "second stage", "question"], [
        [md.code(arm.name), arm.updates, POOLS[arm.stage_1], POOLS[arm.stage_2], arm.question]
        for arm in ARMS.values() if arm.name in present])


def pretrained(r: Results) -> str:
    """Name the architectures with pretrained weights, and the images these were trained on."""
    return "; ".join(f"{md.escaped(arch)} (from {md.escaped(', '.join(names))})"
                     for arch, names in sorted(r.cost.get("pretrained_on", {}).items()) if names)


def cost(r: Results) -> str:
    """Show counted work by arm at the verdict's budget, in forward-equivalents."""
    parts = {"classifier": "own training", "first_stage": "first stage", "synthesis": "generator, guide, sampling",
             "total": "total, forward-equivalents"}
    return md.table(["arm", "runs", "architectures", *parts.values()], [
        [md.code(arm["arm"]), str(arm["classifier"]["runs"]), str(len(arm["archs"])),
         *(md.count(arm[part]["forward_equivalents"]) for part in parts)]
        for arm in r.cost.get("arms", ()) if arm["budget"] == r.budget])
