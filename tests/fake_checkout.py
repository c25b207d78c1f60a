"""A small checkout with every file that a finished profile leaves, made without training anything."""

import json
from pathlib import Path

import numpy as np
from tests.small_profile import small_profile_parameters

from synthplanes import records
from synthplanes.protocol.arms import arms_of, expected_cells, seeds_of
from synthplanes.data.packs import write_pack
from synthplanes.protocol.profiles import Profile
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.predictions import read_predictions
from synthplanes.protocol.settings import Settings

NAME, BUDGET, ARCH = "tiny", "scarce", "residual"
CLASSES = ("Fetal | brain", "<script>alert(1)</script>")  # names that a table or a browser might stumble over
SIZE = 16  # px
N_TEST, N_VALIDATION, N_SYNTHETIC = 120, 24, 6
STAGES = ("baseline", "pretrain", "finetune", "joint")
# Right answers on validation: real s1 is the best there, while synthetic_then_real is the best on test.
RIGHT_ON_VALIDATION = {("real", 1): 1.0}
RIGHT_ON_TEST = {"synthetic_then_real": 0.95, "real_short": 0.6, "oracle": 0.99, "real_augmented": 1.0}


def tiny_profile() -> Profile:
    parameters = small_profile_parameters(archs=(ARCH,), controls=("oracle", "null", "poison"),
                                          rivals=("augmented", "distilled"))
    parameters["replication"]["seeds"] = 2
    return Profile.model_validate(parameters)


def folders(root: Path) -> dict[str, Path]:
    names = ("prepared", "generator", "guide", "synthetic", "audit", *STAGES, "predictions")
    return {name: root / "artifacts" / name / NAME for name in names}


def make_checkout(root: Path) -> Path:
    """Write all files of the profile below `root`, report excepted; `lock` afterwards writes dvc.lock."""
    (root / "dvc.yaml").write_text("stages: {}\n")
    profile, at = tiny_profile(), folders(root)
    rng = np.random.default_rng(0)
    for role, n in (("development", 60), ("test", N_TEST), ("fresh", 4)):
        write_pack(at["prepared"] / role, _images(rng, n), _index(records.INDEX, n, role))
    records.write_json(at["prepared"] / "classes.json", list(CLASSES))
    records.write_table(at["prepared"] / "splits.csv", records.Table.of_rows(records.SPLITS, (
        dict(budget=BUDGET, replicate=0, image_id=f"development-{i}",
             role="validation" if i < N_VALIDATION else "train")
        for i in range(60))))
    _generator(at, rng)
    for stage in STAGES:
        _classifiers(stage, at[stage] / BUDGET / ARCH, profile)
    _predictions(at["predictions"] / BUDGET / ARCH, profile, rng)
    _metrics(root / "metrics" / NAME, at, profile)
    return root


def _images(rng, n: int) -> np.ndarray:
    return rng.integers(0, 256, (n, SIZE, SIZE), dtype=np.uint8)


def _index(schema: records.Schema, n: int, role: str) -> records.Table:
    return records.Table.of_rows(schema, (
        {name: value for name, value in dict(
            image_id=f"{role}-{i}", patient_id=f"{role}-p{i // 2}", label=CLASSES[(i // 2) % 2], role=role, scanner="a",
            operator="", sub_plane="", sha256=f"{i:064d}", budget=BUDGET, replicate=0, seed=i, source="").items()
         if name in schema.columns} for i in range(n)))


def _generator(at: dict[str, Path], rng) -> None:
    generator = at["generator"] / BUDGET
    (generator / "r0").mkdir(parents=True)
    (generator / "r0" / "weights.safetensors").write_bytes(b"generator weights")
    records.write_json(generator / "r0" / "config.json", {"image_size": SIZE})
    records.write_table(generator / "r0" / "history.csv", records.Table.of_rows(records.GENERATOR_HISTORY, (
        dict(images_seen=seen, train_loss=1 / seen, held_out_loss=2 / seen) for seen in (128, 256, 512))))
    records.write_cost(generator, [records.cost_item("generator", trained=512, forward=64)])
    (at["guide"] / BUDGET / "r0").mkdir(parents=True)
    (at["guide"] / BUDGET / "r0" / "weights.safetensors").write_bytes(b"guide weights")
    records.write_cost(at["guide"] / BUDGET, [records.cost_item("guide", trained=40)])
    write_pack(at["synthetic"] / BUDGET / "r0", _images(rng, N_SYNTHETIC), _index(records.SYNTHETIC, N_SYNTHETIC, "s"))
    records.write_cost(at["synthetic"] / BUDGET, [records.cost_item("sampling", forward=N_SYNTHETIC * 5)])
    records.write_json(at["audit"] / BUDGET / "audit.json", {"replicates": [{
        "judge_learned_from": "fresh phantom patients",
        "label_fidelity": {"mean_over_classes": 0.5, "per_class": dict(zip(CLASSES, (0.75, 0.25))), "images": 6},
        "ceiling_on_validation_images": {"mean_over_classes": 0.9, "per_class": dict(zip(CLASSES, (0.9, None))),
                                         "images": N_VALIDATION},
        "copies": {"nearer_than_threshold": 1, "images": N_SYNTHETIC}}]})
    records.write_cost(at["audit"] / BUDGET, [records.cost_item("audit", trained=80)])


def _classifiers(stage: str, folder: Path, profile: Profile) -> None:
    (folder / "r0").mkdir(parents=True)
    items, rows = [], []
    for arm in arms_of(stage, ARCH, profile.recipe):
        runs = seeds_of(arm, profile.recipe, profile.replication.seeds)
        items.append(records.cost_item(arm.name, arch=ARCH, runs=len(runs), trained=100 * len(runs)))
        for seed in runs:
            (folder / "r0" / f"{arm.name}-s{seed}.safetensors").write_bytes(f"{arm.name} {seed}".encode())
            rows += [dict(arm=arm.name, seed=seed, stage=1, update=update, train_loss=1 / update)
                     for update in (1, 5, 10)]
    records.write_cost(folder, items)
    records.write_json(folder / "cell.json", {"arch": ARCH, "model": "test_resnet", "validation_looks": 1, "began_from": [],
                                              "arms": [arm.name for arm in arms_of(stage, ARCH, profile.recipe)]})
    records.write_table(folder / "r0" / "history.csv", records.Table.of_rows(records.CLASSIFIER_HISTORY, rows))


def _predictions(folder: Path, profile: Profile, rng) -> None:
    images = records.Table.of_rows(records.PREDICTED, [
        {**{name: row[name] for name in records.PREDICTED.columns}, "role": role}
        for table, role, n in ((_index(records.INDEX, 60, "development"), "validation", N_VALIDATION),
                               (_index(records.INDEX, N_TEST, "test"), "test", N_TEST))
        for row in table.rows()[:n]])
    labels = (images["label"] == CLASSES[1]).astype(int)
    cells = sorted(expected_cells(profile))
    probabilities = np.empty((len(cells), len(images), 2), dtype=np.float32)
    for position, (arm, _, _, _, seed) in enumerate(cells):
        share = np.where(images["role"] == "validation", RIGHT_ON_VALIDATION.get((arm, seed), 0.7),
                         RIGHT_ON_TEST.get(arm, 0.8))
        right = rng.random(len(images)) < share
        chosen = np.where(right, labels, 1 - labels)
        probabilities[position] = np.where(np.arange(2) == chosen[:, None], 0.9, 0.1)
    records.write_array(folder / "probabilities.npy", probabilities)
    records.write_table(folder / "images.csv", images)
    records.write_table(folder / "runs.csv", records.Table.of_rows(records.RUNS, (
        dict(zip(records.RUNS.columns, cell)) for cell in cells)))
    records.write_json(folder / "cell.json", {"arch": ARCH, "model": "test_resnet"})
    records.write_cost(folder, [records.cost_item("prediction", arch=ARCH, runs=len(cells), forward=1000)])


def _metrics(folder: Path, at: dict[str, Path], profile: Profile) -> None:
    predictions = read_predictions([(ARCH, at["predictions"] / BUDGET / ARCH)], CLASSES)
    settings = Settings("phantom", True, profile.evaluate.margin, BUDGET, expected_cells(profile),
                        profile.replication.root_seed)
    scores, verdict = evaluate([predictions], settings, {"phantom": {"version": "1", "sha256_of_frames": "ab"}},
                               records.read_table(at["prepared"] / "splits.csv", records.SPLITS),
                               records.read_table(at["prepared"] / "development" / "index.csv", records.INDEX))
    verdict["analysis_plan"] = {"digest": "0123456789ab" + 52 * "0", "openings": 2, "plans": 1, "code": 64 * "c"}
    records.write_table(folder / "scores.csv", scores)
    records.write_json(folder / "verdict.json", verdict)
    both = {name: {"images": 30, "patients": 15} for name in CLASSES}
    records.write_json(folder / "data.json", {
        "source": "phantom", "classes": list(CLASSES), "size_px": SIZE,
        "roles": {role: {"images": 60, "patients": 30, "classes": both} for role in ("train", "test")},
        "budgets": [{"budget": BUDGET, "replicate": 0, "role": "train", "images": 36, "patients": 18,
                     "classes": {name: 18 for name in CLASSES}}],
        "duplicates": {"exact_within_role": {"pairs": 3, "image_ids": [["a", "b"]]}},
        "dropped": {"exact_within_role": {"images": 2, "by_class": {}, "image_ids": ["a", "b"]}},
        "findings": [{"kind": "exact", "sentence": "3 pairs are | the same <b>image</b>."}]})


def lock(root: Path, hash_of) -> None:
    """Write dvc.lock as `dvc repro` would have; `hash_of(path)` gives DVC's md5 of a file or folder."""
    parameters = tiny_profile().model_dump()
    cells = {f"prepare@{NAME}": ([f"artifacts/prepared/{NAME}", f"metrics/{NAME}/data.json"], [], ("prepare",))}
    for stage, out in (("train_diffusion", "generator"), ("train_guide", "guide"), ("sample", "synthetic"),
                       ("audit", "audit")):
        cells[f"{stage}@{NAME}-{BUDGET}"] = ([f"artifacts/{out}/{NAME}/{BUDGET}"], [f"artifacts/prepared/{NAME}"],
                                             (stage,))
    cells[f"sample@{NAME}-{BUDGET}"][1].extend(f"artifacts/{noun}/{NAME}/{BUDGET}" for noun in ("generator", "guide"))
    further = {"baseline": [], "pretrain": [f"artifacts/synthetic/{NAME}/{BUDGET}"],
               "finetune": [f"artifacts/pretrain/{NAME}/{BUDGET}/{ARCH}"], "joint": [f"artifacts/synthetic/{NAME}/{BUDGET}"]}
    for stage in STAGES:
        cells[f"{stage}@{NAME}-{BUDGET}-{ARCH}"] = ([f"artifacts/{stage}/{NAME}/{BUDGET}/{ARCH}"],
                                                    [f"artifacts/prepared/{NAME}", *further[stage]], ("recipe", "archs"))
    cells[f"predict@{NAME}-{BUDGET}-{ARCH}"] = ([f"artifacts/predictions/{NAME}/{BUDGET}/{ARCH}"], [
        f"artifacts/{stage}/{NAME}/{BUDGET}/{ARCH}" for stage in STAGES], ("archs",))
    cells[f"evaluate@{NAME}"] = ([f"metrics/{NAME}/scores.csv", f"metrics/{NAME}/verdict.json"],
                                 [f"artifacts/predictions/{NAME}"], ("evaluate",))
    if (root / f"artifacts/report/{NAME}").exists():
        cells[f"report@{NAME}"] = ([f"artifacts/report/{NAME}", f"metrics/{NAME}/report.md",
                                    f"metrics/{NAME}/cost.json"], [], ("evaluate",))

    def entry(path: str) -> dict:
        return {"path": path, "hash": "md5", "md5": hash_of(root / path)}

    stages = {name: {
        "cmd": f"python stages/{name.split('@')[0]}.py", "deps": [entry(path) for path in deps],
        "params": {"params.yaml": {f"profiles.{NAME}.{section}": parameters[section] for section in sections}},
        "outs": [entry(path) for path in outs]} for name, (outs, deps, sections) in cells.items()}
    # JSON is YAML, and DVC reads it as such.
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
