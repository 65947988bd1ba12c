"""Random layers of `fork_formulas_blocks.py`, for `random_fork_nets.py`."""

from __future__ import annotations

import numpy as np

import tests.parity.fork_formulas as ref
import tests.parity.fork_formulas_blocks as blocks
from tests.parity.fork_step import Maker, Shape, Step
from tests.parity.fork_step import drawn as _int
from tests.parity.fork_step import pick as _pick


def dense_block(rng: np.random.Generator, shape: Shape) -> Step:
    number, growth, narrow = _int(rng, 1, 3), _int(rng, 1, 3), bool(_int(rng, 0, 1))
    grown = [shape[1] + i * growth for i in range(number)]
    weights: list[Shape] = [(growth, 4 * growth if narrow else c, 3, 3) for c in grown]
    weights += [(1, c, 1, 1) for c in grown] * 2 + [(1, c, 1, 1) for c in grown] * 2
    if narrow:
        weights += [(4 * growth, c, 1, 1) for c in grown] + [(1, 4 * growth, 1, 1)] * (4 * number)
    setting = (
        f"denseblock_param {{ numTransition: {number} growthRate: {growth} use_BC: {str(narrow).lower()} }}"
    )
    return Step(
        "DenseBlock",
        setting,
        lambda x, *w: blocks.dense_block(x, *w, bottleneck=narrow),
        weights=(*weights, (1, 1, 1, 1)),
    )


def around(rng: np.random.Generator, shape: Shape) -> Step:
    kernel, stride, dilation, pad = _int(rng, 1, 3), _int(rng, 1, 2), _int(rng, 1, 2), _int(rng, 0, 2)
    reach = (kernel - 1) * dilation + 1
    pad = max(pad, -(-(reach - min(shape[2:])) // 2))
    norm = str(_pick(rng, "L1", "L2"))
    conv = f"convolution_param {{ kernel_size: {kernel} stride: {stride} dilation: {dilation} pad: {pad} }}"
    setting = f"{conv} im2dist_param {{ norm: {norm} }}"
    size = {"pad": pad, "stride": stride, "dilation": dilation, "norm": int(norm[1])}
    return Step("Im2dist", setting, lambda x: blocks.im2dist(x, kernel, **size))


def weighed(rng: np.random.Generator, shape: Shape) -> Step:
    """SpatialProduct and Add of a second bottom, Interp to its size."""
    mask = rng.uniform(0, 1, (shape[0], 1, *shape[2:])).astype(np.float32)
    row = rng.normal(0, 1, (shape[1], 1, shape[3])).astype(np.float32)
    like = np.zeros((1, 1, _int(rng, 1, 12), _int(rng, 1, 12)), np.float32)
    return (
        Step("SpatialProduct", "", ref.mask_pooling, (mask,)),
        Step("Add", "", lambda x, y: x + y, (row,)),
        Step(
            "Interp",
            "interp_param { use_blob_size: true }",
            lambda x, y: blocks.interp(x, (y.shape[2], y.shape[3])),
            (like,),
        ),
    )[_int(rng, 0, 2)]


def learnt(rng: np.random.Generator, shape: Shape) -> Step:
    """SReLU, NormFace's Normalize, InnerDistance and InnerProduct with normalised weights."""
    kind, outputs, normal = str(_pick(rng, "L1", "L2")), _int(rng, 1, 5), bool(_int(rng, 0, 1))
    length = int(np.prod(shape[1:]))
    said = f'distance_type: "{kind}" normalize: {str(normal).lower()}'
    return (
        Step("SReLU", "", blocks.srelu, weights=((shape[1],),) * 4),
        Step(
            "Normalize",
            f'normalize_param {{ normalize_type: "{kind}" }}',
            lambda x: blocks.channel_normalize(x, kind)[0],
        ),
        Step(
            "InnerDistance",
            f"inner_distance_param {{ num_output: {outputs} {said} }}",
            lambda x, w: blocks.inner_distance(x, w, kind, normal),
            weights=((outputs, length),),
        ),
        Step(
            "InnerProduct",
            f"inner_product_param {{ num_output: {outputs} normalize: {str(normal).lower()} }}",
            lambda x, w, b: blocks.inner_product(x, w, b, normal),
            weights=((outputs, length), (outputs,)),
        ),
    )[_int(rng, 0, 3)]


def nd_pool(rng: np.random.Generator, shape: Shape) -> Step | None:
    kernel = tuple(_int(rng, 1, min(3, n)) for n in shape[2:])
    stride = tuple(_int(rng, 1, k) for k in kernel)
    pad = tuple(_int(rng, 0, k - 1) for k in kernel)
    dims = {"kernel_shape": kernel, "stride_shape": stride, "pad_shape": pad}
    words = " ".join(f"{k} {{ dim: {v[0]} dim: {v[1]} }}" for k, v in dims.items())
    setting = f"pooling_param {{ pool: MAX {words} }}"
    return Step("NdPooling", setting, lambda x: blocks.nd_max_pool(x, kernel, stride, pad))


BLOCK_MAKERS: tuple[Maker, ...] = (dense_block, around, weighed, weighed, learnt, learnt, nd_pool)
