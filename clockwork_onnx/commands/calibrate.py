"""clockwork calibrate: a threshold, or an interval and a weight of fusion, from unlabelled video."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clockwork_onnx.options import WholeNumber, inputs_option, json_option, print_json

if TYPE_CHECKING:
    from runtime.measure.calibrate import Calibration, Point
    from runtime.measure.calibrate_interval import IntervalCalibration

BAR = 40


@click.command("calibrate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source", metavar="VIDEO")
@click.option(
    "--budget",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of frames on which the deep stage is to fire; the nearest that there is.",
)
@click.option(
    "--clock",
    default="adaptive:0",
    show_default=True,
    help="The clock to calibrate: adaptive:0, pixels:0, confidence:0, warp:adaptive:0 or warp:distance:0, "
    "with its options.",
)
@click.option(
    "--interval",
    metavar="KIND",
    help="Instead: find the longest interval of between, warp or skip whose labels agree with the oracle's, "
    "and the weight of fusion. Runs the network.",
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Share of pixels on which they are to agree, with --interval.",
)
@click.option("--signal", metavar="BLOB", help="The blob it watches [default: the bundle's].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--start", type=WholeNumber(0), default=0, help="First frame.")
@click.option("--stride", type=WholeNumber(1), default=1, help="Every Nth frame.")
@click.option("--max-frames", type=WholeNumber(1), help="Stop after this many frames.")
@click.option("--shots", metavar="auto|N,N,...", help="Detect shot changes, or give their first frames.")
@inputs_option
@click.option("--keep", is_flag=True, help="Make the result the bundle's own schedule, in its manifest.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    bundle: Path,
    source: str,
    budget: float,
    clock: str,
    interval: str | None,
    agreement: float,
    signal: str | None,
    device: str,
    start: int,
    stride: int,
    max_frames: int | None,
    shots: str | None,
    inputs: tuple[tuple[str, str], ...],
    keep: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the threshold that fires BUNDLE's deep stage on a share of an unlabelled VIDEO, in one pass; or,
    with --interval, the longest interval between key frames that keeps the oracle's labels.
    """
    import runtime
    from clockwork_onnx.console import progress
    from runtime.measure.calibrate import calibrate, keep_schedule
    from runtime.measure.calibrate_interval import IntervalCalibration, calibrate_interval
    from runtime.video.bundle_frames import open_frames
    from runtime.video.shots import mark_shots
    from runtime.video.threads import prefetch

    def problem(found: object) -> None:
        click.echo(f"clockwork: {found}", err=True)

    with ExitStack() as stack:
        player = stack.enter_context(runtime.open(bundle, device=device, schedule="oracle", signal=signal))
        reader = stack.enter_context(
            open_frames(
                player.bundle.manifest,
                source,
                dict(inputs),
                start=start,
                stride=stride,
                max_frames=max_frames,
                motion="flow=codec" in f"{interval} {clock}",
                on_problem=problem,
            )
        )
        frames = stack.enter_context(closing(prefetch(mark_shots(reader, shots))))
        shown = progress(frames, total=reader.frame_count, quiet=quiet or as_json)
        found: Calibration | IntervalCalibration
        if interval is not None:
            found = calibrate_interval(player, shown, agreement, kind=interval)
        else:
            found = calibrate(player, shown, budget, schedule=clock)
        if keep:
            keep_schedule(player.bundle, found.schedule)
    if as_json:
        print_json(found.to_json())
    elif isinstance(found, IntervalCalibration):
        _print_interval(found, keep)
    else:
        _print(found, keep)


def _print(found: Calibration, kept: bool) -> None:
    shots = f"{found.shots} shot{'s' if found.shots != 1 else ''}"
    click.echo(f"share of {found.frames} frames ({shots}) that fire, by threshold:")
    for point in _spread(found.curve, 16):
        click.echo(f"  {point.theta:8.4f}  {point.share:6.1%}  {'#' * round(BAR * point.share)}")
    click.echo(
        f"theta {found.theta:.4f} fires on {found.share:.1%} (asked for {found.budget:.1%}), "
        f"watching {found.signal} ({found.measure})"
    )
    click.echo(f"schedule {found.schedule}" + (", now the bundle's own" if kept else ""))


def _print_interval(found: IntervalCalibration, kept: bool) -> None:
    shots = f"{found.shots} shot{'s' if found.shots != 1 else ''}"
    click.echo(f"agreement with the oracle on {found.frames} frames ({shots}), and between key frames alone:")
    for point in found.points:
        click.echo(
            f"  {point.schedule:24s} {point.agreement:6.1%} {point.between:6.1%}, "
            f"network on {point.network:.0%}"
        )
    if found.agreement < found.wanted:
        click.echo(f"clockwork: no interval agrees on {found.wanted:.1%}; this is the shortest", err=True)
    click.echo(f"schedule {found.schedule}" + (", now the bundle's own" if kept else ""))


def _spread(curve: Sequence[Point], count: int) -> list[Point]:
    """About `count` points, evenly over the shares: where the curve is level, one says it all."""
    high, low = max(point.share for point in curve), min(point.share for point in curve)
    wanted = [high + (low - high) * i / count for i in range(count + 1)]
    near = [min(curve, key=lambda point: abs(point.share - share)) for share in wanted]
    return sorted(dict.fromkeys(near), key=lambda point: point.theta)
