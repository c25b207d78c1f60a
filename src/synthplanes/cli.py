"""The command `synthplanes`: what is done besides `dvc repro`."""

import argparse
from pathlib import Path

from synthplanes.protocol import counted_work
from synthplanes import records
from synthplanes.command import run
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import read_profile

# Classes of the built-in sources before anything is prepared; afterwards classes.json knows.
_CLASSES = {"phantom": 6, "fetal_planes_db": 6, "african_planes": 4}


def entry() -> None:
    """The console script."""
    run(main)


def main(words: list[str] | None = None) -> int:
    """Run one command of `words` (sys.argv without the program); returns the exit status."""
    arguments = _parser().parse_args(words)
    return arguments.command(arguments) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthplanes", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=function)
        return added

    fetch = command("fetch", _fetch, "put the images of a published source, or your own, into artifacts/raw/PROFILE")
    fetch.add_argument("source", metavar="SOURCE", help="fetal_planes_db, african_planes or table")
    fetch.add_argument("--profile", required=True, help="the profile of params.yaml that will use them")
    fetch.add_argument("--from", dest="from_path", type=Path, metavar="PATH",
                       help="a folder (linked) or zip (unpacked) that is already here, instead of a download")
    adopt = command("adopt", _adopt, "keep trained weights that others may begin from and print the line for params.yaml")
    adopt.add_argument("what", metavar="WHAT", help="a generator's folder (config.json, weights.safetensors), a classifier's "
                       "file (.safetensors) or the word imagenet")
    adopt.add_argument("--learned-from", metavar="NAME", help="of a classifier's file: what its training images are called")
    export = command("export", _export, "write a trained generator as a folder that plain diffusers loads")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="holds config.json and weights.safetensors")
    export.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    export.add_argument("--profile", required=True, help="whose noise levels and steps the scheduler gets")
    inspect = command("inspect", _inspect, "look for faults in a profile's images: missing, damaged, twice, misplaced")
    inspect.add_argument("--profile", required=True)
    track = command("track", _track, "show this checkout's results in the local MLflow store (artifacts/mlflow)")
    track.add_argument("--quiet", action="store_true", help="do not list what was left out")
    ui = command("ui", _ui, "open the MLflow user interface on the local store, on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    layout = command("phantom-layout", _phantom_layout,
                     "write a simulated data set in the layout of FETAL_PLANES_DB, to try its loader")
    layout.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    layout.add_argument("--profile", required=True, help="a profile with simulated images")
    verify = command("verify", _verify, "run a revision again in a place of its own and say whether it reproduces")
    verify.add_argument("revision", nargs="?", metavar="REV", help="a commit, branch or tag (default: the last commit)")
    verify.add_argument("--profile", required=True)
    verify.add_argument("--stages", nargs="+", metavar="STAGE", help="only these, on inputs restored from the DVC cache")
    verify.add_argument("--restore", action="store_true", help="run nothing: restore the outputs and compute their digests")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there as well")
    publish = command("publish", _publish, "send all that the committed results need to a DVC remote, and tag the commit")
    publish.add_argument("tag", metavar="TAG", help="the name of a new annotated tag")
    publish.add_argument("--remote", metavar="NAME", help="of `dvc remote list` (default: the default one)")
    trace = command("trace", _trace, "say where a number of scores.csv or verdict.json comes from, back to the first input")
    trace.add_argument("number", metavar="NUMBER", help="arm/architecture/budget/rREPLICATE/sSEED/metric, "
                       "contrast/architecture/budget/metric, or overall")
    trace.add_argument("--profile", required=True)
    trace.add_argument("--json", type=Path, metavar="FILE", help="write it there as well")
    cost = command("cost", _cost, "say what `dvc repro` of a profile will cost, in counted work")
    cost.add_argument("--profile", required=True)
    return parser


def _fetch(arguments: argparse.Namespace) -> None:
    from synthplanes.data.sources.fetching import fetch
    profile = read_profile(arguments.profile)
    if profile.prepare.source != arguments.source:
        raise UserError(f"the profile '{arguments.profile}' reads the source '{profile.prepare.source}': fetch that "
                        "one, or change prepare.source in params.yaml.")
    fetch(arguments.source, Path("artifacts/raw") / arguments.profile, arguments.from_path)


def _adopt(arguments: argparse.Namespace) -> None:
    adopted = Path("artifacts/adopted")
    if arguments.what != "imagenet" and not arguments.what.endswith(".safetensors"):
        from synthplanes.diffusion.warm_start import adopt
        print(f"train_diffusion.warm_start: {adopt(Path(arguments.what), adopted)}")
        return
    from synthplanes.classification.starting_weights import PARAMETER, adopt_classifier, adopt_imagenet
    if arguments.what != "imagenet" and not arguments.learned_from:
        raise UserError(f"{arguments.what} does not say what it learned from: add --learned-from NAME.")
    found = (adopt_imagenet(adopted) if arguments.what == "imagenet"
             else adopt_classifier(Path(arguments.what), arguments.learned_from, adopted))
    print(f"{PARAMETER}: {found}")


def _export(arguments: argparse.Namespace) -> None:
    from synthplanes.diffusion.export import export
    export(arguments.folder, arguments.out, read_profile(arguments.profile).sample)


def _inspect(arguments: argparse.Namespace) -> int:
    from synthplanes.data.preparation.guards import Policies
    from synthplanes.data.preparation.preparing import inspect
    from synthplanes.data.sources.opening import open_source
    parameters = read_profile(arguments.profile).prepare
    source = open_source(parameters.source, Path("artifacts/raw") / arguments.profile,
                         Path("artifacts/simulated") / arguments.profile, parameters.source_options)
    found = inspect(source, Policies(**parameters.guards.model_dump()))
    print("\n".join(found.lines))
    return 1 if found.stops else 0


def _verify(arguments: argparse.Namespace) -> int:
    from synthplanes.reproduction.checkout import find_root
    from synthplanes.reproduction.verification import verify
    found = verify(find_root(), arguments.profile, arguments.revision, arguments.stages, arguments.restore)
    if arguments.json:
        records.write_json(arguments.json, found.as_dict())
    print("\n".join(found.lines()))
    return found.status


def _publish(arguments: argparse.Namespace) -> None:
    from synthplanes.reproduction.checkout import find_root
    from synthplanes.reproduction.publication import publish
    print("\n".join(publish(find_root(), arguments.tag, arguments.remote)))


def _trace(arguments: argparse.Namespace) -> None:
    from synthplanes.reproduction.checkout import find_root, read_checkout
    from synthplanes.reproduction.lineage import trace
    found = trace(read_checkout(find_root()), arguments.profile, arguments.number)
    if arguments.json:
        records.write_json(arguments.json, found.as_dict())
    print("\n".join(found.lines()))


def _track(arguments: argparse.Namespace) -> None:
    from synthplanes.tracking.tracking import track
    print(track().summary(list_left_out=not arguments.quiet))


def _ui(arguments: argparse.Namespace) -> None:
    from synthplanes.tracking.tracking import serve
    serve(arguments.port)


def _phantom_layout(arguments: argparse.Namespace) -> None:
    from synthplanes.phantom import Phantom
    from synthplanes.phantom.official_layout import write_official_layout
    from synthplanes.progress import Progress
    profile = read_profile(arguments.profile)
    if profile.simulate is None:
        raise UserError(f"the profile '{arguments.profile}' simulates nothing: name one whose simulate section is "
                        "not null.")
    # Fresh patients have no place in that layout.
    settings = Phantom(**{**profile.simulate.model_dump(), "fresh_images": 0},
                       root_seed=profile.replication.root_seed, workers=profile.compute.processes)
    shown: list[Progress] = []  # its total is known at the first call

    def progress(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress("phantom layout", total, "images"))
        shown[0](done)

    written = write_official_layout(settings, arguments.folder, progress)
    print(f"{arguments.folder}: {written:,} images")


def _cost(arguments: argparse.Namespace) -> None:
    profile = read_profile(arguments.profile)
    prepared = Path("artifacts/prepared") / arguments.profile
    n_classes = _CLASSES.get(profile.prepare.source)
    if (prepared / "classes.json").exists():
        from synthplanes.data.selection import read_classes
        n_classes = len(read_classes(prepared))
    if n_classes is None:
        raise UserError(f"the number of classes of '{arguments.profile}' is not known yet: run "
                        f"`dvc repro prepare@{arguments.profile}` first.")
    print("\n".join(counted_work.forecast(profile, n_classes)))
