"""Fetch images, forecast work, and verify, publish, trace and track results; `dvc repro` runs the pipeline."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ruamel.yaml import YAML

from synthplanes import __version__, records
from synthplanes.command import run
from synthplanes.errors import UserError
from synthplanes.protocol import counted_work
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import read_profile
from synthplanes.reproduction.checkout import find_root, read_checkout

_CLASSES = {"phantom": 6, "fetal_planes_db": 6, "african_planes": 4}  # how many, until the source is prepared


def entry() -> None:
    """Run the console script."""
    run(main)


def main(words: list[str] | None = None) -> int:
    """Run one command (`words`: the arguments, by default those of the process); return the exit status."""
    arguments = vars(_parser().parse_args(words))
    return arguments.pop("command")(**arguments) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthplanes", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.set_defaults(command=parser.print_help)
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, function, help: str, profile: str | None = None) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=function)
        if profile is not None:
            added.add_argument("--profile", required=True, help=profile or "a profile of params.yaml")
        return added

    show = command("show", _show, "print a profile with everything that it inherits, as YAML")
    show.add_argument("profile", metavar="PROFILE", help="a profile of params.yaml")
    command("cost", _cost, "forecast what `dvc repro` of a profile will cost, in counted work", "")
    fetch = command("fetch", _fetch, "put the images of a published source, or your own, into artifacts/raw/PROFILE",
                    "the profile of params.yaml that will use them")
    fetch.add_argument("source", metavar="SOURCE", help="fetal_planes_db, african_planes or table")
    fetch.add_argument("--from", dest="from_path", type=Path, metavar="PATH",
                       help="a folder (linked) or zip (unpacked) that is already here, instead of a download")
    command("inspect", _inspect, "look for faults in a profile's images: missing, damaged, twice, misplaced", "")
    verify = command("verify", _verify, "run a revision again in a folder of its own and say whether it reproduces; "
                     "exit status 0: to the byte, or restored; 3: within tolerance; 4: same conclusion; 5: different; "
                     "6: an output is absent", "")
    verify.add_argument("revision", nargs="?", metavar="REV", help="a commit, branch or tag (default: the last commit)")
    verify.add_argument("--stages", nargs="+", default=(), metavar="STAGE",
                        help="only these, on inputs restored from the DVC cache")
    verify.add_argument("--restore", action="store_true",
                        help="run nothing: restore the outputs from the DVC cache and compute their md5s")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there as well")
    trace = command("trace", _trace, "trace a number of scores.csv or contrasts.csv, or the verdict, back to its first "
                    "input", "")
    trace.add_argument("number", metavar="NUMBER", help="arm/architecture/budget/rREPLICATE/sSEED/metric, "
                       "contrast/architecture/budget/metric, or overall")
    trace.add_argument("--all", action="store_true", dest="everything",
                       help="print commands, inputs, outputs and code digests as well")
    trace.add_argument("--json", type=Path, metavar="FILE", help="write it there as well")
    publish = command("publish", _publish, "send all that the committed results need to a DVC remote, and tag the "
                      "commit")
    publish.add_argument("tag", metavar="TAG", help="the name of a new annotated tag")
    publish.add_argument("--remote", metavar="NAME", help="of `dvc remote list` (default: the default one)")
    track = command("track", _track, "show this checkout's results in the local MLflow store (artifacts/mlflow)")
    track.add_argument("--quiet", action="store_true", help="do not list what was left out")
    ui = command("ui", _ui, "open the MLflow user interface on the local store, on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    command("pages", _pages, "write metrics/README.md and the README's table of results from the committed files")
    pretrained = command("pretrained", _pretrained,
                         "keep trained weights, from which a training may begin, and print the line for params.yaml")
    pretrained.add_argument("what", metavar="WHAT", help="a generator's folder (config.json, weights.safetensors), a "
                            "classifier's file (.safetensors) or the word imagenet")
    pretrained.add_argument("--learned-from", metavar="NAME",
                            help="of a classifier's file: what its training images are called")
    export = command("export", _export, "write a trained generator as a folder that plain diffusers loads",
                     "whose noise levels and steps the scheduler gets")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="holds config.json and weights.safetensors")
    export.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    layout = command("phantom-layout", _phantom_layout,
                     "write a simulated data set in the layout of FETAL_PLANES_DB, to try its loader",
                     "a profile with simulated images")
    layout.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    return parser


def _show(profile: str) -> None:
    yaml = YAML()
    yaml.default_flow_style = None  # leaves on one line
    yaml.width = 120
    yaml.dump(read_profile(profile).model_dump(mode="json"), sys.stdout)


def _cost(profile: str) -> None:
    parameters, prepared = read_profile(profile), Paths(profile).prepared / "classes.json"
    n_classes = len(records.read_json(prepared)) if prepared.exists() else _CLASSES.get(parameters.prepare.source)
    if n_classes is None:
        raise UserError(f"the number of classes of '{profile}' is not known yet: run `dvc repro prepare@{profile}` "
                        "first.")
    print("\n".join(counted_work.forecast(parameters, n_classes)))


def _fetch(profile: str, source: str, from_path: Path | None) -> None:
    from synthplanes.data.sources.fetching import fetch
    wanted = read_profile(profile).prepare
    if source != wanted.source:
        raise UserError(f"the profile '{profile}' reads the source '{wanted.source}': fetch that one, or change "
                        "prepare.source in params.yaml.")
    fetch(wanted, Paths(profile).artifact("raw"), from_path)


def _inspect(profile: str) -> int:
    from synthplanes.data.preparation.preparing import inspect
    from synthplanes.data.sources.opening import open_source
    parameters, paths = read_profile(profile).prepare, Paths(profile)
    source = open_source(parameters, paths.artifact("raw"), paths.artifact("simulated"))
    lines, stops = inspect(source, parameters.guards)
    print("\n".join(lines))
    return 1 if stops else 0


def _verify(profile: str, revision: str | None, stages: Sequence[str], restore: bool, json: Path | None) -> int:
    from synthplanes.reproduction.comparison import EXIT
    from synthplanes.reproduction.verification import verify
    verification = verify(find_root(), profile, revision, stages, restore)
    if json:
        records.write_json(json, verification.as_dict())
    print("\n".join(verification.lines()))
    return EXIT[verification.outcome]


def _trace(profile: str, number: str, everything: bool, json: Path | None) -> None:
    from synthplanes.reproduction.lineage import trace
    from synthplanes.tracking import database
    root, find_run = find_root(), None
    if database(root).is_file():
        from synthplanes.tracking.store import Store  # loads MLflow
        find_run = Store(root).find
    lineage = trace(read_checkout(root), profile, number, find_run)
    if json:
        records.write_json(json, asdict(lineage))
    print("\n".join(lineage.lines(everything)))


def _publish(tag: str, remote: str | None) -> None:
    from synthplanes.reproduction.publication import publish
    print("\n".join(publish(find_root(), tag, remote)))


def _track(quiet: bool) -> None:
    from synthplanes.tracking.store import track
    print(track().summary(list_left_out=not quiet))


def _ui(port: int) -> None:
    from synthplanes.tracking.store import serve
    serve(port)


def _pages() -> None:
    from synthplanes.report.results_page import write_pages
    write_pages(find_root())
    print("written: metrics/README.md, and the table of results in README.md")


def _pretrained(what: str, learned_from: str | None) -> None:
    folder = Paths("").pretrained
    if what != "imagenet" and not what.endswith(".safetensors"):
        from synthplanes.diffusion import denoiser as generators
        print(f"{generators.PRETRAINED}: {generators.keep_generator(Path(what), folder)}")
        return
    from synthplanes.classification import pretrained as classifiers
    from synthplanes.compute.weights import read_weights
    if what == "imagenet":
        tensors, learned_from = classifiers.imagenet_weights(), "ImageNet"
    elif learned_from:
        tensors = read_weights(Path(what))
    else:
        raise UserError(f"{what} does not say what it learned from: add --learned-from NAME.")
    print(f"{classifiers.PARAMETER}: {classifiers.keep_classifier(tensors, learned_from, folder)}")


def _export(profile: str, folder: Path, out: Path) -> None:
    from synthplanes.diffusion.export import export
    export(folder, out, read_profile(profile).sample)


def _phantom_layout(profile: str, folder: Path) -> None:
    from synthplanes.phantom.official_layout import write_official_layout
    parameters = read_profile(profile)
    if parameters.simulate is None:
        raise UserError(f"the profile '{profile}' simulates nothing: name one whose simulate section is not null.")
    written = write_official_layout(folder, parameters.simulate, parameters.replication.root_seed,
                                    parameters.compute.processes)
    print(f"{folder}: {written:,} images")
