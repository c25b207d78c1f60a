"""`synthplanes verify`: one command that reproduces a revision and says so."""

import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from synthplanes.reproduction.checkout import Checkout, md5, read_checkout
from synthplanes.errors import UserError
from synthplanes.reproduction import rerun
from synthplanes.reproduction.comparison import LEVELS, Comparison, Found, compare

RESTORED = "restored"
EXIT = {RESTORED: 0, **{level: status for level, status in zip(LEVELS, (0, 3, 4, 5))}}


@dataclass(frozen=True)
class Verification:
    """The outcome, for people (`lines`) and machines (`as_dict`)."""

    revision: str
    level: str
    comparison: Comparison
    environment: tuple[str, ...]   # packages of other versions than requirements.lock names
    recorded_by: str | None        # the commit that brought the profile's results; None without version control
    out_of_step: str | None        # the first stage whose code, parameters or packages are not the recorded ones

    @property
    def status(self) -> int:
        return EXIT[self.level]

    def as_dict(self) -> dict:
        return {**self.comparison.as_dict(), "revision": self.revision, "level": self.level,
                "environment_differences": list(self.environment), "recorded_by": self.recorded_by,
                "out_of_step": self.out_of_step}

    def lines(self) -> list[str]:
        width = max((len(found.cell) for found in self.comparison.cells), default=0)
        lines = [f"{found.cell:{width}}  {_words(found)}" for found in self.comparison.cells]
        lines += [f"environment: {'; '.join(self.environment) or 'as requirements.lock says'}"]
        lines += [self.step] if self.step else []
        first = self.comparison.first_that_differs
        if first and self.level != RESTORED:
            lines += ["other vector instructions, another number of threads or other packages give other bytes: there, "
                      "expect the same conclusion"]
        tail = f"; first that differs: {first}" if first else ""
        return lines + [f"{self.revision}, profile {self.comparison.profile}: {self.level}{tail}"]


    @property
    def step(self) -> str | None:
        """Where the results are of other code or parameters: which revision has those they came from."""
        if self.out_of_step is None:
            return None
        where = f"; its results came with commit {self.recorded_by}: verify that one" if self.recorded_by else ""
        return f"{self.out_of_step} has code, parameters or packages that the recorded run had not{where}"


def verify(root: Path, profile: str, revision: str | None = None, stages: list[str] | None = None,
           restore: bool = False) -> Verification:
    """Run a revision of the checkout `root` again, or restore its outputs, and compare.

    `stages`: only these are run, on inputs restored from this checkout's cache. `restore`: nothing is run; the
    outputs are taken from the cache and their digests computed. Raises `UserError` where something needed is absent.
    """
    with tempfile.TemporaryDirectory(prefix="synthplanes-") as scratch:
        folder = Path(scratch) / "checkout"
        folder.mkdir()
        name = rerun.copy_revision(root, revision, folder)
        rerun.prepare(root, folder, profile, shared_cache=restore or bool(stages))
        before = _recorded(folder, Path(scratch), profile)
        names = rerun.order(folder)
        if unknown := sorted(set(stages or ()) - set(names)):
            raise UserError(f"the pipeline has no stage '{unknown[0]}': choose among {', '.join(names)}.")
        needed = folder / "artifacts" / "raw" / profile
        if not needed.exists() and not restore and any(str(needed.relative_to(folder)) in cell.deps
                                                       for cell in before.cells.values() if cell.profile == profile):
            raise UserError(f"the images of profile '{profile}' are not here: put them into artifacts/raw/{profile} "
                            "with `synthplanes fetch`, then verify again.")
        found = Verification(name, "", Comparison(profile, (), None, None), tuple(rerun.environment_differences(folder)),
                             rerun.recorded_by(root, revision, profile), rerun.out_of_step(folder))
        if restore:
            level, comparison = _restored(folder, profile, before, names)
            return replace(found, level=level, comparison=comparison)
        if found.step:
            print(f"{found.step}.", file=sys.stderr, flush=True)
        if stages:
            cells = [cell for cell in before.cells.values() if cell.profile == profile and cell.stage in stages]
            if rerun.dvc(folder, "checkout", "--quiet"):
                raise UserError("not every input is in this checkout's DVC cache: run `dvc pull`, or verify all stages.")
            failed = rerun.dvc(folder, "repro", "--force", "--single-item",
                               *(cell.name for cell in sorted(cells, key=lambda cell: names.index(cell.stage))))
        else:
            failed = rerun.dvc(folder, "repro", "--force")
        if failed:
            raise UserError("a stage failed in the second run; its own sentence stands above.")
        comparison = compare(profile, before, read_checkout(folder), stages or names)
        return replace(found, level=comparison.level, comparison=comparison)


def _recorded(folder: Path, scratch: Path, profile: str) -> Checkout:
    """What the revision recorded, kept apart from the folder in which it is run again."""
    kept = scratch / "recorded"
    kept.mkdir()
    for part in ("dvc.lock", "metrics"):
        if (folder / part).exists():
            copy = shutil.copytree if (folder / part).is_dir() else shutil.copy
            copy(folder / part, kept / part)
    before = read_checkout(kept)
    if not any(cell.profile == profile for cell in before.cells.values()):
        raise UserError(f"dvc.lock of that revision records no run of profile '{profile}': name another, or run "
                        "`dvc repro` first.")
    return before


def _restored(folder: Path, profile: str, before: Checkout, names: list[str]) -> tuple[str, Comparison]:
    rerun.dvc(folder, "checkout", "--quiet")  # what the cache lacks shows below
    found = []
    for cell in sorted((cell for cell in before.cells.values() if cell.profile == profile),
                       key=lambda cell: (names.index(cell.stage), cell.name)):
        absent = [path for path in cell.outs if not (folder / path).exists()]
        other = [path for path in cell.outs if path not in absent and md5(folder / path) != cell.outs[path]]
        state = "missing" if absent else "different" if other else "identical"
        found.append(Found(cell.name, state, tuple(sorted(absent + other)), None))
    comparison = Comparison(profile, tuple(found), None, None)
    return (RESTORED if comparison.first_that_differs is None else "different"), comparison


def _words(found: Found) -> str:
    inputs = f", from other inputs: {', '.join(found.other_inputs)}" if found.other_inputs else ""
    return _state(found) + inputs


def _state(found: Found) -> str:
    if found.state == "identical":
        return "identical"
    what = f": {', '.join(found.differing)}" if found.differing else ""
    number = "" if found.largest_difference in (None, float("inf")) else f", largest difference {found.largest_difference:.6f}"
    return f"{found.state}{what}{number}"
