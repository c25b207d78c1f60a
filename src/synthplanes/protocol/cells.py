"""Describe one cell of the pipeline (a stage of a profile): its parameters, its paths and what decides its outputs.

The stage `protocol` writes artifacts/protocol/<profile>/<stage>.json: the parameters that the stage reads, a digest of
every module that it reaches, and one of the locked packages. A stage takes its parameters from that file alone, so it
cannot read one that DVC does not track.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from synthplanes import records
from synthplanes.protocol.arms import TRAINING_STAGES
from synthplanes.protocol.profiles import PARAMS, Profile, from_subset, read_profile, subset
from synthplanes.protocol.rules import check_machine


class Stage(NamedTuple):
    """The script, output and parameters of a stage of dvc.yaml."""

    script: str               # stages/<script>.py
    writes: str               # the kind of artifact; '' where it writes result files only
    reads: tuple[str, ...]    # parameters, by their dotted names in a profile


_REPLICATES = ("replication.root_seed", "replication.generators", "budgets")
_TORCH = ("compute.threads", "compute.instructions")
_TRAINED = ("replication", "budgets", "archs", "recipe", "compute.instructions")

STAGES = {  # in the order of the pipeline
    "simulate":        Stage("simulate", "simulated", ("replication.root_seed", "compute.instructions", "simulate")),
    "prepare":         Stage("prepare", "prepared", (*_REPLICATES, "replication.disjoint_patients",
                                                     "compute.instructions", "prepare")),
    "train_diffusion": Stage("train_diffusion", "generator", (*_REPLICATES, *_TORCH, "prepare.source",
                                                              "train_diffusion")),
    "train_guide":     Stage("train_guide", "guide", (*_REPLICATES, *_TORCH, "train_diffusion", "train_guide",
                                                      "sample.guidance")),
    "sample":          Stage("sample", "synthetic", (*_REPLICATES, "compute.instructions", "sample")),
    "audit":           Stage("audit", "audit", (*_REPLICATES, *_TORCH, "audit", "recipe.weight_decay",
                                                "recipe.label_smoothing", "recipe.warmup_fraction",
                                                "recipe.ema_halflife_updates", "recipe.augmentation")),
    **{stage: Stage("train_classifiers", stage, _TRAINED) for stage in TRAINING_STAGES},
    "plan":            Stage("plan", "", ("replication", "budgets", "archs", "simulate", "prepare", "train_diffusion",
                                          "train_guide", "sample", "audit", "recipe", "evaluate")),
    "predict":         Stage("predict", "predictions", (*_TRAINED, "compute.threads")),
    "evaluate":        Stage("evaluate", "", ("replication", "compute.instructions", "budgets", "archs", "prepare",
                                              "train_diffusion", "simulate", "recipe", "evaluate")),
    "report":          Stage("report", "report", ("budgets", "archs")),
}


@dataclass(frozen=True)
class Paths:
    """The paths of one profile, below the checkout's top folder."""

    profile: str
    root: Path = Path()

    def artifact(self, kind: str) -> Path:
        """Return the profile's folder of one kind of artifact, such as `prepared` or `generator`."""
        return self.root / "artifacts" / kind / self.profile

    @property
    def prepared(self) -> Path:
        """Return the folder of packed images with their tables."""
        return self.artifact("prepared")

    @property
    def metrics(self) -> Path:
        """Return the folder of result tables, which is under version control."""
        return self.root / "metrics" / self.profile

    @property
    def analysis_plan(self) -> Path:
        """Return the file of the analysis plan."""
        return self.metrics / "analysis_plan.json"

    @property
    def pretrained(self) -> Path:
        """Return the folder of pretrained weights, by their digest; all profiles share it."""
        return self.root / "artifacts" / "pretrained"

    def replicate(self, kind: str, budget: str, replicate: int) -> Path:
        """Return the folder of one generator: of its weights, its guide or its synthetic images."""
        return self.artifact(kind) / budget / f"r{replicate}"

    def classifiers(self, stage: str, budget: str, arch: str) -> Path:
        """Return the folder of the classifiers (or predictions) of one budget and architecture role."""
        return self.artifact(stage) / budget / arch

    def weights(self, stage: str, budget: str, arch: str, replicate: int, arm: str, seed: int) -> Path:
        """Return the file of one trained classifier."""
        return self.classifiers(stage, budget, arch) / f"r{replicate}" / f"{arm}-s{seed}.safetensors"

    def protocol_file(self, stage: str) -> Path:
        """Return the file of the parameters and digests that a stage depends on besides its inputs."""
        return self.artifact("protocol") / f"{stage}.json"


@dataclass(frozen=True)
class Cell:
    """One stage of one profile; `parameters` holds only those that the stage reads."""

    stage: str
    profile: str
    parameters: Profile
    code: str                        # SHA-256 of the code that the stage reaches, and of the locked packages
    paths: Paths = field(repr=False)
    processes: int = 1               # parallel processes on this machine; changes no output
    instructions: str = "avx2"       # the CPU's: avx2 or native

    @property
    def out(self) -> Path:
        """Return the folder that the stage writes."""
        return self.paths.artifact(STAGES[self.stage].writes)

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the stage's checkpoints."""
        return self.paths.artifact("checkpoints") / self.stage


def protocol_file(profile: Profile, stage: str, code: dict[str, str], environment: str) -> dict[str, Any]:
    """Return the content of a stage's protocol file; `code` maps modules to the SHA-256 of their statements."""
    return {"stage": stage, "parameters": subset(profile, STAGES[stage].reads), "code": code,
            "environment": environment}


def read_cell(stage: str, profile: str, root: Path = Path()) -> Cell:
    """Read the cell of a stage from its protocol file; a missing or damaged one raises `UserError`."""
    paths = Paths(profile, Path(root))
    content = records.read_json(paths.protocol_file(stage))
    whole, order = read_profile(profile, Path(root) / PARAMS), list(STAGES)
    compute = whole.compute
    check_machine(whole.train_diffusion.compile and order.index(stage) <= order.index("train_diffusion"))
    return Cell(stage, profile, from_subset(content["parameters"]),
                records.sha256(content["code"], content["environment"]), paths, compute.processes, compute.instructions)
