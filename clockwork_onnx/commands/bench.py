"""clockwork bench: how long stages, schedules and the un-staged net take, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import SIZE, WholeNumber, inputs_option, json_option, passes_option, print_json
from weights.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from runtime.measure.bench import Bench
    from runtime.measure.end_to_end import WholeRun
    from staged_onnx import Bundle

DEFAULT = ("oracle", "skip:2", "alternating", "pipeline:2")
DEFAULT_FLOW = ("oracle", "skip:5", "dff:5", "accel:5")
"""Of bundles that move their features by a flow of their own."""


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--schedule", "schedules", multiple=True, help=f"Repeat for several [default: {', '.join(DEFAULT)}]."
)
@click.option("--size", type=SIZE, default=None, help="Size of the made-up frames [default: the bundle's].")
@click.option("--frames", "source", metavar="VIDEO", help="Real frames instead: a file, a folder, a glob.")
@inputs_option
@click.option("--count", type=WholeNumber(1), default=8, show_default=True, help="Frames per round.")
@click.option("--rounds", type=WholeNumber(1), default=5, show_default=True, help="Turns that all take.")
@click.option(
    "--warm-up", type=WholeNumber(1), default=3, show_default=True, help="Frames before the first round."
)
@click.option(
    "--whole", type=click.Path(path_type=Path), help="The un-staged net [default: the bundle's whole.onnx]."
)
@click.option("--signal", metavar="BLOB", help="The blob adaptive clocks watch [default: the bundle's].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, tf32 or fp16.")
@click.option("--threads", type=WholeNumber(0), default=0, help="Of one operator on the CPU; 0: automatic.")
@click.option(
    "--end-to-end", is_flag=True, help="Time whole runs of --frames too: decode, flow, warp, network, write."
)
@passes_option
@json_option
def command(
    bundle: Path,
    schedules: tuple[str, ...],
    size: Any,
    source: str | None,
    inputs: tuple[tuple[str, str], ...],
    count: int,
    rounds: int,
    warm_up: int,
    whole: Path | None,
    signal: str | None,
    device: str,
    precision: str,
    threads: int,
    end_to_end: bool,
    passes: str,
    as_json: bool,
) -> None:
    """Time a BUNDLE: stages and whole frames (median, 95th percentile), schedules against the oracle."""
    from dataclasses import replace

    from runtime.measure.bench import bench
    from runtime.measure.end_to_end import whole_runs
    from runtime.sessions.device import choose_device
    from staged_onnx import read_bundle

    if size == "native" or (size is not None and source is not None):
        raise UsageError("which frames should be timed?", expected="--size HxW or --frames VIDEO")
    if end_to_end and source is None:
        raise UsageError("which video should be run?", found="--end-to-end", expected="--frames VIDEO")
    where = choose_device(device, precision=precision, threads=threads, passes=passes)
    opened = read_bundle(bundle)
    names = schedules or (DEFAULT if opened.manifest.feature_flow is None else DEFAULT_FLOW)
    found = bench(
        opened,
        where,
        names,
        size=size,
        frames=_frames(opened, source, dict(inputs), count) if source is not None else None,
        count=count,
        rounds=rounds,
        warm_up=warm_up,
        whole=whole,
        signal=signal,
    )
    if end_to_end and source is not None:
        runs = whole_runs(
            opened,
            where,
            list(dict.fromkeys(["oracle", *names])),
            source,
            more=dict(inputs),
            rounds=rounds,
            signal=signal,
        )
        found = replace(found, end_to_end=runs)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _frames(bundle: Bundle, source: str, inputs: Mapping[str, str], count: int) -> list[Any]:
    from runtime.video.bundle_frames import open_frames

    with open_frames(bundle.manifest, source, inputs, max_frames=count) as reader:
        return list(reader)


def _print(found: Bench) -> None:
    from rich.table import Table

    console = stdout_console()
    console.print(
        f"{found.bundle}, frames of {found.size[0]} x {found.size[1]}, on {found.device} ({found.reason}), "
        f"{found.precision}; {found.rounds} x {found.frames} frames",
    )
    table = Table(box=None, pad_edge=False)
    for head in ("schedule", "ms", "p95", "frames/s", "throughput", "time", "predicted", "latency"):
        table.add_column(head, justify="left" if head == "schedule" else "right")
    for one in found.schedules:
        paper = f" (paper {one.paper_latency:.0%})" if one.paper_latency else ""
        table.add_row(
            one.schedule + (f" in threads, {one.ahead} ahead" if one.overlap else ""),
            f"{one.frame.median:.2f}",
            f"{one.frame.p95:.2f}",
            f"{one.fps:.1f}",
            f"{one.throughput:.2f}x",
            f"{one.measured:.0%}",
            f"{one.predicted:.0%}",
            f"{one.latency:.0%}{paper}",
        )
    console.print(table)
    _print_key_frames(console, found)
    if found.end_to_end:
        _print_runs(console, found.end_to_end)
    stages = found.schedules[0].stages.items()
    lines = ["oracle's stages: " + ", ".join(f"{n} {t.median:.2f} ms (p95 {t.p95:.2f})" for n, t in stages)]
    if found.whole is not None:
        lines.append(
            f"un-staged net {found.whole.median:.2f} ms (p95 {found.whole.p95:.2f}); "
            f"the oracle takes {found.staging:.3f} times that"
        )
    lines.append(f"copies between host and device, per frame: {found.host_copies:g}")
    lines += [
        f"on the CPU beside the GPU: {operator} {n:g} per frame" for operator, n in found.cpu_nodes.items()
    ]
    lines.append("time: share of the oracle's; predicted: the same from the oracle's stage times")
    lines.append("latency: from a frame's arrival to its labels, as a share of the oracle's")
    for line in lines:
        console.print(line)


def _print_key_frames(console: Console, found: Bench) -> None:
    """What key frames take, those between them, and a frame of a long video on average."""
    from rich.table import Table

    oracle = found.schedules[0].frame.median
    rows = [(one.schedule, one.key_frames) for one in found.schedules if one.key_frames and not one.overlap]
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for head in ("schedule", "key frame, ms", "between", "per frame", "of the oracle's"):
        table.add_column(head, justify="left" if head == "schedule" else "right")
    for name, one in rows:
        times = (f"{ms:.2f}" for ms in (one.key.median, one.between.median, one.amortised))
        table.add_row(name, *times, f"{one.amortised / oracle:.0%}")
    console.print(table)


def _print_runs(console: Console, runs: Sequence[WholeRun]) -> None:
    from rich.table import Table

    from runtime.measure.end_to_end import PARTS

    console.print(f"end to end, {runs[0].frames} frames from the video to files; ms per frame by part")
    table = Table(box=None, pad_edge=False)
    for head in ("schedule", "frames/s", "throughput", *PARTS):
        table.add_column(head, justify="left" if head == "schedule" else "right")
    for one in runs:
        parts = (f"{one.ms[part]:.2f}" for part in PARTS)
        table.add_row(one.schedule, f"{one.fps:.1f}", f"{one.throughput:.2f}x", *parts)
    console.print(table)
