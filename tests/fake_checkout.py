"""A small checkout with every file that a finished profile leaves, made without training anything."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from synthplanes import records
from synthplanes.data.packs import write_pack
from synthplanes.data.selection import EARLIER
from synthplanes.protocol.analysis_plan import analysis_plan, settings_of
from synthplanes.protocol.arms import TRAINING_STAGES, arms_of, updates_of
from synthplanes.protocol.cells import STAGES, Paths, protocol_file
from synthplanes.protocol.contrasts import LONGER
from synthplanes.protocol.profiles import Profile
from synthplanes.statistics.evaluation import Audited, evaluate, write_results
from synthplanes.statistics.predictions import read_predictions
from synthplanes.statistics.profile_evaluation import file_sha256, log_access
from tests.small_profile import PARAMS, small_profile_parameters

NAME, BUDGET, ARCH = "tiny", "scarce", "residual"
CLASSES = ("Fetal | brain", "<script>alert(1)</script>")  # names that a table or a browser might stumble over
SIZE = 16  # px
N_TEST, N_VALIDATION, N_SYNTHETIC = 120, 24, 6
PLATFORM = {"instructions": "avx2", "threads": 2, "torch": "2.0.0", "capability": "AVX2"}
# Right answers on validation: of the classifiers for use real s1 is the best there, and synthetic_then_real is the best
# on test. Two longer arms answer as their references do, and the third is always right.
RIGHT_ON_VALIDATION = {("real", 1): 1.0, ("duplicate_joint_long", 0): 1.0, ("duplicate_joint_long", 1): 1.0}
CONVERGED = ("real", "real_two_stage")
RIGHT_ON_TEST = {"synthetic_then_real": 0.95, "real_short": 0.6, "oracle": 0.99, "real_augmented": 1.0}


def tiny_parameters() -> dict:
    """Return the profile's parameters as params.yaml holds them."""
    parameters = small_profile_parameters(
        archs=(ARCH,), optional=("oracle", "oracle_joint", "resampled", "permuted_labels", "augmented", "distilled"))
    parameters["replication"]["seeds"] = 2
    return parameters


def tiny_profile() -> Profile:
    """Return the profile: one budget, one architecture, one generator, two seeds."""
    return Profile.model_validate(tiny_parameters())


def paths(root: Path) -> Paths:
    """Return the paths of the profile below `root`."""
    return Paths(NAME, root)


def make_checkout(root: Path) -> Path:
    """Write all files of the profile below `root`, report excepted; `lock` afterwards writes dvc.lock."""
    (root / "dvc.yaml").write_text((PARAMS.parent / "dvc.yaml").read_text())
    # JSON is YAML.
    (root / "params.yaml").write_text(json.dumps({"profile": NAME, "profiles": {NAME: tiny_parameters()}}))
    _write_code(root)
    profile, at, code = tiny_profile(), paths(root), {"synthplanes.seeds": 64 * "a"}
    for stage in STAGES:
        records.write_json(at.protocol_file(stage), protocol_file(profile, stage, code, 64 * "e"))
    rng = np.random.default_rng(0)
    (at.artifact("raw")).mkdir(parents=True)
    (at.artifact("raw") / "README").write_text("The images are simulated.\n")
    records.write_json(at.artifact("simulated") / "phantom.json", {"version": "1", "sha256_of_frames": "ab"})
    for role, n in (("development", 60), ("test", N_TEST), ("fresh", 4)):
        write_pack(at.prepared / role, _images(rng, n), _index(records.INDEX, n, role))
    records.write_json(at.prepared / "classes.json", list(CLASSES))
    records.write_table(at.prepared / "splits.csv", records.SPLITS.frame(
        dict(budget=BUDGET, replicate=0, image_id=f"development-{i}",
             role="validation" if i < N_VALIDATION else "train") for i in range(60)), records.SPLITS)
    _write_generator(at, rng)
    for stage in TRAINING_STAGES:
        _write_classifiers(at, stage, profile)
    records.write_json(at.analysis_plan, analysis_plan(profile))
    _write_predictions(at, profile, rng)
    _write_metrics(at, profile)
    return root


def _write_code(root: Path) -> None:
    """Write what stands for the code, so that every dependency in dvc.yaml exists."""
    scripts = sorted({f"stages/{script}.py" for script, *_ in STAGES.values()})
    for file in ("requirements.lock", "src/synthplanes/__init__.py", "src/synthplanes/report/templates/report.md.j2",
                 *scripts):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")


def _images(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, (n, SIZE, SIZE), dtype=np.uint8)


def _index(schema: records.Schema, n: int, role: str) -> pd.DataFrame:
    return schema.frame(dict(
        image_id=f"{role}-{i}", patient_id=f"{role}-p{i // 2}", label=CLASSES[(i // 2) % 2], role=role, scanner="a",
        operator="", sub_plane="", sha256=f"{i:064d}", budget=BUDGET, replicate=0, seed=i) for i in range(n))


def _write_generator(at: Paths, rng: np.random.Generator) -> None:
    generator, guide = (at.replicate(kind, BUDGET, 0) for kind in ("generator", "guide"))
    generator.mkdir(parents=True)
    (generator / "weights.safetensors").write_bytes(b"generator weights")
    records.write_json(generator / "config.json", {"image_size": SIZE})
    history = [dict(budget=BUDGET, replicate=0, images_seen=seen, train_loss=1 / seen, held_out_loss=2 / min(seen, 256),
                    label_fidelity=fidelity, copies=copies)
               for seen, fidelity, copies in ((128, 0.25, 0.0), (256, None, None), (512, 0.5, 0.02))]
    for path, schema in ((generator / "history.csv", records.GENERATOR_HISTORY),
                         (at.metrics / "generator_curve.csv", records.GENERATOR_CURVE)):
        records.write_table(path, schema.frame(history), schema)
    records.write_cost(at.artifact("generator"),
                       [records.cost_item("generator", budget=BUDGET, trained=512, forward=64)])
    guide.mkdir(parents=True)
    (guide / "weights.safetensors").write_bytes(b"guide weights")
    records.write_cost(at.artifact("guide"), [records.cost_item("guide", budget=BUDGET, trained=40)])
    write_pack(at.replicate("synthetic", BUDGET, 0), _images(rng, N_SYNTHETIC),
               _index(records.SYNTHETIC, N_SYNTHETIC, "s"), records.SYNTHETIC)
    for seen in (128, 512):
        records.write_array(at.replicate("synthetic", BUDGET, 0) / EARLIER / f"{seen}.npy", _images(rng, N_SYNTHETIC))
    records.write_cost(at.artifact("synthetic"),
                       [records.cost_item("sampling", budget=BUDGET, forward=N_SYNTHETIC * 5)])
    fidelity, ceiling = dict(zip(CLASSES, (0.75, 0.25), strict=True)), dict(zip(CLASSES, (0.9, None), strict=True))
    records.write_json(at.artifact("audit") / BUDGET / "audit.json", {"replicates": [{
        "label_classifier_learned_from": "fresh phantom patients",
        "label_fidelity": {"mean_over_classes": 0.5, "per_class": fidelity, "images": N_SYNTHETIC},
        "ceiling_on_validation_images": {"mean_over_classes": 0.9, "per_class": ceiling, "images": N_VALIDATION},
        "copies": {"nearer_than_threshold": 1, "images": N_SYNTHETIC}}]})
    records.write_cost(at.artifact("audit"), [records.cost_item("audit", budget=BUDGET, trained=80)])
    rows = [*((name, fidelity[name], ceiling[name], 3, None) for name in CLASSES), ("all", 0.5, 0.9, 6, 1 / 6)]
    records.write_table(at.metrics / "audit.csv", records.AUDIT.frame(
        dict(zip(records.AUDIT.columns, (BUDGET, "0", *row), strict=True)) for row in rows), records.AUDIT)


def _write_classifiers(at: Paths, stage: str, profile: Profile) -> None:
    folder = at.classifiers(stage, BUDGET, ARCH)
    (folder / "r0").mkdir(parents=True)
    items, rows = [], []
    for arm in arms_of(stage, ARCH, profile.recipe):
        runs = profile.runs_of(arm)
        items.append(records.cost_item(arm.name, budget=BUDGET, arch=ARCH, runs=len(runs), trained=100 * len(runs)))
        for replicate, seed in runs:
            at.weights(stage, BUDGET, ARCH, replicate, arm.name, seed).write_bytes(f"{arm.name} {seed}".encode())
            rows += [dict(arm=arm.name, seed=seed, stage=1, update=update, train_loss=1 / update)
                     for update in (1, 5, 10)]
    records.write_cost(at.artifact(stage), items)
    arms = {arm.name: updates_of(arm, profile.recipe) for arm in arms_of(stage, ARCH, profile.recipe)}
    records.write_json(at.artifact(stage) / "cell.json", {
        "stage": stage, "profile": NAME, "validation_looks": 1,
        "archs": {ARCH: {"model": "test_resnet", "pretrained_on": [], "arms": arms}}})
    records.write_table(folder / "r0" / "history.csv", records.CLASSIFIER_HISTORY.frame(rows),
                        records.CLASSIFIER_HISTORY)


def _write_predictions(at: Paths, profile: Profile, rng: np.random.Generator) -> None:
    folder = at.classifiers("predictions", BUDGET, ARCH)
    images = pd.concat([_index(records.INDEX, n, pack).assign(role=role) for pack, role, n in (
        ("development", "validation", N_VALIDATION), ("test", "test", N_TEST))], ignore_index=True)
    labels = (images["label"] == CLASSES[1]).to_numpy().astype(int)
    is_validation = (images["role"] == "validation").to_numpy()
    runs = sorted(profile.runs())
    probabilities = np.empty((len(runs), len(images), 2), dtype=np.float32)
    for position, (arm, _, _, _, seed) in enumerate(runs):
        share = np.where(is_validation, RIGHT_ON_VALIDATION.get((arm, seed), 0.7), RIGHT_ON_TEST.get(arm, 0.8))
        right = rng.random(len(images)) < share
        chosen = np.where(right, labels, 1 - labels)
        probabilities[position] = np.where(np.arange(2) == chosen[:, None], 0.9, 0.1)
    for reference in CONVERGED:
        of, longer = ([run[0] == arm for run in runs] for arm in (reference, LONGER[reference]))
        probabilities[np.ix_(longer, is_validation)] = probabilities[np.ix_(of, is_validation)]
    records.write_array(folder / "probabilities.npy", probabilities)
    records.write_table(folder / "images.csv", images[list(records.PREDICTED.columns)], records.PREDICTED)
    records.write_table(folder / "runs.csv", records.RUNS.frame(
        dict(zip(records.RUNS.columns, run, strict=True)) for run in runs), records.RUNS)
    records.write_json(at.artifact("predictions") / "cell.json", {
        "profile": NAME, "analysis_plan": file_sha256(at.analysis_plan), "platform": PLATFORM})
    records.write_cost(at.artifact("predictions"),
                       [records.cost_item("prediction", budget=BUDGET, arch=ARCH, runs=len(runs), forward=1000)])


def _write_metrics(at: Paths, profile: Profile) -> None:
    folder = at.classifiers("predictions", BUDGET, ARCH)
    plan = file_sha256(at.analysis_plan)
    write_results(at.metrics, evaluate(
        [read_predictions([(ARCH, folder)], CLASSES)], settings_of(profile),
        records.read_table(at.prepared / "splits.csv", records.SPLITS),
        records.read_table(at.prepared / "development" / "index.csv", records.INDEX),
        Audited(records.read_json(at.artifact("audit") / BUDGET / "audit.json"),
                records.read_table(at.metrics / "generator_curve.csv", records.GENERATOR_CURVE)),
        {"phantom": records.read_json(at.artifact("simulated") / "phantom.json"),
         "analysis_plan": {"sha256": plan, "code": 64 * "c"}, "platform": PLATFORM}))
    log_access(at.metrics / "test_access_log.csv", plan, [folder / "probabilities.npy"])
    both = {name: {"images": 30, "patients": 15} for name in CLASSES}
    records.write_json(at.metrics / "data.json", {
        "source": "phantom", "classes": list(CLASSES), "size_px": SIZE,
        "roles": {role: {"images": 60, "patients": 30, "classes": both} for role in ("train", "test")},
        "budgets": [{"budget": BUDGET, "replicate": 0, "role": "train", "images": 36, "patients": 18,
                     "classes": {name: 18 for name in CLASSES}}],
        "duplicates": {"exact_within_role": {"groups": 3, "images": 6, "image_ids": [["a", "b"]]}},
        "dropped": {"exact_within_role": {"images": 2, "by_class": {}, "image_ids": ["a", "b"]}},
        "findings": [{"kind": "exact", "sentence": "3 pairs are | the same <b>image</b>."}]})


def lock(root: Path, hash_of: Callable[[Path], str]) -> None:
    """Write dvc.lock as `dvc repro` would have; `hash_of(path)` gives DVC's md5 of a file or folder.

    The stages, their commands, dependencies and outputs are those of dvc.yaml; `report` is left out where its
    outputs are missing.
    """
    pipeline = YAML(typ="safe", pure=True).load((root / "dvc.yaml").read_text())["stages"]
    hashes: dict[str, str] = {}

    def entry(path: str) -> dict[str, str]:
        if path not in hashes:
            hashes[path] = hash_of(root / path)
        return {"path": path, "hash": "md5", "md5": hashes[path]}

    def places(stage: dict, *keys: str) -> list[str]:
        listed = [next(iter(item)) if isinstance(item, dict) else item for key in keys for item in stage.get(key, [])]
        return sorted(path.replace("${item.profile}", NAME) for path in listed)

    entries = {}
    for name, stage in pipeline.items():
        if "profile" in stage.get("matrix", {}):
            outs = places(stage, "outs", "metrics", "plots")
            if name != "report" or all((root / path).exists() for path in outs):
                entries[f"{name}@{NAME}"] = {"cmd": stage["cmd"].replace("${item.profile}", NAME),
                                             "deps": [entry(path) for path in places(stage, "deps")],
                                             "outs": [entry(path) for path in outs]}
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": entries}))
