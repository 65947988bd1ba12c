"""Random small nets, by real Caffe and by the port.

    python -m tests.parity.fuzz --caffe CAFFEVENV/bin/python [--nets 300] [--seed 0] [--keep FOLDER]

Each net of `random_nets.py` is run by Caffe (the environment of make_fixtures.py) and by its ONNX model, with
the size fixed and, where it has a picture for an input, with the size left open and another size fed. A net
counts as equal where every shape is the same and max|ONNX - Caffe| / max|Caffe| is at most 1e-5. Nets that
Caffe refuses are not counted; those that the port alone refuses are listed. Exit status 1 where a net differs
or breaks the port.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import caffe_port
import weights
from caffe_port.registry import rule_for
from tests.parity.cases import layer
from tests.parity.random_nets import random_net
from weights.errors import ClockworkError

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
Arrays = dict[str, np.ndarray]


class Caffe:
    """The worker process, started again after a failed CHECK."""

    def __init__(self, python: str) -> None:
        self.command = [python, "-m", "tests.parity.caffe_worker"]
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, job: dict[str, Any]) -> bool:
        """Whether Caffe ran the net of the job."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        if self.process.stdout.readline():
            return True
        self.process.wait()
        self.process = None
        return False


def shape_of(text: str, blob: str) -> tuple[int, ...]:
    """The shape of a blob by the port's rules, () where it refuses the net."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        # A net of inputs alone is none.
        path.write_text(text + layer("Power", blob, "end"), "utf-8")
        try:
            net = caffe_port.read_net(path)
            shapes = caffe_port.infer_shapes(net)
        except ClockworkError:
            return ()
    return shapes[blob]


def session(model: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def differences(model: Any, inputs: Arrays, expected: Arrays) -> list[str]:
    """What is not Caffe's in the outputs of the model."""
    runner = session(model)
    fed = {node.name: inputs[node.name] for node in runner.get_inputs()}
    found = []
    for name, got in zip(expected, runner.run(list(expected), fed), strict=True):
        wanted = expected[name]
        if got.shape != wanted.shape:
            found.append(f"{name}: shape {got.shape}, Caffe's {wanted.shape}")
            continue
        usual = np.isfinite(wanted) & (np.abs(wanted) < 1e30)
        if not np.array_equal(got[~usual], wanted[~usual], equal_nan=True):
            found.append(f"{name}: not Caffe's values beyond all numbers")
        error = np.abs(got[usual].astype(np.float64) - wanted[usual]).max(initial=0)
        error /= max(1e-30, np.abs(wanted[usual]).max(initial=0))
        if not error <= TOLERANCE:
            found.append(f"{name}: relative error {error:.2g}")
    return found


def part(arrays: Any, prefix: str) -> Arrays:
    return {key[len(prefix) :]: arrays[key] for key in arrays.files if key.startswith(prefix)}


def compare(folder: Path) -> list[str]:
    """Every difference between the port and the answer in the folder; raises where the port refuses."""
    net = caffe_port.read_net(folder / "deploy.prototxt")
    stored = folder / "net.caffemodel"
    blobs = weights.read(stored) if stored.exists() else {}
    found = []
    with np.load(folder / "answer.npz") as arrays:
        for prefix in ("", "r"):
            inputs, expected = part(arrays, f"{prefix}i/"), part(arrays, f"{prefix}o/")
            if not expected:
                continue
            shapes = {name: values.shape for name, values in inputs.items()}
            predicted = caffe_port.infer_shapes(net, shapes)
            found += [
                f"{name}: shape rule says {predicted[name]}, Caffe {values.shape}"
                for name, values in expected.items()
                if predicted[name] != values.shape
            ]
            fixed = caffe_port.to_onnx(net, blobs, list(expected), inputs=shapes, fixed=True)
            found += [f"fixed {prefix}: {line}" for line in differences(fixed, inputs, expected)]
            model = caffe_port.to_onnx(net, blobs, list(expected))
            one_size = any(fact.key == "caffe.fixed_size" for fact in model.metadata_props)
            if not one_size:
                found += [f"open {prefix}: {line}" for line in differences(model, inputs, expected)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--caffe", required=True, help="the Python that has Caffe")
    parser.add_argument("--nets", type=int, default=300, help="nets that Caffe runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the nets that differ or that the port refuses")
    options = parser.parse_args()
    caffe = Caffe(options.caffe)
    count: Counter[str] = Counter()
    types: Counter[str] = Counter()
    seed = options.seed
    while count["run by Caffe"] < options.nets:
        seed += 1
        rng = np.random.default_rng(seed)
        text, feeds = random_net(rng, shape_of)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "deploy.prototxt").write_text(text, "utf-8")
            job: dict[str, Any] = {"folder": scratch, "feeds": feeds, "seed": seed, "resized": {}}
            if not caffe(job):
                count["refused by Caffe"] += 1
                if shape_of(text, text.rsplit('top: "', 1)[1].split('"')[0]):
                    count["refused by Caffe alone"] += 1
                    print(f"{seed}: refused by Caffe alone")
                continue
            with np.load(folder / "answer.npz") as arrays:
                if not all(np.abs(arrays[key]).max(initial=0) < 1e30 for key in arrays.files):
                    # Windows of nothing, logarithms of 0: what follows them depends on the BLAS.
                    count["no numbers"] += 1
                    continue
                count["run by Caffe"] += 1
                picture = arrays["i/data"].shape if "i/data" in arrays.files else ()
            if list(feeds) == ["data"] and len(picture) == 4:
                # A failed CHECK at the other size leaves the first answer as it is.
                job["resized"] = {"data": [*picture[:2], *(n + int(rng.integers(1, 6)) for n in picture[2:])]}
                count["run at two sizes"] += caffe(job)
            try:
                found = compare(folder)
            except ClockworkError as error:
                found = []
                count["refused by the port alone"] += 1
                print(f"{seed}: refused: {str(error).replace(str(folder), '')}")
            except Exception as error:  # whatever it is, it is what this script looks for
                found = [f"{type(error).__name__}: {str(error)[:300]}"]
            for line in found:
                print(f"{seed}: {line}")
            count["different"] += bool(found)
            try:
                net = caffe_port.read_net(folder / "deploy.prototxt")
                types.update({layer.type for layer in net.layers if rule_for(layer, net)})
            except ClockworkError:
                pass
            if options.keep and found:
                shutil.copytree(folder, options.keep / str(seed), dirs_exist_ok=True)
    print(dict(count))
    print(dict(types.most_common()))
    return int(bool(count["different"]))


if __name__ == "__main__":
    sys.exit(main())
