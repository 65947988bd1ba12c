"""`clockwork eval paper`: the clockwork paper's tables and figures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.commands.labelled_data import LabelledOptions, labelled_options
from clockwork_onnx.commands.paper_parts import Outcome, Request, make
from clockwork_onnx.console import stdout_console
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.paper.experiments import (
    TABLES,
)
from clockwork_onnx.evaluation.paper.protocols import Options, options_json, parse_options
from clockwork_onnx.evaluation.paper.sources import (
    SHAPES,
    SHIFTS,
)
from clockwork_onnx.evaluation.results.summary import write_files
from clockwork_onnx.options import (
    WholeNumber,
    check_folders,
    device_option,
    json_option,
    print_json,
    times_option,
)
from staged_onnx import Bundle, read_bundle
from weights.errors import UsageError

__all__ = ["command"]


@click.command("paper")
@click.option(
    "--table",
    "tables",
    type=click.Choice([str(n) for n in TABLES]),
    multiple=True,
    help="1 differences, 3 and 5 translated pictures, 4 and 6 video.",
)
@click.option(
    "--figure",
    "pictures",
    type=click.Choice(["2", "6", "7"]),
    multiple=True,
    help="2 differences over time (comes with table 1), 6 threshold sweep, 7 when clocks fire.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=SHAPES,
    show_default=True,
    help="Folder with the data sets, or the word shapes for generated video.",
)
@labelled_options
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Bundle; one per set of classes.",
)
@click.option(
    "--baseline", "cut", multiple=True, metavar="STAGES=BUNDLE", help="A net truncated after so many stages."
)
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    help="Thresholds of the adaptive clock.  [default: the paper's for the data]",
)
@click.option(
    "--shift",
    "shifts",
    type=WholeNumber(1),
    multiple=True,
    help="Pixels per frame that the pictures of tables 3 and 5 move.  [default: 16 and 32]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the paper leaves open, e.g. fill=library (docs/paper.md): "
    f"{', '.join(options_json(Options()))}.",
)
@click.option("--paper-numbers", is_flag=True, help="Show the paper's numbers with any weights.")
@click.option("--signal", help="Carried value that adaptive clocks watch.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for CSV, markdown, JSON, plots.")
@device_option
@times_option
@json_option
def command(
    tables: tuple[str, ...],
    pictures: tuple[str, ...],
    data: Path,
    labelled: LabelledOptions,
    models: tuple[Path, ...],
    cut: tuple[str, ...],
    thresholds: tuple[float, ...],
    shifts: tuple[int, ...],
    settings: tuple[str, ...],
    paper_numbers: bool,
    signal: str | None,
    out: Path | None,
    device: str,
    no_times: bool,
    as_json: bool,
) -> None:
    """The tables and figures of the clockwork paper, for any bundle.

    Without --data and --model: a miniature, the embedded net on generated pictures and video. With --frames
    and --labels, or --data-set: on labelled video of your own.
    """
    if not tables and not pictures:
        raise UsageError("nothing to do", expected="--table 1|3|4|5|6 or --figure 2|6|7")
    options = parse_options(settings)
    check_folders(out)
    with ExitStack() as stack:
        if labelled.named() and not models:
            raise UsageError("a data set without a bundle", hint="name the bundle to be scored: --model")
        bundles = _bundles(models, data, stack)
        root = data if data != SHAPES else None
        request = Request(
            data=labelled.read(bundles[0], root)[0] if labelled.named() else data,
            bundles=bundles,
            baselines=_baselines(cut),
            options=options,
            thresholds=thresholds,
            shifts=shifts or SHIFTS,
            with_paper=True if paper_numbers else None,
            device=device,
            signal=signal,
            timings=not no_times,
        )
        outcome = make(request, [int(text) for text in tables], pictures)
    document = _document(request, outcome)
    if out is not None:
        outcome.files["results.json"] = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_files(out, outcome.files)
    if as_json:
        print_json(document)
        return
    console = stdout_console()
    for table in outcome.tables:
        console.print(table.rich())
    for note in document["notes"]:
        console.print(note)
    if out is not None:
        console.print(f"Written: {out}")


def _bundles(models: Sequence[Path], data: Path, stack: ExitStack) -> tuple[Bundle, ...]:
    """The bundles named, or else the embedded one, which lasts as long as `stack`."""
    if models:
        return tuple(read_bundle(path) for path in models)
    if data != SHAPES:
        raise UsageError("no bundle for this data", file=data, hint="name one with --model")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return (embedded_bundle(folder / "shapes-fcn8s.staged"),)


def _document(request: Request, outcome: Outcome) -> dict[str, Any]:
    return {
        "data": request.data.name if isinstance(request.data, DataSet) else str(request.data),
        "models": [bundle.manifest.name for bundle in request.bundles],
        "options": options_json(request.options),
        "tables": outcome.table_values,
        "figures": outcome.figure_values,
        "notes": list(dict.fromkeys(outcome.notes)),  # what holds for several tables is said once
    }


def _baselines(settings: Sequence[str]) -> dict[int, Bundle]:
    found = {}
    for setting in settings:
        stages, equals, path = setting.partition("=")
        if not equals or not stages.isdigit() or int(stages) < 1:
            raise UsageError(
                "not a truncated net", found=setting, expected="STAGES=BUNDLE, e.g. 1=pool3.staged"
            )
        found[int(stages)] = read_bundle(path)
    return found
