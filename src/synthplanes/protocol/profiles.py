"""Read the profiles of params.yaml and resolve what they inherit; no other code reads that file.

`based_on: OTHER` takes everything from another profile, and mappings are merged key by key. A role under `budgets`,
`archs` or `optional_arms` is taken whole, and null removes an inherited one. Each profile is read on its own, so that a
fault in one never affects another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS, OPTIONS, TRAINING_STAGES, arms_of
from synthplanes.protocol.config import (
    Architecture,
    Audit,
    Compute,
    Evaluate,
    Fraction,
    Prepare,
    Recipe,
    Replication,
    Sample,
    Section,
    Simulate,
    TrainDiffusion,
    TrainGuide,
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]  # in paths, in DVC's stage names and in MLflow's
Run = tuple[str, str, str, int, int]
"""The identity of one trained classifier: (arm, architecture role, budget, replicate, seed)."""

PARAMS = Path("params.yaml")
_ROLES = {"budgets", "archs", "optional_arms"}          # whose entries are taken whole, and removed by null
_TAKEN_WHOLE = {"label_classifier", "source_options"}


class Profile(Section):
    """One experiment with all its sections."""

    replication: Replication
    compute: Compute
    budgets: dict[Name, Fraction]
    archs: dict[Name, Architecture]
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
        optional = self.recipe.optional_arms
        if unknown := sorted(set(optional) - set(OPTIONS)):
            raise ValueError(f"recipe.optional_arms names {unknown}: choose among {', '.join(OPTIONS)}")
        if "oracle" in optional and (self.simulate is None or self.simulate.fresh_images == 0):
            raise ValueError("the optional arm 'oracle' needs simulated fresh patients (simulate.fresh_images > 0)")
        if not self.budgets or not self.archs:
            raise ValueError("budgets and archs must each name one role at least")
        for name, n_halvings in (("train_diffusion.network.channels", len(self.train_diffusion.network.channels) - 1),
                                 ("train_guide.channels", len(self.train_guide.channels))):
            reduction = self.train_diffusion.network.unshuffle * 2 ** n_halvings
            if self.prepare.image_size % reduction:
                raise ValueError(f"prepare.image_size {self.prepare.image_size} must be a multiple of {reduction}, by "
                                 f"which {name} with unshuffle {self.train_diffusion.network.unshuffle} reduces it")
        if self.prepare.cross_validation != "none" and self.replication.generators < 2:
            raise ValueError("prepare.cross_validation needs a fold for each of at least two replication.generators")
        for option, roles in optional.items():
            if unknown := sorted(set(roles) - set(self.archs)):
                raise ValueError(f"recipe.optional_arms.{option} names {unknown}, which archs does not have")
        return self

    @property
    def scarce_budget(self) -> str:
        """Return the smallest budget, to which the verdict applies."""
        return min(self.budgets, key=lambda name: (self.budgets[name], name))

    @property
    def folds(self) -> int:
        """Return the number of folds of a cross-validation, each with a generator of its own; 0 without one."""
        return self.replication.generators if self.prepare.cross_validation != "none" else 0

    def budgets_by_size(self) -> list[str]:
        """Return the budgets' names, the smallest share of the training patients first."""
        return sorted(self.budgets, key=lambda name: (self.budgets[name], name))

    def runs(self) -> frozenset[Run]:
        """Return every classifier that the profile asks for."""
        return frozenset(
            (arm.name, arch, budget, replicate, seed)
            for budget in self.budgets for arch in self.archs for stage in TRAINING_STAGES
            for arm in arms_of(stage, arch, self.recipe) for replicate in range(self.replication.generators)
            for seed in range(self.replication.seeds))

    def arms(self) -> list[str]:
        """Return the arms that run on one architecture at least, in the order of ARMS."""
        present = {arm for arm, *_ in self.runs()}
        return [arm for arm in ARMS if arm in present]


def read_profile(name: str, path: Path = PARAMS) -> Profile:
    """Read one profile, resolved and checked; raises `UserError` with a sentence that names the first wrong key."""
    return _validated(resolved(name, path), f"profiles.{name}", path)


def resolved(name: str, path: Path = PARAMS) -> dict[str, Any]:
    """Return a profile's values with everything that it inherits, unchecked."""
    profiles = _profiles(path)
    chain: list[str] = []
    while True:
        if name not in profiles:
            where = f"profiles.{chain[-1]}.based_on names" if chain else "there is no profile"
            raise UserError(f"{path}: {where} '{name}': choose one of {', '.join(sorted(map(str, profiles)))}.")
        if name in chain:
            raise UserError(f"{path}: profiles.{name}.based_on leads back to itself: name another profile.")
        chain.append(name)
        if not isinstance(profiles[name], Mapping):
            raise UserError(f"{path}: profiles.{name} holds no sections: write them below it.")
        if profiles[name].get("based_on") is None:
            break
        name = str(profiles[name]["based_on"])
    values: dict[str, Any] = {}
    for one in reversed(chain):
        values = _merged(values, {key: value for key, value in profiles[one].items() if key != "based_on"})
    return values


def read_names(path: Path = PARAMS) -> list[str]:
    """Return the names of all profiles, in the order of the file."""
    return [str(name) for name in _profiles(path)]


def active_profile(path: Path = PARAMS) -> str:
    """Return the profile that `dvc repro` runs: the value of `profile`."""
    active = _read(path).get("profile")
    if not isinstance(active, str):
        raise UserError(f"{path}: profile is {active!r}: write the name of one profile.")
    return active


def subset(profile: Profile, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values under some dotted names (`recipe`, `replication.root_seed`), nested as in the profile."""
    values = profile.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for name in names:
        section, _, field = name.partition(".")
        if field:
            chosen.setdefault(section, {})[field] = values[section][field]
        else:
            chosen[section] = values[section]
    return chosen


def from_subset(values: Mapping[str, Any]) -> Profile:
    """Build a profile that holds only the given values: reading any other parameter raises `AttributeError`."""
    return _partial(Profile, values)


def _partial(model: type[Section], values: Mapping[str, Any]) -> Any:
    fields = {}
    for name, value in values.items():
        annotation: Any = model.model_fields[name].annotation
        whole = not (isinstance(annotation, type) and issubclass(annotation, Section)
                     and set(value) < set(annotation.model_fields))
        fields[name] = TypeAdapter(annotation).validate_python(value) if whole else _partial(annotation, value)
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


def _read(path: Path) -> Mapping[str, Any]:
    path = Path(path)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run this from the project's top folder.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML ({' '.join(str(error).split())}): correct it.") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no mapping of keys: restore it from version control.")
    if unknown := sorted(str(key) for key in set(content) - {"profile", "profiles"}):
        raise UserError(f"{path}: {unknown[0]}: is not a known key: correct it in {path}.")
    return content


def _profiles(path: Path) -> Mapping[str, Any]:
    profiles = _read(path).get("profiles")
    if not isinstance(profiles, Mapping):
        raise UserError(f"{path}: profiles: is missing or no mapping: restore it from version control.")
    return profiles


def _validated(values: dict[str, Any], where: str, path: Path) -> Profile:
    TypeAdapter(Name).validate_python(where.rpartition(".")[2])
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *(str(part) for part in first["loc"])])
        reason = {"extra_forbidden": "is not a known key", "missing": "is missing"}.get(
            first["type"], f"{first['msg'].removeprefix('Value error, ')} (found {first['input']!r:.80})")
        if first["type"] == "value_error":
            reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {key}: {reason}: correct it in {path}.") from None
