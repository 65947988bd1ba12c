"""Schedules that move and blend against the oracle, each as the mean over four choices of key frames.

    python benchmarks/beyond_oracle.py -o FOLDER      (the moving shots of the shapes)
    python benchmarks/beyond_oracle.py BUNDLE --frames FOLDER --labels FOLDER --map 3,4,... --ignore 11 \\
        -o FOLDER

`--only between:8` plays one schedule beside the oracle; what FOLDER has of others stays. Written are
`phases.json`, `phases.md` and `beyond-oracle.png`, mean IU against the time of a frame as a share
of the oracle's in the same run: network, flow both ways, warps and blends.
"""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clockwork_onnx.evaluation.datasets import folders
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.shapes_video import KINDS
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.scoring.runs import Run, run_schedules
from runtime.report.plots import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION, png, style
from staged_onnx import read_bundle

FAMILIES = {
    "skip": ("skip:{}", VERMILLION, (4, 8)),
    "warp": ("warp:{}", ORANGE, (4, 8, 12)),
    "between": ("between:{}", BLUE, (4, 8, 12)),
    "warp @fuse": ("warp:{}@fuse", PURPLE, (1, 4)),
    "between @fuse": ("between:{}@fuse", GREEN, (4, 8)),
}


@dataclass(frozen=True)
class Line:
    """One schedule: mean IU by choice of key frames, share of network runs, and times as shares of the
    oracle's frame in the same run: of all, and of flow, path and residual, and of transforms alone.
    """

    family: str
    interval: int
    scores: tuple[float, ...]
    network: float
    time: float
    parts: dict[str, float]

    @property
    def mean(self) -> float:
        """Over the choices."""
        return float(np.mean(self.scores))


def main() -> None:
    """Play everything, print a table and write the files."""
    asked = _asked()
    with tempfile.TemporaryDirectory() as folder:
        run = _run(asked, Path(folder))
        lines = _with_earlier(_lines(run, asked.only), asked.out / "phases.json")
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "phases.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    (asked.out / "phases.md").write_text(_table(lines))
    (asked.out / "beyond-oracle.png").write_bytes(png(_figure(lines)))
    print(_table(lines))


def _asked() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--map", default="")
    parser.add_argument("--ignore", type=int, action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def _run(asked: Namespace, folder: Path) -> Run:
    if asked.bundle is None:
        kinds = [kind[0] for kind in KINDS if kind[1] != "static"]
        data = shapes_data.read(frames=30, kinds=kinds)
        return Run(embedded_bundle(folder / "shapes.staged"), data, device="cpu", threads=1)
    table = tuple(int(part) for part in asked.map.split(","))
    names = tuple(str(i) for i in range(1 + max(c for c in table if c != 255)))
    data = folders.read(
        asked.frames,
        asked.labels,
        classes=names,
        ignored=tuple(asked.ignore),
        prediction_map=table,
        name=asked.frames.parent.name,
    )
    return Run(read_bundle(asked.bundle), data, device="cpu", threads=1)


def _with_earlier(lines: Sequence[Line], file: Path) -> list[Line]:
    """The lines, and those of an earlier run that they do not replace, in the order of the families."""
    known = {(line.family, line.interval): line for line in lines}
    if file.exists():
        for row in json.loads(file.read_text()):
            line = Line(**row | {"scores": tuple(row["scores"])})
            known.setdefault((line.family, line.interval), line)
    order = ["oracle", *FAMILIES]
    return sorted(known.values(), key=lambda line: (order.index(line.family), line.interval))


def _lines(run: Run, only: Sequence[str]) -> list[Line]:
    wanted = {("oracle", 1): ["oracle"]}
    for family, (text, _, intervals) in FAMILIES.items():
        for interval in intervals:
            if only and text.format(interval) not in only:
                continue
            wanted[family, interval] = [
                _with_phase(text.format(interval), interval, phase) for phase in phases_of(interval)
            ]
    every = list(dict.fromkeys(text for texts in wanted.values() for text in texts))
    found = {result.schedule: result for result in run_schedules(run, every)}
    oracle = found["oracle"].ms_per_frame
    lines = []
    for (family, interval), texts in wanted.items():
        results = [found[text] for text in texts]
        names = ("flow", "path", "residual", "transform")
        lines.append(
            Line(
                family,
                interval,
                tuple(round(result.scores.mean_iu, 4) for result in results),
                float(np.mean([result.macs_of_oracle for result in results])),
                float(np.mean([result.ms_per_frame for result in results]) / oracle),
                {
                    name: float(np.mean([r.stage_ms.get(name, 0.0) for r in results]) / oracle)
                    for name in names
                },
            )
        )
    return lines


def phases_of(interval: int) -> list[int]:
    """Four choices of key frames, or as many as there are."""
    return list(range(0, interval, max(1, interval // 4)))[:4]


def _with_phase(text: str, interval: int, phase: int) -> str:
    if phase == 0:
        return text
    if text.startswith("skip"):
        return text  # skipping has no phase
    name, _, options = text.partition("@")
    return f"{name}@{phase}" + (f"@{options}" if options else "")


def _table(lines: Sequence[Line]) -> str:
    rows = [
        "| schedule | mean IU | least, greatest | network | time | flow | path, residual | warp, blend |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        text, *_ = FAMILIES.get(line.family, ("oracle",))
        parts = line.parts
        rows.append(
            f"| {text.format(line.interval)} | {line.mean:.4f} "
            f"| {min(line.scores):.3f}, {max(line.scores):.3f} | {line.network:.2f} | {line.time:.2f} "
            f"| {parts['flow']:.3f} "
            f"| {parts['path'] + parts['residual']:.3f} | {parts['transform']:.3f} |"
        )
    return "\n".join(rows) + "\n"


@style()
def _figure(lines: Sequence[Line]) -> Figure:
    figure = Figure(figsize=(8.6, 5.0), layout="constrained")
    axes = figure.add_subplot()
    oracle = lines[0].mean
    axes.axhline(oracle, color=INK, linewidth=1, linestyle=":")
    axes.plot([1], [oracle], "o", color=INK, label="oracle: the network on every frame")
    for (family, (_, colour, _)), marker in zip(FAMILIES.items(), "sDo^v", strict=True):
        own = [line for line in lines if line.family == family]
        if not own:
            continue
        times, means = [line.time for line in own], [line.mean for line in own]
        low = [line.mean - min(line.scores) for line in own]
        high = [max(line.scores) - line.mean for line in own]
        axes.errorbar(
            times,
            means,
            yerr=[low, high],
            marker=marker,
            color=colour,
            label=family,
            capsize=2,
            linewidth=1.4,
        )
        for line in own:
            axes.annotate(
                str(line.interval), (line.time, line.mean), xytext=(5, 4), textcoords="offset points",
                color=colour, fontsize=8,
            )  # fmt: skip
    axes.set_xlabel("time of a frame as a share of the oracle's; numbers: network on every Nth frame")
    axes.set_ylabel("mean IU, over four choices of key frames; bars: least and greatest")
    axes.legend(loc="lower right", fontsize=8)
    return figure


if __name__ == "__main__":
    main()
