"""Faults that really happen to a run: each ends well or with one sentence, and nothing good is lost."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from checkout import dvc  # noqa: E402

from synthplanes.protocol.cells import STAGES as STAGE_TABLE  # noqa: E402
from synthplanes.reproduction.checkout import md5, read_checkout  # noqa: E402
from tests.resumable_jobs import make_checkout  # noqa: E402

STAGES = ("simulate", "prepare", "train_guide", "sample", "audit", "baseline", "predict", "evaluate", "report")


@pytest.fixture
def copied(smoke, tmp_path):
    """A copy of the finished run that a test may damage, with a cache of its own."""
    folder = tmp_path / "checkout"
    shutil.copytree(smoke, folder, symlinks=True)
    return folder


def digests(root: Path) -> dict[str, str]:
    return {path: md5(root / path) for stage in read_checkout(root).stages.values() for path in stage.outs}


# ---- a full or read-only disk --------------------------------------------------------------------------------

def on_a_disk(folder: Path, place: str, options: str, command: str) -> subprocess.CompletedProcess:
    """Run `command` in `folder` with a file system of its own at `folder`/`place`, in a mount namespace of its own."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    script = f"mount -t tmpfs {options} tmpfs {place} && {command}"
    environment = dict(os.environ, PYTHONPATH=str(folder / "src"),
                       PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", script], cwd=folder, env=environment,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)


def needs_mounts(folder: Path) -> None:
    if shutil.which("unshare") is None or on_a_disk(folder, "disk", "-o size=64k", "true").returncode:
        pytest.skip("this system does not let a process mount a file system of its own, so no disk can be filled")


def place_and_room(smoke: Path, stage: str) -> tuple[str, str, str]:
    """Where a stage writes, what brings its inputs there, and the size that these fill."""
    if STAGE_TABLE[stage].writes and stage != "report":
        return f"artifacts/{STAGE_TABLE[stage].writes}/smoke", "true", "4k"
    files = [path for path in (smoke / "metrics" / "smoke").iterdir() if path.suffix in (".csv", ".json")]
    pages = sum(-(-path.stat().st_size // 4096) for path in files) + 2
    return "metrics/smoke", "cp $KEPT/*.csv $KEPT/*.json metrics/smoke", f"{4 * pages}k"


@pytest.fixture
def kept(smoke, tmp_path, monkeypatch):
    """The result files of the run, where a disk mounted over them does not hide them."""
    shutil.copytree(smoke / "metrics" / "smoke", tmp_path / "kept")
    monkeypatch.setenv("KEPT", str(tmp_path / "kept"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_one_sentence_and_the_same_command_succeeds_with_room(smoke, kept, stage):
    needs_mounts(smoke)
    place, bring, small = place_and_room(smoke, stage)
    command = read_checkout(smoke).stages[f"{stage}@smoke"].cmd
    # The file system grows after the first try: what the second finds is what the first left.
    result = on_a_disk(smoke, place, f"-o size={small}",
                       f"{bring} && {{ {command}; echo status $?; mount -o remount,size=100m {place} && {command}; }}")
    said = [line for line in result.stderr.splitlines() if line.startswith("synthplanes: ")]
    assert "status 1\n" in result.stdout and "Traceback" not in result.stderr, result.stderr[-2000:]
    assert len(said) == 1 and "could not be written" in said[0] and "free" in said[0]
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("stage", STAGES)
def test_a_read_only_place_is_one_sentence(smoke, kept, stage):
    needs_mounts(smoke)
    place, bring, _ = place_and_room(smoke, stage)
    command = read_checkout(smoke).stages[f"{stage}@smoke"].cmd
    result = on_a_disk(smoke, place, "-o size=10m", f"{bring} && mount -o remount,ro {place} && {command}")
    said = result.stderr.strip().splitlines()
    assert result.returncode == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr and said[-1].startswith("synthplanes: ")
    assert "Read-only file system" in said[-1] and place in said[-1]


def test_tracking_on_a_full_disk_is_one_sentence_and_goes_on_with_room(tmp_path):
    needs_mounts(tmp_path)
    root = tmp_path / "checkout"
    make_checkout(root)
    (root / "artifacts" / "mlflow").symlink_to("../disk")  # the store alone lies on the other disk
    track = "DVC_ROOT=$PWD PYTHONPATH= synthplanes track"
    result = on_a_disk(root, "disk", "-o size=64k",
                       f"{track}; echo status $?; mount -o remount,size=20m disk && {track}")
    said = result.stderr.strip().splitlines()
    assert "status 1\n" in result.stdout and "Traceback" not in result.stderr, result.stderr[-2000:]
    assert [line for line in said if line.startswith("synthplanes: ") and "disk is full" in line]
    assert result.returncode == 0 and "7 new" in result.stdout, result.stderr[-2000:]


# ---- damaged, deleted, touched --------------------------------------------------------------------------------

def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replace(path, bytes(content))


def truncate(path: Path) -> None:
    replace(path, path.read_bytes()[:path.stat().st_size // 2])


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # the file may be a link into DVC's cache
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


DAMAGE = (
    (flip, "artifacts/synthetic/smoke/scarce/r0/images.npy"),
    (truncate, "artifacts/prepared/smoke/test/images.npy"),
    (truncate, "artifacts/synthetic/smoke/scarce/r0/index.csv"),
    (flip, "artifacts/prepared/smoke/splits.csv"),
    (flip, "artifacts/generator/smoke/scarce/r0/weights.safetensors"),
    (truncate, "artifacts/baseline/smoke/scarce/residual/r0/real-s0.safetensors"),
    (flip, "artifacts/synthetic/smoke/scarce/r0/grid.png"),
    (truncate, "artifacts/prepared/smoke/contact_sheet.png"),
    (delete, "artifacts/predictions/smoke/scarce/residual/probabilities.npy"),
    (delete, "artifacts/prepared/smoke/development/images.npy"),
    (truncate, "metrics/smoke/scores.csv"),
)


def test_damaged_and_deleted_outputs_come_back_with_their_bytes(copied):
    before, lock = digests(copied), (copied / "dvc.lock").read_bytes()
    for damage, path in DAMAGE:
        damage(copied / path)
    assert digests_differ(copied, before) >= 6
    result = dvc(copied, "repro")
    assert result.returncode == 0, result.stderr[-2000:]
    assert digests(copied) == before and (copied / "dvc.lock").read_bytes() == lock


def digests_differ(root: Path, before: dict[str, str]) -> int:
    return sum(digest != before[path] for path, digest in digests(root).items())


@pytest.mark.parametrize("damage, protected", [(flip, True), (truncate, True), (truncate, False)])
def test_a_damaged_file_of_dvcs_cache_is_found_and_made_anew(tmp_path, damage, protected):
    """DVC believes a write-protected file of its cache unread and brings it back into the workspace; our digests do
    not, so nothing of it is tracked, published or called restored. Without the cached file the stage runs again."""
    (tmp_path / "dvc.yaml").write_text("stages:\n  draw:\n    matrix:\n      profile: [toy]\n    cmd: cp in out\n"
                                       "    deps: [in]\n    outs: [out]\n")
    (tmp_path / "in").write_bytes(bytes(range(256)) * 20)
    for words in (("init", "--no-scm", "-q"), ("repro", "-q")):
        assert dvc(tmp_path, *words).returncode == 0
    good, recorded = (tmp_path / "in").read_bytes(), read_checkout(tmp_path).stages["draw@toy"].outs["out"]
    cached = tmp_path / ".dvc" / "cache" / "files" / "md5" / recorded[:2] / recorded[2:]
    assert cached.read_bytes() == good
    damage(cached)
    cached.chmod(0o444 if protected else 0o644)
    (tmp_path / "out").unlink()
    assert dvc(tmp_path, "repro").returncode == 0
    checkout = read_checkout(tmp_path)
    state = checkout.state(checkout.stages["draw@toy"], "out")
    if not protected:
        assert state == "present"
    else:
        assert state == "changed" and checkout.out(checkout.stages["draw@toy"], "out") is None
        delete(cached)
        (tmp_path / "out").unlink()
        assert dvc(tmp_path, "repro").returncode == 0
    assert (tmp_path / "out").read_bytes() == good and (tmp_path / "in").read_bytes() == good


@pytest.mark.parametrize("damage, path, stage", [
    (truncate, "artifacts/prepared/smoke/development/images.npy", "baseline"),
    (truncate, "artifacts/prepared/smoke/splits.csv", "baseline"),
    (truncate, "artifacts/generator/smoke/scarce/r0/weights.safetensors", "sample"),
    (truncate, "artifacts/predictions/smoke/scarce/residual/probabilities.npy", "evaluate"),
    (truncate, "artifacts/prepared/smoke/classes.json", "evaluate"),
    (delete, "artifacts/predictions/smoke/scarce/residual/images.csv", "evaluate"),
    (truncate, "metrics/smoke/contrasts.csv", "report"),
])
def test_a_stage_refuses_damaged_input_in_a_sentence(copied, damage, path, stage):
    damage(copied / path)
    environment = dict(os.environ, PYTHONPATH=str(copied / "src"))
    words = shlex.split(read_checkout(copied).stages[f"{stage}@smoke"].cmd)
    result = subprocess.run([sys.executable, *words[1:]], cwd=copied, env=environment, capture_output=True, text=True,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr[-2000:]
    assert Path(path).name in result.stderr.strip().splitlines()[-1]


def test_a_clock_set_back_or_forward_runs_nothing(copied):
    for number, stage in enumerate(read_checkout(copied).stages.values()):
        for out in stage.outs:
            for path in [copied / out, *(copied / out).rglob("*")]:
                moment = time.time() + (1 if number % 2 else -1) * 86_400 * 3650
                os.utime(path, (moment, moment))
    result = dvc(copied, "repro")
    assert result.returncode == 0 and "Running stage" not in result.stdout, result.stdout[-2000:]


def test_two_runs_at_once_on_one_checkout(copied):
    """The second is told so or waits its turn; what is there afterwards is the undisturbed run's."""
    before, lock = digests(copied), (copied / "dvc.lock").read_bytes()
    environment = dict(os.environ, PYTHONPATH=str(copied / "src"), DVC_NO_ANALYTICS="1",
                       PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    both = [subprocess.Popen([sys.executable, "-m", "dvc", "repro", "--force", "prepare@smoke"], cwd=copied,
                             env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    statuses = sorted(process.returncode != 0 for process in both)
    assert statuses in ([False, False], [False, True]), said
    if statuses[1]:
        assert any("lock" in text and "Traceback" not in text for text in said), said
    assert dvc(copied, "repro").returncode == 0
    assert digests(copied) == before and (copied / "dvc.lock").read_bytes() == lock
