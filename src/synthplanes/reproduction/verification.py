"""Run a revision again in a separate folder, or restore its outputs, and report whether it reproduces."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction import rerun
from synthplanes.reproduction.checkout import Checkout, LockedStage, inside, md5, read_checkout
from synthplanes.reproduction.comparison import (
    OUTCOMES,
    TOLERANCE,
    ComparedStage,
    Comparison,
    compare,
    protocol_changes,
)
from synthplanes.reproduction.provenance import last_change, open_repository

RESTORED, ABSENT = "restored", "absent"
EXIT = {RESTORED: 0, **dict(zip(OUTCOMES, (0, 3, 4, 5), strict=True)), ABSENT: 6}
PROTOCOL = "protocol"  # its outputs are the parameters and code of the other stages: inputs here, not results


@dataclass(frozen=True)
class Verification:
    """The outcome, for people (`lines`) and for programs (`as_dict`)."""

    revision: str
    profile: str
    outcome: str                   # a key of EXIT
    comparison: Comparison
    packages: tuple[str, ...]      # installed in other versions than requirements.lock names
    recorded_by: str | None        # the commit that recorded the profile's results; None without version control
    out_of_step: str | None        # the first stage whose parameters, code or packages are not the recorded ones

    @property
    def status(self) -> int:
        """Return the exit status."""
        return EXIT[self.outcome]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON; an infinite difference becomes null."""
        content = asdict(self)
        comparison = content.pop("comparison")
        for stage in comparison["stages"]:
            if stage["largest_difference"] == float("inf"):
                stage["largest_difference"] = None
        return {**content, **comparison, "tolerance": TOLERANCE,
                "first_that_differs": self.comparison.first_that_differs,
                "first_from_other_inputs": self.comparison.first_from_other_inputs}

    def lines(self) -> list[str]:
        """Return one line per stage, then the packages, the platform, and the outcome last."""
        stages, first = self.comparison.stages, self.comparison.first_that_differs
        width = max((len(stage.name) for stage in stages), default=0)
        lines = [f"{stage.name:{width}}  {_described(stage)}" for stage in stages]
        lines.append(f"packages: {'; '.join(self.packages) or 'as in requirements.lock'}")
        if self.out_of_step:
            where = f"; the results came with commit {self.recorded_by}: verify that one" if self.recorded_by else ""
            lines.append(f"{self.out_of_step} has parameters, code or packages other than the recorded ones{where}")
        if self.comparison.platform:
            lines.append(f"platform: {'; '.join(self.comparison.platform)}: this gives other bytes, so expect the same "
                         "conclusion at best")
        elif first and self.outcome not in (RESTORED, ABSENT):
            lines.append("other vector instructions, another number of threads or other packages give other bytes: "
                         "there, expect the same conclusion at best")
        lines.append(f"{self.revision}, profile {self.profile}: {self.outcome}"
                     + (f"; first that differs: {first}" if first else ""))
        return lines


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
        before, order = read_checkout(kept), rerun.stage_names(folder)
        chosen = _chosen(before, profile, order, stages)
        rerun.activate(folder, profile)
        rerun.link_raw_images(root, folder, profile)
        rerun.write_protocol(folder, profile)
        cache = rerun.cache_folder(root)
        changes = _changes(root, folder, cache, chosen)
        if restore:
            comparison = _restored(root, folder, cache, before.of_profile(profile))
            states = {stage.state for stage in comparison.stages}
            outcome = next((state for state in ("different", ABSENT) if state in states), RESTORED)
        else:
            _run(folder, cache, before, chosen, everything=not stages)
            comparison = compare(before, read_checkout(folder), chosen, changes)
            outcome = comparison.outcome
        recorded_by = last_change(open_repository(root), revision or "HEAD", [
            (Paths(profile).metrics / table).as_posix() for table in ("scores.csv", "verdict.json")])
        return Verification(name, profile, outcome, comparison, tuple(rerun.package_differences(folder)),
                            recorded_by and recorded_by[:7], next(iter(changes), None))


def _chosen(before: Checkout, profile: str, order: Sequence[str], names: Sequence[str]) -> list[LockedStage]:
    """Return the recorded stages to compare (`names`, or all), in the order of the pipeline."""
    results = [name for name in order if name != PROTOCOL]
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
            places = (root / path, rerun.cached_file(cache, recorded))
            contents = (records.read_json(place) for place in places if place.is_file() and md5(place) == recorded)
            changes[stage.name] = protocol_changes(next(contents, None), records.read_json(folder / path))
    return changes


def _run(folder: Path, cache: Path, before: Checkout, chosen: Sequence[LockedStage], everything: bool) -> None:
    """Run the whole pipeline in `folder`, or the chosen stages on inputs restored from the cache."""
    made = {out for stage in chosen for out in stage.outs}
    names = [stage.name for stage in chosen]
    if not everything:
        makers = {maker.name for stage in chosen for maker in before.makers(stage) if maker.stage != PROTOCOL}
        if needed := sorted(makers - set(names)):
            with rerun.dvc_repository(folder, cache) as repository:
                repository.checkout(needed, force=True, allow_missing=True)
    absent = [dep for stage in chosen for dep in stage.deps
              if not (folder / dep).exists() and not any(inside(dep, out) for out in made)]
    if absent:
        raw = inside(absent[0], "artifacts/raw")
        raise UserError(f"{absent[0]} is not here: " + (
            "put the images there with `synthplanes fetch`, then verify again." if raw else
            "bring it into this checkout's DVC cache with `dvc pull`, or verify all stages."))
    with rerun.dvc_repository(folder) as repository:
        repository.reproduce(None if everything else names, force=True, single_item=not everything, no_commit=True)


def _restored(root: Path, folder: Path, cache: Path, stages: Sequence[LockedStage]) -> Comparison:
    """Restore all outputs from the cache into `folder` and compute their md5s.

    What the cache lacks counts as restored if the working tree of `root` still has it.
    """
    with rerun.dvc_repository(folder, cache) as repository:
        repository.checkout(force=True, allow_missing=True)
    compared = []
    for stage in stages:
        states = {}
        for out, recorded in sorted(stage.outs.items()):
            place = next((place for place in (folder, root) if (place / out).exists()), None)
            same = place is not None and md5(place / out) == recorded
            states[out] = "identical" if same else "different" if place == folder else ABSENT
        worst = next((state for state in ("different", ABSENT) if state in states.values()), "identical")
        differing = tuple(out for out, state in states.items() if state != "identical")
        compared.append(ComparedStage(stage.name, worst, differing, None))
    return Comparison(tuple(compared))


def _described(stage: ComparedStage) -> str:
    words = [stage.state]
    if stage.differing:
        brings = " (`dvc pull` or `dvc repro` brings it)" if stage.state == ABSENT else ""
        words = [f"{stage.state}: {', '.join(stage.differing)}{brings}"]
    if stage.state != "identical" and stage.largest_difference not in (None, float("inf")):
        words.append(f"largest difference {stage.largest_difference:.6f}")
    if stage.other_inputs:
        words.append(f"from other inputs: {', '.join(stage.other_inputs)}")
    return ", ".join(words)
