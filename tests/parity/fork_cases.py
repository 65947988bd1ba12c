"""Fixtures of the layers of `fork_formulas.py`; `make_fork_fixtures.py` writes them."""

from __future__ import annotations

import numpy as np

import tests.parity.fork_formulas as ref
from tests.parity.fork_case import BIGGER, NORMAL, X2, ForkCase, on_data, own
from tests.parity.fork_references import reorg_of_darknet

ROIS = (
    "values",
    *(0, 3, 2, 40, 31),  # ordinary
    *(1, 8, 8, 24, 24),  # places on halves at scale 1/16
    *(0, 0, 0, 111, 95),  # the whole picture
    *(1, -20, -9, 30, 20),  # begins outside
    *(0, 90, 80, 150, 140),  # ends outside
    *(1, 30, 30, 30, 30),  # a point
    *(1, 12.4, 17.7, 55.3, 70.6),  # not whole numbers
)
REGIONS = {"data": ((2, 3, 6, 7), NORMAL), "rois": ((7, 5), ROIS)}
SCORE_MAPS = {"data": ((2, 18, 6, 7), NORMAL), "rois": ((7, 5), ROIS)}
POSITIVE = {"data": ((1, 4, 6, 7), ("uniform", 0.1, 9.0))}
FUNCTIONS = {
    "Sin": np.sin,
    "Cos": np.cos,
    "Atan": np.arctan,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Softplus": lambda x: np.log1p(np.exp(x.astype(np.float64))),
    "Softsign": lambda x: x / (1 + np.abs(x)),
}
FREE, FIXED = ("normal", 0.0, 0.7), "theta_1_2: 0 theta_2_1: 0"
VARIANCES = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"


def _theta(theta: np.ndarray) -> np.ndarray:
    """The two shears at 0, the other four numbers given."""
    a, b, c, d = theta.T
    zero = np.zeros_like(a)
    return np.stack([a, zero, b, zero, c, d], axis=1)


ELEMENTWISE = [
    on_data(
        "functions",
        "".join(own(kind, "data", kind.lower()) for kind in FUNCTIONS),
        {kind.lower(): f for kind, f in FUNCTIONS.items()},
        resized=BIGGER,
    ),
    on_data("sqrt", own("Sqrt", "data", "y"), {"y": np.sqrt}, inputs=POSITIVE),
    on_data(
        "activations_of_forks",
        own("Mish", "data", "a")
        + own("HardSigmoid", "data", "b")
        + own("HardSigmoid", "data", "c", "hard_sigmoid_param { alpha: 0.5 beta: 0.25 }")
        + own("HardSwish", "data", "d")
        + own("SeLU", "data", "e")
        + own("SeLu", "data", "f", "selu_param { alpha: 1.5 lambda: 1.25 }")
        + own("RReLU", "data", "g")
        + own("RReLU", "data", "h", "rrelu_param { lb: 3 ub: 8 }")
        + own("NegReLU", "data", "i", "relu_param { negative_slope: 0.1 }")
        + own("SignedSqrt", "data", "j"),
        {
            "a": ref.mish,
            "b": ref.hard_sigmoid,
            "c": lambda x: ref.hard_sigmoid(x, 0.5, 0.25),
            "d": ref.hard_swish,
            "e": ref.selu,
            "f": lambda x: ref.selu(x, 1.5, 1.25),
            "g": ref.rrelu,
            "h": lambda x: ref.rrelu(x, 3, 8),
            "i": lambda x: ref.neg_relu(x, 0.1),
            "j": ref.signed_sqrt,
        },
        resized=BIGGER,
    ),
    on_data(
        "crelu",
        own("CReLU", "data", "y")
        + own("CReLU", "data", "z", "crelu_param { negative_slope: 0.2 concat_axis: 2 }"),
        {"y": ref.crelu, "z": lambda x: ref.crelu(x, 0.2, 2)},
        inputs=X2,
        resized={"data": (2, 4, 9, 8)},
    ),
]
MOVING = [
    on_data(
        "transpose_flip",
        own("Transpose", "data", "a", "transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }")
        + own("Flip", "data", "b")
        + own("Flip", "data", "c", "flip_param { flip_width: false flip_height: true }")
        + own("Flip", "data", "d", "flip_param { flip_height: true }"),
        {
            "a": lambda x: ref.transpose(x, (3, 2, 0, 1)),
            "b": ref.flip,
            "c": lambda x: ref.flip(x, False, True),
            "d": lambda x: ref.flip(x, True, True),
        },
        inputs=X2,
        resized={"data": (2, 4, 9, 8)},
    ),
    on_data(
        "blocks_to_points",
        own("Tiling", "data", "a", "tiling_param { tile_dim: 2 }")
        + own("Rearrange", "data", "b", "rearrange_param { depth: 2 }")
        + own("Dtow", "data", "c", "dtow_param { psize: 2 method: MDTOW }")
        + own("GSTiling", "data", "d", "gs_tiling_param { stride: 2 reverse: true }"),
        {
            "a": lambda x: ref.tiling(x, 2),
            "b": lambda x: ref.tiling(x, 2),
            "c": lambda x: ref.tiling(x, 2),
            "d": lambda x: ref.gs_tiling(x, 2, True),
        },
        inputs={"data": ((2, 8, 3, 4), NORMAL)},
        resized={"data": (2, 8, 5, 3)},
    ),
    on_data(
        "points_to_blocks",
        own("Dtow", "data", "a", "dtow_param { psize: 2 method: WTOD }")
        + own("GSTiling", "data", "b", "gs_tiling_param { stride: 2 reverse: false }"),
        {"a": lambda x: ref.untiling(x, 2), "b": lambda x: ref.gs_tiling(x, 2, False)},
        inputs={"data": ((2, 3, 6, 8), NORMAL)},
        resized={"data": (2, 3, 8, 4)},
    ),
    on_data(
        "division",
        own(
            "Division",
            "data",
            "a b",
            "division_param { width: 3 height: 2 xcoord: 0 xcoord: 4 ycoord: 1 ycoord: 4 }",
        ),
        {"a": lambda x: ref.window(x, (0, 1), (3, 2)), "b": lambda x: ref.window(x, (4, 4), (3, 2))},
        resized=BIGGER,
    ),
]
PAIRS = [
    on_data(
        "merge_crop",
        own("MergeCrop", "data b", "y")
        + own("MergeCrop", "data b", "z", "mergecrop_param { operation: ADD forward: true forward: true }")
        + own("MergeCrop", "data b", "w", "mergecrop_param { forward: false forward: true backward: false }"),
        {
            "y": ref.merge_crop,
            "z": lambda a, b: ref.merge_crop(a, b, add=True),
            "w": lambda a, b: ref.merge_crop(a, b, forward=(False, True)),
        },
        inputs={"data": ((2, 3, 4, 5), NORMAL), "b": ((2, 3, 7, 9), NORMAL)},
        resized={"data": (2, 3, 6, 4), "b": (2, 3, 9, 8)},
    ),
    on_data(
        "merge_crop_volume",
        own("MergeCrop", "data b", "y"),
        {"y": ref.merge_crop},
        inputs={"data": ((1, 2, 3, 4, 5), NORMAL), "b": ((1, 2, 6, 6, 8), NORMAL)},
    ),
    on_data(
        "mask_pooling",
        own("MaskPooling", "data mask", "y") + own("ChannelScale", "data mask", "z"),
        {"y": ref.mask_pooling, "z": ref.mask_pooling},
        inputs={"data": ((2, 4, 6, 7), NORMAL), "mask": ((2, 1, 6, 7), ("uniform", 0.0, 1.0))},
        resized={"data": (2, 4, 9, 8), "mask": (2, 1, 9, 8)},
    ),
    on_data(
        "matmul",
        own("MatMul", "data b", "y")
        + own("MatMul", "data c", "z", "matmul_param { transpose_b: true }")
        + own("MatMul", "d b", "w", "matmul_param { transpose_a: true }"),
        {
            "y": lambda a, b, c, d: ref.matmul(a, b),
            "z": lambda a, b, c, d: ref.matmul(a, c, turn_b=True),
            "w": lambda a, b, c, d: ref.matmul(d, b, turn_a=True),
        },
        inputs={
            "data": ((2, 3, 5), NORMAL),
            "b": ((2, 5, 4), NORMAL),
            "c": ((2, 6, 5), NORMAL),
            "d": ((2, 5, 3), NORMAL),
        },
    ),
    on_data(
        "matmul_learnt",
        own("MatMul", "data", "y", "matmul_param { blob_shape: 5 blob_shape: 4 }"),
        {"y": lambda x, w: ref.matmul(x, w)},
        inputs={"data": ((2, 3, 5), NORMAL)},
        blobs={"y": ((5, 4),)},
    ),
    on_data(
        "matmul_sophgo",
        own("MatMul", "data b", "y", "matmul_param { dim_1: 3 dim_2: 5 dim_3: 4 }"),
        {"y": lambda a, b: ref.matmul(a, b, turn_b=True)},
        inputs={"data": ((3, 5), NORMAL), "b": ((4, 5), NORMAL)},
    ),
]
NORMS = [
    on_data(
        "grn",
        own("GRN", "data", "y") + own("GRN", "data", "z", "grn_param { bias: 0.5 }"),
        {"y": ref.grn, "z": lambda x: ref.grn(x, 0.5)},
        resized=BIGGER,
    ),
    on_data("l2_normalize", own("L2Normalize", "data", "y"), {"y": ref.l2_normalize}, inputs=X2),
    on_data(
        "group_norm",
        own("GroupNorm", "data", "y", "group_norm_param { group: 2 eps: 0.01 }")
        + own("GroupNorm", "data", "z", "group_norm_param { group_num: 4 }")
        + own("GroupNorm", "data", "w", "group_norm_param { group_ratio: 2 eps: 0.5 }"),
        {
            "y": lambda x, scale, shift: ref.group_norm(x, 2, 0.01, scale, shift),
            "z": lambda x: ref.group_norm(x, 4, 1e-5),
            "w": lambda x: ref.group_norm(x, 2, 0.5),
        },
        inputs={"data": ((2, 4, 6, 7), ("normal", 3.0, 2.0))},
        blobs={"y": ((4,), (4,))},
        resized={"data": (2, 4, 9, 8)},
    ),
]
SEQUENCES = [
    on_data(
        "lstm_ctpn",
        own("Lstm", "data", "y", "lstm_param { num_output: 3 clipping_threshold: 1 }"),
        {"y": ref.lstm},
        inputs={"data": ((6, 2, 5), NORMAL)},
        blobs={"y": ((12, 5), (12, 3), (12,))},
    ),
    on_data(
        "lstm_junhyukoh",
        own("Lstm", "data", "y", "lstm_param { num_output: 3 batch_size: 2 }")
        + own("Lstm", "data clip", "z", "lstm_param { num_output: 4 batch_size: 2 }"),
        {
            "y": lambda x, clip, *w: ref.lstm(x.reshape(6, 2, 5), *w).reshape(12, 3),
            "z": lambda x, clip, *w: ref.lstm(x.reshape(6, 2, 5), *w, clip.reshape(6, 2)).reshape(12, 4),
        },
        inputs={
            "data": ((12, 5, 1, 1), NORMAL),
            "clip": ((12,), ("values", 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1)),
        },
        blobs={"y": ((12, 5), (12, 3), (12,)), "z": ((16, 5), (16, 4), (16,))},
    ),
    on_data(
        "gru",
        own("GRU", "data", "y", "gru_param { num_output: 4 }"),
        {"y": ref.gru},
        inputs={"data": ((5, 3, 4), NORMAL)},
        blobs={"y": ((8, 4), (8, 4), (4, 4), (4, 4), (8,), (1, 4))},
    ),
]
PLACES = [
    on_data(
        "roi_warping",
        own(
            "ROIWarping",
            "data rois",
            "y",
            "roi_warping_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.0625 }",
        ),
        {"y": lambda x, r: ref.roi_warping(x, r, size=(3, 4), scale=0.0625)},
        inputs=REGIONS,
        resized={"data": (2, 3, 9, 8)},
    ),
    on_data(
        "psroi_align",
        own(
            "PSROIAlign",
            "data rois",
            "y",
            "psroi_align_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 }",
        )
        + own(
            "PSROIAlign",
            "data rois",
            "z",
            "psroi_align_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 sample_num: 3 }",
        ),
        {
            "y": lambda x, r: ref.psroi_align(x, r, outputs=2, group=3, scale=0.0625),
            "z": lambda x, r: ref.psroi_align(x, r, outputs=2, group=3, scale=0.0625, samples=3),
        },
        inputs=SCORE_MAPS,
        resized={"data": (2, 18, 9, 8)},
    ),
    on_data(
        "mask_resize",
        own("MaskResize", "data", "y", "mask_resize_param { output_height: 9 output_width: 5 }")
        + own("MaskResize", "data", "z", "mask_resize_param { output_height: 14 output_width: 17 }"),
        {"y": lambda x: ref.mask_resize(x, (9, 5)), "z": lambda x: ref.mask_resize(x, (14, 17))},
        resized=BIGGER,
    ),
    on_data(
        "spatial_transformer",
        own(
            "SpatialTransformer",
            "data theta",
            "y",
            "st_param { output_H: 5 output_W: 4 to_compute_dU: false }",
        ),
        {"y": lambda u, theta: ref.spatial_transformer(u, theta, (5, 4))},
        inputs={"data": ((2, 3, 6, 7), NORMAL), "theta": ((2, 6), FREE)},
        resized={"data": (2, 3, 9, 8)},
    ),
    on_data(
        "spatial_transformer_fixed_theta",
        own("SpatialTransformer", "data theta", "y", f"st_param {{ {FIXED} }}"),
        {"y": lambda u, theta: ref.spatial_transformer(u, _theta(theta))},
        inputs={"data": ((2, 3, 6, 7), NORMAL), "theta": ((2, 4), FREE)},
    ),
]
SQUARE = "kernel_size: 3 stride: 2"
POOLS = [
    on_data(
        "pool_dilation",
        own("Pooling", "data", "y", "pooling_param { pool: MAX kernel_size: 2 stride: 1 dilation: 2 }")
        + own("Pooling", "data", "z", "pooling_param { kernel_size: 2 stride: 2 dilation: 3 }")
        + own("Pooling", "data", "w", "pooling_param { kernel_size: 3 stride: 2 pad: 1 dilation: 2 }")
        + own("Pooling", "data", "v", "pooling_param { pool: AVE kernel_size: 2 stride: 2 dilation: 1 }"),
        {
            "y": lambda x: ref.dilated_pool(x, 2, 1, 0, 2),
            "z": lambda x: ref.dilated_pool(x, 2, 2, 0, 3),
            "w": lambda x: ref.dilated_pool(x, 3, 2, 1, 2),
            "v": lambda x: ref.dilated_pool(x, 2, 2, 0, 1, mean=True),
        },
        inputs={"data": ((1, 4, 9, 12), NORMAL)},
        resized={"data": (1, 4, 8, 10)},
    ),
    on_data(
        "pool_3dstn",
        own(
            "Pooling3D",
            "data",
            "y",
            "pooling3d_param { kernel_size: 3 stride: 2 pad: 0 pad_l: 0 kernel_l: 2 stride_l: 2 }",
        )
        + own(
            "Pooling3D",
            "data",
            "z",
            "pooling3d_param { kernel_size: 3 stride: 2 pad: 1 pad_l: 1 kernel_l: 2 stride_l: 1 }",
        ),
        {
            "y": lambda x: ref.max_pool_volume(x, (2, 3, 3), (2, 2, 2), (0, 0, 0)),
            "z": lambda x: ref.max_pool_volume(x, (2, 3, 3), (1, 2, 2), (1, 1, 1)),
        },
        inputs={"data": ((1, 2, 4, 6, 7), NORMAL)},
    ),
    on_data(
        "reorg_with_stride",
        own("Reorg", "data", "y", "reorg_param { stride: 2 }"),
        {"y": lambda x: reorg_of_darknet(x, 2)},
        inputs={"data": ((2, 4, 6, 8), NORMAL)},
    ),
]
DENSE = "fixed_size: 10 fixed_size: 64 density: 3 density: 1"
RATIOS = "fixed_ratio: 1 fixed_ratio: 2"
PRIORS = [
    on_data(
        "prior_box_dense",
        own("PriorBox", "data image", "y", f"prior_box_param {{ {DENSE} step: 16 {VARIANCES} }}")
        + own("PriorBox", "data image", "z", f"prior_box_param {{ {DENSE} {RATIOS} {VARIANCES} }}")
        + own(
            "PriorBox",
            "data image",
            "w",
            f"prior_box_param {{ fixed_size: 32 density: 2 aspect_ratio: 2 flip: true {VARIANCES} }}",
        ),
        {
            "y": lambda x, i: ref.dense_prior_box(x, i, fixed_size=(10, 64), density=(3, 1), step=16),
            "z": lambda x, i: ref.dense_prior_box(x, i, fixed_size=(10, 64), density=(3, 1), ratios=(1, 2)),
            "w": lambda x, i: ref.dense_prior_box(x, i, fixed_size=(32,), density=(2,), ratios=(1, 2, 0.5)),
        },
        inputs={"data": ((1, 4, 3, 4), NORMAL), "image": ((1, 3, 48, 60), NORMAL)},
    ),
]
FORK_CASES: list[ForkCase] = [*ELEMENTWISE, *MOVING, *PAIRS, *NORMS, *SEQUENCES, *PLACES, *POOLS, *PRIORS]
