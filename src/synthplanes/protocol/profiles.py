"""The protocol: the typed contents of params.yaml, which nothing else in the house reads.

A key that is unknown, missing or of the wrong type is refused with a sentence that names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from synthplanes.errors import UserError
from synthplanes.protocol.config import (Architecture, Audit, Compute, Evaluate, Fraction, Prepare, Recipe, Replication,
                                         Sample, Section, Simulate, TrainDiffusion, TrainGuide)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]  # in paths, in the names of DVC's cells and of MLflow's runs


class Profile(Section):
    """One experiment, whole."""

    replication: Replication
    compute: Compute
    budgets: dict[str, Fraction | None]
    archs: dict[str, Architecture | None]
    simulate: Simulate | None
    prepare: Prepare
    train_diffusion: TrainDiffusion
    train_guide: TrainGuide
    sample: Sample
    audit: Audit
    recipe: Recipe
    evaluate: Evaluate

    @model_validator(mode="after")
    def _hangs_together(self):
        if (self.prepare.source == "phantom") != (self.simulate is not None):
            raise ValueError("simulate must be given for the source 'phantom' and null for every other source")
        if "oracle" in self.recipe.controls and (self.simulate is None or self.simulate.fresh_images == 0):
            raise ValueError("the control 'oracle' needs simulated fresh patients (simulate.fresh_images > 0)")
        if not self.used_budgets() or not self.used_archs():
            raise ValueError("budgets and archs must each map one role at least to something other than null")
        for name, levels in (("train_diffusion.network.channels", len(self.train_diffusion.network.channels) - 1),
                             ("train_guide.channels", len(self.train_guide.channels))):
            reduction = self.train_diffusion.network.unshuffle * 2 ** levels
            if self.prepare.image_size % reduction:
                raise ValueError(f"prepare.image_size {self.prepare.image_size} must be a multiple of {reduction}, by which "
                                 f"{name} with unshuffle {self.train_diffusion.network.unshuffle} reduces it")
        if self.sample.scanners == "uniform" and not self.train_diffusion.scanner_condition:
            raise ValueError("sample.scanners 'uniform' needs train_diffusion.scanner_condition")
        if self.prepare.cross_validation != "none" and self.replication.generators < 2:
            raise ValueError("prepare.cross_validation needs a fold for each of at least two replication.generators")
        for key in ("mixed_archs", "control_archs", "rival_archs"):
            if unknown := set(getattr(self.recipe, key)) - set(self.used_archs()):
                raise ValueError(f"recipe.{key} names {sorted(unknown)}, which archs does not use")
        if self.recipe.plateau_seeds > self.replication.seeds:
            raise ValueError("recipe.plateau_seeds is larger than replication.seeds")
        return self

    def used_budgets(self) -> dict[str, float]:
        """The budgets that this profile runs: name -> fraction of the training patients."""
        return {name: fraction for name, fraction in self.budgets.items() if fraction is not None}

    def used_archs(self) -> dict[str, Architecture]:
        """The architecture roles that this profile runs."""
        return {role: arch for role, arch in self.archs.items() if arch is not None}


class Protocol(Section):
    """All of params.yaml."""

    profile: Annotated[list[Name], Field(min_length=1)]
    budgets: Annotated[list[Name], Field(min_length=1)]
    archs: Annotated[list[Name], Field(min_length=1)]
    profiles: dict[Name, Profile]

    @model_validator(mode="after")
    def _roles_agree(self):
        for name in self.profile:
            if name not in self.profiles:
                raise ValueError(f"profile names '{name}', which profiles does not have")
            for key in ("budgets", "archs"):
                run, known = getattr(self, key), getattr(self.profiles[name], key)
                if unknown := sorted(set(run) - set(known)):
                    raise ValueError(f"{key} names {unknown}, which profiles.{name}.{key} does not have (null there, where "
                                     "the profile does not use one)")
                if left_out := sorted(role for role in set(known) - set(run) if known[role] is not None):
                    raise ValueError(f"profiles.{name}.{key} uses {left_out}, which {key} at the top does not name")
        return self


def read_protocol(path: Path = Path("params.yaml")) -> Protocol:
    """Read and check params.yaml; raises `UserError` with a sentence that names the first wrong key."""
    path = Path(path)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run this from the project's top folder.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML ({' '.join(str(error).split())}): correct it.") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no mapping of keys: restore it from version control.")
    try:
        return Protocol.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        reason = {"extra_forbidden": "is not a known key", "missing": "is missing"}.get(
            first["type"], f"{first['msg'].removeprefix('Value error, ')} (found {first['input']!r:.80})")
        if first["type"] == "value_error":
            reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {key}: {reason}: correct it in {path}.") from None


def read_profile(name: str, path: Path = Path("params.yaml")) -> Profile:
    """One profile of params.yaml, checked; an unknown name raises `UserError`."""
    protocol = read_protocol(path)
    if name not in protocol.profiles:
        raise UserError(f"{path} has no profile '{name}': choose one of {', '.join(sorted(protocol.profiles))}.")
    return protocol.profiles[name]
