"""A small VOC2012 folder, a test net in DeepLab v1's own words, and its forward pass written out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

import weights
from caffe_port import random_weights, read_net

CROP = 33
SIZES = ((25, 33), (33, 20), (17, 17), (31, 32))
MEAN = np.array([104.008, 116.669, 122.675], np.float32)
NET = """
name: "${NET_ID}"
layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label"
  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${TEST_SET}.txt" has_label: false }
  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 33 }
  include: { phase: TEST } }
layers { name: "fc8_${EXP}" type: CONVOLUTION bottom: "data" top: "fc8_${EXP}" strict_dim: false
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 3 pad: 2 hole: 2 stride: 2
    weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "fc8_interp" type: INTERP bottom: "fc8_${EXP}" top: "fc8_interp"
  interp_param { zoom_factor: 2 } }
layers { name: "acc" type: SEG_ACCURACY bottom: "fc8_interp" bottom: "label" top: "acc" }
CRF
layers { name: "mat" type: MAT_WRITE bottom: "fc8_interp" include: { phase: TEST }
  mat_write_param { prefix: "${FEATURE_DIR}/${TEST_SET}/fc8/" source: "x" strip: 0 period: 1 } }
"""
IN_NET_CRF = """
layers { name: "crf" type: DENSE_CRF bottom: "fc8_interp" bottom: "data_dim" bottom: "data" top: "crf_inf"
  dense_crf_param { max_iter: 3 pos_w: 3 pos_xy_std: 3 bi_w: 5 bi_xy_std: 50 bi_rgb_std: 10 } }
layers { name: "crf_mat" type: MAT_WRITE bottom: "crf_inf"
  mat_write_param { prefix: "${FEATURE_DIR}/${TEST_SET}/crf/" source: "x" strip: 0 period: 1 } }
"""
VALUES = {
    "EXP": "voc12", "NET_ID": "small", "DATA_ROOT": "", "TEST_SET": "val", "FEATURE_DIR": "f",
    "NUM_LABELS": "21",
}  # fmt: skip


def make_voc(root: Path) -> list[str]:
    """Pictures of discs and their labels under `root`; the ids."""
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    ids = []
    for number, (height, width) in enumerate(SIZES):
        identity = f"2007_{number:06d}"
        ids.append(identity)
        image = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(image).resize((width, height)).save(root / "JPEGImages" / f"{identity}.jpg")
        labels = rng.integers(0, 21, (3, 3)).astype(np.uint8)
        labels[0, 0] = 255
        Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST).save(
            root / "SegmentationClass" / f"{identity}.png"
        )
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(ids) + "\n", "utf-8")
    return ids


def make_net(folder: Path, crf: str = "") -> tuple[Path, Path]:
    """The prototxt and random weights for it."""
    prototxt, caffemodel = folder / "test.prototxt", folder / "net.caffemodel"
    text = NET.replace("CRF", crf)
    prototxt.write_text(
        text.replace('top: "label"', 'top: "label" top: "data_dim"') if crf else text, "utf-8"
    )
    net = read_net(prototxt, define=VALUES)
    weights.write(caffemodel, net, random_weights(net, seed=1))
    return prototxt, caffemodel


def forward(image: np.ndarray, blobs: Mapping[str, tuple[np.ndarray, ...]]) -> np.ndarray:
    """The net by NumPy: data layer, dilated convolution, Interp by its formula; 21 x CROP x CROP."""
    data = np.zeros((3, CROP, CROP), np.float64)
    height, width = image.shape[:2]
    data[:, :height, :width] = (image[:, :, ::-1] - MEAN).transpose(2, 0, 1)
    padded = np.pad(data, ((0, 0), (2, 2), (2, 2)))
    kernel, bias = blobs["fc8_voc12"]
    small = np.zeros((21, 17, 17)) + bias.reshape(-1, 1, 1)
    for i in range(3):
        for j in range(3):
            part = padded[:, 2 * i : 2 * i + 33 : 2, 2 * j : 2 * j + 33 : 2]
            small += np.tensordot(kernel[:, :, i, j], part, 1)
    at = np.linspace(0, 16, CROP)
    low = np.minimum(at.astype(int), 15)
    share = at - low
    rows = small[:, low] * (1 - share)[:, None] + small[:, low + 1] * share[:, None]
    return np.asarray(rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share)
