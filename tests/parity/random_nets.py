"""Random small nets of BVLC Caffe's layers, with parameters that people rarely write.

`random_net(rng)` gives the text of a net and how its inputs are drawn (as in `cases.py`). Parameters are
drawn so that most nets are legal; whether one is, Caffe says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from tests.parity.cases import given, layer

Shape = tuple[int, ...]
ShapeOf = Callable[[str, str], Shape]
"""(text, blob) -> the blob's shape in the net of this text, or () where the net is refused."""


@dataclass
class Draft:
    """A net that is being written: its text, its feeds, and the blob that goes on."""

    rng: np.random.Generator
    text: str = ""
    feeds: dict[str, tuple[object, ...]] = field(default_factory=dict)
    blob: str = "data"
    shape: Shape = ()
    number: int = 0

    def name(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def input(self, shape: Shape, how: tuple[object, ...] = ("normal", 0.0, 2.0)) -> str:
        name = "data" if not self.feeds else self.name("in")
        self.text = given(*shape, name=name) + self.text
        self.feeds[name] = how
        return name

    def add(self, kind: str, setting: str = "", *, bottoms: str = "", tops: str = "", rest: str = "") -> str:
        top = tops or self.name("b")
        self.text += layer(kind, bottoms or self.blob, top, setting, rest=rest)
        self.blob = top.split()[0]
        return top

    def int(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, *options: object) -> object:
        return options[self.int(0, len(options) - 1)]

    def axis(self, least: int = 0, most: int | None = None) -> int:
        """An axis of the current blob, at times counted from the end."""
        rank = len(self.shape)
        axis = self.int(least, rank - 1 if most is None else most)
        return axis - rank if self.chance(0.4) else axis


def _axes(d: Draft, what: str, values: list[int], short: str) -> str:
    """One value per axis, once for all, or as _h and _w."""
    if len(set(values)) == 1 and d.chance(0.5):
        return f"{what}: {values[0]} "
    if len(values) == 2 and d.chance(0.5):
        return f"{short}_h: {values[0]} {short}_w: {values[1]} "
    return "".join(f"{what}: {v} " for v in values)


def _divisor(d: Draft, number: int) -> int:
    return int(d.rng.choice([n for n in range(1, number + 1) if number % n == 0]))


def convolution(d: Draft) -> None:
    first = 1 if len(d.shape) < 4 or d.chance(0.85) else d.int(1, 2)
    spatial = d.shape[first + 1 :]
    if not 1 <= len(spatial) <= 3:
        return
    kind, bottom = str(d.pick("Convolution", "Convolution", "Deconvolution")), d.blob
    channels = d.shape[first]
    group = _divisor(d, channels) if d.chance(0.5) else 1
    dilation = [d.int(1, 2) if d.chance(0.4) else 1 for _ in spatial]
    kernel = [d.int(1, max(1, min(4, (n - 1) // e + 1))) for n, e in zip(spatial, dilation)]  # noqa: B905
    setting = f"num_output: {group * d.int(1, 3)} "
    # _h and _w may not be mixed with the plain field of the same kind; kinds may be mixed.
    setting += _axes(d, "kernel_size", kernel, "kernel")
    if d.chance(0.6):
        setting += _axes(d, "pad", [d.int(0, 3) for _ in spatial], "pad")
    if d.chance(0.6):
        setting += _axes(d, "stride", [d.int(1, 3) for _ in spatial], "stride")
    if max(dilation) > 1:
        setting += "".join(f"dilation: {v} " for v in dilation)
    if group > 1:
        setting += f"group: {group} "
    if d.chance(0.3):
        setting += "bias_term: false "
    if first != 1:
        setting += f"axis: {first - len(d.shape) if d.chance(0.5) else first} "
    if d.chance(0.2):
        setting += "force_nd_im2col: true "
    if d.chance(0.1):
        other = d.add("Power", "scale: -2 shift: 1", bottoms=d.blob)
        d.add(kind, setting, bottoms=f"{bottom} {other}", tops=f"{d.name('b')} {d.name('b')}")
    elif kind == "Convolution" and d.chance(0.1):
        rest = "".join(
            f'param {{ name: "{d.number}_{i}" }} ' for i in range(1 if "bias_term" in setting else 2)
        )
        d.add(kind, setting, rest=rest)
        d.add(kind, setting, bottoms=bottom, rest=rest)
    else:
        d.add(kind, setting)


def pooling(d: Draft) -> None:
    if len(d.shape) != 4:
        return
    method = str(d.pick("MAX", "AVE"))
    setting = f"pool: {method} "
    if d.chance(0.1):
        setting += "global_pooling: true "
    else:
        kernel = [d.int(1, min(5, n)) for n in d.shape[2:]]
        if d.chance(0.5):
            kernel = [min(kernel)] * 2
        both = kernel[0] == kernel[1]
        setting += f"kernel_size: {kernel[0]} " if both else f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} "
        pad = [d.int(0, k - 1) for k in kernel] if d.chance(0.6) else [0, 0]
        # A window of nothing would be 0 / 0, and what other layers make of that no formula says.
        most = [4, 4] if any(pad) or method == "MAX" else kernel
        stride = [d.int(1, min(4, n)) for n in most]
        for what, values in (("stride", stride), ("pad", pad)):
            if values[0] == values[1] and d.chance(0.6):
                setting += f"{what}: {values[0]} "
            elif any(values):
                setting += f"{what}_h: {values[0]} {what}_w: {values[1]} "
    if method == "MAX" and d.chance(0.3):
        top = d.name("b")
        d.add("Pooling", setting, tops=f"{top} {top}m")
    else:
        d.add("Pooling", setting)


def inner_product(d: Draft) -> None:
    setting = f"num_output: {d.int(1, 6)} "
    if d.chance(0.6):
        setting += f"axis: {d.axis()} "
    if d.chance(0.5):
        setting += "transpose: true "
    if d.chance(0.3):
        setting += "bias_term: false "
    d.add("InnerProduct", setting)


def lrn(d: Draft) -> None:
    if len(d.shape) != 4:
        return
    setting = f"local_size: {2 * d.int(0, 3) + 1} alpha: {d.int(1, 9) / 10} beta: {d.int(1, 9) / 10} "
    if d.chance(0.5):
        setting += "norm_region: WITHIN_CHANNEL "
    elif d.chance(0.5):
        setting += f"k: {d.int(1, 4)} "
    d.add("LRN", setting)


def mvn(d: Draft) -> None:
    if not 2 <= len(d.shape) <= 4 or prod(d.shape[2:]) < 4:
        return
    setting = "".join(
        f"{what}: {value} "
        for what, value in (("normalize_variance", "false"), ("across_channels", "true"), ("eps", "0.01"))
        if d.chance(0.5)
    )
    d.add("MVN", setting)


def batch_norm(d: Draft) -> None:
    if len(d.shape) < 2:
        return
    d.add("BatchNorm", str(d.pick("", "eps: 0.1", "use_global_stats: true")))
    if d.chance(0.5):
        d.text += layer("Scale", d.blob, d.blob, "bias_term: true", name=d.name("scale"))


def _second(d: Draft, kind: str) -> None:
    """Scale or Bias by a second bottom, whose axes are some in the middle of the first's."""
    axis = d.int(0, len(d.shape) - 1)
    axes = d.int(0, len(d.shape) - axis)
    shape = d.shape[axis : axis + axes]
    bottom = d.blob
    other = d.input(shape) if shape else d.input((1,))
    setting = f"axis: {axis - len(d.shape) if shape and d.chance(0.4) else axis} " if shape else "axis: 0 "
    if not shape:
        d.add("Reshape", "shape { }", bottoms=other)
        other = d.blob
    if kind == "Scale" and d.chance(0.3):
        setting += "bias_term: true "
    d.add(kind, setting, bottoms=f"{bottom} {other}")


def scale(d: Draft) -> None:
    kind = str(d.pick("Scale", "Bias"))
    if d.chance(0.4):
        _second(d, kind)
        return
    setting = ""
    if d.chance(0.6):
        axis = d.axis()
        start = axis % len(d.shape)
        setting = f"axis: {axis} num_axes: {d.pick(-1, 1, d.int(0, len(d.shape) - start))} "
    if kind == "Scale" and d.chance(0.5):
        setting += "bias_term: true "
    d.add(kind, setting)


def eltwise(d: Draft) -> None:
    count = d.int(2, 4)
    first = d.blob
    bottoms = [first]
    for _ in range(count - 1):
        if d.chance(0.3):
            bottoms.append(d.input(d.shape))
        else:
            bottoms.append(d.add("Power", f"scale: {d.int(-3, 3)} shift: {d.int(-1, 1)}", bottoms=first))
    operation = str(d.pick("SUM", "SUM", "PROD", "MAX"))
    setting = f"operation: {operation} "
    if operation == "SUM" and d.chance(0.6):
        setting += "".join(f"coeff: {d.int(-6, 6) / 4} " for _ in range(count))
    d.add("Eltwise", setting, bottoms=" ".join(bottoms))


def concat(d: Draft) -> None:
    axis = d.axis()
    first = d.blob
    bottoms = [first]
    for _ in range(d.int(0, 2)):
        shape = list(d.shape)
        shape[axis] = d.int(1, 4)
        bottoms.append(d.input(tuple(shape)))
    if d.chance(0.2):
        bottoms.append(first)
    legacy = axis >= 0 and len(d.shape) == 4 and d.chance(0.2)
    setting = "" if axis == 1 and d.chance(0.5) else f"{'concat_dim' if legacy else 'axis'}: {axis}"
    d.add("Concat", setting, bottoms=" ".join(bottoms))


def slicing(d: Draft) -> None:
    axis = d.axis()
    size = d.shape[axis]
    if size < 2:
        return
    points = sorted({d.int(1, size - 1) for _ in range(d.int(1, 3))})
    setting = f"axis: {axis} "
    count = len(points) + 1
    if size % count == 0 and d.chance(0.4):
        tops = " ".join(d.name("b") for _ in range(count))
    else:
        setting += "".join(f"slice_point: {p} " for p in points)
        tops = " ".join(d.name("b") for _ in range(count))
    d.add("Slice", setting, tops=tops)


def tile(d: Draft) -> None:
    d.add("Tile", f"axis: {d.axis()} tiles: {d.int(1, 4)}")


def reshape(d: Draft) -> None:
    rank = len(d.shape)
    start = d.int(0, rank) if d.chance(0.5) else 0
    axes = d.int(0, rank - start) if d.chance(0.6) else -1
    part = d.shape[start:] if axes == -1 else d.shape[start : start + axes]
    rest = prod(part)
    dims: list[int] = []
    for i in range(d.int(0, 3)):
        if i < len(part) and rest % part[i] == 0 and d.chance(0.4):
            dims.append(0)
            rest //= part[i]
        else:
            divisor = _divisor(d, rest)
            dims.append(divisor)
            rest //= divisor
    dims.append(rest)
    if d.chance(0.6):
        dims[d.int(0, len(dims) - 1)] = -1
    if dims.count(-1) == 0 and rest == 1 and d.chance(0.3):
        dims.pop()
    shape = "".join(f"dim: {n} " for n in dims)
    axis = start - rank - 1 if d.chance(0.4) else start
    setting = f"shape {{ {shape}}} " + (f"axis: {axis} " if axis else "")
    d.add("Reshape", setting + (f"num_axes: {axes} " if axes != -1 else ""))


def flatten(d: Draft) -> None:
    start = d.int(0, len(d.shape) - 1)
    end = d.int(start, len(d.shape) - 1)
    rank = len(d.shape)
    shown = [n - rank if d.chance(0.4) else n for n in (start, end)]
    d.add("Flatten", str(d.pick("", f"axis: {shown[0]}", f"axis: {shown[0]} end_axis: {shown[1]}")))


def argmax(d: Draft) -> None:
    axis = d.axis() if d.chance(0.7) else None
    size = d.shape[axis] if axis is not None else prod(d.shape[1:])
    setting = f"top_k: {d.int(1, min(size, 4))} " if d.chance(0.6) else ""
    setting += "out_max_val: true " if d.chance(0.5) else ""
    d.add("ArgMax", setting + (f"axis: {axis} " if axis is not None else ""))


def softmax(d: Draft) -> None:
    d.add("Softmax", f"axis: {d.axis()}" if d.chance(0.7) else "")


def reduction(d: Draft) -> None:
    # MVN's numbers add up to 0.
    operation = d.pick("ASUM", "SUMSQ", *([] if "MVN" in d.text else ["SUM", "MEAN"]))
    d.add("Reduction", f"operation: {operation} axis: {d.axis()} coeff: {d.int(1, 8) / 4}")


def pointwise(d: Draft) -> None:
    kind, setting = d.pick(
        ("ReLU", ""), ("ReLU", "negative_slope: 0.3"), ("ReLU", "negative_slope: -0.25"), ("PReLU", ""),
        ("PReLU", "channel_shared: true"), ("ELU", "alpha: 0.4"), ("Sigmoid", ""), ("TanH", ""), ("BNLL", ""),
        ("Threshold", "threshold: 0.2"), ("Dropout", "dropout_ratio: 0.3"), ("Swish", "beta: 0.7"),
        ("Power", "power: 2 scale: 0.5 shift: -1"), ("Power", "power: 3 scale: -0.25"),
        ("Power", "scale: 0 shift: 2"), ("Exp", "scale: 0.2"), ("Exp", "base: -1 shift: 0.5 scale: 0.1"),
        ("Exp", "base: 3 scale: 0.25 shift: -1"),
    )  # fmt: skip
    if kind == "PReLU" and not 2 <= len(d.shape) <= 4:
        return
    if kind != "Swish" and d.blob not in d.feeds and d.chance(0.4):
        d.text += layer(str(kind), d.blob, d.blob, str(setting), name=d.name("inplace"))
    else:
        d.add(str(kind), str(setting))


def logarithm(d: Draft) -> None:
    """Of numbers from 0 to 1, moved away from 0 and 1, where a logarithm turns last digits into first."""
    d.add("Sigmoid")
    d.add("Log", str(d.pick("base: -1 shift: 1", "base: 2 scale: 3 shift: 0.25", "base: 10 shift: 2")))


def crop(d: Draft) -> None:
    axis = d.int(0, len(d.shape) - 1)
    like = [*d.shape[:axis], *(d.int(1, n) for n in d.shape[axis:])]
    offsets = [d.int(0, n - m) for n, m in zip(d.shape[axis:], like[axis:])]  # noqa: B905
    # On the axes in front of `axis` the second bottom may have any size.
    like[:axis] = [d.int(1, 3) for _ in range(axis)]
    bottom = d.blob
    other = d.input(tuple(like))
    if d.chance(0.3):
        offsets = [min(offsets)]
    if offsets == [0] and d.chance(0.5):
        offsets = []
    setting = f"axis: {axis - len(d.shape) if d.chance(0.4) else axis} "
    d.add("Crop", setting + "".join(f"offset: {o} " for o in offsets), bottoms=f"{bottom} {other}")


def constant(d: Draft) -> None:
    """A sum with what no input brings: a Parameter, or constants twice."""
    bottom, dims = d.blob, " ".join(f"dim: {n}" for n in d.shape)
    if d.chance(0.5):
        other = d.add("Parameter", f"shape {{ {dims} }}", bottoms=" ")
    else:
        setting = f"shape {{ {dims} }} data_filler {{ value: 0.75 }} data_filler {{ value: -2 }}"
        first, second = d.name("b"), d.name("b")
        other = d.add("DummyData", setting, bottoms=" ", tops=f"{first} {second}")
        other = f"{first} {second}"
    d.add("Eltwise", bottoms=f"{bottom} {other}")


def split(d: Draft) -> None:
    """A blob twice, the second time silenced or given out."""
    first, second = d.name("b"), d.name("b")
    d.add("Split", tops=f"{first} {second}")
    if d.chance(0.5):
        d.text += f'layer {{ name: "{d.name("silence")}" type: "Silence" bottom: "{second}" }}\n'


def spp(d: Draft) -> None:
    if len(d.shape) != 4:
        return
    d.add("SPP", f"pyramid_height: {d.int(1, 3)} pool: {d.pick('MAX', 'AVE')}")


def im2col(d: Draft) -> None:
    if len(d.shape) != 4:
        return
    kernel = [d.int(1, min(3, n)) for n in d.shape[2:]]
    setting = _axes(d, "kernel_size", kernel, "kernel") + f"pad: {d.int(0, 1)} stride: {d.int(1, 2)} "
    d.add("Im2col", setting + ("dilation: 2 " if max(kernel) == 1 or d.chance(0.2) else ""))


def batch_reindex(d: Draft) -> None:
    bottom, count = d.blob, d.shape[0]
    index = d.input((d.int(1, 5),), ("integers", 0, count))
    d.add("BatchReindex", bottoms=f"{bottom} {index}")


CHAIN: list[Callable[[Draft], None]] = [
    convolution, convolution, convolution, convolution, pooling, pooling, pooling, inner_product,
    inner_product, lrn, mvn, batch_norm, scale, scale, eltwise, eltwise, concat, concat, slicing, tile,
    reshape, reshape, flatten, argmax, softmax, reduction, pointwise, pointwise, pointwise, logarithm,
    crop, crop, spp, im2col, batch_reindex, constant, split,
]  # fmt: skip


def _recurrent(d: Draft) -> None:
    kind = str(d.pick("LSTM", "RNN"))
    steps, streams, size = d.int(1, 5), d.int(1, 3), d.int(1, 4)
    width = [d.int(2, 4)] if d.chance(0.7) else [d.int(1, 3), d.int(1, 2)]
    bottoms = [
        d.input((steps, streams, *width)),
        d.input((steps, streams), ("integers", 0, 2)),
    ]
    if d.chance(0.4):
        bottoms.append(d.input((streams, d.int(1, 4))))
    tops = [d.name("b")]
    setting = f"num_output: {size} "
    if d.chance(0.4):
        setting += "expose_hidden: true "
        for _ in range(2 if kind == "LSTM" else 1):
            bottoms.append(d.input((1, streams, size)))
            tops.append(d.name("b"))
    d.add(kind, setting, bottoms=" ".join(bottoms), tops=" ".join(tops))


def _embed(d: Draft) -> None:
    words = d.int(2, 7)
    shape = tuple(d.int(1, 4) for _ in range(d.int(1, 3)))
    index = d.input(shape, ("integers", 0, words))
    bias = str(d.pick("", "bias_term: false "))
    d.add("Embed", f"input_dim: {words} num_output: {d.int(1, 5)} {bias}", bottoms=index)


def random_net(rng: np.random.Generator, shape_of: ShapeOf) -> tuple[str, dict[str, tuple[object, ...]]]:
    """The text of a net of a few layers, and how its inputs are drawn."""
    d = Draft(rng)
    start = rng.random()
    if start < 0.06:
        _recurrent(d)
    elif start < 0.09:
        _embed(d)
    else:
        rank = int(rng.choice([4, 4, 4, 4, 4, 4, 3, 2, 5]))
        least = 1 if rank < 4 else 3
        shape = (d.int(1, 3), d.int(1, 6), *(d.int(least, 9 if rank < 5 else 5) for _ in range(rank - 2)))
        d.input(shape)
    for _ in range(d.int(1, 7)):
        d.shape = shape_of(d.text, d.blob)
        if not d.shape or prod(d.shape) > 20000:
            break
        CHAIN[d.int(0, len(CHAIN) - 1)](d)
    if d.text.count("layer {") == len(d.feeds):
        d.add("Power", "scale: 2")
    return d.text, d.feeds
