"""Generate metrics/README.md and the table of results in README.md from the committed files of all profiles."""

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd

from synthplanes import records
from synthplanes.protocol.contrasts import HYPOTHESES
from synthplanes.protocol.profiles import PARAMS, read_names
from synthplanes.protocol.words import GAINS, REFUSALS
from synthplanes.report.markdown import code, counted
from synthplanes.report.pages import render, write_page
from synthplanes.report.results import Results, read_results

PAGE, README = Path("metrics/README.md"), Path("README.md")
BEGIN, END = "<!-- results -->", "<!-- /results -->"
UNCOMMITTED, NO_GIT = "not committed yet", "no version control"
# Word -> what one verdict and what several say; "it" is what the arm of a hypothesis is called in a sentence.
CLAIMS = {word: (f"says that {claim}", f"say that {claim}") for word, claim in {
    "worthwhile gain": "it brings a worthwhile gain", "gain, size open": "it brings a gain of unknown size",
    "gain, below the margin": "it brings a gain below the margin", "harm": "it does harm",
    "equivalent": "it makes next to no difference", "no worthwhile gain": "it brings no worthwhile gain",
    "inconclusive": "the data cannot tell"}.items()} | {"refused": ("is refused", "are refused")}


def write_pages(root: Path) -> None:
    """Write metrics/README.md and, where README.md has the two markers, the table of results between them."""
    for path, page in generated(root).items():
        write_page(root / path, page)


def check_pages(root: Path) -> list[str]:
    """Return the generated parts that differ from what the committed files give, by their paths.

    A report.md is stale if the tables beside it are not those that it names. The commits on the pages are compared only
    where the whole history of git is available.
    """
    has_history = _git(root, "rev-parse", "--is-shallow-repository") == "false"
    commit = re.compile(rf"`[0-9a-f]{{8,40}}`|{UNCOMMITTED}|{NO_GIT}")

    def compared(page: str) -> str:
        return page if has_history else commit.sub("", page)

    stale = [path for path, page in generated(root).items() if compared(_text(root / path)) != compared(page)]
    reports = {r.folder / "report.md": r.sha256[:12] for r in read_profiles(root)}
    stale += [path.relative_to(root) for path, digest in reports.items() if digest not in _text(path)]
    return [path.as_posix() for path in stale]


def generated(root: Path) -> dict[Path, str]:
    """Return path -> content of metrics/README.md and, where README.md has the two markers, of README.md."""
    profiles = read_profiles(root)
    words = {each.title: [r.verdict["hypotheses"][each.name]["word"] for r in profiles
                          if each.name in r.verdict["hypotheses"]] for each in HYPOTHESES}
    content = {"profiles": profiles, "answer": " ".join(answer(title, said) for title, said in words.items() if said)}
    pages = {PAGE: render("results.md.j2", **content, commits={r.profile: _commit(root, r) for r in profiles},
                          evidence=_evidence(root / PAGE.parent))}
    before, begin, rest = _text(root / README).partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        pages[README] = f"{before}{begin}\n{render('summary.md.j2', **content)}{end}{after}"
    return pages


def read_profiles(root: Path) -> list[Results]:
    """Read every profile that has results, in the order of params.yaml; profiles that are not in it come last."""
    names = read_names(root / PARAMS)
    folders = [path.parent for path in sorted((root / "metrics").glob("*/contrasts.csv"))]
    return [read_results(folder) for folder in sorted(
        folders, key=lambda folder: names.index(folder.name) if folder.name in names else len(names))]


def answer(title: str, verdicts: Sequence[str]) -> str:
    """Return in one sentence the words of all verdicts, of which there is one at least, on a hypothesis."""
    counts = Counter("refused" if word in REFUSALS else word for word in verdicts)
    if set(counts) == {"refused"}:
        return f"So far every verdict on {title} is refused."
    gains = sum(counts[word] for word in GAINS)
    gain = (f"{gains} of {counted(len(verdicts), 'profile')} {'shows' if gains == 1 else 'show'} a gain"
            if gains else "no profile shows a gain")
    if len(verdicts) == 1:
        claim = next(said[0] for word, said in CLAIMS.items() if counts[word])
        return f"So far there is one verdict on {title} at equal updates, which {claim}."
    *first, last = [f"{counts[word]} {said[counts[word] > 1]}" for word, said in CLAIMS.items() if counts[word]]
    return (f"So far {gain} from {title} at equal updates: of {counted(len(verdicts), 'verdict')} "
            f"{', '.join(first)}{' and ' if first else ''}{last}.")


def _evidence(metrics: Path) -> dict[str, str]:
    """Return the name of each file of evidence and its summary, also where its content cannot be summed up."""
    summaries = {}
    for path in sorted((*metrics.glob("*.csv"), *metrics.glob("*.json"))):
        try:
            content = pd.read_csv(path) if path.suffix == ".csv" else records.read_json(path)
            summaries[path.name] = render("evidence.md.j2", name=path.stem, content=content).strip()
        except (jinja2.UndefinedError, KeyError, TypeError, ValueError, AttributeError):
            summaries[path.name] = "No summary."
    return summaries


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _commit(root: Path, r: Results) -> str:
    """Return the commit that last changed a profile's scores."""
    path = f"metrics/{r.profile}/{records.SCORES.name}"
    if _git(root, "status", "--porcelain", "--", path):
        return UNCOMMITTED
    commit = _git(root, "log", "-1", "--format=%h", "--abbrev=8", "--", path)
    return NO_GIT if commit is None else code(commit) if commit else UNCOMMITTED


def _git(root: Path, *words: str) -> str | None:
    """Return what a git command prints about `root`; None where there is no git or no repository."""
    try:
        return subprocess.run(["git", "--no-optional-locks", *words], cwd=root, capture_output=True, check=True,
                              text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
