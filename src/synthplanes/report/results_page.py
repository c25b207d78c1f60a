"""Generate metrics/README.md and the table of results in README.md from the committed files of all profiles."""

import re
import subprocess
from collections import Counter
from pathlib import Path

from synthplanes import records
from synthplanes.protocol.profiles import PARAMS, read_names
from synthplanes.protocol.words import CONFIDENCE, REFUSALS
from synthplanes.report import tables
from synthplanes.report.evidence import evidence
from synthplanes.report.inputs import audited, platform, side_of
from synthplanes.report.markdown import code, count, counted, difference, escaped, percent, table
from synthplanes.report.pages import render, write_page
from synthplanes.report.results import Results, read_results

PAGE, README = Path("metrics/README.md"), Path("README.md")
BEGIN, END = "<!-- results -->", "<!-- /results -->"
UNCOMMITTED, NO_GIT = "not committed yet", "no version control"
CLAIMS = {word: (f"says that {claim}", f"say that {claim}") for word, claim in {
    "hurts": "the images hurt", "helps": "the images help", "helps, negligibly": "the images help negligibly",
    "equivalent": "the images make next to no difference", "no worthwhile gain": "the images bring no worthwhile gain",
    "inconclusive": "the data cannot tell"}.items()} | {"refused": ("is refused", "are refused")}
CAPTION = ("Differences are in percentage points of balanced accuracy on test patients, with "
           f"{100 * CONFIDENCE:g} % intervals. Training images are those of the smallest budget without its validation "
           "images. The numbers at equal updates beside a refused verdict are no effects: they cannot be judged.")


def write_pages(root: Path) -> None:
    """Write metrics/README.md and, where README.md has the two markers, the table of results between them."""
    root = Path(root)
    write_page(root / PAGE, results_page(root))
    if (readme := _readme(root)) is not None:
        write_page(root / README, readme)


def check_pages(root: Path) -> list[str]:
    """Return the generated parts that differ from what the committed files give, by their paths.

    A report.md is stale if the tables beside it are not those that it names. The commits on the pages are compared only
    where the whole history of git is available.
    """
    root = Path(root)
    pages = [(PAGE, results_page(root)), (README, _readme(root))]
    stale = [path.as_posix() for path, content in pages
             if content is not None and not _same(_text(root / path), content, _has_history(root))]
    reports = [r.folder / "report.md" for r in read_profiles(root)
               if r.sha256[:12] not in _text(r.folder / "report.md")]
    return stale + [path.relative_to(root).as_posix() for path in reports]


def read_profiles(root: Path) -> list[Results]:
    """Read every profile that has results, in the order of params.yaml; profiles that are not in it come last."""
    folders = {path.parent.name: path.parent for path in sorted((Path(root) / "metrics").glob("*/contrasts.csv"))}
    names = read_names(Path(root) / PARAMS)
    order = [*(name for name in names if name in folders), *(name for name in folders if name not in names)]
    return [read_results(folders[name]) for name in order]


def results_table(profiles: list[Results]) -> str:
    """Return the table of verdicts: what the README shows."""
    return table(["profile", "images", "training images (patients)", "verdict", "at equal updates, points",
                  "naive, points", "test patients"], [
        [code(r.profile), "simulated" if r.plan["simulated"] else "real", side_of(r, r.budget, "train"),
         *_verdict(r), count(r.verdict["overall"]["n_patients"] or 0)] for r in profiles])


def answer(verdicts: list[str]) -> str:
    """Return the words of all verdicts in one sentence; '' without verdicts."""
    counts = Counter("refused" if word in REFUSALS else word for word in verdicts)
    if set(counts) <= {"refused"}:
        return "So far every verdict is refused." if counts else ""
    helps = counts["helps"]
    gain = (f"{helps} of {counted(len(verdicts), 'profile')} {'shows' if helps == 1 else 'show'} a gain"
            if helps else "no profile shows a worthwhile gain")
    *first, last = [f"{counts[word]} {said[counts[word] > 1]}" for word, said in CLAIMS.items() if counts[word]]
    return (f"So far {gain} from synthetic images at equal updates: of {counted(len(verdicts), 'verdict')} "
            f"{', '.join(first)}{' and ' if first else ''}{last}.")


def summary(profiles: list[Results]) -> str:
    """Return the answer, the table of verdicts and its caption, as the README shows them."""
    sentence = answer([r.verdict["overall"]["word"] for r in profiles]) or "No profile has results yet."
    return "\n\n".join(part for part in (f"**{sentence}**", results_table(profiles), CAPTION) if part)


def _verdict(r: Results) -> tuple[str, str, str]:
    overall = r.verdict["overall"]
    naive = r.contrasts[(r.contrasts["budget"] == r.budget) & (r.contrasts["role"] == "naive")]
    word = ("refused: " if overall["word"] in REFUSALS else "") + escaped(overall["word"])
    return (word, difference(overall["estimate"], overall["low"], overall["high"]),
            "".join(map(tables.interval, naive.to_dict("records"))))


def results_page(root: Path) -> str:
    """Return the content of metrics/README.md."""
    profiles = read_profiles(root)
    behind = table(["profile", "generators", "seeds", "`real` converged", "label fidelity, %", "possible copies, %",
                    "scorings of test images"], [
        [code(r.profile), *map(str, (r.verdict["overall"]["n_generators"], r.verdict["overall"]["n_seeds"])),
         "yes" if r.verdict["convergence"][r.budget]["met"] else "no", *_audit(r), count(len(r.test_access))]
        for r in profiles])
    origins = table(["profile", "source", "commit", "platform", "report"], [
        [code(r.profile), f"{code(r.verdict['overall']['source'])}, {r.data['size_px']} px", _commit(root, r),
         platform(r),
         f"[report.md]({r.profile}/report.md)"] for r in profiles])
    return render("results.md.j2", profiles=profiles, summary=summary(profiles), behind=behind, origins=origins,
                  evidence=evidence(Path(root) / "metrics"))


def _audit(r: Results) -> tuple[str, str]:
    """Return label fidelity and possible copies at the verdict's budget, in per cent."""
    audit = audited(r).get((r.budget, "all"), {})
    return percent(audit.get("label_fidelity")), percent(audit.get("copies"))


def _readme(root: Path) -> str | None:
    """Return README.md with the up-to-date table; None without a README or its markers."""
    text = _text(root / README)
    if BEGIN not in text or END not in text:
        return None
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{summary(read_profiles(root))}\n{END}{rest.partition(END)[2]}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _same(found: str, expected: str, with_commits: bool) -> bool:
    commit = re.compile(rf"`[0-9a-f]{{8,40}}`|{UNCOMMITTED}|{NO_GIT}")
    return found == expected if with_commits else commit.sub("", found) == commit.sub("", expected)


def _commit(root: Path, r: Results) -> str:
    """Return the commit that last changed a profile's scores."""
    path = f"metrics/{r.profile}/{records.SCORES.name}"
    if _git(root, "status", "--porcelain", "--", path):
        return UNCOMMITTED
    commit = _git(root, "log", "-1", "--format=%h", "--abbrev=8", "--", path)
    return NO_GIT if commit is None else code(commit) if commit else UNCOMMITTED


def _has_history(root: Path) -> bool:
    return _git(root, "rev-parse", "--is-shallow-repository") == "false"


def _git(root: Path, *words: str) -> str | None:
    """Return what a git command prints about `root`; None where there is no git or no repository."""
    try:
        return subprocess.run(["git", "--no-optional-locks", *words], cwd=root or ".", capture_output=True, check=True,
                              text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
