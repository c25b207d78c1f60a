"""Look at the synthetic images themselves: label fidelity and possible copies, per replicate."""

from synthplanes import records
from synthplanes.classification.judging import judge
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_all, read_budget
from synthplanes.compute.devices import prepare_torch
from synthplanes.audit.copies import copies
from synthplanes.audit.label_fidelity import label_fidelity
from synthplanes.audit.overview import overview
from synthplanes.progress import Progress
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", paths=("prepared", "synthetic", "out", "overview"))
    profile = read_profile(arguments.profile)
    if arguments.budget not in profile.used_budgets():
        records.write_json(arguments.out / "audit.json", {"replicates": []})
        records.write_json(arguments.overview, overview([]))
        return records.write_cost(arguments.out, [])

    device, root_seed, found, items = prepare_torch(profile.compute.threads), profile.replication.root_seed, [], []
    progress = Progress(f"audit, budget {arguments.budget}", profile.replication.generators, "generators")
    progress(0)
    for replicate in range(profile.replication.generators):
        train = read_budget(arguments.prepared, arguments.budget, replicate, "train")
        held_out = read_budget(arguments.prepared, arguments.budget, replicate, "validation")
        synthetic = read_all(arguments.synthetic / f"r{replicate}", train.classes, records.SYNTHETIC)
        fresh = read_all(arguments.prepared / "fresh", train.classes)
        teacher = fresh if len(fresh) else train  # where a simulator gives other patients, the judge learns from them
        sets = [synthetic, held_out]
        judged = judge(teacher, [one.images for one in sets], profile.audit, profile.recipe, root_seed, replicate, device)
        picture = arguments.out / f"copies-r{replicate}.png"
        found.append({
            "judge_learned_from": "fresh phantom patients" if len(fresh) else "the budget's training images",
            "label_fidelity": label_fidelity(judged[0], synthetic.labels, train.classes),
            "ceiling_on_validation_images": label_fidelity(judged[1], held_out.labels, train.classes),
            "copies": copies(synthetic.images, train.images, held_out.images, picture, profile.audit.copies_shown)})
        items.append(records.cost_item("audit", replicate=replicate, forward=sum(len(one) for one in sets),
                                       trained=profile.audit.updates * profile.audit.batch_size))
        progress(replicate + 1)
    records.write_json(arguments.out / "audit.json", {"replicates": found})
    records.write_json(arguments.overview, overview(found))
    records.write_cost(arguments.out, items)


if __name__ == "__main__":
    run(main)
