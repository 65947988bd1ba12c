"""One call that says whether bundles run rightly and well on a GPU.

For the embedded shapes net and, with --full, a full-size FCN-8s with random weights at 500 x 500:
parity of every carried value and of the labels with the CPU; which nodes did not run on the GPU; host copies
of features in the profile; milliseconds of each stage; for each schedule, also those that move values along
the optical flow, how many labels equal the CPU's, throughput and latency as ratios to the oracle's.

    python benchmarks/gpu_check.py [--device cuda] [--precision fp32] [--full] [--json]

Exit status 1 where a check fails: a value off by more than 1e-3 of its largest (fp32), labels that differ on
more than 0.1 % of the pixels, a node on features that ran on the CPU, or a feature copied to the host.
`--device cpu` runs the whole script on the CPU, to test the script itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime as ort

import caffe_port
import runtime
import staged_onnx
from caffe_port.nets import fcn8s
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from runtime.sessions.device import Device, choose_device
from runtime.sessions.memory import allocate
from runtime.sessions.stage_sessions import StageSessions
from staged_onnx import Bundle
from weights.errors import DeviceError

TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 5e-2}
SCHEDULES = (
    "skip:2", "alternating", "exponential", "pipeline:2", "pipeline:3", "adaptive:0.1", "warp:4",
    "warp-feature:4", "correct:4",
)  # fmt: skip
COMPARED = 8
"""Frames of each schedule that the CPU plays, too."""
LIGHT = {"Shape", "Gather", "Concat", "Slice", "Add", "Cast", "Constant", "Unsqueeze", "Squeeze", "Identity"}


@dataclass
class Result:
    """What was found for one bundle."""

    bundle: str
    device: str
    size: tuple[int, int]
    worst_value: tuple[str, float] = ("", 0.0)
    labels_equal: float = 0.0
    on_cpu: dict[str, int] = field(default_factory=dict)
    host_copies: dict[str, int] = field(default_factory=dict)
    stage_ms: dict[str, float] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    schedule_labels_equal: dict[str, float] = field(default_factory=dict)
    frames_per_second: float = 0.0
    problems: list[str] = field(default_factory=list)


def run_once(parts: StageSessions, frame: np.ndarray) -> dict[str, np.ndarray]:
    """Every carried value and the labels of one full pass, on the host."""
    buffers = {name: allocate(v.shape, v.dtype, parts.device) for name, v in parts.values.items()}
    buffers["frame"].update_inplace(frame)
    labels = np.zeros(frame.shape[:2], np.uint8)
    buffers["labels"] = ort.OrtValue.ortvalue_from_numpy(labels, "cpu", 0)
    for part in (*parts.stages, parts.head):
        outputs = ("labels",) if part is parts.head else part.spec.outputs
        binding = part.session.bind(
            {n: buffers[n] for n in part.spec.inputs}, {n: buffers[n] for n in outputs}
        )
        part.session.run(binding)
    return {name: value.numpy().copy() for name, value in buffers.items() if name != "frame"}


def placements(
    bundle: Bundle, device: Device, frame: np.ndarray, folder: Path
) -> tuple[Counter[str], Counter[str]]:
    """Nodes that ran on the CPU and host copies, by operator, from ONNX Runtime's own profile of one pass."""
    on_cpu: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    with closing(StageSessions(bundle, device, frame.shape[:2], profile=str(folder / "profile"))) as parts:
        run_once(parts, frame)
        for part in (*parts.stages, parts.head):
            events = json.loads(Path(part.session.end_profile()).read_text("utf-8"))
            for event in events:
                operator = event.get("args", {}).get("op_name", "")
                if event.get("cat") != "Node" or not event.get("name", "").endswith("_kernel_time"):
                    continue
                if operator.startswith("Memcpy"):
                    copies[f"{part.spec.name}: {operator}"] += 1
                elif event["args"].get("provider") == "CPUExecutionProvider":
                    on_cpu[operator] += 1
    return on_cpu, copies


def play(
    bundle: Bundle, device: Device, frames: list[np.ndarray], schedule: str
) -> tuple[list[runtime.Step], float]:
    """Steps and seconds of a run after a warm-up."""
    name = f"cuda:{device.index}" if device.kind == "cuda" else "cpu"
    with runtime.open(bundle.path, device=name, schedule=schedule, precision=device.precision) as player:
        list(player.play(frames[:4]))
        player.reset()
        start = perf_counter()
        steps = list(player.play(frames))
        return steps, perf_counter() - start


def check(bundle: Bundle, device: Device, frames: list[np.ndarray]) -> Result:
    """All checks of one bundle."""
    size = frames[0].shape[:2]
    result = Result(bundle.manifest.name, str(device), size)
    cpu = choose_device("cpu")
    with (
        closing(StageSessions(bundle, cpu, size)) as reference,
        closing(StageSessions(bundle, device, size)) as tested,
    ):
        expected, got = run_once(reference, frames[0]), run_once(tested, frames[0])
    labels, wanted = got.pop("labels"), expected.pop("labels")
    result.labels_equal = float((labels == wanted).mean())
    errors = {
        n: float(np.abs(got[n].astype(np.float32) - v).max() / max(1e-30, np.abs(v).max()))
        for n, v in expected.items()
    }
    result.worst_value = max(errors.items(), key=lambda item: item[1])
    with tempfile.TemporaryDirectory() as folder:
        on_cpu, copies = placements(bundle, device, frames[0], Path(folder))
    result.on_cpu, result.host_copies = dict(on_cpu), dict(copies)
    steps, seconds = play(bundle, device, frames, "oracle")
    result.frames_per_second = len(frames) / seconds
    result.stage_ms = {
        name: median(step.ms[name] for step in steps if name in step.ms) for name in steps[0].ms
    }
    stages = len(bundle.manifest.stages)
    for schedule in SCHEDULES:
        if schedule.startswith("pipeline:") and int(schedule[-1]) > stages:
            continue
        played, took = play(bundle, device, frames, schedule)
        result.throughput[schedule] = seconds / took
        result.latency[schedule] = median(s.ms["total"] for s in played) / median(
            s.ms["total"] for s in steps
        )
        other, _ = play(bundle, cpu, frames[:COMPARED], schedule)
        result.schedule_labels_equal[schedule] = float(
            np.mean([(a.labels == b.labels).mean() for a, b in zip(played, other, strict=False)])
        )
    limit = TOLERANCE[device.precision]
    if result.worst_value[1] > limit:
        result.problems.append(
            f"{result.worst_value[0]} differs by {result.worst_value[1]:.1e} (limit {limit:g})"
        )
    for what, equal in {"one pass": result.labels_equal, **result.schedule_labels_equal}.items():
        if equal < (0.999 if device.precision == "fp32" else 0.98):
            result.problems.append(f"{what}: labels equal on {equal:.3%} of the pixels only")
    if device.kind == "cuda":
        heavy = sorted(set(on_cpu) - LIGHT)
        if heavy:
            result.problems.append(f"on the CPU: {', '.join(heavy)}")
        if copies:
            result.problems.append(f"host copies: {sum(copies.values())}")
    return result


@contextmanager
def bundles(full: bool) -> Iterator[list[tuple[Bundle, list[np.ndarray]]]]:
    """The bundles to check, each with frames."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = [
            (embedded_bundle(root / "shapes.staged"), list(shapes_shot(7, frames=60, speed="fast").frames))
        ]
        if full:
            (root / "fcn8s.prototxt").write_text(fcn8s(21), "utf-8")
            net = caffe_port.read_net(root / "fcn8s.prototxt")
            plan = staged_onnx.plan(net, ["pool3", "pool4", "upscore2"])
            bundle = staged_onnx.export(
                net, caffe_port.random_weights(net), plan, root / "fcn8s.staged", whole=False
            )
            rng = np.random.default_rng(0)
            found.append((bundle, [rng.integers(0, 256, (500, 500, 3), np.uint8) for _ in range(24)]))
        yield found


def gpu_name() -> str:
    """The GPU's name as the driver tells it."""
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> int:
    """Check, print a table, return 1 where a check failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="fp32", choices=sorted(TOLERANCE))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        device = choose_device(options.device, precision=options.precision)
    except DeviceError as error:
        parser.exit(2, f"gpu_check: {error}\n")
    with bundles(options.full) as found:
        results = [check(bundle, device, frames) for bundle, frames in found]
    name = gpu_name() if device.kind == "cuda" else "CPU"
    if options.json:
        data = {"gpu": name, "onnxruntime": ort.__version__, "precision": device.precision}
        print(json.dumps({**data, "results": [asdict(r) for r in results]}, indent=1))
        return int(any(r.problems for r in results))
    print(f"{name}; ONNX Runtime {ort.__version__}; {device.precision}")
    for r in results:
        print(f"\n{r.bundle}, {r.size[0]} x {r.size[1]}, on {r.device}")
        print(
            f"  parity       worst value {r.worst_value[0]} {r.worst_value[1]:.1e}; "
            f"labels equal {r.labels_equal:.4%}"
        )
        print(f"  on the CPU   {', '.join(f'{k} {v}' for k, v in r.on_cpu.items()) or 'nothing'}")
        print(f"  host copies  {', '.join(f'{k} {v}' for k, v in r.host_copies.items()) or 'none'}")
        print("  median ms    " + ", ".join(f"{k} {v:.2f}" for k, v in r.stage_ms.items()))
        print(
            f"  oracle       {r.frames_per_second:.1f} frames/s; throughput and latency against it, labels:"
        )
        for schedule, throughput in r.throughput.items():
            print(
                f"    {schedule:14} {throughput:5.2f}x {r.latency[schedule]:5.0%} "
                f"{r.schedule_labels_equal[schedule]:.4%}"
            )
        for problem in r.problems:
            print(f"  FAILED       {problem}")
    print("\nall checks passed" if not any(r.problems for r in results) else "\nchecks FAILED")
    return int(any(r.problems for r in results))


if __name__ == "__main__":
    sys.exit(main())
