"""Layers that read maps at regions, against the forks' code, written out bin by bin."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError


def half_up(x: float) -> float:
    """C's round()."""
    return math.copysign(math.floor(abs(x) + 0.5), x)


ROIS = np.array(
    [
        [0, 0, 0, 63, 47],
        [0, 8, 8, 24, 40],
        [1, 12.5, 20.5, 13, 21],  # less than a point
        [1, -30, -20, 10, 11],  # over the upper left edge
        [0, 50, 40, 120, 90],  # over the lower right edge
        [1, 200, 200, 220, 210],  # outside
        [0, 30, 30, 20, 10],  # corners swapped
        [1, 7.9999, 8.0001, 55.5, 40.5],
    ],
    np.float32,
)


def roi_pooling(
    x: np.ndarray, rois: np.ndarray, bins: tuple[int, int], scale: float, pad: float
) -> np.ndarray:
    height, width = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], *bins), np.float32)
    for r, (item, *sides) in enumerate(rois):
        x1, y1, x2, y2 = sides
        pad_w, pad_h = (x2 - x1 + 1) * np.float32(pad), (y2 - y1 + 1) * np.float32(pad)
        left, top = half_up((x1 - pad_w) * scale), half_up((y1 - pad_h) * scale)
        right, bottom = half_up((x2 + pad_w) * scale), half_up((y2 + pad_h) * scale)
        step = (max(bottom - top + 1, 1) / bins[0], max(right - left + 1, 1) / bins[1])
        for i in range(bins[0]):
            for j in range(bins[1]):
                h = [
                    min(max(v + top, 0), height)
                    for v in (math.floor(i * step[0]), math.ceil((i + 1) * step[0]))
                ]
                w = [
                    min(max(v + left, 0), width)
                    for v in (math.floor(j * step[1]), math.ceil((j + 1) * step[1]))
                ]
                if h[1] > h[0] and w[1] > w[0]:
                    part = x[int(item), :, int(h[0]) : int(h[1]), int(w[0]) : int(w[1])]
                    y[r, :, i, j] = part.max((1, 2))
    return y


@pytest.mark.parametrize("pad", [0, 0.25])
@pytest.mark.parametrize("tail", [(), (1, 1)])
def test_roi_pooling(tmp_path: Path, pad: float, tail: tuple[int, ...]) -> None:
    rest = f"roi_pooling_param {{ pooled_h: 4 pooled_w: 3 spatial_scale: 0.125 pad_ratio: {pad} }}"
    shapes = {"x": (2, 5, 6, 8), "rois": (len(ROIS), 5, *tail)}
    net = read_text(one_layer("ROIPooling", shapes, rest), tmp_path)
    x = noise(2, 5, 6, 8) - 3  # below 0, so that an empty bin's 0 shows
    found = run(net, {"x": x, "rois": ROIS.reshape(-1, 5, *tail)})["y"]
    np.testing.assert_array_equal(found, roi_pooling(x, ROIS, (4, 3), 0.125, pad))
    assert (found == 0).any()


def psroi(x: np.ndarray, rois: np.ndarray, outputs: int, bins: int, scale: float) -> np.ndarray:
    height, width = x.shape[2:]
    y = np.zeros((len(rois), outputs, bins, bins), np.float32)
    for r, (item, x1, y1, x2, y2) in enumerate(rois):
        left, top = half_up(x1) * scale, half_up(y1) * scale
        right, bottom = (half_up(x2) + 1) * scale, (half_up(y2) + 1) * scale
        step_h, step_w = max(bottom - top, 0.1) / bins, max(right - left, 0.1) / bins
        for d in range(outputs):
            for i in range(bins):
                for j in range(bins):
                    h = (math.floor(i * step_h + top), math.ceil((i + 1) * step_h + top))
                    w = (math.floor(j * step_w + left), math.ceil((j + 1) * step_w + left))
                    h0, h1 = (min(max(v, 0), height) for v in h)
                    w0, w1 = (min(max(v, 0), width) for v in w)
                    if h1 > h0 and w1 > w0:
                        channel = (d * bins + i) * bins + j
                        y[r, d, i, j] = x[int(item), channel, h0:h1, w0:w1].mean()
    return y


@pytest.mark.parametrize("batch", [1, 2])
def test_psroi_pooling(tmp_path: Path, batch: int) -> None:
    rest = "psroi_pooling_param { spatial_scale: 0.125 output_dim: 2 group_size: 3 }"
    rois = ROIS.copy()
    rois[:, 0] = np.minimum(rois[:, 0], batch - 1)
    shapes = {"x": (batch, 18, 6, 8), "rois": rois.shape}
    net = read_text(one_layer("PSROIPooling", shapes, rest), tmp_path)
    x = noise(batch, 18, 6, 8)
    found = run(net, {"x": x, "rois": rois})["y"]
    np.testing.assert_allclose(found, psroi(x, rois, 2, 3, 0.125), rtol=1e-5, atol=1e-6)
    assert (found == 0).any()


def test_psroi_pooling_rounds_halves_away_from_zero(tmp_path: Path) -> None:
    rest = "psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 1 }"
    rois = np.array([[0, 2.5, 0.5, 4.5, 6.5], [0, -0.5, -2.5, 3.5, 1.5]], np.float32)
    net = read_text(one_layer("PSROIPooling", {"x": (1, 1, 6, 8), "rois": rois.shape}, rest), tmp_path)
    x = noise(1, 1, 6, 8)
    np.testing.assert_allclose(
        run(net, {"x": x, "rois": rois})["y"], psroi(x, rois, 1, 1, 0.5), rtol=1e-5, atol=1e-6
    )


def roi_align(x: np.ndarray, rois: np.ndarray, bins: tuple[int, int], scale: float, pad: float) -> np.ndarray:
    f = np.float32
    height, width = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], bins[0] + 1, bins[1] + 1), f)
    for r, (item, x1, y1, x2, y2) in enumerate(rois):
        pad_w, pad_h = (x2 - x1 + 1) * f(pad), (y2 - y1 + 1) * f(pad)
        left, top = (x1 - pad_w) * f(scale) - f(0.5), (y1 - pad_h) * f(scale) - f(0.5)
        right, bottom = (x2 + pad_w) * f(scale) - f(0.5), (y2 + pad_h) * f(scale) - f(0.5)
        for i in range(bins[0] + 1):
            for j in range(bins[1] + 1):
                if bottom - top <= 0 or right - left <= 0:
                    continue
                h = top + f(i) * ((bottom - top) / f(bins[0]))
                w = left + f(j) * ((right - left) / f(bins[1]))
                if not (-0.5 <= h <= height - 0.5 and -0.5 <= w <= width - 0.5):
                    continue
                h0, w0 = math.floor(h), math.floor(w)
                h1, w1 = min(h0 + 1, height - 1), min(w0 + 1, width - 1)
                h0, w0 = max(h0, 0), max(w0, 0)
                dh = min(max(h, f(0)), f(height - 1)) - f(h0)
                dw = min(max(w, f(0)), f(width - 1)) - f(w0)
                m = x[int(item)]
                y[r, :, i, j] = (
                    (1 - dh) * (1 - dw) * m[:, h0, w0]
                    + (1 - dh) * dw * m[:, h0, w1]
                    + dh * (1 - dw) * m[:, h1, w0]
                    + dh * dw * m[:, h1, w1]
                )
    return y


@pytest.mark.parametrize("pad", [0, 0.25])
def test_roi_align_reads_the_corners_of_its_bins(tmp_path: Path, pad: float) -> None:
    rest = f"roi_pooling_param {{ pooled_h: 3 pooled_w: 4 spatial_scale: 0.125 pad_ratio: {pad} }}"
    net = read_text(one_layer("ROIAlign", {"x": (2, 5, 6, 8), "rois": ROIS.shape}, rest), tmp_path)
    x = noise(2, 5, 6, 8)
    found = run(net, {"x": x, "rois": ROIS})["y"]
    assert found.shape == (len(ROIS), 5, 4, 5)
    np.testing.assert_allclose(found, roi_align(x, ROIS, (3, 4), 0.125, pad), rtol=1e-5, atol=1e-5)


def roi_alignment(x: np.ndarray, rois: np.ndarray, bins: tuple[int, int], scale: float) -> np.ndarray:
    height, width = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], *bins), np.float32)
    for r, (item, *sides) in enumerate(rois):
        x1, y1, x2, y2 = (np.float32(v * np.float32(scale)) for v in sides)
        step_h, step_w = max(y2 - y1 + 1, 1) / bins[0], max(x2 - x1 + 1, 1) / bins[1]
        for i in range(bins[0]):
            for j in range(bins[1]):
                h = sum(min(max(k * step_h + y1, 0), height - 1) for k in (i, i + 1)) / 2
                w = sum(min(max(k * step_w + x1, 0), width - 1) for k in (j, j + 1)) / 2
                h0, h1, w0, w1 = math.floor(h), math.ceil(h), math.floor(w), math.ceil(w)
                m, dh, dw = x[int(item)], h - h0, w - w0
                y[r, :, i, j] = (
                    (1 - dh) * (1 - dw) * m[:, h0, w0]
                    + (1 - dh) * dw * m[:, h0, w1]
                    + dh * (1 - dw) * m[:, h1, w0]
                    + dh * dw * m[:, h1, w1]
                )
    return y


def test_roi_alignment_of_maskyolo(tmp_path: Path) -> None:
    rest = "roi_alignment_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.125 }"
    net = read_text(one_layer("ROIAlignment", {"x": (2, 5, 6, 8), "rois": ROIS.shape}, rest), tmp_path)
    x = noise(2, 5, 6, 8)
    np.testing.assert_allclose(
        run(net, {"x": x, "rois": ROIS})["y"], roi_alignment(x, ROIS, (3, 2), 0.125), rtol=1e-4, atol=1e-5
    )


def test_regions_follow_the_frame_size(tmp_path: Path) -> None:
    rest = "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.125 }"
    net = read_text(one_layer("ROIAlign", {"x": (2, 5, 6, 8), "rois": ROIS.shape}, rest), tmp_path)
    x = noise(2, 5, 9, 5)
    np.testing.assert_allclose(
        run(net, {"x": x, "rois": ROIS})["y"], roi_align(x, ROIS, (3, 4), 0.125, 0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("tail", [(), (1, 1)])
def test_decoded_boxes(tmp_path: Path, tail: tuple[int, ...]) -> None:
    rest = """bbox_reg_param { bbox_mean: 0.1 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0.2
        bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 }"""
    net = read_text(one_layer("DecodeBBox", {"b": (8, 8), "rois": (8, 5, *tail)}, rest), tmp_path)
    moves = noise(8, 8)
    found = run(net, {"b": moves, "rois": ROIS.reshape(8, 5, *tail)})["y"].reshape(8, 5)
    for (item, x1, y1, x2, y2), t, box in zip(ROIS, moves, found, strict=True):
        dx, dy, dw, dh = t[4:] * np.array([0.1, 0.1, 0.2, 0.2]) + np.array([0.1, 0, 0, 0.2])
        width, height = x2 - x1 + 1, y2 - y1 + 1
        w, h = width * math.exp(dw), height * math.exp(dh)
        x = dx * width + 0.5 * (x1 + x2) - (w - 1) / 2
        y = dy * height + 0.5 * (y1 + y2) - (h - 1) / 2
        np.testing.assert_allclose(box, [item, x, y, x + w - 1, y + h - 1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "shapes", "rest", "message"),
    [
        (
            "ROIPooling",
            {"x": (1, 2, 4, 4), "r": (3, 4)},
            "roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
            "bad regions",
        ),
        ("ROIPooling", {"x": (1, 2, 4, 4), "r": (3, 5)}, "roi_pooling_param { pooled_h: 2 }", "no bins"),
        ("ROIPooling", {"x": (1, 2), "r": (3, 5)}, "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", "no map"),
        (
            "PSROIPooling",
            {"x": (1, 17, 4, 4), "r": (3, 5)},
            "psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: 3 }",
            "channels do not fit",
        ),
        ("DecodeBBox", {"b": (3, 12), "r": (3, 5)}, "", "boxes and regions do not fit"),
        (
            "DecodeBBox",
            {"b": (3, 8), "r": (3, 5)},
            "bbox_reg_param { bbox_mean: 1 bbox_std: 1 }",
            "bad bbox_mean",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, kind: str, shapes: dict[str, tuple[int, ...]], rest: str, message: str
) -> None:
    net = read_text(one_layer(kind, shapes, rest), tmp_path)
    with pytest.raises((ShapeError, PrototxtError), match=f'layer "l" \\({kind}\\): .*{message}'):
        run(net, {k: noise(*s) for k, s in shapes.items()})
