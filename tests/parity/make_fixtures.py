"""Run the parity cases by real Caffe and keep what it answers.

For every case of `layer_cases.py` and `net_cases.py` this writes `layers/NAME/`: `deploy.prototxt`,
`net.caffemodel` (where the net has weights; `net.caffemodel.h5` for the HDF5 cases) and `reference.h5`
with `inputs/BLOB` and `outputs/BLOB`; and `reference_resized.h5`, the same net and weights on inputs of
another size, where the case asks for it.

The Caffe is the PyPI package kendryte-caffe, a CPU build of BVLC Caffe 1.0 with the layers of
crnn.caffe (Permute, Reverse, ContinuationIndicator) added. One thing it does not do as BVLC does: with
`use_global_stats: false` its BatchNorm takes mean and variance as 0 instead of the batch's (which is the
training path, taken out of this build), so those cases are in make_fork_fixtures.py. It needs Python 3.6
to 3.9:

    python3.9 -m venv caffevenv
    caffevenv/bin/pip install kendryte-caffe 'numpy<1.24' 'protobuf<3.21' h5py scikit-image
    caffevenv/bin/python -m tests.parity.make_fixtures            # what is missing
    caffevenv/bin/python -m tests.parity.make_fixtures --force lstm crop_offset

Each case runs in a process of its own, since a failed CHECK in Caffe ends the process. The cases that
Caffe refuses are listed in REFUSED with its reason; a case that is refused without being listed there,
or the reverse, makes the script exit with 1. The same script writes the same bytes every
time, but for the HDF5 weights, which are Caffe's own and carry the time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import zlib
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from tests.parity.cases import Case
from tests.parity.layer_cases import LAYERS
from tests.parity.net_cases import NETS
from tests.parity.reference_file import write_reference

HERE = Path(__file__).resolve().parent
READER = "BVLC Caffe 1.0 (kendryte-caffe 1.0.0.20210829)"

# Pooling with a window beyond the input: -FLT_MAX or not a number in the answer is meant.
EMPTY_WINDOWS = frozenset(
    {"pool_gaps_ave", "pool_gaps_max", "pool_grid_ave_gaps", "pool_grid_max_gaps", "pool_mask_settings"}
)

# Cases that this Caffe does not run, and why. They have no fixture; the port's own tests cover them.
REFUSED = {
    "absval_inplace": "AbsVal refuses top == bottom",
    "bn_1d": "axis 1 of a 1-D blob: the channels of a 1-D input are read, its batch statistics are not",
    "consumer_before_inplace": "a layer that reads a blob before another changes it in place: two producers",
    "conv_two_shapes": "the bottoms of one Convolution have one shape",
    "pool_stochastic": "STOCHASTIC pooling is implemented on the GPU only",
    "prelu_5d": "PReLU reads height and width, so at most 4 axes",
    "spp_pad_over_kernel": "SPP derives a pad that its own Pooling refuses (pad < kernel)",
    "v1_and_v2_layers_mixed": "layer and layers in one file",
}


def draw(rng: np.random.Generator, how: tuple[object, ...], shape: tuple[int, ...]) -> np.ndarray:
    """One input, float32, drawn as the case says."""
    kind, *numbers = how
    if kind == "values":
        return np.array(numbers, np.float32).reshape(shape)
    if kind == "integers":
        return rng.integers(*numbers, size=shape).astype(np.float32)
    if kind in ("normal", "uniform"):
        return getattr(rng, kind)(*numbers, size=shape).astype(np.float32)
    raise ValueError(f"unknown feed {kind!r}")


def draw_weights(rng: np.random.Generator, layer_type: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of a trained net's scale: no zeros, no ones, and outputs about as large as the inputs."""
    if layer_type == "BatchNorm":
        if index == 0:
            return rng.normal(0, 2, shape)
        return rng.uniform(0.5, 4, shape) if index == 1 else np.full(shape, 1.0)
    if layer_type in ("Scale", "Bias", "PReLU", "Parameter"):
        return rng.normal(0.4, 0.6, shape)
    if layer_type in ("LSTM", "RNN"):
        return rng.uniform(-0.8, 0.8, shape)
    if len(shape) < 2:
        return rng.normal(0, 0.5, shape)
    return rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))


def fill(net: caffe.Net, case: Case, rng: np.random.Generator) -> None:
    """Give every weight of the net a value, edits last."""
    types = dict(zip(net._layer_names, (layer.type for layer in net.layers)))  # noqa: B905
    known = set()
    for name, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            known.add((name, index))
            values = draw_weights(rng, types[name], index, tuple(blob.shape))
            edit = case.edits.get((name, index))
            if edit == "filler":
                continue
            blob.data[...] = values if edit is None else np.reshape(edit, (-1,) if np.ndim(edit) else ())
    left = set(case.edits) - known
    if left:
        raise ValueError(f"{case.name}: edits of weights that the net does not have: {sorted(left)}")


def legacy(blob: caffe_pb2.BlobProto) -> None:
    """Say the shape as num, channels, height, width, right-aligned, as files before 2014 do."""
    dims = list(blob.shape.dim)
    blob.ClearField("shape")
    dims = [1] * (4 - len(dims)) + dims
    blob.num, blob.channels, blob.height, blob.width = dims


V1_TYPES = {"Convolution": "CONVOLUTION", "InnerProduct": "INNER_PRODUCT", "Deconvolution": "DECONVOLUTION"}
V0_TYPES = {"Convolution": "conv", "InnerProduct": "innerproduct"}


def restyle(path: Path, style: str) -> None:
    """Rewrite a caffemodel of Caffe's own in an older style: "v1", "v0", "legacy" or "double"."""
    net = caffe_pb2.NetParameter()
    net.ParseFromString(path.read_bytes())
    out = caffe_pb2.NetParameter(name=net.name)
    for layer in (layer for layer in net.layer if layer.blobs):
        if style in ("double", "legacy"):
            target = out.layer.add()
            target.name, target.type = layer.name, layer.type
        elif style == "v1":
            target = out.layers.add()
            target.name = layer.name
            target.type = caffe_pb2.V1LayerParameter.LayerType.Value(V1_TYPES[layer.type])
        else:
            target = out.layers.add().layer
            target.name, target.type = layer.name, V0_TYPES[layer.type]
        for blob in layer.blobs:
            copy = target.blobs.add()
            copy.CopyFrom(blob)
            if style == "double":
                copy.double_data.extend(copy.data)
                copy.ClearField("data")
            else:
                legacy(copy)
    path.write_bytes(out.SerializeToString())


def run(case: Case, folder: Path, shapes: dict[str, tuple[int, ...]], reference: str) -> None:
    """One forward pass from the files in `folder`, as a user of them would make it."""
    stages = list(case.stages) or None
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST, stages=stages)
    stored = [path for path in folder.iterdir() if path.name.startswith("net.caffemodel")]
    if stored:
        net.copy_from(str(stored[0]))
    rng = np.random.default_rng(zlib.crc32(f"{case.name}/{reference}".encode()))
    memory = net.layers[0].type == "MemoryData"
    inputs = net.top_names[net._layer_names[0]] if memory else net.inputs
    unknown = (set(case.feeds) | set(shapes)) - set(inputs)
    if unknown:
        raise ValueError(f"{case.name}: feeds of blobs that are no inputs: {sorted(unknown)}")
    for name in shapes:
        net.blobs[name].reshape(*shapes[name])
    given = {}
    for name in inputs:
        given[name] = draw(rng, case.feeds.get(name, ("normal", 0.0, 2.0)), tuple(net.blobs[name].data.shape))
    if memory:
        net.set_input_arrays(*given.values())
    else:
        net.reshape()
        for name, values in given.items():
            net.blobs[name].data[...] = values
    net.forward()
    for name, values in given.items():
        if not np.array_equal(net.blobs[name].data.ravel(), values.ravel()):
            raise ValueError(f"{case.name}: input {name} is overwritten in place")
    outputs = {name: net.blobs[name].data.copy() for name in case.outputs or tuple(net.outputs)}
    whole = all(np.abs(values).max(initial=0) < 1e30 for values in outputs.values())
    if case.name not in EMPTY_WINDOWS and not whole:
        raise ValueError(f"{case.name}: not a number, or nothing like one")
    write_reference(folder / reference, reader=READER, inputs=given, outputs=outputs, stages=case.stages)


def make(case: Case, folder: Path) -> None:
    """Write all files of one case into `folder`, which is empty."""
    text = f'name: "{case.name}"\n' + case.text
    (folder / "deploy.prototxt").write_text(text)
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST, stages=list(case.stages) or None)
    if net.params:
        fill(net, case, np.random.default_rng(zlib.crc32(case.name.encode())))
        if case.weights == "hdf5":
            net.save_hdf5(str(folder / "net.caffemodel.h5"))
        else:
            net.save(str(folder / "net.caffemodel"))
            if case.weights != "v2":
                restyle(folder / "net.caffemodel", case.weights)
    run(case, folder, {}, "reference.h5")
    if case.resized:
        run(case, folder, case.resized, "reference_resized.h5")


def attempt(case: Case, log: Path, target: Path) -> None:
    """The body of the child process: everything or nothing appears at `target`."""
    with open(log, "wb") as sink:
        os.dup2(sink.fileno(), 2)
        os.dup2(sink.fileno(), 1)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        made = Path(folder) / case.name
        made.mkdir()
        make(case, made)
        target.mkdir(exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for file in made.iterdir():
            os.replace(file, target / file.name)


def main() -> int:
    """Write the fixtures asked for; 1 if a case did something else than REFUSED says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases to make (all)")
    parser.add_argument("--force", action="store_true", help="make those too that exist")
    options = parser.parse_args()
    cases = {case.name: case for case in LAYERS + NETS}
    if len(cases) != len(LAYERS + NETS):
        parser.error("two cases have the same name")
    unknown = set(options.names) - set(cases)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    context = multiprocessing.get_context("fork")
    wrong = 0
    for name, case in cases.items():
        target = HERE / "layers" / name
        if (options.names and name not in options.names) or (target.exists() and not options.force):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            log = Path(scratch) / "log"
            child = context.Process(target=attempt, args=(case, log, target))
            child.start()
            child.join()
            refused = child.exitcode != 0
            if refused != (name in REFUSED):
                wrong += 1
                reason = log.read_text(errors="replace").strip() if refused else "listed as refused, but runs"
                print(f"{name}: {reason}", file=sys.stderr)
            elif not refused:
                print(name)
    for leftover in (HERE / "layers").glob(".making-*"):
        for file in sorted(leftover.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        leftover.rmdir()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
