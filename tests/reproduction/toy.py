"""A pipeline of three small stages (draw, learn, judge) that runs in a fraction of a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthplanes.reproduction.verification import activate, dvc_repository
from tests.checkout import commit, git

STAGES = {"draw": "artifacts/raw/{0}", "learn": "artifacts/drawn/{0}", "judge": "artifacts/learned/{0}"}
OUTPUTS = ("artifacts/drawn/{}/pixels.csv", "artifacts/learned/{}/weight.csv")
PROFILES = ("toy", "other", "smoke")
SCRIPTS = {
    "protocol": """import hashlib, json, pathlib, re, sys
profile = sys.argv[2]
seed = re.search(rf"  {profile}:\\n    seed: (\\d+)", pathlib.Path("params.yaml").read_text())[1]
sha256 = lambda path: hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
out = pathlib.Path("artifacts/protocol", profile); out.mkdir(parents=True, exist_ok=True)
for stage in ("draw", "learn", "judge"):
    (out / f"{stage}.json").write_text(json.dumps({
        "stage": stage, "parameters": {"simulate": {"seed": int(seed)}} if stage == "draw" else {},
        "code": {f"{stage}.py": sha256(f"stages/{stage}.py")}, "environment": sha256("requirements.lock")}))
""",
    "draw": """import json, pathlib, random, sys
profile = sys.argv[2]
protocol = json.loads(pathlib.Path("artifacts/protocol", profile, "draw.json").read_text())
seed = protocol["parameters"]["simulate"]["seed"]
out = pathlib.Path("artifacts/drawn", profile); out.mkdir(parents=True, exist_ok=True)
draw = random.Random(seed)
raw = pathlib.Path("artifacts/raw", profile, "pixels.bin").read_bytes()
(out / "pixels.csv").write_text("".join(f"{draw.random() + pixel / 1e6}\\n" for pixel in raw))
""",
    "learn": """import pathlib, sys
pixels = [float(x) for x in pathlib.Path("artifacts/drawn", sys.argv[2], "pixels.csv").read_text().split()]
out = pathlib.Path("artifacts/learned", sys.argv[2]); out.mkdir(parents=True, exist_ok=True)
(out / "weight.csv").write_text(str(sum(pixels) / len(pixels) * 1.0))
""",
    "judge": """import json, pathlib, sys
weight = float(pathlib.Path("artifacts/learned", sys.argv[2], "weight.csv").read_text())
out = pathlib.Path("metrics", sys.argv[2]); out.mkdir(parents=True, exist_ok=True)
word = "worthwhile gain" if weight > .3 else "harm"
(out / "verdict.json").write_text(json.dumps({
    "overall": {"word": word, "estimate": weight},
    "hypotheses": {"first": {"word": word}, "second": {"word": "inconclusive"}}}))
"""}


def make_toy(folder: Path) -> Path:
    """Write the pipeline with three profiles into a new git repository; nothing is run."""
    text = "stages:\n  protocol:\n    matrix: {profile: ['${profile}']}\n" \
           "    cmd: python stages/protocol.py --profile ${item.profile}\n" \
           "    deps: [params.yaml, requirements.lock, stages]\n    outs: ['artifacts/protocol/${item.profile}']\n"
    outs = ("outs: ['artifacts/drawn/${item.profile}']", "outs: ['artifacts/learned/${item.profile}']",
            "metrics: [{'metrics/${item.profile}/verdict.json': {cache: false}}]")
    for (stage, read), out in zip(STAGES.items(), outs, strict=True):
        text += (f"  {stage}:\n    matrix: {{profile: ['${{profile}}']}}\n"
                 f"    cmd: python stages/{stage}.py --profile ${{item.profile}}\n    deps:\n"
                 f"      - artifacts/protocol/${{item.profile}}/{stage}.json\n"
                 f"      - {read.format('${item.profile}')}\n    {out}\n")
    params = "profile: other  # the active one\nprofiles:\n" + "".join(f"  {name}:\n    seed: 7\n" for name in PROFILES)
    for name, content in {"dvc.yaml": text, "params.yaml": params, ".dvc/config": "",
                          "requirements.lock": "numpy==0.0.1\nno-such-package==1.0\n",
                          ".gitignore": "/artifacts/\n/metrics/smoke/\n/.dvc/tmp\n/.dvc/cache\n/.dvc/config.local\n",
                          **{f"stages/{name}.py": script for name, script in SCRIPTS.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "init", "-q")
    for key in ("user.name", "user.email"):
        git(folder, "config", key, "a@b")
    return folder


@contextmanager
def active(folder: Path, profile: str) -> Iterator[None]:
    """Make a profile the active one and leave params.yaml as it was."""
    before = (folder / "params.yaml").read_text()
    activate(folder, profile)
    yield
    (folder / "params.yaml").write_text(before)


def run(folder: Path, profile: str) -> None:
    """Run for a profile what is not up to date."""
    with active(folder, profile), dvc_repository(folder) as repository:
        repository.reproduce()


def put_raw_images(folder: Path, profile: str = "toy") -> Path:
    """Write what `synthplanes fetch` would bring; it is not under version control."""
    raw = folder / "artifacts" / "raw" / profile / "pixels.bin"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_bytes(bytes(range(100)))
    return raw


def edit(folder: Path, part: str, before: str, after: str) -> None:
    """Replace a text in a file, which must hold it, and commit that."""
    text = (folder / part).read_text()
    assert before in text
    (folder / part).write_text(text.replace(before, after))
    commit(folder, "one change")
