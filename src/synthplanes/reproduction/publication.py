"""`synthplanes publish`: everything that a committed revision's results need goes to a remote, and a tag names it.

`dvc push` alone sends the outputs of the active profiles only; here all profiles with a committed verdict go, after
their outputs were restored from the cache and their digests found to be those of dvc.lock.
"""

import json
import tempfile
from pathlib import Path

from synthplanes.reproduction.checkout import read_checkout
from synthplanes.errors import UserError
from synthplanes.reproduction import rerun
from synthplanes.reproduction.verification import RESTORED, verify


def publish(root: Path, tag: str, remote: str | None = None) -> list[str]:
    """Push the outputs of every published profile of HEAD to a DVC remote (default: the default one), then make the
    annotated tag. Returns what the tag says, line by line.

    Raises `UserError`, before anything is pushed, where files are not committed, the tag exists or is no valid name,
    there is no remote, or an output is missing in the cache; and after it where the remote did not take everything.
    """
    if rerun.git(root, "status", "--porcelain"):
        raise UserError("there are changes that are not committed: commit them, then publish.")
    if rerun.git(root, "tag", "--list", tag):
        raise UserError(f"the tag '{tag}' exists already, and a published version stays as it is: choose another name.")
    rerun.git(root, "check-ref-format", f"refs/tags/{tag}", trouble=f"'{tag}' is no valid name of a tag: choose another")
    name, url = _remote(root, remote)
    profiles = published_profiles(root)
    for profile in profiles:
        found = verify(root, profile, restore=True)
        if found.level != RESTORED:
            raise UserError(f"profile '{profile}': {found.comparison.first_that_differs} is not in the DVC cache as "
                            f"dvc.lock records it: run `dvc repro` with `profile: [{profile}]`, then publish.")
    with tempfile.TemporaryDirectory(prefix="synthplanes-") as scratch:
        folder = Path(scratch) / "checkout"
        folder.mkdir()
        rerun.copy_revision(root, None, folder)
        for profile in profiles:  # one by one: each has budgets and roles of its own
            rerun.prepare(root, folder, profile, shared_cache=True)
            with (folder / ".dvc" / "config.local").open("a", encoding="utf-8") as file:
                file.write(f"['remote \"{name}\"']\n    url = {url}\n")
            if rerun.dvc(folder, "push", "--quiet", "--remote", name):
                raise UserError(f"the remote '{name}' ({url}) did not take everything; no tag was made: look at what DVC "
                                "says above, then publish again.")
    lines = message(root, tag, profiles)
    rerun.git(root, "tag", "--annotate", tag, "--message", "\n".join(lines), trouble="git made no tag")
    return lines


def published_profiles(root: Path) -> list[str]:
    """The profiles of dvc.lock whose verdict is under version control, sorted."""
    tracked = set(rerun.git(root, "ls-files", "metrics").split())
    found = sorted({cell.profile for cell in read_checkout(root).cells.values()
                    if f"metrics/{cell.profile}/verdict.json" in tracked})
    if not found:
        raise UserError("no profile has a verdict under version control: run `dvc repro` and commit metrics/ and "
                        "dvc.lock first.")
    return found


def message(root: Path, tag: str, profiles: list[str]) -> list[str]:
    """What the tag says: every published profile with its verdict, and how to check it."""
    lines = [f"{tag}: published profiles {', '.join(profiles)}"]
    for profile in profiles:
        overall = json.loads((root / "metrics" / profile / "verdict.json").read_text(encoding="utf-8"))["overall"]
        lines += ["", f"{profile}: {overall.get('sentence') or overall['word']}",
                  f"  check: synthplanes verify {tag} --profile {profile}"]
    return lines


def _remote(root: Path, wanted: str | None) -> tuple[str, str]:
    """Name and URL of the remote `wanted`, or of the default one; a relative path is one from DVC's folder."""
    name = rerun.run_dvc(root, "config", "core.remote").strip() if wanted is None else wanted
    url = rerun.run_dvc(root, "config", f"remote.{name}.url").strip() if name else ""
    if not url:
        raise UserError("there is no such DVC remote: `dvc remote add --default NAME URL` makes one, a folder is enough.")
    return name, url if "://" in url or Path(url).is_absolute() else str((root / ".dvc" / url).resolve())
