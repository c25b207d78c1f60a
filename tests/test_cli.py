"""The command line: every bad input ends in one sentence and status 1, and quick commands stay quick."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from synthplanes import __version__, cli
from synthplanes.compute.weights import write_weights
from synthplanes.diffusion.denoiser import Configuration, Denoiser, write_denoiser
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile
from tests.small_profile import PARAMS, small_profile_parameters

COMMANDS = ("show", "cost", "fetch", "inspect", "verify", "trace", "publish", "track", "ui", "pages", "pretrained",
            "export", "phantom-layout")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A top folder whose params.yaml has the profiles `tiny` (phantom) and `own` (a user's table)."""
    own = small_profile_parameters()
    own["simulate"] = None
    own["prepare"]["source"] = "table"
    profiles = {"tiny": small_profile_parameters(), "own": own}
    (tmp_path / "params.yaml").write_text(json.dumps({"profile": "tiny", "profiles": profiles}))  # JSON is YAML
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_without_a_command_help_is_printed(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: synthplanes") and all(f"    {name}" in printed for name in COMMANDS)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"synthplanes {__version__}\n"


@pytest.mark.parametrize("name", ["phantom", "african_cv"])
def test_show_prints_a_whole_profile(name, monkeypatch, capsys):
    monkeypatch.chdir(PARAMS.parent)
    assert cli.main(["show", name]) == 0
    printed = capsys.readouterr().out
    profile = Profile.model_validate(YAML(typ="safe").load(printed))
    assert profile.prepare.source == ("phantom" if name == "phantom" else "african_planes")
    assert "based_on" not in printed and max(map(len, printed.splitlines())) <= 120


def test_the_forecast_is_printed(project, capsys):
    assert cli.main(["cost", "--profile", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    baseline = next(line.split() for line in lines if line.startswith("baseline"))
    assert baseline == ["baseline", "scarce", "residual", "48", "28,320", "0"]  # 8 x 6 x (20 + 3 x 60 + 3 x 120 + 30)
    assert lines[-2].startswith("together")


def test_the_forecast_takes_the_prepared_classes(project, capsys):
    with pytest.raises(UserError, match="the number of classes of 'own' is not known yet"):
        cli.main(["cost", "--profile", "own"])
    (project / "artifacts/prepared/own").mkdir(parents=True)
    (project / "artifacts/prepared/own/classes.json").write_text('["a", "b"]')
    cli.main(["cost", "--profile", "own"])
    sample = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("sample"))
    assert sample[-1] == "30"  # 2 classes x 3 images x 5 steps


@pytest.mark.parametrize("words, sentence", [
    (["cost", "--profile", "none"], "no profile 'none'"),
    (["show", "none"], "no profile 'none'"),
    (["inspect", "--profile", "tiny"], "does not exist: run the stage"),
    (["fetch", "african_planes", "--profile", "own"], "reads the source 'table': fetch that one"),
    (["fetch", "phantom", "--profile", "tiny"], "the phantom is simulated"),
    (["fetch", "table", "--profile", "own", "--from", "nowhere"], "nowhere"),
    (["phantom-layout", "there", "--profile", "own"], "simulates nothing"),
    (["phantom-layout", ".", "--profile", "tiny"], "not an empty folder"),
    (["track"], "run `dvc repro` first"),
    (["ui"], "run `synthplanes track` first"),
])
def test_bad_input_ends_in_one_sentence(project, capsys, monkeypatch, words, sentence):
    monkeypatch.setattr(sys, "argv", ["synthplanes", *words])
    with pytest.raises(SystemExit) as end:
        cli.entry()
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_a_profile_of_an_own_table_can_be_fetched_and_inspected(project, capsys):
    folder = project.parent / f"{project.name}-images"
    folder.mkdir()
    rows, rng = ["path,label,patient,role"], np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (20, 16 + number), dtype=np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number},{'train' if number < 4 else 'test'}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    assert cli.main(["fetch", "table", "--profile", "own", "--from", str(folder)]) == 0
    assert cli.main(["inspect", "--profile", "own"]) == 0
    assert "8 images in the table" in capsys.readouterr().out
    (project / "artifacts/raw/own/7.png").unlink()
    assert cli.main(["inspect", "--profile", "own"]) == 1
    assert "STOP" in capsys.readouterr().out


def test_a_small_phantom_in_the_official_layout(project, capsys):
    whole = json.loads((project / "params.yaml").read_text())
    whole["profiles"]["tiny"]["simulate"] |= {"train_patients": 12, "test_patients": 6, "frame_size": 16}
    whole["profiles"]["tiny"]["compute"]["processes"] = 1
    (project / "params.yaml").write_text(json.dumps(whole))
    assert cli.main(["phantom-layout", "layout", "--profile", "tiny"]) == 0
    assert (project / "layout" / "FETAL_PLANES_DB_data.csv").is_file()


def test_a_classifier_is_kept_with_the_name_of_its_images(project, capsys):
    write_weights(project / "c.safetensors", {"body.x": torch.ones(2)})
    with pytest.raises(UserError, match="add --learned-from NAME"):
        cli.main(["pretrained", "c.safetensors"])
    assert cli.main(["pretrained", "c.safetensors", "--learned-from", "phantom, scarce"]) == 0
    name, digest = capsys.readouterr().out.split()
    kept = project / "artifacts" / "pretrained" / digest / "config.json"
    assert name == "archs.<role>.pretrained:" and "phantom, scarce" in kept.read_text()
    with pytest.raises(UserError, match="nowhere.safetensors does not exist"):
        cli.main(["pretrained", "nowhere.safetensors", "--learned-from", "x"])


def test_a_generator_is_kept_and_exported(project, capsys):
    torch.manual_seed(0)
    denoiser = Denoiser(Configuration(16, 2, (32, 32), 1, (), 0.1, ("a", "b"), (), -0.6, 0.4))
    write_denoiser(project / "g", denoiser.configuration, denoiser.state_dict())
    assert cli.main(["pretrained", "g"]) == 0
    name, digest = capsys.readouterr().out.split()
    assert name == "train_diffusion.pretrained:"
    assert (project / "artifacts" / "pretrained" / digest / "config.json").exists()
    assert cli.main(["export", "g", "plain", "--profile", "tiny"]) == 0
    assert {path.name for path in (project / "plain").iterdir()} == {"unet", "scheduler", "conditions.json"}
    (project / "g" / "weights.safetensors").unlink()
    for words in (["pretrained", "g"], ["export", "g", "other", "--profile", "tiny"]):
        with pytest.raises(UserError, match="weights.safetensors does not exist"):
            cli.main(words)


def test_help_loads_no_heavy_library():
    code = ("import sys; from synthplanes import cli; cli.main([]); "
            "print([name for name in ('torch', 'mlflow', 'matplotlib', 'timm', 'diffusers', 'dvc', 'git', 'sklearn') "
            "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_profile_of_the_project_itself_has_a_forecast(monkeypatch, capsys):
    monkeypatch.chdir(PARAMS.parent)
    assert cli.main(["cost", "--profile", "phantom"]) == 0
    assert "train_diffusion" in capsys.readouterr().out
