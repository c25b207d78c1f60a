"""One thing changed in the real pipeline's published `smoke` run: `verify` names the first stage that differs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from synthplanes.reproduction.comparison import EXIT
from synthplanes.reproduction.verification import dvc_repository, verify
from tests.checkout import commit

WEIGHTS = "artifacts/generator/smoke/scarce/r0/weights.safetensors"
FRAMES = "artifacts/simulated/smoke/frames.npy"
MODULE = "src/synthplanes/phantom/simulation.py"
RETURNED = "    return frames, "


def replace(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert before in text, f"{file} no longer holds {before!r}"
    (folder / file).write_text(text.replace(before, after, 1), encoding="utf-8")


def record(folder: Path, file: str, stage: str, write: Callable[[Path], None]) -> None:
    """Change an output and let DVC record it, as somebody would who betters results."""
    content = (folder / file).read_bytes()
    (folder / file).unlink()  # it is a link
    (folder / file).write_bytes(content)
    write(folder / file)
    with dvc_repository(folder) as repository:
        repository.commit(stage, force=True)


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
    "a seed": (lambda folder: replace(folder, "params.yaml", "root_seed: 20261201", "root_seed: 20261126"),
               "simulate", ["replication.root_seed"]),
    "a line of code": (lambda folder: replace(folder, MODULE, RETURNED, f"    frames[0, 0, 0] ^= 1\n{RETURNED}"),
                       "simulate", ["synthplanes/phantom/simulation.py"]),
    "a pixel": (lambda folder: record(folder, FRAMES, "simulate@smoke", nudge_a_pixel), "simulate", []),
    "a weight": (lambda folder: record(folder, WEIGHTS, "train_diffusion@smoke", nudge_a_weight),
                 "train_diffusion", []),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_one_change_is_named(published, what):
    change, stage, inputs = MUTATIONS[what]
    change(published)
    commit(published)
    verification = verify(published, "smoke", stages=[stage])
    compared, = verification.stages
    assert EXIT[verification.outcome] == 5 and compared.name == f"{stage}@smoke" and compared.state == "different"
    assert list(compared.other_inputs) == inputs
    assert verification.out_of_step == (compared.name if inputs else None)


def test_another_version_of_a_dependency_is_named(published):
    replace(published, "requirements.lock", "numpy==", "numpy==9.")
    commit(published)
    verification = verify(published, "smoke", stages=["simulate"])
    assert verification.as_dict()["first_from_other_inputs"] == verification.out_of_step == "simulate@smoke"
    assert verification.stages[0].other_inputs == ("packages",) and verification.outcome == "bit-exact"
    assert any(line.startswith("numpy 9.") for line in verification.packages)


def test_unchanged_it_is_bit_exact(published):
    verification = verify(published, "smoke", stages=["simulate", "prepare"])
    assert (EXIT[verification.outcome], verification.outcome, verification.out_of_step) == (0, "bit-exact", None)
