"""Full-size FCN-8s (21 classes, random weights from a fixed seed): staged against whole against OpenCV.

For each frame size: the largest difference between the scores of the stages run in turn and those of the
whole-net model, and between the whole-net model and OpenCV's own Caffe reader, relative to the largest score.

    python benchmarks/fcn8s_parity.py [--sizes 500x500,333x500,375x500]

Needs about 3 GB of memory, 2 GB of disk and the extra [test] (opencv-python-headless < 5).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

import caffe_port
import staged_onnx
import weights
from caffe_port.nets import fcn8s


def session(path: Path) -> ort.InferenceSession:
    """A CPU session."""
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def main() -> None:
    """Print one line per frame size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="500x500,333x500,375x500")
    sizes = [tuple(map(int, s.split("x"))) for s in parser.parse_args().sizes.split(",")]
    cuts = ["pool3", "pool4", "upscore2"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "fcn8s.prototxt").write_text(fcn8s(21), "utf-8")
        net = caffe_port.read_net(root / "fcn8s.prototxt")
        blobs = caffe_port.random_weights(net, seed=0)
        weights.write(root / "fcn8s.caffemodel", net, blobs)
        caffe_port.save_model(caffe_port.to_onnx(net, blobs), root / "whole.onnx")
        plan = staged_onnx.plan(net, cuts)
        bundle = staged_onnx.export(net, blobs, plan, root / "fcn8s.staged", whole=False)
        for height, width in sizes:
            frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
            x = frame[..., ::-1].astype(np.float32).transpose(2, 0, 1)[None]
            whole = session(root / "whole.onnx").run(None, {"data": x})[0]
            values = {"frame": frame}
            for stage in (*bundle.manifest.stages, bundle.manifest.head):
                s = session(bundle.model_path(stage))
                out = s.run(None, {i.name: values[i.name] for i in s.get_inputs()})
                values.update(zip((o.name for o in s.get_outputs()), out, strict=True))
                del s
            same = np.array_equal(values["labels"], whole.argmax(1)[0])
            carried = {}
            for stage in bundle.manifest.stages:
                for name in stage.outputs:
                    carried[name] = values[name]
            worst = 0.0
            for name, value in carried.items():
                model = caffe_port.to_onnx(net, blobs, [name])
                direct = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
                other = direct.run(None, {"data": x})[0]
                worst = max(worst, float(np.abs(value - other).max() / np.abs(other).max()))
            reader = cv2.dnn.readNetFromCaffe(str(root / "fcn8s.prototxt"), str(root / "fcn8s.caffemodel"))
            reader.setInput(x)
            theirs = reader.forward("score")
            error = float(np.abs(whole - theirs).max() / np.abs(theirs).max())
            print(
                f"{height} x {width}: labels staged == whole: {same}; carried values differ by {worst:.1e}; "
                f"whole against OpenCV {error:.1e}"
            )


if __name__ == "__main__":
    main()
