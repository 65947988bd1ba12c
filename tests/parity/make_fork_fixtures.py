"""Write the fixtures of layers that no Caffe at hand runs, under `forks/NAME/`.

The layout is that of `layers/`. What answers is either `fork_references.py`, loops that follow the fork's
source (attribute `reader` = "NumPy loops from the fork's source"), or OpenCV's Caffe importer (`reader` =
"OpenCV ..."). The port makes no number here: it only reads the prototxt and writes the weights file.

    python -m tests.parity.make_fork_fixtures            # what is missing
    python -m tests.parity.make_fork_fixtures --force interp

It needs the test extra (opencv-python-headless below 5). The same script writes the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import caffe_port
import tests.parity.fork_references as ref
import weights
from tests.parity.cases import layer
from tests.parity.fork_block_cases import BLOCK_CASES
from tests.parity.fork_case import (
    BIGGER,
    LOOPS,
    NORMAL,
    OPENCV,
    X2,
    Blobs,
    ForkCase,
    X,
    net,
    on_data,
    own,
)
from tests.parity.fork_cases import FORK_CASES
from tests.parity.reference_file import write_reference

HERE = Path(__file__).resolve().parent

STATISTICS = ((1, 4, 1, 1),) * 4
ROIS = (
    "values",
    *(0, 3, 2, 40, 31),  # ordinary
    *(1, 8, 8, 24, 24),  # places on halves at scale 1/16
    *(0, 0, 0, 111, 95),  # the whole picture
    *(1, -20, -9, 30, 20),  # begins outside
    *(0, 90, 80, 150, 140),  # ends outside
    *(1, 30, 30, 30, 30),  # a point
    *(0, 200, 200, 240, 240),  # all outside
    *(1, 12.4, 17.7, 55.3, 70.6),  # not whole numbers
)
REGIONS = {"data": ((2, 3, 6, 7), NORMAL), "rois": ((8, 5), ROIS)}
SCORE_MAPS = {"data": ((2, 18, 6, 7), NORMAL), "rois": ((8, 5), ROIS)}
POSITIVE = {"data": ((1, 4, 7, 8), ("uniform", 0.0, 3.0))}
PICTURE = {"data": ((1, 4, 3, 4), NORMAL), "image": ((1, 3, 45, 64), NORMAL)}
PAIR = {"data": ((1, 3, 8, 9), NORMAL), "b": ((1, 3, 8, 9), NORMAL)}
FLOW = {"data": ((2, 3, 6, 7), NORMAL), "flow": ((2, 2, 6, 7), ("normal", 0.0, 2.5))}
CLIP5 = {"data": ((1, 2, 4, 6, 7), NORMAL)}


def _after_pooling(kernel: int, stride: int, size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    def answer(x: np.ndarray) -> np.ndarray:
        top, mask = ref.max_pool_with_mask(x, kernel, stride)
        return ref.unpool(top * top, mask, size)

    return answer


def _pool_and_unpool(pooling: str, upsample: str) -> str:
    return (
        layer("Pooling", "data", "p mask", f"pool: MAX {pooling}")
        + layer("Eltwise", "p p", "sq", "operation: PROD")
        + own("Upsample", "sq mask", "y", f"upsample_param {{ {upsample} }}")
    )


BATCH = "batch_norm_param { use_global_stats: false"
CASES: list[ForkCase] = [
    # BVLC Caffe, but not in the build that makes the other fixtures.
    on_data(
        "bn_batch_statistics",
        own("BatchNorm", "data", "y", BATCH + " }") + own("BatchNorm", "data", "z", BATCH + " eps: 0.5 }"),
        {"y": lambda x, *_: ref.batch_norm_of_batch(x), "z": lambda x, *_: ref.batch_norm_of_batch(x, 0.5)},
        inputs={"data": ((2, 4, 6, 7), ("normal", 3.0, 2.0))},
        blobs={"y": ((4,), (4,), (1,)), "z": ((4,), (4,), (1,))},
        resized={"data": (2, 4, 9, 5)},
    ),
    on_data(
        "bn_batch_statistics_2d",
        own("BatchNorm", "data", "y", BATCH + " }"),
        {"y": lambda x, *_: ref.batch_norm_of_batch(x)},
        inputs={"data": ((6, 4), ("normal", 3.0, 2.0))},
        blobs={"y": ((4,), (4,), (1,))},
    ),
    on_data(
        "bn_five_blobs_xilinx",
        own(
            "BatchNorm",
            "data",
            "y",
            "batch_norm_param { scale_filler { value: 1 } bias_filler { value: 0 } }",
        )
        + own("BatchNorm", "data", "z", BATCH + " eps: 0.01 scale_filler { value: 1 } bias_filler { } }"),
        {
            "y": lambda x, scale, shift, mean, variance, _: ref.bn_pspnet(x, scale, shift, mean, variance),
            "z": lambda x, scale, shift, mean, variance, _: (
                ref.batch_norm_of_batch(x, 0.01) * ref.per_channel(scale, x) + ref.per_channel(shift, x)
            ),
        },
        blobs={"y": (*STATISTICS, (1, 1, 1, 1)), "z": (*STATISTICS, (1, 1, 1, 1))},
        inputs=X2,
        resized={"data": (2, 4, 3, 8)},
    ),
    on_data(
        "bn_five_blobs_nvidia",
        own("BatchNorm", "data", "y", "batch_norm_param { scale_bias: true eps: 0.01 }"),
        {
            "y": lambda x, mean, variance, _, scale, shift: ref.bn_pspnet(
                x, scale, shift, mean, variance, 0.01
            )
        },
        blobs={"y": ((4,), (4,), (1,), (4,), (4,))},
    ),
    on_data(
        "clip",
        own("Clip", "data", "y", "clip_param { min: -1.5 max: 0.75 }")
        + own("Clip", "data", "z", "clip_param { min: 0 max: 6 }"),
        {"y": lambda x: np.clip(x, -1.5, 0.75), "z": lambda x: np.clip(x, 0, 6)},
        resized=BIGGER,
    ),
    on_data(
        "pool_stochastic",
        layer("ReLU", "data", "r") + layer("Pooling", "r", "y", "pool: STOCHASTIC kernel_size: 3 stride: 2"),
        {"y": lambda x: ref.stochastic_pool_at_test(np.maximum(x, 0), 3, 2)},
        inputs=X2,
        resized={"data": (2, 4, 9, 8)},
    ),
    on_data(
        "pool_ceil_mode_false",
        own("Pooling", "data", "y", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }")
        + own("Pooling", "data", "z", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: true }"),
        {
            "y": lambda x: ref.max_pool_with_mask(
                x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2], 2, 2
            )[0],
            "z": lambda x: ref.max_pool_with_mask(x, 2, 2)[0],
        },
        resized=BIGGER,
    ),
    # DeepLab
    on_data(
        "conv_hole",
        own("Convolution", "data", "y", "convolution_param { num_output: 3 kernel_size: 3 hole: 2 pad: 2 }")
        + own(
            "Convolution",
            "data",
            "z",
            "convolution_param { num_output: 2 kernel_size: 3 hole_h: 2 hole_w: 2 }",
        ),
        {
            "y": lambda x, w, b: ref.convolution(x, w, b, pad=2, hole=2),
            "z": lambda x, w, b: ref.convolution(x, w, b, hole=2),
        },
        blobs={"y": ((3, 4, 3, 3), (3,)), "z": ((2, 4, 3, 3), (2,))},
        resized=BIGGER,
    ),
    on_data(
        "interp",
        own("Interp", "data", "zoom", "interp_param { zoom_factor: 3 }")
        + own("Interp", "data", "shrink", "interp_param { shrink_factor: 2 }")
        + own("Interp", "data", "size", "interp_param { height: 10 width: 5 }")
        + own("Interp", "data", "crop", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }")
        + own("Interp", "data", "both", "interp_param { shrink_factor: 2 zoom_factor: 3 }")
        + own("Interp", "data", "point", "interp_param { height: 1 width: 4 }"),
        {
            "zoom": lambda x: ref.interp(x, tuple((n - 1) * 3 + 1 for n in x.shape[2:])),
            "shrink": lambda x: ref.interp(x, tuple((n - 1) // 2 + 1 for n in x.shape[2:])),
            "size": lambda x: ref.interp(x, (10, 5)),
            "crop": lambda x: ref.interp(x, tuple((n - 4) * 2 + 1 for n in x.shape[2:]), -1, -2),
            "both": lambda x: ref.interp(x, tuple((n - 1) // 2 * 3 + 1 for n in x.shape[2:])),
            "point": lambda x: ref.interp(x, (1, 4)),
        },
        resized=BIGGER,
    ),
    on_data(
        "bilinear_interpolation",
        own("BilinearInterpolation", "data like", "y"),
        {"y": lambda x, like: ref.interp(x, like.shape[2:])},
        inputs={"data": X["data"], "like": ((1, 2, 9, 5), NORMAL)},
        resized={"data": (1, 4, 3, 8), "like": (1, 2, 7, 11)},
    ),
    on_data(
        "resize",
        own("Resize", "data", "a", "resize_param { height: 9 width: 4 }")
        + own("Resize", "data", "b", "resize_param { height_fac: 1.7 width_fac: 0.5 }")
        + own("Resize", "data like", "c"),
        {
            "a": lambda x, _: ref.resize(x, (9, 4)),
            "b": lambda x, _: ref.resize(x, (int(x.shape[2] * 1.7), int(x.shape[3] * 0.5))),
            "c": lambda x, like: ref.resize(x, like.shape[2:]),
        },
        inputs={"data": X["data"], "like": ((1, 2, 9, 5), NORMAL)},
    ),
    on_data(
        "padding",
        own("Padding", "data", "grow", "padding_param { pad_beg: 1 pad_end: 2 }")
        + own("Padding", "data", "cut", "padding_param { pad_beg: -2 pad_end: -1 }")
        + own("Padding", "data", "end", "padding_param { pad_end: -3 }"),
        {
            "grow": lambda x: ref.padding(x, 1, 2),
            "cut": lambda x: ref.padding(x, -2, -1),
            "end": lambda x: ref.padding(x, 0, -3),
        },
        resized=BIGGER,
    ),
    # SegNet, ENet, PSPNet
    on_data(
        "bn_segnet",
        own(
            "BN",
            "data",
            "y",
            "bn_param { bn_mode: INFERENCE scale_filler { value: 1 } shift_filler { value: 1e-3 } }",
        )
        + own("BN", "data", "z", "bn_param { scale_filler { value: 1 } shift_filler { value: 1e-3 } }"),
        {
            "y": lambda x, scale, shift: ref.bn_segnet(x, scale, shift, "INFERENCE"),
            "z": lambda x, scale, shift: ref.bn_segnet(x, scale, shift, "LEARN"),
        },
        inputs=X2,
        blobs={"y": STATISTICS[:2], "z": STATISTICS[:2]},
        resized={"data": (2, 4, 3, 5)},
    ),
    on_data(
        "bn_pspnet",
        own("BN", "data", "y", "bn_param { slope_filler { value: 1 } bias_filler { value: 0 } frozen: true }")
        + own(
            "BN",
            "data",
            "z",
            "bn_param { slope_filler { value: 1 } bias_filler { } momentum: 0.95 eps: 0.1 }",
        )
        + own("SyncBN", "data", "w", "bn_param { slope_filler { value: 1 } bias_filler { value: 0 } }"),
        {"y": ref.bn_pspnet, "z": lambda x, *b: ref.bn_pspnet(x, *b, 0.1), "w": ref.bn_pspnet},
        inputs=X2,
        blobs={"y": STATISTICS, "z": STATISTICS, "w": STATISTICS},
    ),
    on_data(
        "bn_cudnn",
        own("CuDNNBatchNorm", "data", "y", "cudnn_batch_norm_param { eps: 0.1 }")
        + own("CuDNNBatchNorm", "data", "z", "cudnn_batch_norm_param { eps: 1e-9 }"),
        {"y": lambda x, *b: ref.bn_pspnet(x, *b, 0.1), "z": lambda x, *b: ref.bn_pspnet(x, *b, 1e-5)},
        blobs={"y": STATISTICS, "z": STATISTICS},
    ),
    on_data(
        "upsample_scale",
        _pool_and_unpool("kernel_size: 2 stride: 2", "scale: 2"),
        {"y": _after_pooling(2, 2, (6, 8))},
        inputs={"data": ((2, 3, 6, 8), NORMAL)},
    ),
    on_data(
        "upsample_size",
        _pool_and_unpool("kernel_size: 2 stride: 2", "scale: 2 upsample_h: 5 upsample_w: 7"),
        {"y": _after_pooling(2, 2, (5, 7))},
        inputs={"data": ((1, 3, 5, 7), NORMAL)},
    ),
    on_data(
        "upsample_pad_out",
        _pool_and_unpool("kernel_size: 2 stride: 2", "scale: 2 pad_out_h: true"),
        {"y": _after_pooling(2, 2, (5, 8))},
        inputs={"data": ((1, 3, 5, 8), NORMAL)},
    ),
    on_data(
        "upsample_scale_h_w",
        own("Upsample", "data mask", "y", "upsample_param { scale_h: 2 scale_w: 3 }"),
        {"y": lambda x, mask: ref.unpool(x, mask, (4, 9))},
        inputs={
            "data": ((1, 2, 2, 3), NORMAL),
            "mask": ((1, 2, 2, 3), ("values", 0, 4, 17, 18, 31, 35, 1, 5, 8, 27, 33, 26)),
        },
    ),
    # YOLO
    on_data(
        "upsample_yolo",
        own("Upsample", "data", "y", "upsample_param { scale: 2 }")
        + own("Upsample", "data", "z", "upsample_param { scale: 3 }"),
        {"y": lambda x: x.repeat(2, 2).repeat(2, 3), "z": lambda x: x.repeat(3, 2).repeat(3, 3)},
        resized=BIGGER,
    ),
    on_data(
        "reorg",
        own("Reorg", "data", "x", "reorg_param { stride: 2 reverse: true }")
        + own("Reorg", "data", "y", "reorg_param { stride: 2 reverse: false }")
        + own("Reorg", "data", "z"),
        {
            "x": lambda x: ref.reorg_of_darknet(x, 2, True),
            "y": lambda x: ref.reorg_of_darknet(x, 2),
            "z": lambda x: ref.reorg(x, 2),
        },
        inputs={"data": ((2, 8, 6, 4), NORMAL)},
        resized={"data": (2, 8, 4, 8)},
    ),
    # ShuffleNet, MobileNet, SENet and other classifiers
    on_data(
        "shuffle_channel",
        own("ShuffleChannel", "data", "y", "shuffle_channel_param { group: 3 }")
        + own("ShuffleChannel", "data", "z", "shuffle_channel_param { group: 2 }"),
        {"y": lambda x: ref.shuffle_channel(x, 3), "z": lambda x: ref.shuffle_channel(x, 2)},
        inputs={"data": ((2, 12, 4, 5), NORMAL)},
        resized={"data": (2, 12, 6, 3)},
    ),
    on_data(
        "depthwise",
        own(
            "DepthwiseConvolution",
            "data",
            "y",
            "convolution_param { num_output: 4 group: 4 kernel_size: 3 pad: 1 }",
        )
        + own(
            "ConvolutionDepthwise",
            "data",
            "z",
            "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 bias_term: false }",
        ),
        {
            "y": lambda x, w, b: ref.convolution(x, w, b, pad=1, group=4),
            "z": lambda x, w: ref.convolution(x, w, None, pad=1, stride=2, group=4),
        },
        blobs={"y": ((4, 1, 3, 3), (4,)), "z": ((4, 1, 3, 3),)},
        resized=BIGGER,
    ),
    on_data(
        "relu6_brelu",
        own("ReLU6", "data", "a")
        + own("ReLU6", "data", "b", "relu6_param { negative_slope: 0.25 }")
        + own("BReLU", "data", "c")
        + own("BReLU", "data", "d", "brelu_param { minval: -1 maxval: 4 }"),
        {
            "a": lambda x: np.clip(x, 0, 6),
            "b": lambda x: np.clip(x, 0, 6) + 0.25 * np.minimum(x, 0),
            "c": lambda x: np.clip(x, 0, 1),
            "d": lambda x: np.clip(x, -1, 4),
        },
        inputs={"data": ((1, 4, 6, 7), ("normal", 0.0, 6.0))},
    ),
    on_data(
        "axpy",
        own("Axpy", "a data b", "y"),
        {"y": lambda x, a, b: a * x + b},
        inputs={"data": X2["data"], "a": ((2, 4, 1, 1), NORMAL), "b": X2["data"]},
        resized={"data": (2, 4, 3, 9), "a": (2, 4, 1, 1), "b": (2, 4, 3, 9)},
    ),
    on_data(
        "l2_norm", own("L2Norm", "data", "y"), {"y": ref.l2_norm}, inputs=X2, resized={"data": (2, 4, 3, 8)}
    ),
    on_data(
        "l2_norm_rows", own("L2Norm", "data", "y"), {"y": ref.l2_norm}, inputs={"data": ((3, 5), NORMAL)}
    ),
    on_data(
        "crop_center",
        own(
            "CropCenter",
            "data",
            "y",
            "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 1 }",
        ),
        {"y": lambda x: x[:, :, 2:-2, 1:-1]},
        resized=BIGGER,
    ),
    # SSD, Faster R-CNN, R-FCN, Cascade R-CNN
    on_data(
        "normalize",
        own("Normalize", "data", "a", "norm_param { across_spatial: false channel_shared: false }")
        + own("Normalize", "data", "b", "norm_param { across_spatial: false channel_shared: true eps: 0.5 }")
        + own("Normalize", "data", "c", "norm_param { channel_shared: false }")
        + own("Normalize", "data", "d", "norm_param { across_spatial: true }"),
        {
            "a": lambda x, s: ref.normalize(x, s, across_spatial=False),
            "b": lambda x, s: ref.normalize(x, s, across_spatial=False, eps=0.5),
            "c": ref.normalize,
            "d": ref.normalize,
        },
        inputs=X2,
        blobs={"a": ((4,),), "b": ((),), "c": ((4,),), "d": ((),)},
        resized={"data": (2, 4, 4, 9)},
    ),
    on_data(
        "prior_box",
        own(
            "PriorBox",
            "data image",
            "a",
            "prior_box_param { min_size: 12.7 max_size: 25.2 aspect_ratio: 2 aspect_ratio: 3 clip: true "
            "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }",
        )
        + own(
            "PriorBox",
            "data image",
            "b",
            "prior_box_param { min_size: 10 min_size: 20 aspect_ratio: 2 flip: false offset: 0.3 }",
        )
        + own(
            "PriorBox",
            "data image",
            "c",
            "prior_box_param { min_size: 10 step: 16 variance: 0.3 aspect_ratio: 1 }",
        )
        + own(
            "PriorBox",
            "data image",
            "d",
            "prior_box_param { min_size: 8 min_size: 9 max_size: 15 max_size: 17 "
            "step_h: 15 step_w: 17 img_h: 50 img_w: 60 }",
        )
        + own(
            "PriorBoxClustered",
            "data image",
            "e",
            "prior_box_param { width: 8.5 width: 12.25 height: 20.5 height: 6 "
            "step: 16 offset: 0.25 variance: 0.1 }",
        )
        + own("PriorBoxClustered", "data image", "f", "prior_box_param { width: 30 height: 40 clip: true }"),
        {
            "a": lambda x, i: ref.prior_box(
                x,
                i,
                min_size=(12.7,),
                max_size=(25.2,),
                aspect_ratio=(2, 3),
                clip=True,
                variance=(0.1, 0.1, 0.2, 0.2),
            ),
            "b": lambda x, i: ref.prior_box(
                x, i, min_size=(10, 20), aspect_ratio=(2,), flip=False, offset=0.3
            ),
            "c": lambda x, i: ref.prior_box(
                x, i, min_size=(10,), step=(16, 16), variance=(0.3,), aspect_ratio=(1,)
            ),
            "d": lambda x, i: ref.prior_box(
                x, None, min_size=(8, 9), max_size=(15, 17), step=(15, 17), img=(50, 60)
            ),
            "e": lambda x, i: ref.prior_box_clustered(
                x, i, width=(8.5, 12.25), height=(20.5, 6), step=(16, 16), offset=0.25, variance=(0.1,)
            ),
            "f": lambda x, i: ref.prior_box_clustered(x, i, width=(30,), height=(40,), clip=True),
        },
        inputs=PICTURE,
        resized={"data": (1, 4, 5, 2), "image": (1, 3, 70, 40)},
    ),
    on_data(
        "prior_box_denser",
        own(
            "PriorBox",
            "data image",
            "a",
            "prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 aspect_ratio: 5 step: 8 "
            "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 denser_prior_boxes: true }",
        )
        + own(
            "PriorBox",
            "data image",
            "b",
            "prior_box_param { min_size: 8 min_size: 9 offset: 0.25 clip: true denser_prior_boxes: true }",
        ),
        {
            "a": lambda x, i: ref.prior_box(
                x,
                i,
                min_size=(30,),
                max_size=(60,),
                aspect_ratio=(2, 5),
                step=(8, 8),
                variance=(0.1, 0.1, 0.2, 0.2),
                denser=True,
            ),
            "b": lambda x, i: ref.prior_box(x, i, min_size=(8, 9), offset=0.25, clip=True, denser=True),
        },
        inputs=PICTURE,
        resized={"data": (1, 4, 5, 2), "image": (1, 3, 70, 40)},
    ),
    on_data(
        "roi_pooling",
        own(
            "ROIPooling",
            "data rois",
            "a",
            "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.0625 }",
        )
        + own(
            "ROIPooling",
            "data rois",
            "b",
            "roi_pooling_param { pooled_h: 7 pooled_w: 7 spatial_scale: 0.0625 }",
        )
        + own(
            "ROIPooling",
            "data rois",
            "c",
            "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 pad_ratio: 0.25 }",
        ),
        {
            "a": lambda x, r: ref.roi_pooling(x, r, size=(3, 2), scale=0.0625),
            "b": lambda x, r: ref.roi_pooling(x, r, size=(7, 7), scale=0.0625),
            "c": lambda x, r: ref.roi_pooling(x, r, size=(2, 2), scale=0.0625, pad_ratio=0.25),
        },
        inputs=REGIONS,
    ),
    on_data(
        "rois_4d",
        own(
            "ROIPooling",
            "data rois",
            "a",
            "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.0625 }",
        )
        + own(
            "ROIAlign",
            "data rois",
            "b",
            "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.0625 }",
        ),
        {
            "a": lambda x, r: ref.roi_pooling(x, r.reshape(-1, 5), size=(3, 2), scale=0.0625),
            "b": lambda x, r: ref.roi_align(x, r.reshape(-1, 5), size=(3, 2), scale=0.0625),
        },
        inputs={"data": REGIONS["data"], "rois": ((8, 5, 1, 1), ROIS)},
    ),
    on_data(
        "psroi_pooling",
        own(
            "PSROIPooling",
            "data rois",
            "y",
            "psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.0625 }",
        ),
        {"y": lambda x, r: ref.psroi_pooling(x, r, output_dim=2, group=3, scale=0.0625)},
        inputs=SCORE_MAPS,
    ),
    on_data(
        "roi_align",
        own(
            "ROIAlign",
            "data rois",
            "a",
            "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.0625 }",
        )
        + own(
            "ROIAlign",
            "data rois",
            "b",
            "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 pad_ratio: 0.25 }",
        ),
        {
            "a": lambda x, r: ref.roi_align(x, r, size=(3, 2), scale=0.0625),
            "b": lambda x, r: ref.roi_align(x, r, size=(2, 2), scale=0.0625, pad_ratio=0.25),
        },
        inputs=REGIONS,
    ),
    on_data(
        "roi_alignment",
        own(
            "ROIAlignment",
            "data rois",
            "y",
            "roi_alignment_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.0625 }",
        ),
        {"y": lambda x, r: ref.roi_alignment(x, r, size=(3, 2), scale=0.0625)},
        inputs=REGIONS,
    ),
    on_data(
        "decode_bbox",
        own(
            "DecodeBBox",
            "boxes rois",
            "y",
            "bbox_reg_param { bbox_mean: 0 bbox_mean: 0.1 bbox_mean: 0 bbox_mean: 0 "
            "bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 }",
        ),
        {"y": lambda b, r: ref.decode_bbox(b, r, mean=(0, 0.1, 0, 0), std=(0.1, 0.1, 0.2, 0.2))},
        inputs={"boxes": ((8, 8), NORMAL), "rois": ((8, 5), ROIS)},
    ),
    # FlowNet
    on_data(
        "correlation",
        own(
            "Correlation",
            "data b",
            "y",
            "correlation_param { pad: 2 kernel_size: 1 max_displacement: 2 stride_1: 1 stride_2: 1 }",
        )
        + own(
            "Correlation",
            "data b",
            "z",
            "correlation_param { pad: 4 kernel_size: 3 max_displacement: 4 stride_1: 2 stride_2: 2 }",
        )
        + own(
            "Correlation",
            "data b",
            "w",
            "correlation_param { pad: 3 kernel_size: 3 max_displacement: 2 correlation_type: SUBTRACT }",
        ),
        {
            "y": lambda a, b: ref.correlation(a, b, pad=2, kernel=1, reach=2, stride1=1, stride2=1),
            "z": lambda a, b: ref.correlation(a, b, pad=4, kernel=3, reach=4, stride1=2, stride2=2),
            "w": lambda a, b: ref.correlation(
                a, b, pad=3, kernel=3, reach=2, stride1=1, stride2=1, subtract=True
            ),
        },
        inputs=PAIR,
        resized={"data": (1, 3, 10, 7), "b": (1, 3, 10, 7)},
    ),
    on_data(
        "flow_warp",
        own("FlowWarp", "data flow", "y")
        + own("FlowWarp", "data flow", "z", "flow_warp_param { fill_value: NOT_A_NUMBER }"),
        {"y": ref.flow_warp, "z": lambda i, f: ref.flow_warp(i, f, np.nan)},
        inputs=FLOW,
        resized={"data": (2, 3, 9, 5), "flow": (2, 2, 9, 5)},
    ),
    on_data(
        "resample",
        own("Resample", "data", "a", "resample_param { height: 12 width: 14 type: LINEAR }")
        + own("Resample", "data", "b", "resample_param { height: 3 width: 4 type: LINEAR }")
        + own("Resample", "data", "c", "resample_param { height: 9 width: 11 type: CUBIC }")
        + own("Resample", "data", "d", "resample_param { height: 4 width: 5 type: LINEAR antialias: false }")
        + own("Resample", "data", "e", "resample_param { height: 12 width: 14 type: NEAREST }"),
        {
            "a": lambda x: ref.resample(x, (12, 14)),
            "b": lambda x: ref.resample(x, (3, 4)),
            "c": lambda x: ref.resample(x, (9, 11), "CUBIC"),
            "d": lambda x: ref.resample(x, (4, 5), antialias=False),
            "e": lambda x: ref.resample(x, (12, 14), "NEAREST"),
        },
    ),
    # C3D
    on_data(
        "c3d",
        own(
            "Convolution3D",
            "data",
            "y",
            "convolution_param { num_output: 3 kernel_size: 3 kernel_depth: 3 pad: 1 temporal_pad: 1 "
            "stride: 2 temporal_stride: 1 }",
        )
        + own(
            "Pooling3D",
            "data",
            "z",
            "pooling_param { pool: MAX kernel_size: 2 kernel_depth: 2 stride: 2 temporal_stride: 1 }",
        )
        + own(
            "Pooling3D",
            "data",
            "v",
            "pooling_param { pool: AVE kernel_size: 2 kernel_depth: 2 stride: 1 temporal_stride: 2 }",
        )
        + own(
            "Deconvolution3D",
            "data",
            "w",
            "convolution_param { num_output: 3 kernel_size: 4 kernel_depth: 3 stride: 2 pad: 1 "
            "temporal_stride: 2 temporal_pad: 0 }",
        ),
        {
            "y": lambda x, w, b: ref.convolution_3d(x, w, b, strides=(1, 2, 2), pads=(1, 1, 1)),
            "z": lambda x: ref.pool_3d(x, (2, 2, 2), (1, 2, 2), np.max),
            "v": lambda x: ref.pool_3d(x, (2, 2, 2), (2, 1, 1), np.mean),
            "w": lambda x, w, b: ref.deconvolution_3d(x, w, b, strides=(2, 2, 2), pads=(0, 1, 1)),
        },
        inputs=CLIP5,
        blobs={"y": ((3, 2, 3, 3, 3), (3,)), "w": ((2, 3, 3, 4, 4), (3,))},
    ),
]


def _ssd() -> ForkCase:
    """The head of an SSD: two sources, boxes, classes and priors joined; read by OpenCV."""
    inputs = {"data": ((1, 3, 33, 45), ("uniform", -120.0, 135.0))}
    text = layer("Convolution", "data", "c1", "num_output: 6 kernel_size: 3 pad: 1 stride: 4")
    text += layer("ReLU", "c1", "c1", name="relu1")
    text += own("Normalize", "c1", "n1", "norm_param { across_spatial: false channel_shared: false }")
    text += layer("Convolution", "c1", "c2", "num_output: 5 kernel_size: 3 pad: 1 stride: 2")
    text += layer("ReLU", "c2", "c2", name="relu2")
    blobs: dict[str, tuple[tuple[int, ...], ...]] = {
        "c1": ((6, 3, 3, 3), (6,)),
        "n1": ((6,),),
        "c2": ((5, 6, 3, 3), (5,)),
    }
    for source, channels, box in (
        ("n1", 6, "min_size: 8 max_size: 14"),
        ("c2", 5, "min_size: 14 max_size: 25"),
    ):
        for kind, maps in (("loc", 16), ("conf", 12)):
            name = f"{source}_{kind}"
            text += layer("Convolution", source, name, f"num_output: {maps} kernel_size: 3 pad: 1")
            text += layer("Permute", name, f"{name}_perm", "order: 0 order: 2 order: 3 order: 1")
            text += layer("Flatten", f"{name}_perm", f"{name}_flat", "axis: 1")
            blobs[name] = ((maps, channels, 3, 3), (maps,))
        # OpenCV clips where `clip` is not written, SSD does not.
        setting = f"{box} aspect_ratio: 2 flip: true clip: false"
        setting += " variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
        text += own("PriorBox", f"{source} data", f"{source}_prior", f"prior_box_param {{ {setting} }}")
    text += layer("Concat", "n1_loc_flat c2_loc_flat", "mbox_loc", "axis: 1")
    text += layer("Concat", "n1_conf_flat c2_conf_flat", "mbox_conf", "axis: 1")
    text += layer("Concat", "n1_prior c2_prior", "mbox_priorbox", "axis: 2")
    text += layer("Reshape", "mbox_conf", "mbox_conf_reshape", "shape { dim: 0 dim: -1 dim: 3 }")
    text += layer("Softmax", "mbox_conf_reshape", "mbox_conf_softmax", "axis: 2")
    text += layer("Flatten", "mbox_conf_softmax", "mbox_conf_flatten", "axis: 1")
    outputs = ("mbox_loc", "mbox_conf_flatten", "mbox_priorbox")
    return ForkCase("net_ssd_head", net(inputs, text), inputs, None, blobs, outputs, {"data": (1, 3, 41, 37)})


CASES += [_ssd(), *FORK_CASES, *BLOCK_CASES]


def draw(rng: np.random.Generator, how: tuple[object, ...], shape: tuple[int, ...]) -> np.ndarray:
    """One input, float32, drawn as the case says (see cases.Case)."""
    kind, *numbers = how
    if kind == "values":
        return np.array(numbers, np.float32).reshape(shape)
    return getattr(rng, str(kind))(*numbers, size=shape).astype(np.float32)


def draw_weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights: kernels of about unit gain, else positive numbers, which may be variances."""
    if np.prod(shape[2:]) > 1:
        return (rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return rng.uniform(0.4, 2.5, shape).astype(np.float32)


def by_opencv(folder: Path, inputs: Blobs, outputs: tuple[str, ...]) -> Blobs:
    """What OpenCV's importer makes of the files."""
    reader = cv2.dnn.readNetFromCaffe(str(folder / "deploy.prototxt"), str(folder / "net.caffemodel"))
    for name, values in inputs.items():
        reader.setInput(values, name)
    answers = reader.forward(list(outputs))
    return {name: np.array(values) for name, values in zip(outputs, answers, strict=True)}


def make(case: ForkCase, folder: Path) -> None:
    """Write all files of one case into `folder`."""
    path = folder / "deploy.prototxt"
    path.write_text(f'name: "{case.name}"\n' + case.text)
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    blobs = {
        name: tuple(draw_weights(rng, shape) for shape in shapes) for name, shapes in case.weights.items()
    }
    # The factor or flag of a BatchNorm: one, so that the statistics are as drawn.
    for arrays in blobs.values():
        if len(arrays) in (3, 5):
            for array in arrays:
                if array.size == 1:
                    array[...] = 1
    if blobs:
        weights.write(folder / "net.caffemodel", caffe_port.read_net(path), blobs)
    for reference, shapes in (("reference.h5", {}), ("reference_resized.h5", case.resized)):
        if reference == "reference_resized.h5" and not shapes:
            continue
        inputs = {name: draw(rng, how, shapes.get(name, shape)) for name, (shape, how) in case.inputs.items()}
        if case.answer is None:
            reader, outputs = OPENCV, by_opencv(folder, inputs, case.outputs)
        else:
            reader, outputs = LOOPS, case.answer(inputs, blobs)
        if case.name != "flow_warp" and not all(np.isfinite(values).all() for values in outputs.values()):
            raise ValueError(f"{case.name}: not a number")
        write_reference(folder / reference, reader=reader, inputs=inputs, outputs=outputs)


def main() -> int:
    """Write the fixtures asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases to make (all)")
    parser.add_argument("--force", action="store_true", help="make those too that exist")
    options = parser.parse_args()
    unknown = set(options.names) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    for case in CASES:
        target = HERE / "forks" / case.name
        if (options.names and case.name not in options.names) or (target.exists() and not options.force):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            make(case, Path(scratch))
            target.mkdir(parents=True, exist_ok=True)
            for old in target.iterdir():
                old.unlink()
            for file in sorted(Path(scratch).iterdir()):
                (target / file.name).write_bytes(file.read_bytes())
        print(case.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
