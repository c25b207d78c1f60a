"""What a run rests on and which commit it is known from: tags by which runs of other checkouts are found again."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synthplanes.reproduction.checkout import Cell, Checkout

_BLOCK = re.compile(r"^  (\S.*):\n", re.MULTILINE)  # DVC indents the name of every cell in dvc.lock by two spaces


@dataclass(frozen=True)
class Commits:
    """The history of dvc.lock as this clone has it; all empty where there is no git."""

    head: str                                       # the commit checked out
    dirty: bool                                     # whether files under version control have uncommitted changes
    held: tuple[tuple[str, frozenset[str]], ...]    # from the oldest: a commit, and the present cells that it has

    def tags(self, *cells: Cell) -> dict[str, str]:
        """`git_revision`: the first commit whose dvc.lock has these very cells; absent until they are committed.

        That commit, and not the one checked out, is the version that the numbers belong to, and it stays the same
        when others follow. `tracked_at` and `dirty` tell of the checkout that wrote the run.
        """
        if not self.head:
            return {}
        names = {cell.name for cell in cells}
        first = next((commit for commit, held in self.held if names <= held), None)
        # The second is the tag that MLflow's own pages show.
        revision = {"git_revision": first, "mlflow.source.git.commit": first} if first else {}
        return {**revision, "tracked_at": self.head, "dirty": "yes" if self.dirty else "no"}


def read_commits(root: Path) -> Commits:
    """Compares cells as text: reading every version of dvc.lock as YAML would take a second each."""
    try:
        head = _git(root, "rev-parse", "--verify", "HEAD").decode().strip()
        # Without optional locks: git commands that run at the same time are not disturbed.
        dirty = bool(_git(root, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no").strip())
        commits = _git(root, "log", "--topo-order", "--reverse", "--format=%H", "--", "dvc.lock").decode().split()
        asked = "".join(f"{commit}:./dvc.lock\n" for commit in commits)
        versions = _git(root, "cat-file", "--batch", told=asked.encode())
    except (OSError, subprocess.CalledProcessError):
        return Commits("", False, ())
    now = _blocks((root / "dvc.lock").read_text(encoding="utf-8"))
    held = tuple((commit, frozenset(name for name, block in _blocks(text).items() if now.get(name) == block))
                 for commit, text in zip(commits, _contents(versions)))
    return Commits(head, dirty, held)


def generator_of(checkout: Checkout, cell: Cell) -> dict[str, str]:
    """The tag `generator`: DVC's digest of the generator that a cell is or rests on, of several budgets' all.

    Empty for cells that no generator has touched.
    """
    digests = sorted({md5 for one in (cell, *ancestors(checkout, cell)) if one.stage == "train_diffusion"
                      for md5 in one.outs.values()})
    return {"generator": " ".join(digests)} if digests else {}


def outputs_of(*cells: Cell) -> dict[str, str]:
    """The tag `dvc_outputs`: what the cells wrote, so that a search for a digest finds the run that made it."""
    return {"dvc_outputs": "\n".join(f"{md5} {path}" for cell in cells for path, md5 in sorted(cell.outs.items()))}


def script_of(cell: Cell) -> dict[str, str]:
    """The tags that MLflow's column `Source` shows."""
    script = next((word for word in cell.cmd.split() if word.endswith(".py")), cell.stage)
    return {"mlflow.source.name": script, "mlflow.source.type": "LOCAL"}


def ancestors(checkout: Checkout, cell: Cell) -> list[Cell]:
    """All cells that a cell rests on by what it reads."""
    found: list[Cell] = []
    waiting = [cell]
    while waiting:
        for maker in makers(checkout, waiting.pop()):
            if maker not in found:
                found.append(maker)
                waiting.append(maker)
    return found


def makers(checkout: Checkout, cell: Cell) -> list[Cell]:
    """The cells whose outs a cell reads, in the order of what it reads."""
    found = []
    for dep in sorted(cell.deps):
        for maker in checkout.cells.values():
            below = any(out == dep or out.startswith(dep + "/") or dep.startswith(out + "/") for out in maker.outs)
            if below and maker is not cell and maker not in found:
                found.append(maker)
    return found


def _blocks(lock: str) -> dict[str, str]:
    """The text of every cell of a dvc.lock, by the cell's name."""
    parts = _BLOCK.split(lock)
    return {name: block.rstrip() for name, block in zip(parts[1::2], parts[2::2])}


def _contents(batch: bytes) -> Iterator[str]:
    """The files in the output of `git cat-file --batch`; '' for one that is missing."""
    place = 0
    while place < len(batch):
        end = batch.index(b"\n", place)
        head, place = batch[place:end], end + 1
        if head.endswith(b" missing"):
            yield ""
            continue
        size = int(head.split()[-1])
        yield batch[place:place + size].decode(errors="replace")
        place += size + 1


def _git(root: Path, *words: str, told: bytes | None = None) -> bytes:
    return subprocess.run(["git", *words], cwd=root, input=told, capture_output=True, check=True).stdout
