"""Push what the results of a committed revision need, in all its profiles, to a DVC remote, and tag the revision."""

from pathlib import Path

from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction.checkout import git, place_in_repository, read_checkout
from synthplanes.reproduction.comparison import RESTORED
from synthplanes.reproduction.verification import dvc_repository, lacking, verify


def publish(root: Path, tag: str, remote: str | None = None) -> list[str]:
    """Push the outputs of all published profiles of HEAD, create an annotated tag, and return its message by line.

    `remote` is the name of a DVC remote; None takes the default one.

    Raises `UserError`, before anything is pushed, where files are not committed, the tag exists or is no valid name,
    there is no remote, or an output is absent; and afterwards where the remote did not accept everything.
    """
    if place_in_repository(root) is None:
        raise UserError(f"{root} is not under version control: clone the repository, or `git init` and commit.")
    git(root, "var", "GIT_COMMITTER_IDENT")  # whom a tag names, asked before anything is sent
    if git(root, "status", "--porcelain"):
        raise UserError("there are changes that are not committed: commit them, then publish.")
    try:
        git(root, "check-ref-format", "--branch", tag)  # which also refuses what looks like an option
    except UserError:
        raise UserError(f"'{tag}' is no valid name of a tag: choose another.") from None
    if tag in git(root, "tag", "--list").split("\n"):
        raise UserError(f"the tag '{tag}' exists already, and a published version stays as it is: choose another name.")
    committed = set(git(root, "ls-files", "-z").split("\0"))
    checkout = read_checkout(root)
    profiles = [profile for profile in sorted({stage.profile for stage in checkout.stages.values()})
                if (Paths(profile).metrics / "verdict.json").as_posix() in committed]
    if not profiles:
        raise UserError("no profile has a verdict under version control: run `dvc repro` and commit metrics/ and "
                        "dvc.lock first.")
    with dvc_repository(root) as data:
        try:
            place = data.cloud.get_remote(remote).path
        except (ConfigError, DvcException):
            raise UserError("there is no such DVC remote: `dvc remote add --default NAME URL` makes one, a folder is "
                            "enough.") from None
        except ImportError as error:  # an address of S3, SSH and others
            raise UserError(f"the DVC remote cannot be reached from here ({error}): `pip install` that package, or "
                            "name another remote.") from None
        for profile in profiles:
            verification = verify(root, profile, restore=True)
            if verification.outcome != RESTORED:
                raise UserError(f"profile '{profile}': {verification.first_that_differs} is {verification.outcome} in "
                                f"the DVC cache: run `dvc pull` or `dvc repro` with `profile: {profile}`, then "
                                "publish.")
        _push(data, remote, {md5 for profile in profiles for stage in checkout.of_profile(profile)
                             for path, md5 in stage.outs.items() if path not in committed})
    lines = [f"{tag}: published profiles {', '.join(profiles)}"]
    for profile in profiles:
        overall = records.read_json(Paths(profile, root).metrics / "verdict.json")["overall"]
        lines += ["", f"{profile}: {overall.get('sentence') or overall['word']}",
                  f"  check: synthplanes verify {tag} --profile {profile}"]
    git(root, "tag", "--annotate", "--message", "\n".join(lines), "--", tag)
    return [*lines, f"all outputs are in {place}"]


def _push(data: Repo, remote: str | None, md5s: set[str]) -> None:
    """Copy outputs from the cache to a remote, each folder with its files, and ask the remote for them."""
    try:
        there = data.cloud.get_remote_odb(remote)
        data.cloud.transfer(data.cache.local, there, [HashInfo("md5", md5) for md5 in sorted(md5s)], shallow=False)
        # The remote itself is asked: a file that the cache lacks is no failure of a transfer.
        missing = lacking(there, md5s, there.oids_exist)
        fault = f"it lacks {len(missing)} objects" if missing else ""
    except (DvcException, OSError) as error:
        fault = str(error)
    if fault:
        raise UserError(f"the remote did not take everything ({fault}), and no tag was made: mend the remote or "
                        "`dvc commit` what the cache lacks, then publish again.")
