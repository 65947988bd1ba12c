"""Random nets of forks' layers, each layer compared with the loops written from its fork's source.

    python -m tests.parity.random_fork_nets --nets 1000 [--seed N]

A net is a chain of layers with parameters drawn at random. Every layer is judged by itself: the loops get
what the model gave for the layer's bottom, so that an error is found where it is made. Exits with 1 where a
layer differs by more than TOLERANCE.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime

import caffe_port
import tests.parity.fork_formulas as ref
from tests.parity.cases import given, layer
from tests.parity.fork_step import Array, Maker, Shape, Step
from tests.parity.fork_step import drawn as _int
from tests.parity.fork_step import pick as _pick
from tests.parity.fork_step import real as _real
from tests.parity.random_block_layers import BLOCK_MAKERS

TOLERANCE = 1e-5


def pointwise(rng: np.random.Generator, shape: Shape) -> Step:
    a, b = _real(rng, 0.1, 0.9), _real(rng, 1.1, 3)
    return (
        Step("Mish", "", ref.mish),
        Step("HardSwish", "", ref.hard_swish),
        Step("SignedSqrt", "", ref.signed_sqrt),
        Step("Sin", "", np.sin),
        Step("Atan", "", np.arctan),
        Step("Softsign", "", lambda x: x / (1 + np.abs(x))),
        Step(
            "HardSigmoid",
            f"hard_sigmoid_param {{ alpha: {a} beta: {b} }}",
            lambda x: ref.hard_sigmoid(x, a, b),
        ),
        Step("SeLU", f"selu_param {{ alpha: {a} lambda: {b} }}", lambda x: ref.selu(x, a, b)),
        Step("RReLU", f"rrelu_param {{ lb: {a} ub: {b} }}", lambda x: ref.rrelu(x, a, b)),
        Step("NegReLU", f"relu_param {{ negative_slope: {a} }}", lambda x: ref.neg_relu(x, a)),
    )[_int(rng, 0, 9)]


def crelu(rng: np.random.Generator, shape: Shape) -> Step:
    axis, slope = _int(rng, 1, len(shape) - 1), _pick(rng, 0, 0.25)
    setting = f"crelu_param {{ concat_axis: {axis} negative_slope: {slope} }}"
    return Step("CReLU", setting, lambda x: ref.crelu(x, float(str(slope)), axis))


def flip(rng: np.random.Generator, shape: Shape) -> Step:
    width, height = bool(_int(rng, 0, 1)), bool(_int(rng, 0, 1))
    setting = f"flip_param {{ flip_width: {str(width).lower()} flip_height: {str(height).lower()} }}"
    return Step("Flip", setting, lambda x: ref.flip(x, width, height))


def transpose(rng: np.random.Generator, shape: Shape) -> Step:
    order = (0, *(int(a) for a in rng.permutation([1, 2, 3])))
    dims = " ".join(f"dim: {axis}" for axis in order)
    return Step("Transpose", f"transpose_param {{ {dims} }}", lambda x: ref.transpose(x, order))


def to_points(rng: np.random.Generator, shape: Shape) -> Step | None:
    side = _int(rng, 1, 3)
    if shape[1] % side**2:
        return None
    depth = shape[1] // side**2
    return (
        Step("Tiling", f"tiling_param {{ tile_dim: {side} }}", lambda x: ref.tiling(x, side)),
        Step("Rearrange", f"rearrange_param {{ depth: {depth} }}", lambda x: ref.tiling(x, side)),
        Step("Dtow", f"dtow_param {{ psize: {side} }}", lambda x: ref.tiling(x, side)),
        Step(
            "GSTiling",
            f"gs_tiling_param {{ stride: {side} reverse: true }}",
            lambda x: ref.gs_tiling(x, side, True),
        ),
    )[_int(rng, 0, 3)]


def to_blocks(rng: np.random.Generator, shape: Shape) -> Step | None:
    side = _int(rng, 1, 3)
    if shape[2] % side or shape[3] % side or shape[1] > 8:
        return None
    if rng.random() < 0.5:
        return Step("Dtow", f"dtow_param {{ psize: {side} method: MWTOD }}", lambda x: ref.untiling(x, side))
    return Step("GSTiling", f"gs_tiling_param {{ stride: {side} }}", lambda x: ref.gs_tiling(x, side, False))


def division(rng: np.random.Generator, shape: Shape) -> Step:
    width, height = _int(rng, 1, shape[3]), _int(rng, 1, shape[2])
    x, y = _int(rng, 0, shape[3] - width), _int(rng, 0, shape[2] - height)
    setting = f"division_param {{ width: {width} height: {height} xcoord: {x} ycoord: {y} }}"
    return Step("Division", setting, lambda v: ref.window(v, (x, y), (width, height)))


def merge_crop(rng: np.random.Generator, shape: Shape) -> Step:
    larger = (*shape[:2], *(n + _int(rng, 0, 5) for n in shape[2:]))
    b = rng.normal(0, 2, larger).astype(np.float32)
    add = bool(_int(rng, 0, 1))
    keep = (bool(_int(rng, 0, 3)), bool(_int(rng, 0, 3)))
    words = " ".join(f"forward: {str(k).lower()}" for k in keep)
    setting = f"mergecrop_param {{ operation: {'ADD' if add else 'STACK'} {words} }}"
    return Step("MergeCrop", setting, lambda x, y: ref.merge_crop(x, y, add=add, forward=keep), (b,))


def masked(rng: np.random.Generator, shape: Shape) -> Step:
    mask = rng.uniform(0, 1, (shape[0], 1, *shape[2:])).astype(np.float32)
    return Step(str(_pick(rng, "MaskPooling", "ChannelScale")), "", ref.mask_pooling, (mask,))


def matmul(rng: np.random.Generator, shape: Shape) -> Step:
    turn_a, turn_b = bool(_int(rng, 0, 1)), bool(_int(rng, 0, 1))
    inner, columns = shape[-2] if turn_a else shape[-1], _int(rng, 1, 5)
    b = rng.normal(0, 1, (*shape[:-2], *((columns, inner) if turn_b else (inner, columns)))).astype(
        np.float32
    )
    setting = f"matmul_param {{ transpose_a: {str(turn_a).lower()} transpose_b: {str(turn_b).lower()} }}"
    return Step("MatMul", setting, lambda x, y: ref.matmul(x, y, turn_a, turn_b), (b,))


def norms(rng: np.random.Generator, shape: Shape) -> Step:
    bias = _real(rng, 0.1, 2)
    groups = int(rng.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0]))
    name = _pick(rng, "group_num", "group_ratio")
    learnt = f"group_norm_param {{ group: {groups} eps: {bias} }}"
    return (
        Step("GRN", f"grn_param {{ bias: {bias} }}", lambda x: ref.grn(x, bias)),
        Step("L2Normalize", "", ref.l2_normalize),
        Step(
            "GroupNorm",
            f"group_norm_param {{ {name}: {groups} eps: {bias} }}",
            lambda x: ref.group_norm(x, groups, bias),
        ),
        Step(
            "GroupNorm",
            learnt,
            lambda x, *w: ref.group_norm(x, groups, bias, *w),
            weights=((shape[1],), (shape[1],)),
        ),
    )[_int(rng, 0, 3)]


def pool(rng: np.random.Generator, shape: Shape) -> Step | None:
    kernel, stride, dilation = _int(rng, 2, 3), _int(rng, 1, 2), _int(rng, 1, 3)
    pad = _int(rng, 0, kernel - 1)
    reach = (kernel - 1) * dilation + 1
    # Windows of which no point is in the map have no maximum.
    if min(shape[2:]) < reach + pad or reach < stride + pad:
        return None
    setting = f"pooling_param {{ kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation} }}"
    return Step("Pooling", setting, lambda x: ref.dilated_pool(x, kernel, stride, pad, dilation))


def mask_resize(rng: np.random.Generator, shape: Shape) -> Step:
    size = (_int(rng, 1, 12), _int(rng, 1, 12))
    setting = f"mask_resize_param {{ output_height: {size[0]} output_width: {size[1]} }}"
    return Step("MaskResize", setting, lambda x: ref.mask_resize(x, size))


def _regions(rng: np.random.Generator, shape: Shape) -> Array:
    """Three regions of a picture sixteen times the map, some partly outside."""
    image = rng.integers(0, shape[0], (3, 1))
    corners = rng.uniform(-20, 16 * max(shape[2:]), (3, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return np.concatenate([image, boxes], axis=1).astype(np.float32)


def roi_warping(rng: np.random.Generator, shape: Shape) -> Step:
    size = (_int(rng, 1, 4), _int(rng, 1, 4))
    setting = f"roi_warping_param {{ pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: 0.0625 }}"
    answer = lambda x, rois: ref.roi_warping(x, rois, size=size, scale=0.0625)  # noqa: E731
    return Step("ROIWarping", setting, answer, (_regions(rng, shape),))


def psroi_align(rng: np.random.Generator, shape: Shape) -> Step | None:
    group, samples = _int(rng, 1, 3), _int(rng, 1, 3)
    if shape[1] % group**2:
        return None
    outputs = shape[1] // group**2
    setting = (
        f"psroi_align_param {{ spatial_scale: 0.0625 output_dim: {outputs} group_size: {group} "
        f"sample_num: {samples} }}"
    )
    size = {"outputs": outputs, "group": group, "samples": samples}
    answer = lambda x, rois: ref.psroi_align(x, rois, scale=0.0625, **size)  # noqa: E731
    return Step("PSROIAlign", setting, answer, (_regions(rng, shape),))


def transformer(rng: np.random.Generator, shape: Shape) -> Step:
    size = (_int(rng, 1, 8), _int(rng, 1, 8))
    theta = rng.normal(0, 0.8, (shape[0], 6)).astype(np.float32)
    setting = f"st_param {{ output_H: {size[0]} output_W: {size[1]} }}"
    return Step("SpatialTransformer", setting, lambda u, t: ref.spatial_transformer(u, t, size), (theta,))


MAKERS: tuple[Maker, ...] = (
    *BLOCK_MAKERS,
    *(pointwise, pointwise, crelu, flip, transpose, to_points, to_blocks, division, merge_crop, masked),
    *(matmul, norms, norms, pool, pool, mask_resize, roi_warping, psroi_align, transformer),
)


def sequence(rng: np.random.Generator) -> tuple[Shape, Step]:
    """A recurrent layer and the shape of its bottom."""
    steps, streams, length, hidden = (_int(rng, 1, 5) for _ in range(4))
    if rng.random() < 0.3:
        shapes = ((2 * hidden, hidden),) * 2 + ((hidden, hidden),) * 2 + ((2 * hidden,), (1, hidden))
        setting = f"gru_param {{ num_output: {hidden} }}"
        return (steps, streams, hidden), Step("GRU", setting, ref.gru, weights=shapes)
    weights = ((4 * hidden, length), (4 * hidden, hidden), (4 * hidden,))
    if rng.random() < 0.5:
        setting = f"lstm_param {{ num_output: {hidden} }}"
        return (steps, streams, length), Step("Lstm", setting, ref.lstm, weights=weights)
    setting = f"lstm_param {{ num_output: {hidden} batch_size: {streams} }}"
    cont = rng.integers(0, 2, (steps * streams,)).astype(np.float32)

    def answer(x: Array, clip: Array, *w: Array) -> Array:
        full = ref.lstm(x.reshape(steps, streams, length), *w, clip.reshape(steps, streams))
        return full.reshape(steps * streams, hidden)

    return (steps * streams, length), Step("Lstm", setting, answer, (cont,), weights)


def _net(rng: np.random.Generator, folder: Path) -> tuple[Shape, list[Step]]:
    """Draw a net and write it; each layer must be one that the port gives a shape to."""
    if rng.random() < 0.15:
        shape, step = sequence(rng)
        return shape, [step]
    first: Shape = (_int(rng, 1, 2), int(rng.choice([1, 2, 4, 8, 9, 12])), _int(rng, 1, 9), _int(rng, 1, 9))
    steps: list[Step] = []
    shape = first
    for _ in range(_int(rng, 1, 4)):
        step = MAKERS[_int(rng, 0, len(MAKERS) - 1)](rng, shape)
        if step is None:
            continue
        path = write(folder, first, [*steps, step])
        shape = caffe_port.infer_shapes(caffe_port.read_net(path))[f"b{len(steps) + 1}"]
        steps.append(step)
        if len(shape) != 4 or np.prod(shape) > 20_000:
            break
    return first, steps or [Step("Mish", "", ref.mish)]


def write(folder: Path, shape: Shape, steps: list[Step]) -> Path:
    """The net as a file: blobs b0, b1, ...; the further inputs of layer i are m{i}_0, m{i}_1, ..."""
    text = given(*shape, name="b0")
    body = ""
    for number, step in enumerate(steps):
        names = [f"m{number}_{i}" for i in range(len(step.more))]
        text += "".join(given(*m.shape, name=name) for m, name in zip(step.more, names, strict=True))
        body += layer(step.kind, " ".join([f"b{number}", *names]), f"b{number + 1}", rest=step.setting)
    path = folder / "net.prototxt"
    path.write_text(text + body)
    return path


def _weights(rng: np.random.Generator, kind: str, shape: Shape) -> Array:
    """Normal numbers; for DenseBlock, which has variances among its weights, those of a column above 0."""
    array = rng.normal(0, 0.5, shape)
    if kind == "DenseBlock" and len(shape) == 4 and shape[0] == 1:
        array = np.abs(array) + 0.5
    return array.astype(np.float32)


def compare(rng: np.random.Generator, folder: Path) -> list[tuple[str, float]]:
    """One random net: the relative error of each of its layers, with what the layer is."""
    shape, steps = _net(rng, folder)
    net = caffe_port.read_net(write(folder, shape, steps))
    weights = {
        f"b{i + 1}": tuple(_weights(rng, step.kind, s) for s in step.weights)
        for i, step in enumerate(steps)
        if step.weights
    }
    blobs = [f"b{i + 1}" for i in range(len(steps))]
    model = caffe_port.to_onnx(net, weights, outputs=blobs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"b0": rng.normal(0, 2, shape).astype(np.float32)}
    feeds |= {f"m{n}_{i}": m for n, step in enumerate(steps) for i, m in enumerate(step.more)}
    wanted = {i.name for i in session.get_inputs()}
    values = dict(
        zip(blobs, session.run(blobs, {k: v for k, v in feeds.items() if k in wanted}), strict=True)
    )
    values["b0"] = feeds["b0"]
    errors = []
    for number, step in enumerate(steps):
        got = values[f"b{number + 1}"]
        expected = step.answer(values[f"b{number}"], *step.more, *weights.get(f"b{number + 1}", ()))
        assert got.shape == expected.shape, f"{step.kind} {step.setting}: {got.shape}, not {expected.shape}"
        error = float(np.abs(got - expected).max() / max(1e-3, np.abs(expected).max()))
        errors.append((f"{step.kind} {step.setting} on {values[f'b{number}'].shape}", error))
    return errors


def main() -> int:
    """Run many nets and say what differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    worst, bad = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.nets):
            rng = np.random.default_rng([options.seed, number])
            for what, error in compare(rng, Path(folder)):
                kinds[what.split()[0]] += 1
                worst = max(worst, error)
                if not error <= TOLERANCE:
                    bad += 1
                    print(f"net {number}: {what}: {error:.3g}")
    print(f"{options.nets} nets, {sum(kinds.values())} layers, largest error {worst:.2g}, {bad} differ")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
