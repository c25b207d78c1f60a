"""A published version: a tag, a remote with the outputs of all its profiles, and a reviewer who gets the same numbers."""

import http.server
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_reproduction import DRAW, DVC_YAML, JUDGE, LEARN, add_budgets, commit, put_raw_images, shell  # noqa: E402

from synthplanes.cli import main  # noqa: E402
from synthplanes.errors import UserError  # noqa: E402

PARAMS = "profile: [{}]\nprofiles:\n  toy:\n    seed: 7\n  other:\n    seed: 7\n  smoke:\n    seed: 7\n"
OUTPUTS = ("artifacts/drawn/{}/pixels.csv", "artifacts/learned/{}/weight.csv")


def dvc(folder: Path, *words: str) -> None:
    shell(folder, sys.executable, "-m", "dvc", *words)


def activate(folder: Path, profile: str) -> None:
    (folder / "params.yaml").write_text(PARAMS.format(profile))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two published profiles, a third whose results are not committed; the last one run is active."""
    folder = tmp_path / "repository"
    for name, text in {"dvc.yaml": DVC_YAML, "stages/draw.py": DRAW, "stages/learn.py": LEARN, "stages/judge.py": JUDGE,
                       "requirements.lock": "", ".gitignore": "/artifacts/\n/metrics/smoke/\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shell(folder, "git", "init", "-q")
    shell(folder, "git", "config", "user.name", "a")
    shell(folder, "git", "config", "user.email", "a@b")
    dvc(folder, "init", "-q")
    for profile in ("smoke", "toy", "other"):
        activate(folder, profile)
        put_raw_images(folder, profile)
        dvc(folder, "repro", "-q")
    dvc(folder, "remote", "add", "-q", "--default", "store", str(tmp_path / "remote"))
    commit(folder, "runs")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


@pytest.fixture
def served(tmp_path):
    """The remote's folder over HTTP, read only, on the loopback interface."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "remote").mkdir(exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "remote")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_reviewer_gets_every_published_profile_by_tag(repository, tmp_path, served, capfd):
    assert main(["publish", "v1"]) == 0
    assert "published profiles other, toy" in capfd.readouterr().out
    # The author goes on; the tag stays what it was.
    recorded = {profile: (repository / f"metrics/{profile}/verdict.json").read_bytes() for profile in ("toy", "other")}
    (repository / "params.yaml").write_text(PARAMS.format("toy").replace("toy:\n    seed: 7", "toy:\n    seed: 8"))
    dvc(repository, "repro", "-q")
    commit(repository, "another run")
    assert (repository / "metrics/toy/verdict.json").read_bytes() != recorded["toy"]

    for place, url in (("by_folder", None), ("by_http", served)):
        clone = tmp_path / place
        shell(tmp_path, "git", "clone", "-q", str(repository), str(clone))
        shell(clone, "git", "checkout", "-q", "v1")
        if url:
            dvc(clone, "remote", "add", "-q", "--local", "--default", "web", url)
        for profile in ("other", "toy"):
            activate(clone, profile)
            dvc(clone, "pull", "-q")
            assert (clone / f"metrics/{profile}/verdict.json").read_bytes() == recorded[profile]
            assert all((clone / path.format(profile)).is_file() for path in OUTPUTS)
            dry = subprocess.run([sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"], cwd=clone,
                                 capture_output=True, text=True)
            assert dry.returncode == 0 and "Running stage" not in dry.stdout, dry.stdout + dry.stderr  # images not fetched
            put_raw_images(clone, profile)
            status = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=clone, capture_output=True, text=True)
            assert "up to date" in status.stdout
        shell(clone, "git", "checkout", "-q", "params.yaml")
        assert main_in(clone, ["verify", "v1", "--profile", "toy"]) == 0


def test_profiles_with_budgets_of_their_own_are_published_together(repository, tmp_path):
    add_budgets(repository, {"toy": "small, large", "other": "small"})
    assert main(["publish", "v1"]) == 0
    clone = tmp_path / "clone"
    shell(tmp_path, "git", "clone", "-q", str(repository), str(clone))
    shell(clone, "git", "checkout", "-q", "v1")
    for profile, budgets in (("toy", ("small", "large")), ("other", ("small",))):
        (clone / "params.yaml").write_text(f"budgets: [{', '.join(budgets)}]\n" + PARAMS.format(profile))
        dvc(clone, "pull", "-q")
        assert [(clone / "artifacts/curve" / profile / budget).read_text() for budget in budgets] == [f"{budget}\n" for budget
                                                                                                  in budgets]


def main_in(folder: Path, words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return main(words)


def test_the_tag_says_what_it_holds(repository, capfd):
    main(["publish", "v1"])
    text = subprocess.run(["git", "tag", "-l", "-n9", "v1"], capture_output=True, text=True).stdout
    assert "published profiles other, toy" in text and "toy: h" in text
    assert "synthplanes verify v1 --profile toy" in text and "smoke" not in text


def test_two_versions_compare(repository, capfd):
    main(["publish", "v1"])
    (repository / "params.yaml").write_text(PARAMS.format("toy").replace("toy:\n    seed: 7", "toy:\n    seed: 8"))
    dvc(repository, "repro", "-q")
    commit(repository, "another run")
    found = subprocess.run([sys.executable, "-m", "dvc", "metrics", "diff", "v1", "HEAD"], capture_output=True, text=True)
    assert "metrics/toy/verdict.json" in found.stdout and "overall.estimate" in found.stdout


@pytest.mark.parametrize("spoil, words, sentence", [
    (lambda root: (root / "note").write_text("x"), ["v1"], "not committed"),
    (lambda root: shell(root, "git", "tag", "v1"), ["v1"], "exists already"),
    (lambda root: None, ["a..b"], "no valid name"),
    (lambda root: None, ["v1", "--remote", "moon"], "no such DVC remote"),
    (lambda root: shell(root, "rm", "-rf", ".dvc/cache"), ["v1"], "profile 'other': draw@other is not in the DVC cache"),
    (lambda root: (root.parent / "remote").write_text("a file in its place"), ["v1"], "did not take everything"),
])
def test_what_cannot_be_published_is_said_before_a_tag_is_made(repository, capfd, spoil, words, sentence):
    spoil(repository)
    with pytest.raises(UserError, match=sentence):
        main(["publish", *words])
    assert words != ["v1"] or "exists" in sentence or not subprocess.run(
        ["git", "tag", "-l"], capture_output=True, text=True).stdout
