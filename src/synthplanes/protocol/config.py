"""Define the typed sections of a profile in params.yaml; rules.py says which values cannot work together.

Units and the meaning of null are stated beside every parameter in params.yaml.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from synthplanes.errors import UserError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1)]  # AdamW moves each weight by about as much in an update
Parallel = Annotated[int, Field(ge=1, le=1024)]
NotNegative = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Policy = Literal["error", "drop_from_train", "keep"]
GROUPS = 16  # of the group normalisations in denoiser and guide
def _box(box: list[float]) -> list[float]:
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"{box} is no box: write [left, top, right, bottom] with left < right and top < bottom")
    if box == [0, 0, 1, 1]:
        raise ValueError("the box [0, 0, 1, 1] blackens whole images: make it smaller")
    return box


Box = Annotated[list[Share], Field(min_length=4, max_length=4), AfterValidator(_box)]
Widths = Annotated[list[Annotated[int, Field(ge=1, le=4096, multiple_of=GROUPS)]], Field(min_length=1)]
_REASONS = {"extra_forbidden": "is not a known key", "missing": "is missing", "model_type": "is no mapping of keys",
            "dict_type": "is no mapping of keys"}


class Section(BaseModel):
    """A strict, immutable mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, values: Any, path: Path, where: str = "", cure: str = "") -> Self:
        """Validate what stands under the key `where` of a file; raises `UserError`, which names the first wrong key."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(filter(None, [where, *map(str, first["loc"])]))
            reason = _REASONS.get(first["type"], f"{first['msg']} (found {first['input']!r:.80})")
            if first["type"] == "value_error":
                reason = str(first["ctx"]["error"])  # a sentence of ours
            parts = [str(path), key, reason, cure or f"correct it in {path}"]
            raise UserError(": ".join(filter(None, parts)) + ".") from None


class Replication(Section):
    """The numbers of repetitions, and the root of all randomness."""

    root_seed: Natural
    generators: Count
    seeds: Count
    disjoint_patients: bool


class Compute(Section):
    """Threads, processes and instruction set; `processes` changes no output, the others change the last bits."""

    threads: Parallel
    processes: Parallel
    instructions: Literal["avx2", "native"]


class Simulate(Section):
    """The phantom's population (src/synthplanes/phantom)."""

    difficulty: Literal["default", "hard"]
    frame_size: Annotated[int, Field(ge=16, le=512)]
    train_patients: Count
    test_patients: Count
    fresh_images: Natural
    preset_specificity: Share


class Guards(Section):
    """Policies for faults of the data (src/synthplanes/data/preparation/guards.py)."""

    missing: Literal["error", "use_what_is_there"]
    exact_across_roles: Policy
    exact_within_role: Policy
    near_across_roles: Policy
    near_within_role: Policy
    near_distance_bits: Annotated[int, Field(ge=0, le=64)]
    patient_on_two_roles: Policy


class Prepare(Section):
    """The source, its preparation and its splits."""

    source: Literal["phantom", "fetal_planes_db", "african_planes", "table"]
    image_size: Annotated[int, Field(ge=16, le=512)]
    source_options: dict[str, str | float | bool | int]
    guards: Guards
    masked_boxes: list[Box]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    cross_validation: Literal["none", "patients", "scanners"]


class Network(Section):
    """diffusers' UNet2DModel on pixel-unshuffled images."""

    unshuffle: Annotated[int, Field(ge=1, le=8)]
    channels: Widths
    layers_per_block: Annotated[int, Field(ge=1, le=64)]
    attention_at: list[Natural]
    dropout: BelowOne


class TrainDiffusion(Section):
    """Training of the class-conditional denoiser."""

    network: Network
    pretrained: Digest | None
    images_seen: Count
    batch_size: Count
    learning_rate: Positive
    warmup_images: Natural
    ema_halflife_images: Count
    noise_mean: float
    noise_deviation: Positive
    early_average_fraction: Share
    condition_dropout: Share
    scanner_condition: bool
    class_balance: Share
    augmentation: Share
    held_out_every_images: Count
    patience_images: Count
    precision: Literal["float32", "bfloat16"]
    compile: bool


class TrainGuide(Section):
    """Training of the noise-aware classifier behind classifier guidance."""

    input: Literal["noisy_image", "denoised_estimate"]
    channels: Widths
    updates: Count
    batch_size: Count
    learning_rate: Rate
    weight_decay: NotNegative


class Sample(Section):
    """Sampling of synthetic images."""

    images_per_class: Count
    guidance: Literal["none", "classifier", "classifier_free", "auto"]
    guidance_scale: Annotated[float, Field(ge=0, le=100)]
    guidance_interval: Annotated[list[NotNegative], Field(min_length=2, max_length=2)]
    solver: Literal["multistep", "heun", "ancestral"]
    steps: Annotated[int, Field(ge=2)]
    sigma_min: Positive
    sigma_max: Positive
    rho: Annotated[float, Field(ge=1, le=100)]
    batch_size: Count


class Architecture(Section):
    """A timm model, its keyword arguments and the learning rate that suits it, the same for every arm."""

    model: str
    learning_rate: Rate
    options: dict[str, int | float | str | bool | list[int] | dict[str, str]]  # the last: of the blocks
    pretrained: Digest | None = None


class Audit(Section):
    """The audit of the synthetic images before they are used."""

    label_classifier: Architecture
    updates: Count
    batch_size: Count


class Recipe(Section):
    """The training recipe of all arms."""

    stage_1_updates: Count
    stage_2_updates: Count
    batch_size: Count
    stage_2_learning_rate_ratio: Positive
    weight_decay: NotNegative
    label_smoothing: BelowOne
    warmup_fraction: Share
    ema_halflife_updates: Count
    augmentation: Share
    rehearsal_fraction: Share
    joint_synthetic_fraction: Share
    optional_arms: dict[str, list[str]]


class Evaluate(Section):
    """The smallest difference that counts as worthwhile."""

    margin: Fraction
