"""Fixtures of the layers of `fork_formulas_blocks.py`; `make_fork_fixtures.py` writes them."""

from __future__ import annotations

import tests.parity.fork_formulas as plain
import tests.parity.fork_formulas_blocks as ref
from tests.parity.fork_case import BIGGER, NORMAL, X2, ForkCase, X, on_data, own

PLAIN = ((2, 3, 3, 3), (2, 5, 3, 3), *((1, 3, 1, 1), (1, 5, 1, 1)) * 4, (1, 1, 1, 1))
NARROW = (
    *((2, 8, 3, 3),) * 2,
    *((1, 3, 1, 1), (1, 5, 1, 1)) * 4,
    *((8, 3, 1, 1), (8, 5, 1, 1)),
    *((1, 8, 1, 1),) * 8,
    (1, 1, 1, 1),
)
MAP3 = {"data": ((2, 3, 5, 4), NORMAL)}

BLOCKS = [
    on_data(
        "dense_block",
        own("DenseBlock", "data", "y", "denseblock_param { numTransition: 2 initChannel: 9 growthRate: 2 }"),
        {"y": ref.dense_block},
        inputs=MAP3,
        blobs={"y": PLAIN},
        resized={"data": (2, 3, 7, 6)},
    ),
    on_data(
        "dense_block_narrow",
        own("DenseBlock", "data", "y", "denseblock_param { numTransition: 2 growthRate: 2 use_BC: true }"),
        {"y": lambda x, *w: ref.dense_block(x, *w, bottleneck=True)},
        inputs=MAP3,
        blobs={"y": NARROW},
    ),
    on_data(
        "pixel_conv",
        own("PixelConv", "data b", "y"),
        {"y": ref.pixel_conv},
        inputs={"data": ((2, 27, 5, 6), NORMAL), "b": ((2, 3, 5, 6), NORMAL)},
        resized={"data": (2, 27, 4, 7), "b": (2, 3, 4, 7)},
    ),
    on_data(
        "im2dist",
        own("Im2dist", "data", "y", "convolution_param { kernel_size: 3 pad: 1 }")
        + own(
            "Im2dist",
            "data",
            "z",
            "convolution_param { kernel_size: 3 pad: 3 dilation: 2 stride: 2 } "
            "im2dist_param { norm: L1 remove_center: true }",
        )
        + own(
            "Im2dist",
            "data",
            "w",
            "convolution_param { kernel_size: 3 pad: 2 } im2dist_param { remove_bounds: true }",
        ),
        {
            "y": lambda x: ref.im2dist(x, 3, pad=1),
            "z": lambda x: ref.im2dist(x, 3, pad=3, dilation=2, stride=2, norm=1, center=True),
            "w": lambda x: ref.im2dist(x, 3, pad=2, bounds=True),
        },
        inputs=X2,
        resized={"data": (2, 4, 9, 8)},
    ),
]
DISTANCES = [
    on_data(
        "inner_distance",
        own("InnerDistance", "data", "y", "inner_distance_param { num_output: 5 }")
        + own(
            "InnerDistance",
            "data",
            "z",
            'inner_distance_param { num_output: 5 distance_type: "L1" normalize: true }',
        ),
        {"y": ref.inner_distance, "z": lambda x, w: ref.inner_distance(x, w, "L1", True)},
        inputs={"data": ((3, 2, 2, 3), NORMAL)},
        blobs={"y": ((5, 12),), "z": ((5, 12),)},
    ),
    on_data(
        "inner_distance_given",
        own("InnerDistance", "data b", "y"),
        {"y": ref.inner_distance},
        inputs={"data": ((3, 12), NORMAL), "b": ((4, 12), NORMAL)},
    ),
    on_data(
        "inner_product_normalized",
        own("InnerProduct", "data", "y", "inner_product_param { num_output: 5 normalize: true }"),
        {"y": lambda x, w, b: ref.inner_product(x, w, b, normalize=True)},
        inputs={"data": ((3, 12), NORMAL)},
        blobs={"y": ((5, 12), (5,))},
    ),
    on_data(
        "inner_product_given",
        own("InnerProduct", "data w b", "y")
        + own("InnerProduct", "data w", "z", "inner_product_param { bias_term: false num_output: 9 }"),
        {"y": ref.inner_product, "z": lambda x, w, b: ref.inner_product(x, w)},
        inputs={"data": ((3, 2, 6), NORMAL), "w": ((4, 12), NORMAL), "b": ((4,), NORMAL)},
    ),
    on_data(
        "normalize_of_normface",
        own("Normalize", "data", "y n", "normalize_param { }")
        + own("Normalize", "data", "z", 'normalize_param { normalize_type: "L1" fix_gradient: true }'),
        {
            "y": lambda x: ref.channel_normalize(x)[0],
            "n": lambda x: ref.channel_normalize(x)[1],
            "z": lambda x: ref.channel_normalize(x, "L1")[0],
        },
        inputs=X2,
        resized={"data": (2, 4, 9, 8)},
    ),
    on_data(
        "srelu",
        own("SReLU", "data", "y") + own("SReLU", "data", "z", "srelu_param { channel_shared: true }"),
        {"y": ref.srelu, "z": ref.srelu},
        inputs=X2,
        blobs={"y": ((4,),) * 4, "z": ((),) * 4},
        resized={"data": (2, 4, 9, 8)},
    ),
]
WINDOWS = [
    on_data(
        "box_combination",
        own("Box", "a", "y z", "box_param { width: 3 height: 2 xcoord: 0 xcoord: 4 ycoord: 1 ycoord: 4 }")
        + own(
            "Combination",
            "b c d",
            "w",
            "combination_param { xcoord: 0 xcoord: 3 xcoord: 2 ycoord: 0 ycoord: 0 ycoord: 4 }",
        ),
        {
            "y": lambda a, b, c, d: plain.window(a, (0, 1), (3, 2)),
            "z": lambda a, b, c, d: plain.window(a, (4, 4), (3, 2)),
            "w": lambda a, b, c, d: ref.combination([b, c, d], [(0, 0), (3, 0), (2, 4)]),
        },
        inputs={
            "a": ((1, 4, 6, 7), NORMAL),
            "b": ((2, 3, 4, 3), NORMAL),
            "c": ((2, 3, 3, 2), NORMAL),
            "d": ((2, 3, 2, 3), NORMAL),
        },
    ),
    on_data(
        "convert_to_sequence",
        own("Convert", "data", "y m"),
        {"y": lambda x: ref.convert(x)[0], "m": lambda x: ref.convert(x)[1]},
        inputs={"data": ((3, 4, 1, 5), NORMAL)},
    ),
    on_data(
        "add_broadcast",
        own("Add", "data b", "y") + own("Add", "data c", "z"),
        {"y": lambda x, b, c: x + b, "z": lambda x, b, c: x + c},
        inputs={"data": ((2, 4, 1, 7), NORMAL), "b": ((2, 4, 6, 7), NORMAL), "c": ((4, 3, 1), NORMAL)},
    ),
    on_data(
        "nd_convolution_pooling",
        own(
            "NdConvolution",
            "data",
            "y",
            "convolution_param { num_output: 3 kernel_shape { dim: 3 dim: 3 dim: 3 } "
            "pad_shape { dim: 1 dim: 1 dim: 1 } }",
        )
        + own(
            "NdPooling",
            "data",
            "z",
            "pooling_param { pool: MAX kernel_shape { dim: 1 dim: 2 dim: 3 } "
            "stride_shape { dim: 1 dim: 2 dim: 2 } pad_shape { dim: 0 dim: 0 dim: 1 } }",
        ),
        {
            "y": lambda x, w, b: ref.convolve(x, w, b, pad=1),
            "z": lambda x: ref.nd_max_pool(x, (1, 2, 3), (1, 2, 2), (0, 0, 1)),
        },
        inputs={"data": ((2, 2, 4, 5, 6), NORMAL)},
        blobs={"y": ((3, 2, 3, 3, 3), (3,))},
    ),
    on_data(
        "interp_like",
        own("Interp", "data b", "y", "interp_param { use_blob_size: true }"),
        {"y": lambda x, b: ref.interp(x, b.shape[2:])},
        inputs={"data": ((2, 3, 4, 5), NORMAL), "b": ((1, 1, 7, 13), NORMAL)},
        resized={"data": (2, 3, 6, 4), "b": (1, 1, 9, 8)},
    ),
    on_data(
        "mask_resize_factor",
        own(
            "MaskResize",
            "data",
            "y",
            "mask_resize_param { output_height: 1 output_width: 1 factor_height: 1.5 factor_width: 2 }",
        ),
        {"y": lambda x: plain.mask_resize(x, (9, 14))},
    ),
    on_data(
        "spatial_product",
        own("SpatialProduct", "data m", "y"),
        {"y": plain.mask_pooling},
        inputs={"data": ((2, 4, 6, 7), NORMAL), "m": ((2, 1, 6, 7), NORMAL)},
    ),
    on_data("selu_dropout", own("SeLuDropout", "data", "y"), {"y": lambda x: x}, inputs=X, resized=BIGGER),
]

BLOCK_CASES: list[ForkCase] = [*BLOCKS, *DISTANCES, *WINDOWS]

__all__ = ["BLOCK_CASES"]
