"""The protocol: the typed contents of params.yaml, which nothing else in the house reads.

A key that is unknown, missing or of the wrong type is refused with a sentence that names it.
Units and the meaning of null stand beside every parameter in params.yaml.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from synthplanes.errors import UserError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Policy = Literal["error", "drop_from_train", "keep"]
Control = Literal["oracle", "null", "poison"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]  # in paths, in the names of DVC's cells and of MLflow's runs
GROUPS = 16  # of the group normalisations in denoiser and guide


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Replication(Section):
    """What is repeated, and the root of all randomness."""

    root_seed: Natural
    generators: Count
    seeds: Count


class Compute(Section):
    """Threads and processes; `threads` changes the last bits of floats, `processes` changes nothing."""

    threads: Count
    processes: Count


class Simulate(Section):
    """The phantom's population (src/synthplanes/data/phantom)."""

    difficulty: Literal["default", "hard"]
    frame_size: Annotated[int, Field(ge=16, le=512)]
    train_patients: Count
    test_patients: Count
    fresh_images: Natural
    preset_specificity: Share


class Guards(Section):
    """What is done about faults of the data (src/synthplanes/data/guards.py)."""

    missing: Literal["error", "use_what_is_there"]
    exact_across_roles: Policy
    exact_within_role: Policy
    near_across_roles: Policy
    near_within_role: Policy
    near_distance_bits: Annotated[int, Field(ge=0, le=64)]
    patient_on_two_roles: Policy


class Prepare(Section):
    """From a source's files to packed arrays."""

    source: Literal["phantom", "fetal_planes_db", "african_planes", "table"]
    image_size: Annotated[int, Field(ge=16, le=512)]
    source_options: dict[str, str | float | bool | int]
    guards: Guards
    masked_boxes: list[Annotated[list[Share], Field(min_length=4, max_length=4)]]
    validation_fraction: Fraction


class Network(Section):
    """diffusers' UNet2DModel on pixel-unshuffled images."""

    unshuffle: Annotated[int, Field(ge=1, le=8)]
    channels: Annotated[list[Count], Field(min_length=1)]
    layers_per_block: Count
    attention_at: list[Natural]
    dropout: Share

    @model_validator(mode="after")
    def _can_be_built(self):
        if any(level >= len(self.channels) for level in self.attention_at):
            raise ValueError(f"attention_at names a level that channels {self.channels} does not have")
        if any(width % GROUPS for width in self.channels):
            raise ValueError(f"channels {self.channels} must be multiples of {GROUPS} (groups of the normalisation)")
        if any(self.channels[level] % 32 for level in {*self.attention_at, len(self.channels) - 1}):
            raise ValueError(f"channels {self.channels}: the last level and those of attention_at must be multiples "
                             "of 32 (width of an attention head)")
        return self


class TrainDiffusion(Section):
    """Training of the class-conditional denoiser."""

    network: Network
    images_seen: Count
    batch_size: Count
    learning_rate: Positive
    warmup_images: Natural
    ema_halflife_images: Count
    noise_mean: float
    noise_deviation: Positive
    condition_dropout: Share
    scanner_condition: bool
    class_balance: Share
    augmentation: Share
    held_out_every_images: Count


class TrainGuide(Section):
    """Training of the noise-aware classifier behind classifier guidance."""

    channels: Annotated[list[Count], Field(min_length=1)]
    updates: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NotNegative

    @model_validator(mode="after")
    def _can_be_built(self):
        if any(width % GROUPS for width in self.channels):
            raise ValueError(f"channels {self.channels} must be multiples of {GROUPS} (groups of the normalisation)")
        return self


class Sample(Section):
    """How synthetic images are drawn."""

    images_per_class: Count
    guidance: Literal["none", "classifier", "classifier_free"]
    guidance_scale: NotNegative
    guidance_interval: Annotated[list[NotNegative], Field(min_length=2, max_length=2)]
    scanners: Literal["as_in_class", "uniform"]
    steps: Annotated[int, Field(ge=2)]
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive
    batch_size: Count

    @model_validator(mode="after")
    def _levels_fall(self):
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} must be smaller than sigma_max {self.sigma_max}")
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(f"guidance_interval {self.guidance_interval} must be [lowest, highest]")
        return self


class Architecture(Section):
    """A timm model, its keyword arguments and the learning rate that suits it, the same for every arm."""

    model: str
    learning_rate: Positive
    options: dict[str, int | float | str | bool | list[int]]


class Audit(Section):
    """The look at the synthetic images before they are used."""

    judge: Architecture
    updates: Count
    batch_size: Count
    copies_shown: Count


class Recipe(Section):
    """The one `fit` of all arms."""

    stage_1_updates: Count
    stage_2_updates: Count
    batch_size: Count
    stage_2_learning_rate_ratio: Positive
    weight_decay: NotNegative
    label_smoothing: Share
    warmup_fraction: Share
    ema_halflife_updates: Count
    augmentation: Share
    rehearsal_share: Share
    mixed_synthetic_share: Share
    plateau_seeds: Count
    controls: list[Control]
    control_archs: list[str]

    @model_validator(mode="after")
    def _batches_hold_both(self):
        if not 0 < round(self.batch_size * self.mixed_synthetic_share) < self.batch_size:
            raise ValueError(f"mixed_synthetic_share {self.mixed_synthetic_share} leaves no room for both kinds of image "
                             f"in a batch of {self.batch_size}")
        if round(self.batch_size * self.rehearsal_share) >= self.batch_size:
            raise ValueError(f"rehearsal_share {self.rehearsal_share} leaves no room for real images in a batch of "
                             f"{self.batch_size}")
        return self


class Evaluate(Section):
    """What counts as a worthwhile difference."""

    margin: Fraction


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
        unknown = set(self.recipe.control_archs) - {role for role, arch in self.archs.items() if arch}
        if unknown:
            raise ValueError(f"recipe.control_archs names {sorted(unknown)}, which archs does not use")
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
        for name, profile in self.profiles.items():
            for key in ("budgets", "archs"):
                if set(getattr(profile, key)) != set(getattr(self, key)):
                    raise ValueError(f"profiles.{name}.{key} must have exactly the keys {getattr(self, key)} "
                                     "(null where the profile does not use one)")
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
