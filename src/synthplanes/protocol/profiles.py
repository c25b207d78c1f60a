"""Read the profiles of params.yaml and resolve what they inherit; no other code reads that file.

`based_on: OTHER` takes everything from another profile, and mappings are merged key by key. A role under `budgets`,
`archs` or `optional_arms` is taken whole, and null removes an inherited one. Each profile is read on its own, so that a
fault in one never affects another.
"""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, model_validator
from ruamel.yaml import YAML, YAMLError

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol import config
from synthplanes.protocol.arms import TRAINING_STAGES, Arm, arms_of, updates_of
from synthplanes.protocol.rules import broken

NAME = r"^[A-Za-z0-9_]+$"  # in paths, in DVC's stage names and in MLflow's
Name = Annotated[str, Field(pattern=NAME, max_length=60)]
Run = tuple[str, str, str, int, int]
"""The identity of one trained classifier: (arm, architecture role, budget, replicate, seed)."""

PARAMS = Path("params.yaml")
_ROLES = {"budgets", "archs", "optional_arms"}          # whose entries are taken whole, and removed by null
_TAKEN_WHOLE = {"label_classifier", "source_options"}


class Profile(config.Section):
    """One experiment with all its sections."""

    replication: config.Replication
    compute: config.Compute
    budgets: dict[Name, config.Fraction]
    archs: dict[Name, config.Architecture]
    simulate: config.Simulate | None
    prepare: config.Prepare
    train_diffusion: config.TrainDiffusion
    train_guide: config.TrainGuide
    sample: config.Sample
    audit: config.Audit
    recipe: config.Recipe
    evaluate: config.Evaluate

    @model_validator(mode="after")
    def _values_work_together(self) -> Self:
        for sentence in broken(self):
            raise ValueError(sentence)
        return self

    @property
    def scarce_budget(self) -> str:
        """Return the smallest budget, to which the verdict applies."""
        return self.budgets_by_size()[0]

    @property
    def folds(self) -> int:
        """Return the number of folds of a cross-validation, each with a generator of its own; 0 without one."""
        return self.replication.generators if self.prepare.cross_validation != "none" else 0

    def budgets_by_size(self) -> list[str]:
        """Return the budgets' names, the smallest share of the training patients first."""
        return sorted(self.budgets, key=lambda name: (self.budgets[name], name))

    def runs_of(self, arm: Arm) -> list[tuple[int, int]]:
        """Return (replicate, seed) of an arm's classifiers."""
        return list(product(range(self.replication.generators), range(self.replication.seeds)))

    def runs_at(self, budget: str, arch: str) -> list[Run]:
        """Return the classifiers of a budget and architecture role, in the order of the stages and their arms."""
        return [(arm.name, arch, budget, *run) for stage in TRAINING_STAGES
                for arm in arms_of(stage, arch, self.recipe) for run in self.runs_of(arm)]

    def runs(self) -> frozenset[Run]:
        """Return every classifier that the profile asks for."""
        return frozenset(run for budget in self.budgets for arch in self.archs for run in self.runs_at(budget, arch))

    def training_cost(self, arm: Arm, budget: str, arch: str) -> dict[str, Any]:
        """Return the counted work of an arm's own training; a first stage that another stage makes counts there."""
        runs = len(self.runs_of(arm))
        updates = self.recipe.stage_2_updates if arm.stage == "finetune" else updates_of(arm, self.recipe)
        passes = runs * updates * self.recipe.batch_size
        return records.cost_item(arm.name, budget=budget, arch=arch, runs=runs, trained=passes,
                                 forward=passes if arm.teacher else 0)


class _File(config.Section):
    """The content of params.yaml, where each profile is checked on its own."""

    profile: Any = None
    profiles: dict[Any, Any]


def read_profile(name: str, path: Path = PARAMS) -> Profile:
    """Read one profile, resolved and checked; raises `UserError` with a sentence that names the first wrong key."""
    values = resolved(name, path)
    if not re.match(NAME, name):
        raise UserError(f"{path}: profiles.{name}: a name consists of letters, digits and _: rename it in {path}.")
    return Profile.checked(values, path, f"profiles.{name}")


def resolved(name: str, path: Path = PARAMS) -> dict[str, Any]:
    """Return a profile's values with everything that it inherits, unchecked."""
    profiles = _read(path).profiles
    chain: list[str] = []
    base: Any = name
    while base is not None:
        base = str(base)
        if base not in profiles:
            where = f"profiles.{chain[-1]}.based_on names" if chain else "there is no profile"
            raise UserError(f"{path}: {where} '{base}': choose one of {', '.join(sorted(map(str, profiles)))}.")
        if base in chain:
            raise UserError(f"{path}: profiles.{base}.based_on leads back to itself: name another profile.")
        if not isinstance(profiles[base], Mapping):
            raise UserError(f"{path}: profiles.{base} holds no sections: write them below it.")
        chain.append(base)
        base = profiles[base].get("based_on")
    values: dict[str, Any] = {}
    for one in reversed(chain):
        values = _merged(values, profiles[one])
    return {key: value for key, value in values.items() if key != "based_on"}


def read_names(path: Path = PARAMS) -> list[str]:
    """Return the names of all profiles, in the order of the file."""
    return [str(name) for name in _read(path).profiles]


def active_profile(path: Path = PARAMS) -> str:
    """Return the profile that `dvc repro` runs: the value of `profile`."""
    active = _read(path).profile
    if not isinstance(active, str):
        raise UserError(f"{path}: profile is {active!r}: write the name of one profile.")
    return active


def subset(profile: Profile, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values under some dotted names (`recipe`, `replication.root_seed`), nested as in the profile."""
    included: dict[str, Any] = {}
    for name in names:
        section, _, field = name.partition(".")
        included[section] = {*included.get(section, ()), field} if field else True
    return profile.model_dump(mode="json", include=included)


def from_subset(values: Mapping[str, Any], model: type[config.Section] = Profile) -> Any:
    """Build a profile that holds only what `subset` gave: reading any other parameter raises `AttributeError`.

    A section of which all fields are given is checked like that of a whole profile.
    """
    fields = {}
    for name, value in values.items():
        kind: Any = model.model_fields[name].annotation
        is_part = isinstance(kind, type) and issubclass(kind, config.Section) and set(value) < set(kind.model_fields)
        fields[name] = from_subset(value, kind) if is_part else TypeAdapter(kind).validate_python(value)
    return model.model_construct(_fields_set=set(fields), **fields)


def _merged(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(inherited)
    for key, value in own.items():
        before = merged.get(key)
        if not isinstance(value, Mapping) or not isinstance(before, Mapping) or key in _TAKEN_WHOLE:
            merged[key] = value
        elif key in _ROLES:
            merged[key] = {role: entry for role, entry in {**before, **value}.items() if entry is not None}
        else:
            merged[key] = _merged(before, value)
    return merged


def _read(path: Path) -> _File:
    path = Path(path)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run this from the project's top folder.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML ({' '.join(str(error).split())}): correct it.") from None
    return _File.checked(content, path)
