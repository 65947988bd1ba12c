"""Schedules on the moving shots of the shapes video alone, with the embedded net: the table of docs/flow.md.

Five shots of each moving kind, 750 labelled frames: the demo's 150 decide too little.

    python benchmarks/shapes_moving.py [SCHEDULE ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.shapes_video import KINDS
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.scoring.runs import Run, run_schedules

SCHEDULES = (
    "oracle", "alternating", "warp:adaptive:0.05", "warp:adaptive:0.08", "warp:2", "warp:3", "warp:4",
    "rates:1,1,4", "skip:2", "skip:4",
)  # fmt: skip


def main() -> None:
    """Print one line per schedule."""
    data = shapes_data.read(rounds=5, kinds=[kind[0] for kind in KINDS if kind[1] != "static"])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(embedded_bundle(Path(folder) / "shapes.staged"), data, device="cpu", threads=1)
        print(f"{'schedule':32s} {'mean IU':>8s} {'fwIU':>6s} {'MACs':>6s} {'ms':>6s} {'flow, warp':>11s}")
        for found in run_schedules(run, sys.argv[1:] or SCHEDULES):
            print(
                f"{found.schedule:32s} {found.scores.mean_iu:8.3f} {found.scores.fw_iu:6.3f} "
                f"{found.macs_of_oracle:6.3f} {found.ms_per_frame:6.1f} {found.moving_ms:11.1f}"
            )


if __name__ == "__main__":
    main()
