"""clockwork deeplab: the steps of DeepLab v1 on its own experiment folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.console import progress, stdout_console
from clockwork_onnx.options import DEFINE, NUMBERS, device_option, json_option, print_json
from weights.errors import UsageError

if TYPE_CHECKING:
    from clockwork_onnx.deeplab.experiment import Experiment
    from runtime.densecrf import CrfParameters

FOLDER = click.Path(path_type=Path)
OLD_FLAGS = {
    "-i": ("iterations", "Iterations."),
    "-px": ("pos_x_std", "Position: standard deviation across, in pixels."),
    "-py": ("pos_y_std", "Position: down."),
    "-pw": ("pos_w", "Position: weight."),
    "-bx": ("bi_x_std", "Bilateral: standard deviation across, in pixels."),
    "-by": ("bi_y_std", "Bilateral: down."),
    "-br": ("bi_r_std", "Bilateral: standard deviation of red, in levels of 255."),
    "-bg": ("bi_g_std", "Bilateral: green."),
    "-bb": ("bi_b_std", "Bilateral: blue."),
    "-bw": ("bi_w", "Bilateral: weight."),
}
"""The flags of DeepLab's CRF programs, and the parameters that they set."""


@click.group("deeplab")
def command() -> None:
    """DeepLab v1 from an experiment folder to the PASCAL VOC number: init, test, crf, grid, eval."""


def experiment_options(run: Callable[..., Any]) -> Callable[..., Any]:
    """Add ROOT and the options that say which experiment; the command takes it as `experiment`."""

    @wraps(run)
    def with_experiment(
        *, root: Path, net: str | None, test_set: str, features: str, layer: str, define: Any, **rest: Any
    ) -> Any:
        from clockwork_onnx.deeplab.experiment import open_experiment

        return run(experiment=open_experiment(root, net, test_set, features, layer, dict(define)), **rest)

    return _experiment_options(click.argument("root", type=FOLDER)(with_experiment))


def _experiment_options(run: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--net", metavar="NET_ID", help="Which net; needed where config/ has several."),
        click.option("--set", "test_set", default="val", show_default=True, help="Which list (TEST_SET)."),
        click.option(
            "--features",
            type=click.Choice(["features", "features2"]),
            default="features",
            show_default=True,
            help="features2: of the net trained with trainval.",
        ),
        click.option("--layer", default="fc8", show_default=True, help="Folder of the features."),
        click.option("--define", "-D", type=DEFINE, multiple=True, help="A variable of sub.sed: NAME=VALUE."),
    )
    for option in reversed(options):
        run = option(run)
    return run


@command.command("init")
@click.argument("root", type=FOLDER)
@click.option("--net", metavar="NET_ID", required=True, help="Name of the net's folders.")
@click.option("--prototxt", type=FOLDER, help="The test net, copied to config/NET_ID/test.prototxt.")
@click.option("--weights", type=FOLDER, help="Copied to model/NET_ID/test.caffemodel.")
@click.option("--data-root", type=FOLDER, help="The VOC2012 folder; lists are made from its ImageSets.")
@click.option("--set", "sets", multiple=True, default=("val",), show_default=True, help="Sets to list.")
@click.option("--define", "-D", type=DEFINE, multiple=True, help="A variable of sub.sed to keep: NAME=VALUE.")
@json_option
def init(
    root: Path,
    net: str,
    prototxt: Path | None,
    weights: Path | None,
    data_root: Path | None,
    sets: tuple[str, ...],
    define: Any,
    as_json: bool,
) -> None:
    """Lay out the experiment folder ROOT (EXP); what is there already stays as it is."""
    from clockwork_onnx.deeplab.experiment import init_experiment

    written = init_experiment(
        root, net, prototxt=prototxt, weights=weights, data_root=data_root, sets=sets, define=dict(define)
    )
    if as_json:
        print_json({"root": str(root), "written": [str(file) for file in written]})
        return
    for file in written:
        click.echo(f"wrote {file}")
    wanted = {
        f"config/{net}/test.prototxt": "the test net",
        f"model/{net}/test.caffemodel": "its weights",
        f"list/{sets[0]}.txt": "the list of pictures",
    }
    for name, what in wanted.items():
        if not (root / name).is_file():
            click.echo(f"put {what} at {root / name}")
    click.echo(f"then: clockwork deeplab test {root}")


@command.command("test")
@experiment_options
@click.option("--weights", "weights_path", metavar="FILE", help="Instead of model/NET_ID/test.caffemodel.")
@click.option("--force", is_flag=True, help="Compute features that are there already too.")
@device_option
@json_option
def test(experiment: Experiment, weights_path: str | None, force: bool, device: str, as_json: bool) -> None:
    """Run the test net of ROOT on its list and write .mat features; goes on where it was interrupted."""
    from clockwork_onnx.deeplab.features import compute_features, open_feature_net
    from runtime.sessions.device import choose_device

    began = time.perf_counter()
    total = len(experiment.pictures())
    net = open_feature_net(experiment, choose_device(device), weights_path)
    done = [
        now for _, now in progress(compute_features(experiment, net, force=force), total, description="test")
    ]
    _report(
        experiment,
        {
            "step": "test",
            "weights": weights_path or str(experiment.weights()),
            "features": str(experiment.feature_folder),
            "pictures": total,
            "computed": sum(done),
        },
        began,
        as_json,
    )


def _report(experiment: Experiment | None, facts: Mapping[str, Any], began: float, as_json: bool) -> None:
    """Print what a step did, and add it to the experiment's log."""
    if experiment is not None:
        folder = experiment.root / "log" / experiment.net
        folder.mkdir(parents=True, exist_ok=True)
        line = {"set": experiment.test_set, **facts, "seconds": round(time.perf_counter() - began, 1)}
        with open(folder / "steps.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    if as_json:
        print_json(dict(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name:10} {value}")


def _parameters(text: str | None, given: Mapping[str, float | None], default: str) -> CrfParameters:
    """Parameters by name or text, with the old flags over them."""
    from runtime.densecrf import parse_parameters

    flags: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(parse_parameters(text or default), **flags)


def old_flags(run: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of DeepLab's programs; the command takes those that were given as `flags`."""

    @wraps(run)
    def with_flags(**options: Any) -> Any:
        flags = {name: options.pop(name) for name, _ in OLD_FLAGS.values()}
        return run(flags=flags, **options)

    for flag, (name, help_text) in reversed(OLD_FLAGS.items()):
        kind = click.IntRange(min=0) if name == "iterations" else click.FloatRange(min=0)
        with_flags = click.option(flag, name, type=kind, help=help_text)(with_flags)
    return with_flags


PARAMETERS = click.option(
    "--parameters",
    "-p",
    metavar="NAME|K=V,...",
    help="Published parameters by name (deeplab-largefov, ...), or bi_w=4,bi_xy_std=121,...",
)


@command.command("crf")
@click.argument("root", type=FOLDER, required=False)
@_experiment_options
@click.option("-id", "image_dir", type=FOLDER, help="Without ROOT: folder of the pictures, ID.ppm.")
@click.option("-fd", "feature_dir", type=FOLDER, help="Without ROOT: folder of ID_blob_0.mat or ID.bin.")
@click.option("-sd", "save_dir", type=FOLDER, help="Without ROOT: folder for the labels, ID.bin.")
@old_flags
@PARAMETERS
@click.option("--force", is_flag=True, help="Refine what is there already too.")
@json_option
def crf(
    root: Path | None,
    image_dir: Path | None,
    feature_dir: Path | None,
    save_dir: Path | None,
    parameters: str | None,
    flags: Mapping[str, float | None],
    force: bool,
    as_json: bool,
    **which: Any,
) -> None:
    """Refine scores with a dense CRF: those of ROOT, or with -id -fd -sd as DeepLab's programs did.

    Without parameters .bin scores take those of prog_refine_pascal (-bw 10 -bx 60 -br 20), .mat scores those
    of prog_refine_pascal_v4 (-bw 5 -bx 70 -br 5).
    """
    from clockwork_onnx.deeplab.experiment import open_experiment
    from clockwork_onnx.deeplab.refine import experiment_jobs, folder_jobs, refine

    began = time.perf_counter()
    experiment = None
    if root is not None and not (image_dir or feature_dir or save_dir):
        define = dict(which.pop("define"))
        experiment = open_experiment(root, define=define, **which)
        chosen = _parameters(parameters, flags, "refine-pascal-v4")
        jobs = experiment_jobs(experiment, chosen)
    elif root is None and image_dir and feature_dir and save_dir:
        jobs, suffix = folder_jobs(image_dir, feature_dir, save_dir)
        chosen = _parameters(parameters, flags, "refine-pascal-v4" if suffix == ".mat" else "refine-pascal")
    else:
        raise UsageError("what is to be refined?", expected="ROOT, or -id, -fd and -sd together")
    record = jobs[0].target.parent / "parameters.txt" if experiment is not None and jobs else None
    # The folder's name does not tell all parameters, so that results there may be of others.
    again = force or record is None or not record.is_file() or record.read_text("utf-8") != chosen.text()
    if record is not None and again:
        record.parent.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            job.target.unlink(missing_ok=True)
        record.write_text(chosen.text(), "utf-8")
    done = [now for _, now in progress(refine(jobs, chosen, force=again), len(jobs), description="crf")]
    target = jobs[0].target.parent if jobs else save_dir
    facts = {
        "step": "crf", "parameters": chosen.text(), "results": str(target),
        "pictures": len(jobs), "refined": sum(done),
    }  # fmt: skip
    _report(experiment, facts, began, as_json)


@command.command("eval")
@experiment_options
@PARAMETERS
@old_flags
@click.option("--force", is_flag=True, help="Write PNG results that are there already anew.")
@json_option
def evaluate_step(
    experiment: Experiment,
    parameters: str | None,
    flags: Mapping[str, float | None],
    force: bool,
    as_json: bool,
) -> None:
    """Write paletted PNG results and score them: mean IU over all classes, as EvalSegResults does.

    Without parameters the net's own labels are scored, with them the CRF's.
    """
    from clockwork_onnx.deeplab.experiment import post_folder
    from clockwork_onnx.deeplab.scoring import evaluate, write_results

    given = parameters is not None or any(value is not None for value in flags.values())
    chosen = _parameters(parameters, flags, "refine-pascal-v4") if given else None
    pictures = experiment.pictures()
    results = write_results(experiment, chosen, force=force)
    there = [now for _, now in progress(results, len(pictures), description="eval")]
    folder = experiment.pictures_folder(post_folder(chosen))
    if not any(there):
        hint = f"clockwork deeplab {'crf' if chosen else 'test'} {experiment.root}"
        raise UsageError("nothing to score", file=folder, hint=f"first: {hint}")
    if not any(picture.labels for picture in pictures):
        facts = {"results": str(folder), "pictures": sum(there)}
        print_json(facts) if as_json else click.echo(
            f"{sum(there)} pictures in {folder}\nno labels in the list: nothing to score"
        )
        return
    scores = evaluate(experiment, chosen)
    document = {"results": str(folder), "pictures": sum(there), **scores.to_json()}
    (folder.parents[3] / "scores.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if as_json:
        print_json(document)
        return
    _print_scores(experiment, document)


def _print_scores(experiment: Experiment, document: Mapping[str, Any]) -> None:
    from staged_onnx.palettes import classes

    console = stdout_console()
    ious = document["class_iu"]
    names = classes("voc" if len(ious) == 21 else len(ious)).names
    for name, iu in zip(names, ious, strict=True):
        console.print(f"{name:>14} {100 * iu:7.3f} %")
    console.print(f"{'mean IU':>14} {100 * document['mean_iu']:7.3f} %")
    console.print(f"{'pixels':>14} {100 * document['pixel_accuracy']:7.3f} % right")
    if document["missing"]:
        console.print(f"{len(document['missing'])} results are missing: {', '.join(document['missing'][:6])}")
    console.print(f"results in {document['results']}")


@command.command("grid")
@experiment_options
@click.option("--bi-w", type=NUMBERS, help="Weights.  [default: 5,10]")
@click.option("--bi-xy-std", type=NUMBERS, help="Pixels.  [default: 40,50,60,70,80,90,100]")
@click.option("--bi-rgb-std", type=NUMBERS, help="Levels of 255.  [default: 3,4,5,6,7,8,9,10]")
@click.option("--pos-w", type=NUMBERS, default=(3.0,), help="Weights.  [default: 3]")
@click.option("--pos-xy-std", type=NUMBERS, default=(3.0,), help="Pixels.  [default: 3]")
@click.option("-i", "iterations", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option(
    "--sample", "count", type=click.IntRange(min=1), default=100, show_default=True, help="Pictures."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@json_option
def grid_step(
    experiment: Experiment,
    bi_w: tuple[float, ...] | None,
    bi_xy_std: tuple[float, ...] | None,
    bi_rgb_std: tuple[float, ...] | None,
    pos_w: tuple[float, ...],
    pos_xy_std: tuple[float, ...],
    iterations: int,
    count: int,
    seed: int,
    as_json: bool,
) -> None:
    """Search the CRF's parameters on a sample of labelled pictures; writes a CSV and a plot to ROOT/res.

    Features are read, never computed; an interrupted search goes on where it stopped.
    """
    from clockwork_onnx.deeplab import grid as searching
    from clockwork_onnx.deeplab.experiment import post_folder

    began = time.perf_counter()
    ranges = searching.DEFAULT_RANGES
    settings = searching.grid(
        bi_w or ranges["bi_w"], bi_xy_std or ranges["bi_xy_std"], bi_rgb_std or ranges["bi_rgb_std"],
        pos_w, pos_xy_std, iterations,
    )  # fmt: skip
    pictures = searching.sample(experiment, count, seed)
    folder = experiment.results(post_folder(None)).with_name("grid")
    steps = searching.search(experiment, [searching.NO_CRF, *settings], pictures, folder / "counts.npz")
    points = []
    for points in progress(steps, len(pictures), description="grid"):
        searching.write_csv(folder / "grid.csv", points[1:])
    before, *found = points
    searching.plot_grid(folder / "grid.png", found, before.mean_iu)
    best = max(found, key=lambda p: p.mean_iu)
    facts = {
        "step": "grid", "settings": len(settings), "pictures": len(pictures), "csv": str(folder / "grid.csv"),
        "plot": str(folder / "grid.png"), "without": round(before.mean_iu, 6),
        "mean_iu": round(best.mean_iu, 6), "parameters": best.parameters.text(),
    }  # fmt: skip
    _report(experiment, facts, began, as_json)
