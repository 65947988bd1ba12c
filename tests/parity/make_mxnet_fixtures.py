"""Run real MXNet and store what it answers: layers under forks/, the nets of Accel under mxnet/.

    python3.11 -m venv mxnetvenv
    mxnetvenv/bin/pip install mxnet==1.9.1 numpy==1.23.5 h5py
    git clone https://github.com/SamvitJ/Accel
    mxnetvenv/bin/python -m tests.parity.make_mxnet_fixtures --accel Accel

The nets are built by their authors' own code, from the clone; nothing of it is stored but the names and
shapes of the parameters and what MXNet computes. Channels are divided by 8 to keep the files small;
`--full FOLDER` runs the nets at full width, for `compare_full_width.py`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import mxnet as mx
import numpy as np

from tests.parity.mxnet_weights import parameter, pictures
from tests.parity.reference_file import write_reference

HERE = Path(__file__).resolve().parent
READER = f"MXNet {mx.__version__}"
THIN = 8
CLASSES = 19
FEATURES = {"dff": 1024, "accel": 2048, "flownet": 2048}
"""Channels of `feat_key`, by the system."""
SIZE = (96, 160)
ODD = (97, 130)
EVERY = 5
SMALL = ((9, 11), (7, 6))
Arrays = dict[str, np.ndarray]


# -- single layers ---------------------------------------------------------------------------------------


def _input(name: str, shape: tuple[int, ...]) -> str:
    dims = " ".join(f"dim: {dim}" for dim in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def _write_layer(
    name: str,
    kind: str,
    param: str,
    inputs: dict[str, list[tuple[int, ...]]],
    weights: Arrays,
    answer: Callable[[Arrays], np.ndarray],
    spread: dict[str, float],
) -> None:
    folder = HERE / "forks" / name
    folder.mkdir(parents=True, exist_ok=True)
    bottoms = " ".join(f'bottom: "{bottom}"' for bottom in inputs)
    text = "".join(_input(bottom, shapes[0]) for bottom, shapes in inputs.items())
    text += f'layer {{\n  name: "l"\n  type: "{kind}"\n  {bottoms}\n  top: "y"\n  {param}\n}}\n'
    (folder / "deploy.prototxt").write_text(text)
    if weights:
        with h5py.File(folder / "net.caffemodel.h5", "w") as file:
            for number, array in enumerate(weights.values()):
                file[f"data/l/{number}"] = array
    stems = ("reference", "reference_resized")[: min(map(len, inputs.values()))]
    for number, stem in enumerate(stems):
        rng = np.random.RandomState(number)
        fed = {
            bottom: rng.normal(0, spread.get(bottom, 1.0), shapes[number]).astype(np.float32)
            for bottom, shapes in inputs.items()
        }
        path = folder / f"{stem}.h5"
        write_reference(path, reader=READER, inputs=fed, outputs={"y": answer(fed)})


def _deformable(name: str, offsets: list[tuple[int, ...]], fields: dict[str, object], param: str) -> None:
    weights = {"weight": parameter("l_weight", (6, 8 // int(fields.get("num_group", 1)), 3, 3))}
    if not fields.get("no_bias"):
        weights["bias"] = parameter("l_bias", (6,))

    def answer(fed: Arrays) -> np.ndarray:
        arrays = [mx.nd.array(a) for a in (fed["x"], fed["offset"], *weights.values())]
        return mx.nd.contrib.DeformableConvolution(*arrays, kernel=(3, 3), num_filter=6, **fields).asnumpy()

    inputs = {
        "x": [(offset[0], 8, *size) for offset, size in zip(offsets, SMALL, strict=False)],
        "offset": offsets,
    }
    _write_layer(
        name,
        "DeformableConvolution",
        f"deformable_convolution_param {{ {param} }}",
        inputs,
        weights,
        answer,
        {"offset": 3.0},
    )


def write_layers() -> None:
    """Deformable convolutions, most of whose taps lie near or beyond the border, and the warp."""
    _deformable(
        "deformable_conv_groups",
        [(2, 72, 9, 11), (2, 72, 7, 6)],
        {"pad": (2, 2), "dilate": (2, 2), "num_deformable_group": 4, "no_bias": True},
        "num_output: 6 kernel_size: 3 pad: 2 dilation: 2 deformable_group: 4 bias_term: false",
    )
    _deformable(
        "deformable_conv_strided",
        [(1, 18, 5, 11)],
        {"pad": (1, 1), "stride": (2, 1), "num_group": 2},
        "num_output: 6 kernel_size: 3 pad: 1 stride: 2 stride: 1 group: 2",
    )
    _deformable(
        "deformable_conv_plain",
        [(1, 18, 7, 9), (1, 18, 5, 4)],
        {},
        "num_output: 6 kernel_size: 3",
    )

    def warp(fed: Arrays) -> np.ndarray:
        grid = mx.nd.GridGenerator(mx.nd.array(fed["flow"]), transform_type="warp")
        return mx.nd.BilinearSampler(mx.nd.array(fed["image"]), grid).asnumpy()

    flow = {"image": [(2, 3, 9, 14), (2, 3, 6, 7)], "flow": [(2, 2, 9, 14), (2, 2, 7, 5)]}
    _write_layer("bilinear_sampler", "BilinearSampler", "", flow, {}, warp, {"flow": 3.0})

    batch_norm = {n: parameter(f"l_{n}", (5,)) for n in ("gamma", "beta", "moving_mean", "moving_var")}

    def fixed(fed: Arrays) -> np.ndarray:
        arrays = [mx.nd.array(a) for a in (fed["x"], *batch_norm.values())]
        return mx.nd.BatchNorm(*arrays, fix_gamma=True, eps=2e-5, use_global_stats=True).asnumpy()

    _write_layer(
        "bn_fix_gamma", "BN", "bn_param { slope_filler { value: 1 } eps: 2e-5 fix_gamma: true }",
        {"x": [(1, 5, 6, 7), (1, 5, 3, 4)]}, batch_norm, fixed, {},
    )  # fmt: skip


# -- whole nets ------------------------------------------------------------------------------------------


class Width:
    """What the channels of the authors' nets are divided by, while a symbol is made."""

    divisor = 1


def _thin(kind: str) -> None:
    """Have MXNet's layer `kind` make a share of the channels that the authors' code asks for."""
    where = mx.contrib.symbol if kind == "DeformableConvolution" else mx.symbol
    whole = getattr(where, kind)

    def thinned(*args: object, **fields: object) -> object:
        channels = int(fields["num_filter"])  # type: ignore[call-overload]
        if channels >= 64 and not str(fields["name"]).endswith("_offset"):
            fields["num_filter"] = channels // Width.divisor
        return whole(*args, **fields)

    setattr(where, kind, thinned)


def load_symbols(clone: Path) -> dict[str, ModuleType]:
    """The authors' symbol classes, read as Python 3 and without the imports of their training code."""
    for kind in ("Convolution", "Deconvolution", "DeformableConvolution"):
        _thin(kind)
    base = type("Symbol", (), {})
    modules = {}
    for path in (
        "dff_rfcn/symbols/resnet_v1_101_flownet_rfcn",
        "dff_deeplab/symbols/resnet_v1_101_flownet_deeplab",
        *(f"dff_deeplab/symbols/accel_{version}" for version in (18, 34, 50, 101)),
    ):
        name = Path(path).name
        text = (clone / f"{path}.py").read_text()
        text = re.sub(r"^import cPickle.*$|^from (utils|operator_py)\..*$", "", text, flags=re.M)
        text = re.sub(r"^(\s*)print (?!\()(.*)$", r"\1print(\2)", text, flags=re.M)
        module = ModuleType(name)
        module.__dict__["Symbol"] = base
        sys.modules[name] = module
        exec(compile(text, f"{name}.py", "exec"), module.__dict__)
        modules[name] = module
    return modules


class _Config:
    """The settings that the test symbols look at."""

    class dataset:
        NUM_CLASSES = CLASSES

    class network:
        NUM_ANCHORS = 9

    CLASS_AGNOSTIC = True


def run(symbol: mx.sym.Symbol, inputs: Arrays, outputs: list[str]) -> Arrays:
    """What the graph gives on these inputs, with the parameters of `mxnet_weights`."""
    symbol = mx.sym.Group([symbol.get_internals()[f"{name}_output"] for name in outputs])
    shapes = {name: array.shape for name, array in inputs.items() if name in symbol.list_arguments()}
    args, _, aux = symbol.infer_shape(**shapes)
    values = {
        name: mx.nd.array(inputs[name] if name in shapes else parameter(name, shape))
        for name, shape in zip(symbol.list_arguments(), args, strict=True)
    }
    statistics = {
        name: mx.nd.array(parameter(name, shape))
        for name, shape in zip(symbol.list_auxiliary_states(), aux, strict=True)
    }
    executor = symbol.bind(mx.cpu(), values, aux_states=statistics, grad_req="null")
    return {
        name: array.asnumpy() for name, array in zip(outputs, executor.forward(is_train=False), strict=True)
    }


def parameters(symbol: mx.sym.Symbol, outputs: list[str], **shapes: tuple[int, ...]) -> dict[str, list[int]]:
    """Names and shapes of what a .params file has for this graph."""
    symbol = mx.sym.Group([symbol.get_internals()[f"{name}_output"] for name in outputs])
    fed = {name: shape for name, shape in shapes.items() if name in symbol.list_arguments()}
    args, _, aux = symbol.infer_shape(**fed)
    named = [
        *zip(symbol.list_arguments(), args, strict=True),
        *zip(symbol.list_auxiliary_states(), aux, strict=True),
    ]
    return {name: list(shape) for name, shape in sorted(named) if name not in fed}


def _flow_symbol(modules: dict[str, ModuleType]) -> mx.sym.Symbol:
    net = modules["resnet_v1_101_flownet_deeplab"].resnet_v1_101_flownet_deeplab()
    flow, scale = net.get_flownet(mx.sym.Variable("data"), mx.sym.Variable("data_key"))
    named = mx.sym.identity(flow, name="flow")
    return mx.sym.Group([named, scale])


def nets(modules: dict[str, ModuleType], thin: int) -> dict[str, tuple[mx.sym.Symbol, list[str]]]:
    """Every graph, and which of its layers' outputs are kept."""
    Width.divisor, config = thin, _Config()
    graphs = {"flownet": (_flow_symbol(modules), ["flow", "Convolution5_scale"])}
    for version in (18, 34, 50, 101):
        net = getattr(modules[f"accel_{version}"], f"accel_{version}")()
        last = "croped_score" if version == 101 else "correction"
        graphs[f"accel-{version}"] = (net.get_cur_test_symbol(config), ["warping_feat", last])
    dff = modules["resnet_v1_101_flownet_rfcn"].resnet_v1_101_flownet_rfcn()
    graphs["dff-deeplab-key"] = (dff.get_resnet_v1(mx.sym.Variable("data")), ["feat_conv_3x3_relu"])
    flow, scale = dff.get_flownet(mx.sym.Variable("data"), mx.sym.Variable("data_key"))
    grid = mx.sym.GridGenerator(data=flow, transform_type="warp")
    warped = mx.sym.BilinearSampler(data=mx.sym.Variable("feat_key"), grid=grid)
    graphs["dff-deeplab"] = (mx.sym.elemwise_mul(warped, scale, name="scaled_feat"), ["scaled_feat"])
    graphs["accel-18-key"] = (
        modules["accel_18"].accel_18().get_key_test_symbol(config),
        ["res5c_relu", "croped_score"],
    )
    return graphs


def inputs_for(net: str, size: tuple[int, int], thin: int) -> Arrays:
    """Two pictures and features for a net, at a frame size."""
    now, before = pictures(size, 2)
    rng = np.random.RandomState(1)
    shape = (1, FEATURES[net.partition("-")[0]] // thin, -(-size[0] // 16), -(-size[1] // 16))
    return {
        "data": now[np.newaxis],
        "data_key": before[np.newaxis],
        "feat_key": np.abs(rng.normal(0, 1, shape)).astype(np.float32),
    }


def _sampled(array: np.ndarray) -> np.ndarray:
    """Maps of the frame's size at every fifth row and column, which meets all phases of a stride of 16."""
    return array[:, :, ::EVERY, ::EVERY] if array.shape[2] >= min(SIZE) else array


def write_nets(modules: dict[str, ModuleType], target: Path, thin: int, sizes: list[tuple[int, int]]) -> None:
    """What each net answers, one file per frame size."""
    for name, (symbol, outputs) in nets(modules, thin).items():
        for size in sizes:
            if size == ODD and name == "accel-101":
                continue  # MXNet refuses: flow and features have different sizes there
            answers = run(symbol, inputs_for(name, size, thin), outputs)
            if name in ("accel-34", "accel-50", "accel-101"):
                del answers["warping_feat"]  # the same as that of accel-18
            path = target / f"{name}-{size[0]}x{size[1]}.h5"
            sampled = {blob: _sampled(array) for blob, array in answers.items()}
            write_reference(path, reader=READER, inputs={}, outputs=sampled)
            print(path, {blob: float(np.abs(array).max()) for blob, array in answers.items()})


def write_names(modules: dict[str, ModuleType], target: Path) -> None:
    """The parameters of the nets at full width, one per line."""
    lines = []
    for net, (symbol, outputs) in nets(modules, 1).items():
        shapes = {name: array.shape for name, array in inputs_for(net, SIZE, 1).items()}
        for name, shape in parameters(symbol, outputs, **shapes).items():
            lines.append(f"{net} {name} {'x'.join(map(str, shape))}")
    target.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Write everything."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--accel", type=Path, required=True, help="a clone of SamvitJ/Accel")
    arguments.add_argument("--full", type=Path, help="write the nets at full width into this folder instead")
    given = arguments.parse_args()
    modules = load_symbols(given.accel)
    if given.full:
        given.full.mkdir(parents=True, exist_ok=True)
        write_nets(modules, given.full, 1, [SIZE])
        return 0
    target = HERE / "mxnet"
    target.mkdir(exist_ok=True)
    write_layers()
    write_nets(modules, target, THIN, [SIZE, ODD])
    write_names(modules, target / "parameters.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
