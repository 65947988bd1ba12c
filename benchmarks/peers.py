"""Plain `.onnx` nets on the CPU: this package's passes against ONNX Runtime by itself and against its peers.

For each net the port is written as one plain model of fixed size, and everyone who can read it runs it:
ONNX Runtime as it comes, the same with our passes, OpenCV's dnn, MNN and OpenVINO. Each has a process of its
own, and they take turns, so that a busy machine slows all of them; what counts is the median of the ratios to
plain ONNX Runtime within a turn, in time and in the processor's time (which with one thread, where nobody
spins, hardly feels what else runs). The error is the largest difference from plain ONNX Runtime's output over
that output's largest number; that output is Caffe's to 1e-6 (tests/parity).

    python -m benchmarks.peers NAME=PROTOTXT[,WEIGHTS][@HxW] ... [--threads 2] [--rounds 5] [--json FILE]

Without WEIGHTS random ones are made from the fillers. Needs the extra [peers]; who is not installed, or
cannot read a net, is said.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

Run = Callable[[], np.ndarray]
OURS = {"live region": "live-region", "all passes": "auto"}
CONTESTANTS = ("ONNX Runtime", *OURS, "OpenCV", "MNN", "OpenVINO")


# -- the contestants, each in a process of its own -------------------------------------------------------


def with_onnxruntime(model: Path, data: np.ndarray, threads: int) -> Run:
    """ONNX Runtime as it comes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: data})[0]


def with_passes(model: Path, data: np.ndarray, threads: int, passes: str) -> Run:
    """ONNX Runtime on the graph after passes, opened as the player opens a stage."""
    from runtime.sessions.device import choose_device
    from runtime.sessions.graph_files import read_dims
    from runtime.sessions.memory import allocate
    from runtime.sessions.session import Session

    (name,) = read_dims(model)
    device = choose_device("cpu", threads=threads, spin=True, passes=passes)
    session = Session(model, device, {name: data.shape}, borders={})
    (output,) = session.outputs.values()
    source = allocate(data.shape, np.float32, device)
    source.update_inplace(data)
    result = allocate(output.shape or session.output_shapes({name: source})[output.name], np.float32, device)
    binding = session.bind({name: source}, {output.name: result})

    def run() -> np.ndarray:
        session.run(binding)
        return result.numpy()

    return run


def with_opencv(model: Path, data: np.ndarray, threads: int) -> Run:
    """OpenCV's dnn module."""
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(str(model))

    def run() -> np.ndarray:
        net.setInput(data)
        return net.forward()

    return run


def with_mnn(model: Path, data: np.ndarray, threads: int) -> Run:
    """MNN, on its own format, which its converter writes."""
    import MNN

    own = model.with_suffix(".mnn")
    convert = [sys.executable, "-c", "from MNN.tools import mnnconvert; mnnconvert.main()"]
    subprocess.run(
        [*convert, "-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(own), "--bizCode", "peers"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    interpreter = MNN.Interpreter(str(own))
    session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
    source = interpreter.getSessionInput(session)
    given = MNN.Tensor(data.shape, MNN.Halide_Type_Float, data, MNN.Tensor_DimensionType_Caffe)
    target = interpreter.getSessionOutput(session)
    shape = target.getShape()
    taken = MNN.Tensor(
        shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe
    )

    def run() -> np.ndarray:
        source.copyFrom(given)
        interpreter.runSession(session)
        target.copyToHostTensor(taken)
        return np.array(taken.getNumpyData(), copy=False).reshape(shape)

    return run


def with_openvino(model: Path, data: np.ndarray, threads: int) -> Run:
    """OpenVINO, told to compute in float32."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer([data])[compiled.output(0)]


def opened(name: str, model: Path, data: np.ndarray, threads: int) -> Run:
    """The contestant of this name, ready to run."""
    if name in OURS:
        return with_passes(model, data, threads, OURS[name])
    others = {
        "ONNX Runtime": with_onnxruntime,
        "OpenCV": with_opencv,
        "MNN": with_mnn,
        "OpenVINO": with_openvino,
    }
    return others[name](model, data, threads)


def work(name: str, folder: Path, threads: int) -> None:
    """Answer each line on standard input with the time of one run; first with that of opening."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some of them talk on standard output
    data = np.load(folder / "input.npy")
    began = time.perf_counter()
    run = opened(name, folder / "net.onnx", data, threads)
    seconds = time.perf_counter() - began
    np.save(folder / f"{CONTESTANTS.index(name)}.npy", run())
    print(json.dumps({"opening": seconds}), file=answers, flush=True)
    for _ in sys.stdin:
        began, worked = time.perf_counter(), time.process_time()
        run()
        ms, cpu = (time.perf_counter() - began) * 1e3, (time.process_time() - worked) * 1e3
        print(json.dumps({"ms": ms, "cpu": cpu, "MiB": peak_memory()}), file=answers, flush=True)


def peak_memory() -> float:
    """The most memory that this process has had, in MiB."""
    status = Path("/proc/self/status")  # what getrusage says begins with the parent's
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- one net ----------------------------------------------------------------------------------------------


def write_net(text: str, folder: Path) -> tuple[str, tuple[int, ...]]:
    """Port a net given as NAME=PROTOTXT[,WEIGHTS][@HxW]; write its model and a random input."""
    import caffe_port
    import weights

    name, _, rest = text.partition("=")
    rest, _, size = rest.partition("@")
    prototxt, _, stored = rest.partition(",")
    net = caffe_port.read_net(prototxt)
    blobs = weights.read(stored) if stored else caffe_port.random_weights(net, seed=0)
    first = net.inputs[0]
    height, width = map(int, size.split("x")) if size else first.shape[2:]
    shape = (1, first.shape[1], height, width)
    model = caffe_port.to_onnx(net, blobs, inputs={first.name: shape}, fixed=True, outputs=[net.outputs[-1]])
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    data = np.random.default_rng(0).uniform(-120, 120, shape).astype(np.float32)
    np.save(folder / "input.npy", data)
    return name, shape


def compare(text: str, threads: int, rounds: int, names: list[str]) -> dict[str, Any]:
    """Times, errors and memory of all contestants on one net."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        net, shape = write_net(text, folder)
        workers: dict[str, subprocess.Popen[str]] = {}
        found: dict[str, dict[str, Any]] = {}
        missing: dict[str, str] = {}
        for name in names:
            command = [sys.executable, "-m", "benchmarks.peers", "--work", name, str(folder), str(threads)]
            log = folder / "log"
            with log.open("w") as errors:
                workers[name] = subprocess.Popen(
                    command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
                )
            answer = workers[name].stdout.readline()  # type: ignore[union-attr]
            if answer:
                found[name] = {"opening": json.loads(answer)["opening"], "ms": [], "cpu": []}
            else:
                workers.pop(name).wait()
                missing[name] = (log.read_text(errors="replace").strip().splitlines() or ["it ended"])[-1]
        for _ in range(rounds):
            for name, worker in workers.items():
                print("run", file=worker.stdin, flush=True)
                answer = json.loads(worker.stdout.readline())  # type: ignore[union-attr]
                found[name]["ms"].append(answer["ms"])
                found[name]["cpu"].append(answer["cpu"])
                found[name]["MiB"] = answer["MiB"]
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait()
        plain, worked = found["ONNX Runtime"]["ms"], found["ONNX Runtime"]["cpu"]
        expected = np.load(folder / "0.npy").astype(np.float64)
        for name, one in found.items():
            got = np.load(folder / f"{CONTESTANTS.index(name)}.npy").reshape(expected.shape)
            one["ratio"] = median(a / b for a, b in zip(one["ms"], plain, strict=True))
            one["error"] = float(np.abs(got - expected).max() / np.abs(expected).max())
            one["cpu"] = median(a / b for a, b in zip(one["cpu"], worked, strict=True))
            one["ms"] = median(one["ms"])
    return {"net": net, "shape": list(shape), "threads": threads, "contestants": found, "missing": missing}


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    import platform

    return platform.processor() or "an unnamed processor"


def main() -> None:
    """Print one table per net."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("nets", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="contestants, with commas between them")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = [n for n in CONTESTANTS if not asked.only or n == CONTESTANTS[0] or n in asked.only.split(";")]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"{cpu_name()}, {os.cpu_count()} cores, {asked.threads} threads; load {load:.1f} at the start")
    results = []
    for text in asked.nets:
        one = compare(text, asked.threads, asked.rounds, names)
        results.append(one)
        print(f"\n{one['net']} {'x'.join(map(str, one['shape']))}", flush=True)
        print(f"{'':24}{'ms':>9}{'ratio':>8}{'cpu':>8}{'error':>10}{'MiB':>8}{'opening':>9}")
        for name, f in one["contestants"].items():
            times = f"{f['ms']:9.1f}{f['ratio']:8.2f}{f['cpu']:8.2f}"
            print(f"{name:24}{times}{f['error']:10.1e}{f['MiB']:8.0f}{f['opening']:8.1f}s", flush=True)
        for name, why in one["missing"].items():
            print(f"{name} could not run it: {why[:160]}")
    if asked.json:
        asked.json.write_text(json.dumps({"cpu": cpu_name(), "nets": results}, indent=1))


if __name__ == "__main__":
    main()
