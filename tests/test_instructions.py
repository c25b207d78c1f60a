"""The CPU instructions are fixed before numpy loads, and a process that came too late says so."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from synthplanes import instructions

# The bytes of these operations depend on the vector instructions in use. Emulated Haswell and EPYC-Rome CPUs gave the
# same ones as an AVX512 CPU; another version of numpy or torch may give others.
PROGRAM = """
import synthplanes, hashlib, numpy as np, torch
x = np.linspace(0.1, 9, 4096, dtype=np.float32)
square = np.sin(x).reshape(64, 64)
images, kernel = torch.from_numpy(square).view(4, 4, 16, 16), torch.from_numpy(np.cos(x[:288]).reshape(8, 4, 3, 3))
torch.set_num_threads(1)
results = {"numpy": np.concatenate([np.exp(x), np.log(x), square.ravel(), (square @ square).ravel()]),
           "torch": torch.cat([torch.conv2d(images, kernel).ravel(), (images @ images).ravel(), images.exp().ravel(),
                               images.softmax(dim=1).ravel()]).numpy()}
for name, values in results.items():
    print(name, hashlib.sha256(values.tobytes()).hexdigest()[:16])
"""
BYTES = {"numpy": "a6c5948f5f615e17", "torch": "4ba6fed25b1fdcdd"}
VERSIONS = {"numpy": "2.4.6", "torch": "2.13.0"}


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name not in (*instructions.PINS, instructions.CHOICE)}
    return subprocess.run([sys.executable, "-c", program], env=kept | environment, capture_output=True, text=True)


def test_this_process_is_pinned_and_torch_says_so():
    import torch
    instructions.require("avx2")
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the promise is for x86-64 CPUs")
@pytest.mark.skipif({name: version(name).split("+")[0] for name in VERSIONS} != VERSIONS,
                    reason="the bytes are those of the locked versions of numpy and torch")
def test_operations_give_the_same_bytes_on_every_cpu():
    result = run(PROGRAM)
    assert dict(line.split() for line in result.stdout.splitlines()) == BYTES, result.stderr
    assert "arning" not in result.stderr


def test_the_package_sets_the_variables_before_numpy_and_leaves_a_native_process_alone():
    shown = "import os, synthplanes; print([os.environ.get(name) for name in synthplanes.instructions.PINS])"
    assert run(shown).stdout.strip() == str(list(instructions.PINS.values()))
    assert run(shown, **{instructions.CHOICE: "native"}).stdout.strip() == str([None] * len(instructions.PINS))


def test_numpy_before_the_package_is_refused_in_a_sentence():
    late = "import numpy, synthplanes\nfrom synthplanes.instructions import require\nrequire('avx2')"
    result = run(late)
    assert result.returncode == 1 and "UserError: numpy was imported before synthplanes" in result.stderr.replace(
        "synthplanes.errors.", "")


def test_a_native_profile_starts_the_process_anew(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, sys, synthplanes\nfrom synthplanes.instructions import require\nrequire('native')\n"
                      "print(os.environ['SYNTHPLANES_INSTRUCTIONS'], os.environ.get('MKL_CBWR'), sys.argv[1:])\n")
    kept = {name: value for name, value in os.environ.items() if name not in (*instructions.PINS, instructions.CHOICE)}
    result = subprocess.run([sys.executable, str(script), "--profile", "x"], env=kept, capture_output=True, text=True)
    assert result.stdout.strip() == "native None ['--profile', 'x']", result.stderr


def test_a_cpu_without_avx2_is_told_what_to_do(monkeypatch):
    from synthplanes.errors import UserError
    monkeypatch.setattr(instructions, "_has_avx2", lambda: False)
    with pytest.raises(UserError, match="set compute.instructions of the profile to native"):
        instructions.require("avx2")
