"""docs/images/live-region.png: of each map of FCN-8s at 500 x 500, what a frame can change and what is read.

    python -m benchmarks.passes_picture docs/images/live-region.png

Windows follow from kernels, strides, paddings and crops alone, so the picture is of a thin FCN-8s.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

import caffe_port
from caffe_port.nets import fcn8s
from staged_onnx.passes import fix_sizes
from staged_onnx.passes.window_plan import Maps

SHOWN = ("conv1_1", "pool1", "pool2", "pool3", "pool4", "pool5", "upscore8")
SIZE = (500, 500)
INK, DEAD, LIVE, UNREAD = "#444444", "#d9d9d9", "#4477aa", "#ffffff"


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fcn8s.prototxt"
        file.write_text(fcn8s(5, widths=(4, 4, 4, 4, 4, 4), size=SIZE), "utf-8")
        net = caffe_port.read_net(file)
        model = caffe_port.to_onnx(net, caffe_port.random_weights(net, seed=0), fixed=True)
    maps = Maps(fix_sizes(model, {"data": (1, 3, *SIZE)}))
    read = maps.plan(frozenset()).read
    plt.rcParams.update({"font.size": 9, "text.color": INK})
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(10, 2.3))
    for axis, name in zip(axes, SHOWN, strict=True):
        whole, live = maps.whole[name].rows.hi, maps.live[name].rows
        kept = read[name].rows if name == "upscore8" else live
        axis.add_patch(
            Rectangle((0, 0), 1, 1, facecolor=UNREAD if name == "upscore8" else DEAD, edgecolor=INK)
        )
        share = kept.size / whole
        axis.add_patch(Rectangle((kept.lo / whole, kept.lo / whole), share, share, facecolor=LIVE))
        what = "of it is read" if name == "upscore8" else "of it is live"
        axis.set_title(f"{name}\n{whole} x {whole}", fontsize=9)
        axis.text(0.5, 1.08, f"{kept.lo} to {kept.hi - 1}\n{share**2:.0%} {what}", ha="center", va="top")
        axis.set(xlim=(-0.03, 1.03), ylim=(1.03, -0.03), aspect="equal")
        axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.8, bottom=0.22, wspace=0.12)
    figure.savefig(sys.argv[1], dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
