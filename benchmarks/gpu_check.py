"""One call that says whether bundles run rightly and well on a GPU.

It settles what stub libraries and documented semantics can only predict (docs/devices.md): numbers of single
operators whose CUDA kernels differ from the CPU's, every parity reference in fp32 and fp16, every carried
value and every schedule's labels of bundles, copies and nodes on the CPU, speed on one stream, with captured
graphs and channels last, and memory over many schedules. Each line is printed when it is known, with what was
predicted.

    python benchmarks/gpu_check.py [--device cuda] [--only ITEM] [--model NET.staged] [--full] [--json FILE]

`--full` adds an FCN-8s with random weights at 500 x 500. Exit status 1 where a check fails. `--device cpu`
runs what a CPU can, to test the script itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

import caffe_port
import runtime
import staged_onnx
import weights
from caffe_port.nets import fcn8s
from caffe_port.onnx_graph import OnnxGraph
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from runtime.measure.bench import bench
from runtime.sessions.device import Device, choose_device
from runtime.sessions.memory import allocate, download, upload
from runtime.sessions.session import Session
from runtime.sessions.stage_sessions import StageSessions
from staged_onnx import Bundle, read_bundle
from weights.errors import ClockworkError, DeviceError

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2}
"""Greatest max|difference| / max|reference|; TF32 is off in fp32."""
LABELS = {"fp32": 0.999, "fp16": 0.98}
"""Share of the pixels whose labels must be the CPU's."""
SCHEDULES = (
    "skip:2", "alternating", "exponential", "pipeline:2", "pipeline:3", "adaptive:0.1", "warp:4",
    "warp-feature:4", "correct:4", "warp:4@fuse", "between:4",
)  # fmt: skip
SMALL = 1 << 22
"""Elements of a reference's largest array up to which it is run."""


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, whether it is right, what was found, and what was predicted."""

    item: str
    what: str
    right: bool
    found: str
    predicted: str = ""


Findings = Iterator[Finding]


def run_graph(model: onnx.ModelProto, inputs: dict[str, np.ndarray], device: Device) -> dict[str, np.ndarray]:
    """All outputs of a graph in the device's precision, on the host as float64."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        onnx.save(model, file)
        shapes = {name: array.shape for name, array in inputs.items()}
        with closing(Session(file, device, shapes, name="net")) as session:
            given = {}
            for name, port in session.inputs.items():
                given[name] = allocate(shapes[name], port.dtype, device)
                upload(inputs[name].astype(port.dtype), given[name], device)
            sizes = session.output_shapes(given)
            made = {n: allocate(sizes[n], p.dtype, device) for n, p in session.outputs.items()}
            session.run(session.bind(given, made))
            found = {n: download(made[n], p.dtype, device) for n, p in session.outputs.items()}
    return {name: array.astype(np.float64) for name, array in found.items()}


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|found - expected| / max|expected| over numbers of an ordinary size."""
    ordinary = np.isfinite(expected) & (np.abs(expected) < 1e30)
    difference = np.abs(found[ordinary] - expected[ordinary])
    return float(difference.max(initial=0.0) / max(1e-30, np.abs(expected[ordinary]).max(initial=0.0)))


def operators(device: Device, options: argparse.Namespace) -> Findings:
    """Operators whose CUDA kernels are known to differ, or were never seen to run."""
    rng = np.random.default_rng(0)

    def one(what: str, predicted: str, build: Callable[[OnnxGraph, str], str], x: np.ndarray, at: Device):
        g = OnnxGraph()
        g.output(build(g, g.input("x", x.shape)), "y", ["a", "b", "c", "d"][: max(1, x.ndim)])
        model = g.model(what)
        try:
            got = run_graph(model, {"x": x}, at)["y"]
        except ClockworkError as error:
            return Finding("operators", what, False, str(error), predicted)
        expected = run_graph(model, {"x": x}, choose_device("cpu"))["y"]
        error = relative_error(got, expected)
        return Finding("operators", what, error <= TOLERANCE[at.precision], f"{error:.1e}", predicted)

    x = rng.standard_normal((1, 4, 9, 9)).astype(np.float32)
    pooled = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    yield one(
        "AveragePool, ragged border, without padding", "as on the CPU (E1)",
        lambda g, v: g.node("AveragePool", v, **pooled, count_include_pad=0), x, device,
    )  # fmt: skip
    yield one(
        "AveragePool, ragged border, counting padding", "2/3 in the last row, so not emitted (E1)",
        lambda g, v: g.node("AveragePool", v, **pooled, count_include_pad=1, pads=[1, 1, 1, 1]), x, device,
    )  # fmt: skip
    half = replace(device, precision="fp16")
    large = np.full((1, 8, 256, 256), 500, np.float32)
    yield one(
        "ReduceMean over a map, fp16", "exact, since it is made in fp32 (E2)",
        lambda g, v: g.node("ReduceMean", v, axes=[2, 3], keepdims=1), large, half,
    )  # fmt: skip
    ties = rng.integers(0, 3, (1, 8, 16, 16)).astype(np.float32)
    for name, axis, perm in (("channels", 1, None), ("the last axis", 3, [0, 2, 3, 1])):
        yield one(
            f"ArgMax over {name}, with ties", "the first of equals" + (" perhaps (E10)" if axis == 1 else ""),
            lambda g, v, axis=axis, perm=perm: g.node(
                "Cast",
                g.node("ArgMax", g.node("Transpose", v, perm=perm) if perm else v, axis=axis, keepdims=1),
                to=TensorProto.FLOAT,
            ), ties, device,
        )  # fmt: skip
    weight = rng.standard_normal((4, 1, 4, 4)).astype(np.float32)
    yield one(
        "ConvTranspose in groups, with a bias", "as on the CPU",
        lambda g, v: g.node(
            "ConvTranspose", v, g.const(weight), g.const(np.ones(4, np.float32)), group=4, strides=[2, 2]
        ), x, device,
    )  # fmt: skip


def parity(device: Device, options: argparse.Namespace) -> Findings:
    """Every reference that Caffe or a fork's formula gave, as the tests have them."""
    references = sorted([*PARITY.glob("layers/*/reference*.h5"), *PARITY.glob("forks/*/reference*.h5")])
    for precision in ("fp32", "fp16"):
        at, worst, bad, count = replace(device, precision=precision), ("", 0.0), [], 0
        for reference in references:
            try:
                error = reference_error(reference, at)
            except (ClockworkError, KeyError, ValueError) as problem:
                bad.append(f"{reference.parent.name}: {problem}"[:160])
                continue
            if error is None:
                continue
            count += 1
            worst = max(worst, (reference.parent.name, error), key=lambda pair: pair[1])
            if error > TOLERANCE[precision]:
                bad.append(f"{reference.parent.name} {error:.1e}")
        found = f"{count - len(bad)} of {count} right, worst {worst[0]} {worst[1]:.1e}"
        said = f"; not: {', '.join(bad[:12])}" if bad else ""
        yield Finding("parity", f"references, {precision}", not bad, found + said, "all but MaxRoiPool")


def reference_error(reference: Path, device: Device) -> float | None:
    """The greatest error of a reference's outputs; None where it is too large for here."""
    folder = reference.parent
    with h5py.File(reference) as file:
        inputs = {name: np.asarray(blob[()]) for name, blob in file["inputs"].items()}
        expected = {name: np.asarray(blob[()]) for name, blob in file["outputs"].items()}
        stages = tuple(filter(None, file.attrs.get("stages", b"").decode().split(",")))
    if max(array.size for array in (*inputs.values(), *expected.values())) > SMALL:
        return None
    net = caffe_port.read_net(folder / "deploy.prototxt", stages=stages)
    stored = sorted(folder.glob("net.caffemodel*"))
    shapes = {name: values.shape for name, values in inputs.items()}
    blobs = weights.read(stored[0]) if stored else {}
    model = caffe_port.to_onnx(net, blobs, outputs=list(expected), inputs=shapes, fixed=True)
    used = {value.name for value in model.graph.input}
    found = run_graph(model, {name: array for name, array in inputs.items() if name in used}, device)
    return max(relative_error(found[name], array.astype(np.float64)) for name, array in expected.items())


def every_value(bundle: Bundle, device: Device, frame: np.ndarray) -> dict[str, np.ndarray]:
    """Every carried value and the labels of one full pass, on the host."""
    with closing(StageSessions(bundle, device, frame.shape[:2])) as parts:
        shapes = {**parts.values, "labels": parts.result}
        buffers = {name: allocate(v.shape, v.dtype, device) for name, v in shapes.items()}
        upload(frame, buffers["frame"], device)
        for part in (*parts.stages, parts.head):
            given = {name: buffers[name] for name in part.spec.inputs}
            part.session.run(part.session.bind(given, {n: buffers[n] for n in part.spec.outputs}))
        return {n: download(b, shapes[n].dtype, device) for n, b in buffers.items() if n != "frame"}


def values(device: Device, options: argparse.Namespace) -> Findings:
    """Carried values and labels against the CPU, in fp32 and fp16, and every schedule's labels."""
    for bundle, frames in bundles(options):
        name = bundle.manifest.name
        expected = every_value(bundle, choose_device("cpu"), frames[0])
        for precision in ("fp32", "fp16"):
            found = every_value(bundle, replace(device, precision=precision), frames[0])
            same = float((found.pop("labels") == expected["labels"]).mean())
            errors = {n: relative_error(v.astype(np.float64), expected[n]) for n, v in found.items()}
            worst = max(errors, key=lambda value: errors[value])
            right = errors[worst] <= 10 * TOLERANCE[precision] and same >= LABELS[precision]
            text = f"{worst} {errors[worst]:.1e}, labels equal on {same:.4%}"
            yield Finding("values", f"{name}, {precision}", right, text)
        for schedule in SCHEDULES:
            if schedule.startswith("pipeline:") and int(schedule[-1]) > len(bundle.manifest.stages):
                continue
            played = [list(labels_of(bundle, each, schedule, frames[:12])) for each in (str(device), "cpu")]
            same = float(np.mean([(a == b).mean() for a, b in zip(*played, strict=True)]))
            yield Finding("values", f"{name}, {schedule}", same >= LABELS["fp32"], f"labels equal {same:.4%}")


def labels_of(
    bundle: Bundle, device: str, schedule: str, frames: list[np.ndarray], **more: object
) -> Iterator[np.ndarray]:
    with runtime.open(bundle.path, device=device, schedule=schedule, **more) as player:
        yield from (step.labels for step in player.play(frames))


def speed(device: Device, options: argparse.Namespace) -> Findings:
    """Milliseconds per frame and ratios to the oracle, interleaved; the device's ways against each other."""
    ways = {"one stream": device}
    if device.stream is not None:
        ways["a stream per session"] = replace(device, stream=None)
        ways["captured graphs"] = replace(device, graphs=True)
        ways["channels last"] = replace(device, options={**device.options, "prefer_nhwc": "1"})
    ways["fp16"] = replace(device, precision="fp16")
    for bundle, frames in bundles(options):
        for name, way in ways.items():
            try:
                found = bench(bundle, way, ("oracle", "alternating", "skip:4", "warp:4"), frames=frames[:8])
            except ClockworkError as error:
                yield Finding("speed", f"{bundle.manifest.name}, {name}", False, str(error))
                continue
            rows = ", ".join(
                f"{row.schedule} {row.frame.median:.2f} ms {row.measured:.2f} (predicted {row.predicted:.2f})"
                for row in found.schedules
                if not row.overlap
            )
            whole = f"whole net {found.whole.median:.2f} ms, " if found.whole is not None else ""
            on_cpu = Counter(found.cpu_nodes)
            copies = f"; copies of features {found.host_copies:g}" if found.host_copies else ""
            text = f"{whole}{rows}; on the CPU {dict(on_cpu) or 'nothing'}{copies}"
            yield Finding("speed", f"{bundle.manifest.name}, {name}", not found.host_copies, text)


def memory(device: Device, options: argparse.Namespace) -> Findings:
    """GPU memory over forty changes of the schedule."""
    every, used = bundles(options), []
    bundle, frames = next(every)
    with runtime.open(bundle.path, device=str(device)) as player:
        for _ in range(10):
            for schedule in ("oracle", "pipeline:2", "adaptive:0.1", "warp:2"):
                player.reset(schedule)
                for _ in player.play(frames[:6]):
                    pass
            used.append(gpu_memory())
    grown = used[-1] - used[2]
    yield Finding("memory", "after 10 rounds of 4 schedules", grown <= 2, f"{used} MiB", "flat (E7)")


ITEMS: dict[str, Callable[[Device, argparse.Namespace], Findings]] = {
    "operators": operators,
    "parity": parity,
    "values": values,
    "speed": speed,
    "memory": memory,
}


def bundles(options: argparse.Namespace) -> Iterator[tuple[Bundle, list[np.ndarray]]]:
    """The bundles to check, each with frames."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        yield embedded_bundle(root / "shapes.staged"), list(shapes_shot(7, frames=24, speed="fast").frames)
        rng = np.random.default_rng(0)
        for path in options.model:
            bundle = read_bundle(path)
            size = bundle.manifest.reference_size
            yield bundle, [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(12)]
        if options.full:
            (root / "fcn8s.prototxt").write_text(fcn8s(21), "utf-8")
            net = caffe_port.read_net(root / "fcn8s.prototxt")
            plan = staged_onnx.plan(net, ["pool3", "pool4", "upscore2"])
            made = staged_onnx.export(net, caffe_port.random_weights(net), plan, root / "fcn8s.staged")
            yield made, [rng.integers(0, 256, (500, 500, 3), np.uint8) for _ in range(12)]


def gpu(query: str) -> str:
    """What the driver says, or "unknown"."""
    try:
        asked = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def gpu_memory() -> int:
    """MiB in use on the first GPU; 0 where the driver does not say."""
    said = gpu("memory.used")
    return int(said) if said.isdecimal() else 0


def main() -> int:
    """Check, print each finding as it comes, return 1 where one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", action="append", choices=sorted(ITEMS), help="these items alone")
    parser.add_argument(
        "--model", action="append", default=[], metavar="BUNDLE", help="a bundle to check, too"
    )
    parser.add_argument("--full", action="store_true", help="also FCN-8s at 500 x 500, random weights")
    parser.add_argument("--json", metavar="FILE", help="write the findings there as JSON")
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except DeviceError as error:
        parser.exit(2, f"gpu_check: {error}\n")
    where = gpu("name,driver_version") if device.kind == "cuda" else "CPU"
    print(
        f"{where}; ONNX Runtime {ort.__version__}; {device.reason}; one stream: {device.stream is not None}"
    )
    found = []
    for name in options.only or ITEMS:
        began = time.perf_counter()
        for finding in ITEMS[name](device, options):
            found.append(finding)
            mark = "right" if finding.right else "WRONG"
            said = f" (predicted: {finding.predicted})" if finding.predicted else ""
            print(f"{mark}  {finding.item}: {finding.what}: {finding.found}{said}", flush=True)
        print(f"       {name}: {time.perf_counter() - began:.0f} s", flush=True)
    if options.json:
        document = {"gpu": where, "onnxruntime": ort.__version__, "findings": [asdict(f) for f in found]}
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return int(not all(finding.right for finding in found))


if __name__ == "__main__":
    sys.exit(main())
