"""One thing changed in the real pipeline's published `smoke` run: `verify` names the first stage that differs."""

from pathlib import Path

import numpy as np
import pytest
from checkout import dvc, publish
from safetensors.numpy import load_file, save_file

from synthplanes.reproduction.verification import verify

WEIGHTS = "artifacts/generator/smoke/scarce/r0/weights.safetensors"
FRAMES = "artifacts/simulated/smoke/frames.npy"
DRAWN = "frames, table, latents = simulate(settings, show)\n"


def replace(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert text.count(before) >= 1, f"{file} no longer holds {before!r}"
    (folder / file).write_text(text.replace(before, after, 1), encoding="utf-8")


def record(folder: Path, file: str, cell: str, write) -> None:
    """Change an output and let DVC record it, as somebody would who betters results."""
    content = (folder / file).read_bytes()
    (folder / file).unlink()  # it may be a link into the cache
    (folder / file).write_bytes(content)
    write(folder / file)
    result = dvc(folder, "commit", "--force", cell)
    assert result.returncode == 0, result.stderr


def nudge_a_weight(path: Path) -> None:
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name].reshape(-1)[0] += np.float32(1e-3)
    save_file(weights, path)


def nudge_a_pixel(path: Path) -> None:
    pixels = np.load(path)
    pixels.reshape(-1)[pixels.size // 2] ^= 1
    np.save(path, pixels)


MUTATIONS = {  # what is changed: how, the stage that is run again, what is said of its inputs
    "a seed": (lambda folder: replace(folder, "params.yaml", "root_seed: 20250115", "root_seed: 20250116"),
               "simulate", ["profiles.smoke.replication.root_seed"]),
    "a line of a stage": (lambda folder: replace(folder, "stages/simulate.py", DRAWN, DRAWN + "    frames[0, 0, 0] ^= 1\n"),
                          "simulate", []),
    "a pixel": (lambda folder: record(folder, FRAMES, "simulate@smoke", nudge_a_pixel), "simulate", []),
    "a weight": (lambda folder: record(folder, WEIGHTS, "train_diffusion@smoke-scarce", nudge_a_weight),
                 "train_diffusion", []),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_one_change_is_named(published, what):
    change, stage, inputs = MUTATIONS[what]
    change(published)
    publish(published)
    found = verify(published, "smoke", stages=[stage])
    first = next(cell for cell in found.comparison.cells if cell.state != "identical")
    assert found.status == 5 and first.cell.split("@")[0] == stage and list(first.other_inputs) == inputs
    assert what != "a line of a stage" or found.out_of_step == "fingerprint"


def test_another_version_of_a_dependency_is_named(published):
    replace(published, "requirements.lock", "numpy==", "numpy==9.")
    publish(published)
    found = verify(published, "smoke", stages=["simulate"])
    assert found.comparison.first_from_other_inputs == "simulate@smoke" and found.out_of_step == "simulate@smoke"
    assert any(line.startswith("numpy 9.") for line in found.environment)


def test_unchanged_it_is_bit_exact(published):
    found = verify(published, "smoke", stages=["simulate", "train_diffusion"])
    assert (found.status, found.level, found.out_of_step) == (0, "bit-exact", None)
