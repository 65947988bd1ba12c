"""How many published nets convert: every prototxt of a folder is read, converted and run once.

    python benchmarks/corpus.py --prototxts DIR [--json] [--jobs N] [--only TEXT] [--no-run]

A net counts as converted when random weights give an ONNX model that runs (batch 1 where the net allows it)
and whose outputs have the shapes of Caffe's formulas; otherwise it must be refused in one line, and anything
else is a failure. `index.jsonl` in the folder says what each file is (kind, layer types, fields that BVLC's
schema does not know); without it all files form one group. Every file is handled in a worker process with a
limit of memory and time.

The deploy nets whose layer types are all BVLC's are counted twice: all of them, and those without a fork's
field, which BVLC Caffe itself reads; "beyond_bvlc" in the JSON says what makes a file a fork's.

Left-over template variables get the values of DEFINES, and an input picture whose shape the file does not
state (in most training nets) gets PICTURE, so the nets behind them are measured too, and counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

BVLC = frozenset({
    "AbsVal", "ArgMax", "BatchNorm", "BatchReindex", "Bias", "BNLL", "Clip", "Concat", "Convolution",
    "Crop", "Deconvolution", "Dropout", "DummyData", "ELU", "Eltwise", "Embed", "Exp", "Flatten",
    "Im2col", "InnerProduct", "Input", "LRN", "LSTM", "Log", "MVN", "Parameter", "Pooling", "Power",
    "PReLU", "RNN", "Reduction", "ReLU", "Reshape", "SPP", "Scale", "Sigmoid", "Silence", "Slice",
    "Softmax", "Split", "Swish", "TanH", "Threshold", "Tile",
})  # fmt: skip
PICTURE = (1, 3, 224, 224)
DEFINES = {
    "batch_size": "1", "NUM_LABELS": "21", "EXP": "voc12",
    "224X224_1": "224", "224X224_2": "224",
    "cls1x": "21", "cls3x": "63", "cls6x": "126",  # MobileNet-SSD: classes times boxes
}  # fmt: skip
MEMORY = 14 << 30
SKIPPED = (".md", ".jsonl")


# -- in the worker ------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[Any, dict[str, str], dict[str, tuple[int, ...]]]:
    """The net, the values given to template variables, and the shapes given where the file states none.

    Where a given shape leads nowhere the net counts as refused for the shape it does not state.
    """
    from caffe_port.reading.read_net import read_net
    from caffe_port.shapes import infer_shapes
    from weights.errors import ClockworkError

    define: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    first: ClockworkError | None = None
    while True:
        try:
            net = read_net(path, define=define, inputs=shapes)
            if shapes:
                infer_shapes(net)
            return net, define, shapes
        except ClockworkError as error:
            variable = re.search(r"--define (\w+)=", error.hint or "")
            blob = re.search(r"--shape (\S+?)=", error.hint or "")
            if variable is not None and variable.group(1) not in define:
                define[variable.group(1)] = DEFINES.get(variable.group(1), "x")
            elif blob is not None and blob.group(1) not in shapes and is_picture(error):
                first = first or error
                shapes[blob.group(1)] = PICTURE
            else:
                raise first or error from None


def is_picture(error: Any) -> bool:
    """Whether what lacks a shape may be a picture: an input or a data layer's top, HDF5's vectors aside."""
    problem = error.problem.startswith(("a data layer", "missing bottom", "an input", 'input "'))
    return problem and error.layer_type != "HDF5Data"


def one_item(net: Any) -> dict[str, tuple[int, ...]]:
    """Input shapes of batch 1, where the net takes them."""
    from caffe_port.shapes import infer_shapes
    from weights.errors import ClockworkError

    smaller = {i.name: (1, *i.shape[1:]) for i in net.inputs if len(i.shape) == 4 and min(i.shape[2:]) > 1}
    try:
        infer_shapes(net, smaller)
    except ClockworkError:
        return {i.name: i.shape for i in net.inputs}
    return {i.name: smaller.get(i.name, i.shape) for i in net.inputs}


def values_for(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Pictures of noise, regions inside the first picture, zeros for everything else."""
    import numpy as np

    rng = np.random.default_rng(0)
    picture = next((s for s in shapes.values() if len(s) == 4 and min(s[2:]) > 1), (1, 1, 64, 64))
    made = {}
    for name, shape in shapes.items():
        if len(shape) >= 2 and shape[1] == 5 and int(np.prod(shape)) == 5 * shape[0]:
            low = rng.uniform(0, 0.5, (shape[0], 2))
            high = rng.uniform(0.5, 1, (shape[0], 2))
            corners = np.concatenate([low, high], 1) * np.array([*picture[3:1:-1]] * 2)
            made[name] = np.concatenate([np.zeros((shape[0], 1)), corners], 1).reshape(shape)
        elif len(shape) == 4 and min(shape[2:]) > 1:
            made[name] = rng.normal(0, 1, shape)
        else:
            made[name] = np.zeros(shape)
    return {name: array.astype(np.float32) for name, array in made.items()}


def convert(path: Path, run: bool) -> dict[str, Any]:
    """What becomes of one file: status "converted", "refused" or "failed", and why."""
    from caffe_port import random_weights, save_model
    from caffe_port.convert import draft_onnx
    from caffe_port.shapes import infer_shapes
    from weights.errors import ClockworkError

    try:
        net, define, given = read(path)
        inputs = one_item(net)
        shapes = infer_shapes(net, inputs)
        facts: dict[str, Any] = {
            "defined": sorted(define),
            "given": sorted(given),
            "cut": [n for n in net.notes if " cut off" in n],
        }
        draft = draft_onnx(net, random_weights(net), inputs=inputs)
    except ClockworkError as error:
        line = str(error)
        if "\n" in line or not error.file:
            return {"status": "failed", "reason": f"refused badly: {line!r}"}
        return {"status": "refused", "reason": reason(error), "line": line.replace(f"{path}: ", "")}
    if not run:
        return {"status": "converted", **facts}
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        save_model(draft, file)
        del draft
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    read_inputs = {i.name for i in session.get_inputs()}
    feeds = {name: array for name, array in values_for(inputs).items() if name in read_inputs}
    names = [o.name for o in session.get_outputs()]
    for name, array in zip(names, session.run(names, feeds), strict=True):
        if array.shape != shapes[name]:
            found = f"output {name} has shape {array.shape}, Caffe's formulas say {shapes[name]}"
            return {"status": "failed", "reason": found}
    return {"status": "converted", **facts}


def reason(error: Any) -> str:
    """The refusal without what is particular to one file."""
    problem = re.sub(r"^line \d+: ", "", error.problem)
    problem = re.sub(r'shape of ".*?"', "shape", re.sub(r'input ".*?"', "input", problem))
    kind = f" ({error.layer_type})" if error.layer_type else ""
    return f"{problem}{kind}"


def work(run: bool) -> None:
    """Handle the files whose names come in on stdin, one line each; answer with a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        try:
            answer = convert(Path(line.rstrip("\n")), run)
        except Exception as error:  # whatever it is, it is what this script looks for
            answer = {"status": "failed", "reason": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(answer), flush=True)


# -- in the parent ------------------------------------------------------------------------------------------


class Worker:
    """A process that converts files, started again after a crash or a time-out."""

    def __init__(self, run: bool, limit: float) -> None:
        self.command = [sys.executable, __file__, "--worker", *([] if run else ["--no-run"])]
        self.limit = limit
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> dict[str, Any]:
        if self.process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(self.command, text=True, env=env, **pipes)
        assert self.process.stdin is not None and self.process.stdout is not None
        print(path, file=self.process.stdin, flush=True)
        ready, _, _ = select.select([self.process.stdout], [], [], self.limit)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return dict(json.loads(line))
        self.close()
        why = "the process died" if ready else f"no answer in {self.limit:.0f} s"
        return {"status": "failed", "reason": why}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def listed(folder: Path) -> Iterator[dict[str, Any]]:
    """The files of the folder with what its index says of them."""
    index = folder / "index.jsonl"
    if index.exists():
        yield from (json.loads(line) for line in index.read_text().splitlines())
    else:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in SKIPPED:
                yield {"file": str(path.relative_to(folder)), "kind": "net", "types": []}


def beyond_bvlc(entry: dict[str, Any]) -> list[str]:
    """What a file has that BVLC Caffe does not define: layer types and fields."""
    return [*sorted(set(entry["types"]) - BVLC), *sorted(entry.get("unknown_fields", ()))]


def groups(files: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The files by what is claimed of them."""
    deploy = [f for f in files if f["kind"] == "deploy"]
    plain = [f for f in deploy if BVLC.issuperset(f["types"])]
    found = {
        "deploy, BVLC layers": plain,
        "deploy, BVLC layers and fields": [f for f in plain if not beyond_bvlc(f)],
        "deploy, all": deploy,
    }
    for kind in sorted({f["kind"] for f in files} - {"deploy"}):
        found[kind] = [f for f in files if f["kind"] == kind]
    return {name: members for name, members in found.items() if members}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prototxts", type=Path, help="folder of prototxt files")
    parser.add_argument("--only", default="", help="only files whose name holds this text")
    parser.add_argument("--no-run", action="store_true", help="convert only")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time (each may take gigabytes)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a file may take")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(not arguments.no_run)
        return 0
    if arguments.prototxts is None:
        parser.error("--prototxts is needed")
    files = [f for f in listed(arguments.prototxts) if arguments.only in f["file"]]
    workers = [Worker(not arguments.no_run, arguments.limit) for _ in range(arguments.jobs)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def handle(numbered: tuple[int, dict[str, Any]]) -> None:
        number, entry = numbered
        worker = idle.get()
        start = time.perf_counter()
        entry.update(worker(arguments.prototxts / entry["file"]))
        seconds = time.perf_counter() - start
        idle.put(worker)
        print(f"{number}/{len(files)} {seconds:6.1f} s {entry['status']:9} {entry['file']}", file=sys.stderr)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(handle, enumerate(files, 1)))
    for worker in workers:
        worker.close()
    shares = {
        name: {
            "converted": sum(f["status"] == "converted" and not f["given"] for f in members),
            "with a shape given": sum(f["status"] == "converted" and bool(f["given"]) for f in members),
            "files": len(members),
        }
        for name, members in groups(files).items()
    }
    if arguments.json:
        kept = ("file", "kind", "status", "reason", "line", "cut", "defined", "given")
        described = [
            {**{key: f[key] for key in kept if key in f}, "beyond_bvlc": beyond_bvlc(f)} for f in files
        ]
        print(json.dumps({"shares": shares, "files": described}, indent=1))
    else:
        report(files, shares)
    return int(any(f["status"] == "failed" for f in files))


def report(files: list[dict[str, Any]], shares: dict[str, dict[str, int]]) -> None:
    """Print the shares and the reasons of refusals."""
    for name, share in shares.items():
        part, more = (share[key] / share["files"] for key in ("converted", "with a shape given"))
        print(
            f"{name:30} {share['converted']:4} of {share['files']:4} convert: {part:6.1%}; "
            f"{share['with a shape given']} more with a shape given: {more:6.1%}"
        )
    print(f"with values for template variables: {sum(bool(f.get('defined')) for f in files)}")
    for kind in sorted({f["kind"] for f in files}):
        for status in ("refused", "failed"):
            reasons = Counter(f["reason"] for f in files if f["kind"] == kind and f["status"] == status)
            if reasons:
                print(f"\n{status}, {kind}:")
            for text, number in reasons.most_common():
                print(f"{number:5}  {text}")


if __name__ == "__main__":
    sys.exit(main())
