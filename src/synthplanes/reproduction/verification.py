"""Run a revision again in a separate folder, or restore its outputs, and report whether it reproduces."""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction import rerun
from synthplanes.reproduction.checkout import Checkout, LockedStage, inside, md5, read_checkout
from synthplanes.reproduction.comparison import ABSENT, RESTORED, ComparedStage, Verification, compare, protocol_changes
from synthplanes.reproduction.provenance import last_change, open_repository

PROTOCOL = "protocol"  # its outputs are the parameters and code of the other stages: inputs here, not results


def verify(root: Path, profile: str, revision: str | None = None, stages: Sequence[str] = (),
           restore: bool = False) -> Verification:
    """Run a revision of the checkout `root` again, or restore its outputs, and compare.

    `stages`: only these (none: all) are run, on inputs restored from the DVC cache of `root`. `restore`: nothing is
    run; the outputs are taken from the cache (or from the working tree of `root`) and their md5s computed. Raises
    `UserError` where something that is needed is absent.
    """
    with tempfile.TemporaryDirectory(prefix="synthplanes-") as scratch:
        folder, kept = Path(scratch) / "checkout", Path(scratch) / "recorded"
        name = rerun.copy_revision(root, revision, folder)
        rerun.copy_files(folder, kept, ("dvc.lock", "metrics"))
        before = read_checkout(kept)
        chosen = _chosen(before, profile, folder, stages)
        rerun.activate(folder, profile)
        rerun.link_raw_images(root, folder, profile)
        rerun.write_protocol(folder, profile)
        with rerun.dvc_repository(root) as repository:
            cache = Path(repository.cache.local_cache_dir)
        changes = _changes(root, folder, cache, chosen)
        if restore:
            verification = _restored(root, folder, cache, before.of_profile(profile))
        else:
            _run(folder, cache, before, chosen, everything=not stages)
            verification = compare(before, read_checkout(folder), chosen, changes)
        recorded_by = last_change(open_repository(root), revision or "HEAD", [
            (Paths(profile).metrics / table).as_posix() for table in ("scores.csv", "verdict.json")])
        return replace(verification, revision=name, packages=tuple(rerun.package_differences(folder)),
                       recorded_by=recorded_by and recorded_by[:7], out_of_step=next(iter(changes), None))


def _chosen(before: Checkout, profile: str, folder: Path, names: Sequence[str]) -> list[LockedStage]:
    """Return the recorded stages to compare (`names`, or all), in the order of dvc.yaml."""
    pipeline = YAML(typ="safe").load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    results = [name for name in pipeline if name != PROTOCOL]
    if unknown := sorted(set(names) - set(results)):
        raise UserError(f"the pipeline has no stage '{unknown[0]}': choose among {', '.join(results)}.")
    chosen = [stage for name in results if (not names or name in names) and (stage := before.of(name, profile))]
    if not chosen:
        raise UserError(f"dvc.lock of that revision records no run of profile '{profile}': name another, or run "
                        "`dvc repro` first.")
    return chosen


def _changes(root: Path, folder: Path, cache: Path, stages: Sequence[LockedStage]) -> dict[str, tuple[str, ...]]:
    """Return the differences, for every stage whose protocol file in `folder` is not the recorded one."""
    changes = {}
    for stage in stages:
        path = stage.protocol_file
        recorded = stage.deps.get(path)
        if recorded and md5(folder / path) != recorded:
            places = (root / path, cache / "files" / "md5" / recorded[:2] / recorded[2:])
            contents = (records.read_json(place) for place in places if place.is_file() and md5(place) == recorded)
            changes[stage.name] = protocol_changes(next(contents, None), records.read_json(folder / path))
    return changes


def _run(folder: Path, cache: Path, before: Checkout, chosen: Sequence[LockedStage], everything: bool) -> None:
    """Run the whole pipeline in `folder`, or the chosen stages on inputs restored from the cache."""
    names = [stage.name for stage in chosen]
    makers = {maker.name for stage in chosen for maker in before.makers(stage) if maker.stage != PROTOCOL}
    if not everything and (needed := sorted(makers - set(names))):
        with rerun.dvc_repository(folder, cache) as repository:
            repository.checkout(needed, force=True, allow_missing=True)
    made = [out for stage in chosen for out in stage.outs]
    absent = [dep for stage in chosen for dep in stage.deps
              if not (folder / dep).exists() and not any(inside(dep, out) for out in made)]
    if absent:
        raise UserError(f"{absent[0]} is not here: " + (
            "put the images there with `synthplanes fetch`, then verify again."
            if inside(absent[0], "artifacts/raw") else
            "bring it into this checkout's DVC cache with `dvc pull`, or verify all stages."))
    with rerun.dvc_repository(folder) as repository:
        repository.reproduce(None if everything else names, force=True, single_item=not everything, no_commit=True)


def _restored(root: Path, folder: Path, cache: Path, stages: Sequence[LockedStage]) -> Verification:
    """Restore all outputs from the cache into `folder` and compute their md5s.

    What the cache lacks counts as restored if the working tree of `root` still has it.
    """
    with rerun.dvc_repository(folder, cache) as repository:
        repository.checkout(force=True, allow_missing=True)
    compared = []
    for stage in stages:
        faults = {}
        for out, recorded in sorted(stage.outs.items()):
            place = next((place for place in (folder, root) if (place / out).exists()), None)
            if place is None or md5(place / out) != recorded:
                faults[out] = "different" if place == folder else ABSENT
        compared.append(ComparedStage(stage.name, _worst(faults.values(), "identical"), tuple(faults)))
    return Verification(stages[0].profile, _worst([stage.state for stage in compared], RESTORED), tuple(compared))


def _worst(states: Collection[str], otherwise: str) -> str:
    return next((state for state in ("different", ABSENT) if state in states), otherwise)
