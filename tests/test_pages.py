"""Hold the pages to their size and to the truth: every link, path, command, parameter and example in them is checked.

metrics/LOG.md tells history: its paths, commands and names may be those of old commits, so only its links are checked.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

from synthplanes import cli, records
from synthplanes.data.packs import read_pack
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.opening import OPENERS
from synthplanes.protocol import words
from synthplanes.protocol.arms import ARMS, OPTIONS
from synthplanes.protocol.cells import STAGES
from synthplanes.protocol.config import Guards
from synthplanes.protocol.profiles import Profile, read_names, read_profile, resolved
from synthplanes.report.results_page import check_pages
from tests.test_house import FLOORS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "synthplanes"
MOST_LINES = {  # page -> lines, at most
    "README.md": 120, "stages/README.md": 120, "src/synthplanes/README.md": 120,
    "src/synthplanes/statistics/README.md": 150, "src/synthplanes/data/README.md": 150,
    "src/synthplanes/phantom/README.md": 150, "src/synthplanes/reproduction/README.md": 150, "tests/README.md": 150}
MOST_BYTES_OF_README = 8192
LOG, RESULTS = "metrics/LOG.md", "metrics/README.md"
LINKED = [*MOST_LINES, LOG, RESULTS]
GENERATED = re.compile(r"<!-- results -->.*?<!-- /results -->", re.DOTALL)
USERS_PROFILE = "mine"  # of the examples
KINDS = {stage.writes for stage in STAGES.values()} | {"raw", "protocol", "checkpoints", "mlflow", "pretrained",
                                                      "<kind>"}
FILE = re.compile(r"[\w.<>-]+\.(py|md|json|csv|npy|yaml|png|lock|safetensors)")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


class Content(NamedTuple):
    """What a page holds besides words."""

    links: list[str]          # targets of links and pictures
    spans: list[str]          # inline code
    blocks: list[tuple[str, str]]  # (language, text) of fenced code


@cache
def content(page: str) -> Content:
    tokens = MarkdownIt("commonmark").enable("table").parse(read(page))
    inline: list[Token] = [child for token in tokens for child in token.children or []]
    links = [str(token.attrs["href" if token.type == "link_open" else "src"]) for token in inline
             if token.type in ("link_open", "image")]
    return Content(links, [token.content for token in inline if token.type == "code_inline"],
                   [(token.info, token.content) for token in tokens if token.type == "fence"])


@cache
def files_of_the_tree() -> frozenset[str]:
    """Every file that git tracks, or would track; without git, every file outside of artifacts/ and dot-folders."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True)
    if listed.returncode == 0:
        return frozenset(path for path in listed.stdout.splitlines() if (ROOT / path).is_file())
    return frozenset(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()
                     and not path.relative_to(ROOT).parts[0].startswith((".", "artifacts")))


def in_the_tree(path: Path) -> bool:
    """Whether a file is, or a folder holds, a file of the tree."""
    name = path.resolve().relative_to(ROOT).as_posix()
    return any(file == name or name == "." or file.startswith(name + "/") for file in files_of_the_tree())


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: str) -> list[list[str]]:
    """The simple commands of code spans and shell blocks, in words, without assignments and shell syntax."""
    texts = [span for span in content(page).spans if " " in span or span in ("pytest",)]
    texts += [text.replace("\\\n", " ") for language, text in content(page).blocks if language == "bash"]
    found = []
    for line in (line for text in texts for line in text.splitlines()):
        for part in re.split(r"&&|;|\|", line):
            try:
                parts = shlex.split(part)
            except ValueError:
                continue
            while parts and (parts[0] in ("do", "done", "then") or re.fullmatch(r"[A-Z_]+=.*", parts[0])):
                parts = parts[1:]
            found += [parts] if parts else []
    return found


@pytest.mark.parametrize("page", MOST_LINES)
def test_a_page_keeps_its_size(page):
    assert len(read(page).splitlines()) <= MOST_LINES[page]
    assert page != "README.md" or len(read(page).encode()) <= MOST_BYTES_OF_README


def test_every_page_is_held_here():
    pages = {path for path in files_of_the_tree() if path.endswith("README.md")}
    assert pages == {*MOST_LINES, RESULTS}
    targets = {(ROOT / target.split("#")[0]).resolve() for target in content("README.md").links}
    assert {(ROOT / page).resolve() for page in LINKED} - {ROOT / "README.md"} <= targets


@pytest.mark.parametrize("page", LINKED)
def test_links_and_pictures_lead_somewhere(page):
    for target in content(page).links:
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists() and in_the_tree(file), f"{page}: {target}"
        assert not anchor or anchor in headings(file), f"{page}: {target}"


@pytest.mark.parametrize("page", LINKED)
def test_nothing_is_left_to_do(page):
    assert "TODO" not in read(page)


@pytest.mark.parametrize("page", MOST_LINES)
def test_paths_exist(page):
    code = all_code()
    for span in content(page).spans:
        name = span.replace(f"/{USERS_PROFILE}/", "/phantom/").removesuffix("/")
        if " " in name or "*" in name or "://" in name or not (FILE.fullmatch(name.split("/")[-1]) or "/" in name):
            continue
        if name.startswith("artifacts/"):
            assert name.split("/")[1] in KINDS, f"{page}: {span}"
        elif "<" in name:
            assert name.startswith("metrics/<profile>"), f"{page}: {span}"
            assert name.endswith("<profile>") or name.split("/")[-1] in code, f"{page}: {span}"
        elif "/" in name and (FILE.fullmatch(name.split("/")[-1]) or name.split("/")[0] in _tops()):
            places = (ROOT, PACKAGE, (ROOT / page).parent)
            assert any((place / name).exists() for place in places), f"{page}: {span}"
        elif FILE.fullmatch(name):
            known = any((place / name).exists() for place in (ROOT, PACKAGE, PACKAGE / "compute", (ROOT / page).parent))
            assert known or name in code, f"{page}: {span}"


@cache
def all_code() -> str:
    """The text of every module, script, test and of dvc.yaml, in which names of written files must occur."""
    return "\n".join(read(path) for path in files_of_the_tree() if path.endswith((".py", "dvc.yaml")))


def _tops() -> set[str]:
    """The first parts of paths: of the checkout and of the package."""
    return {path.name for place in (ROOT, PACKAGE) for path in place.iterdir() if path.is_dir()}


@pytest.mark.parametrize("page", MOST_LINES)
def test_named_tests_exist(page):
    defined = {name for path in (ROOT / "tests").rglob("*.py")
               for name in re.findall(r"(?m)^def (test_\w+)", path.read_text(encoding="utf-8"))}
    assert {span for span in content(page).spans if re.fullmatch(r"test_\w+_\w+_\w+", span)} <= defined


@cache
def pipeline_stages() -> set[str]:
    """The stages of the pipeline and of the evidence beside it."""
    return {stage for path in files_of_the_tree() if path.endswith("dvc.yaml")
            for stage in YAML(typ="safe", pure=True).load(ROOT / path)["stages"]}


@pytest.mark.parametrize("page", MOST_LINES)
def test_commands_exist(page, capsys):
    from dvc.cli.parser import get_main_parser
    dvc = next(action.choices for action in get_main_parser()._actions if action.dest == "cmd")
    for parts in commands(page):
        program, *arguments = parts
        shown = f"{page}: {' '.join(parts)}"
        if program == "synthplanes":
            options = [argument for argument in arguments if argument.startswith("--")]
            with pytest.raises(SystemExit) as end:
                cli.main([*arguments[:1], "--help"] if not arguments[0].startswith("-") else ["--help"])
            assert end.value.code in (0, None), shown
            help_text = capsys.readouterr().out
            assert all(re.search(rf"{option}\b", help_text) for option in options), shown
        elif program == "dvc":
            assert arguments[0] in dvc, shown
            targets = arguments[1:] if arguments[0] == "repro" else [word for word in arguments if "@" in word]
            for stage, _, profile in (target.partition("@") for target in targets):
                assert stage in pipeline_stages(), shown
                assert not profile or profile in read_names(ROOT / "params.yaml"), shown
            for argument in arguments[1:]:
                if setting := re.match(r"\+?profiles\.(\w+)\.([\w.]+)=", argument):
                    value = resolved(setting[1], ROOT / "params.yaml")
                    for key in setting[2].split("."):
                        value = value[key]
        elif program in ("python", "python3") and arguments[0].endswith(".py"):
            assert (ROOT / arguments[0]).is_file(), shown
        elif program == "pytest":
            for option in arguments:
                assert option in read("tests/conftest.py"), shown


@pytest.mark.parametrize("page", MOST_LINES)
def test_parameters_exist(page):
    """A span such as `recipe.optional_arms` names a parameter of a profile."""
    for span in content(page).spans:
        parts = span.split(":")[0].split(".")
        if (FILE.fullmatch(span) or len(parts) < 2 or parts[0] not in Profile.model_fields
                or not all(re.fullmatch(r"\w+", p) for p in parts)):
            continue
        value = resolved("phantom", ROOT / "params.yaml")
        for part in parts:
            assert part in value, f"{page}: {span}"
            value = value[part]


@pytest.mark.parametrize("page", MOST_LINES)
def test_examples_of_profiles_are_valid(page, tmp_path):
    for language, text in content(page).blocks:
        if language == "yaml":
            read_profile(USERS_PROFILE, with_profile(text, tmp_path))


def with_profile(text: str, folder: Path) -> Path:
    """Write params.yaml with an example of a page below it: a profile, or a role of its `archs`."""
    if text.startswith(" " * 6):
        text = f"  {USERS_PROFILE}:\n    based_on: phantom\n    archs:\n{text}"
    params = folder / "params.yaml"
    params.write_text(f"{read('params.yaml').rstrip()}\n\n{text}", encoding="utf-8")
    return params


def test_an_architecture_is_one_line(tmp_path):
    """The line on the page of the code, put into a profile, gives a network that every arm of it trains."""
    import torch

    from synthplanes.classification.networks import build
    line = next(text for language, text in content("src/synthplanes/README.md").blocks if language == "yaml")
    params = with_profile(line, tmp_path)
    before, after = read_profile("phantom", params), read_profile(USERS_PROFILE, params)
    (role,) = set(after.archs) - set(before.archs)
    assert build(after.archs[role], 6, 24)(torch.zeros(2, 1, 24, 24)).shape == (2, 6)
    plain = {arm.name for arm in ARMS.values() if not arm.option}
    assert {arm for arm, arch, *_ in after.runs() if arch == role} == plain


def test_a_source_is_one_class(tmp_path: Path) -> None:
    """Any dataclass with the five members of `Source` can be prepared."""
    table = records.SOURCE.frame(
        dict(image_id=f"{patient}-{label}", file="", patient_id=str(patient), label=label, scanner="", operator="",
             sub_plane="", role="test" if patient >= 12 else "train") for patient in range(16) for label in "ab")

    @dataclass(frozen=True)
    class Noise:
        table: pd.DataFrame
        name: str = "noise"
        classes: tuple[str, ...] = ("a", "b")

        def decode(self, row: int) -> np.ndarray:
            return np.random.default_rng(row).integers(0, 256, (20, 30)).astype(np.uint8)

        def missing(self) -> np.ndarray:
            return np.zeros(0, dtype=np.int64)

    profile = read_profile("smoke", ROOT / "params.yaml")
    counts = prepare(Noise(table), profile, tmp_path)
    assert counts["classes"] == ["a", "b"] and counts["roles"]["train"]["images"] == 24
    assert read_pack(tmp_path / "test").images.shape == (8, profile.prepare.image_size, profile.prepare.image_size)


def test_a_guidance_is_a_denoise_function():
    """Every solver takes any function from a noisy image and its noise level to a denoised image."""
    import torch

    from synthplanes.diffusion.solvers import SOLVERS, noise_levels

    def towards_one(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.ones_like(x)
    start = 10 * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for solver in SOLVERS.values():
        drawn = solver(towards_one, start, noise_levels(8, 0.02, 10.0, 7.0), lambda: torch.zeros_like(start))
        assert torch.allclose(drawn, torch.ones_like(start), atol=1e-5)


def test_generated_parts_are_fresh():
    assert check_pages(ROOT) == []


def test_no_result_is_typed_into_the_readme():
    typed = GENERATED.sub("", read("README.md"))
    assert typed != read("README.md"), "the markers of the generated table are gone"
    assert not re.search(r"\d\s*%|\bpoints?\b|[-+]\d+\.\d", typed)


def test_pages_make_no_stage_stale():
    from dvc.repo import Repo
    with Repo(str(ROOT)) as repo:
        for page in MOST_LINES:
            if page.startswith(("src/", "stages/")):
                assert repo.dvcignore.is_ignored_file(str(ROOT / page)), page


def rows(page: str) -> set[str]:
    """The code spans in the first column of a page's tables."""
    firsts = re.findall(r"(?m)^\| ([^|]*) \|", read(page))
    return {span for first in firsts for span in re.findall(r"`([^`]+)`", first)}


def test_the_page_of_stages_is_complete():
    page = "stages/README.md"
    assert {"protocol", *STAGES} <= rows(page)
    assert set(ARMS) <= rows(page)
    assert set(read_names(ROOT / "params.yaml")) <= rows(page)
    assert set(OPTIONS) <= set(content(page).spans)


def test_the_page_of_statistics_has_every_word():
    page = read("src/synthplanes/statistics/README.md")
    for word in (*words.REFUSALS, *words.FINDINGS, words.OTHERWISE[0]):
        assert f"| *{word}* |" in page, word


def test_the_page_of_data_has_every_source_and_guard():
    page, spans = read("src/synthplanes/data/README.md"), set(content("src/synthplanes/data/README.md").spans)
    assert set(OPENERS) <= spans
    for opener in OPENERS.values():
        assert {option for option in list(signature(opener).parameters)[1:] if f"`{option}" not in page} == set()
    assert set(Guards.model_fields) <= spans


def test_the_page_of_the_code_draws_the_floors():
    """Every room stands in one row of the table, and each row lies on higher floors than the next."""
    drawn = [re.findall(r"`(\w+)`", row) for row in
             re.findall(r"(?m)^\| [^|]*\|([^|]*)\|[^|]*\|[^|]*\|$", read("src/synthplanes/README.md"))]
    drawn = [row for row in drawn if row]
    assert sorted(room for row in drawn for room in row) == sorted(FLOORS)
    for upper, lower in zip(drawn, drawn[1:], strict=False):
        assert min(FLOORS[room] for room in upper) > max(FLOORS[room] for room in lower), (upper, lower)


def test_the_page_of_tests_names_every_benchmark_and_every_folder():
    named = read("tests/README.md")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")} - {ROOT / "tests"}
    for path in [*folders, *(ROOT / "tests").glob("test_*.py"), *(ROOT / "tests" / "benchmarks").glob("*.py")]:
        assert path.relative_to(ROOT).as_posix() in named, path
