"""What the layers of Caffe forks compute, as plain loops over NumPy arrays.

Each function follows the source file named in its docstring, point by point and in float32 where the
place of a value depends on rounding; none of them knows the port. `make_fork_fixtures.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, sqrt

import numpy as np

F = np.float32
Array = np.ndarray


def batch_norm_of_batch(x: Array, eps: float = 1e-5) -> Array:
    """BVLC batch_norm_layer.cpp with use_global_stats: false: mean and biased variance of the batch."""
    axes = tuple(i for i in range(x.ndim) if i != 1)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)


def per_channel(values: Array, like: Array) -> Array:
    """One value per channel, in a shape that spreads over `like`."""
    return np.asarray(values, np.float64).reshape(1, -1, *[1] * (like.ndim - 2))


def bn_segnet(x: Array, scale: Array, shift: Array, mode: str) -> Array:
    """alexgkendall/caffe-segnet bn_layer.cpp: var = E x^2 - (E x)^2, var_eps 1e-9, in mode LEARN."""
    normal = batch_norm_of_batch(x, 1e-9) if mode == "LEARN" else x
    return normal * per_channel(scale, x) + per_channel(shift, x)


def bn_pspnet(x: Array, slope: Array, bias: Array, mean: Array, variance: Array, eps: float = 1e-5) -> Array:
    """yjxiong/caffe and hszhao/PSPNet bn_layer.cpp at TEST time."""
    normal = (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + eps)
    return normal * per_channel(slope, x) + per_channel(bias, x)


def normalize(x: Array, scale: Array, *, across_spatial: bool = True, eps: float = 1e-10) -> Array:
    """weiliu89/caffe normalize_layer.cpp; `scale` has one value, or one per channel."""
    x = x.astype(np.float64)
    axes = (1, 2, 3) if across_spatial else (1,)
    return x / np.sqrt((x**2).sum(axes, keepdims=True) + eps) * per_channel(scale, x)


def prior_box(
    feature: Array,
    image: Array | None,
    *,
    min_size: tuple[float, ...],
    max_size: tuple[float, ...] = (),
    aspect_ratio: tuple[float, ...] = (),
    flip: bool = True,
    clip: bool = False,
    variance: tuple[float, ...] = (0.1,),
    img: tuple[int, int] | None = None,
    step: tuple[float, float] | None = None,
    offset: float = 0.5,
    denser: bool = False,
) -> Array:
    """weiliu89/caffe, branch ssd, and with `denser` MhLiao/TextBoxes_plusplus, prior_box_layer.cpp."""
    ratios = [1.0]
    for ratio in aspect_ratio:
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if flip else [ratio]
    sizes = []
    for i, size in enumerate(min_size):
        least = int(size)
        sizes.append((float(least), float(least)))
        if max_size:
            both = sqrt(least * int(max_size[i]))
            sizes.append((both, both))
        sizes += [(least * sqrt(r), least / sqrt(r)) for r in ratios if abs(r - 1) >= 1e-6]
    return _boxes(feature, image, sizes, clip, variance, img, step, offset, denser)


def prior_box_clustered(
    feature: Array,
    image: Array,
    *,
    width: tuple[float, ...],
    height: tuple[float, ...],
    clip: bool = False,
    variance: tuple[float, ...] = (0.1,),
    step: tuple[float, float] | None = None,
    offset: float = 0.5,
) -> Array:
    """openvinotoolkit/training_toolbox_caffe prior_box_clustered_layer.cpp."""
    sizes = list(zip(width, height, strict=True))
    return _boxes(feature, image, sizes, clip, variance, None, step, offset)


def _boxes(
    feature: Array,
    image: Array | None,
    sizes: list[tuple[float, float]],
    clip: bool,
    variance: tuple[float, ...],
    img: tuple[int, int] | None,
    step: tuple[float, float] | None,
    offset: float,
    denser: bool = False,
) -> Array:
    rows, columns = feature.shape[2:]
    if img is None:
        assert image is not None
        img = image.shape[2], image.shape[3]
    img_h, img_w = img
    step_h, step_w = step or (F(img_h) / F(rows), F(img_w) / F(columns))
    boxes = []
    for h in range(rows):
        for w in range(columns):
            x, y = (w + offset) * step_w, (h + offset) * step_h
            for bw, bh in sizes:
                for down in [y, (h + 1) * step_h] if denser else [y]:
                    boxes += [
                        (x - bw / 2) / img_w,
                        (down - bh / 2) / img_h,
                        (x + bw / 2) / img_w,
                        (down + bh / 2) / img_h,
                    ]
    first = np.clip(boxes, 0, 1) if clip else np.array(boxes)
    second = np.resize(np.array(variance), len(boxes))
    return np.stack([first, second])[None]


def round_away(value: float) -> int:
    """C's round(): halves away from 0."""
    return floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def roi_pooling(
    x: Array, rois: Array, *, size: tuple[int, int], scale: float, pad_ratio: float = 0.0
) -> Array:
    """rbgirshick/caffe-fast-rcnn and, with pad_ratio, zhaoweicai/mscnn roi_pooling_layer.cpp."""
    _, channels, height, width = x.shape
    top = np.zeros((len(rois), channels, *size), F)
    for n, (image, x1, y1, x2, y2) in enumerate(rois.astype(F)):
        pad_w, pad_h = (x2 - x1 + 1) * F(pad_ratio), (y2 - y1 + 1) * F(pad_ratio)
        left, up = round_away((x1 - pad_w) * F(scale)), round_away((y1 - pad_h) * F(scale))
        right, down = round_away((x2 + pad_w) * F(scale)), round_away((y2 + pad_h) * F(scale))
        bin_h, bin_w = F(max(down - up + 1, 1)) / F(size[0]), F(max(right - left + 1, 1)) / F(size[1])
        for ph in range(size[0]):
            for pw in range(size[1]):
                h0 = min(max(floor(F(ph) * bin_h) + up, 0), height)
                h1 = min(max(ceil(F(ph + 1) * bin_h) + up, 0), height)
                w0 = min(max(floor(F(pw) * bin_w) + left, 0), width)
                w1 = min(max(ceil(F(pw + 1) * bin_w) + left, 0), width)
                if h1 > h0 and w1 > w0:
                    top[n, :, ph, pw] = x[int(image), :, h0:h1, w0:w1].max(axis=(1, 2))
    return top


def psroi_pooling(x: Array, rois: Array, *, output_dim: int, group: int, scale: float) -> Array:
    """daijifeng001/caffe-rfcn psroi_pooling_layer.cu."""
    _, _, height, width = x.shape
    top = np.zeros((len(rois), output_dim, group, group), np.float64)
    for n, roi in enumerate(rois):
        left, up = F(round_away(roi[1])) * F(scale), F(round_away(roi[2])) * F(scale)
        right, down = F(round_away(roi[3]) + 1) * F(scale), F(round_away(roi[4]) + 1) * F(scale)
        bin_h, bin_w = max(down - up, F(0.1)) / F(group), max(right - left, F(0.1)) / F(group)
        for d in range(output_dim):
            for ph in range(group):
                for pw in range(group):
                    h0 = min(max(floor(F(ph) * bin_h + up), 0), height)
                    h1 = min(max(ceil(F(ph + 1) * bin_h + up), 0), height)
                    w0 = min(max(floor(F(pw) * bin_w + left), 0), width)
                    w1 = min(max(ceil(F(pw + 1) * bin_w + left), 0), width)
                    channel = (d * group + ph) * group + pw
                    if h1 > h0 and w1 > w0:
                        top[n, d, ph, pw] = x[int(roi[0]), channel, h0:h1, w0:w1].astype(np.float64).mean()
    return top


def roi_align(x: Array, rois: Array, *, size: tuple[int, int], scale: float, pad_ratio: float = 0.0) -> Array:
    """zhaoweicai/cascade-rcnn roi_align_layer.cpp: the corners of the bins, so size + 1 points per axis."""
    _, channels, height, width = x.shape
    top = np.zeros((len(rois), channels, size[0] + 1, size[1] + 1), np.float64)
    for n, (image, x1, y1, x2, y2) in enumerate(rois.astype(F)):
        pad_w, pad_h = (x2 - x1 + 1) * F(pad_ratio), (y2 - y1 + 1) * F(pad_ratio)
        left, up = (x1 - pad_w) * F(scale) - F(0.5), (y1 - pad_h) * F(scale) - F(0.5)
        right, down = (x2 + pad_w) * F(scale) - F(0.5), (y2 + pad_h) * F(scale) - F(0.5)
        if down <= up or right <= left:
            continue
        for ph in range(size[0] + 1):
            for pw in range(size[1] + 1):
                h = up + F(ph) * ((down - up) / F(size[0]))
                w = left + F(pw) * ((right - left) / F(size[1]))
                if h < -0.5 or h > height - 0.5 or w < -0.5 or w > width - 0.5:
                    continue
                h0, w0 = floor(h), floor(w)
                hs = [min(max(i, 0), height - 1) for i in (h0, h0 + 1)]
                ws = [min(max(i, 0), width - 1) for i in (w0, w0 + 1)]
                lh, lw = min(max(h, F(0)), F(height - 1)) - hs[0], min(max(w, F(0)), F(width - 1)) - ws[0]
                plane = x[int(image)].astype(np.float64)
                top[n, :, ph, pw] = (1 - lh) * (
                    (1 - lw) * plane[:, hs[0], ws[0]] + lw * plane[:, hs[0], ws[1]]
                ) + lh * ((1 - lw) * plane[:, hs[1], ws[0]] + lw * plane[:, hs[1], ws[1]])
    return top


def roi_alignment(x: Array, rois: Array, *, size: tuple[int, int], scale: float) -> Array:
    """leon-liangwu/MaskYolo_Caffe roi_alignment_layer.cu: the centre of each bin, clipped to the map."""
    _, channels, height, width = x.shape
    top = np.zeros((len(rois), channels, *size), np.float64)
    for n, (image, *corners) in enumerate(rois.astype(F)):
        left, up, right, down = (c * F(scale) for c in corners)
        bin_h = max(down - up + F(1), F(1)) / F(size[0])
        bin_w = max(right - left + F(1), F(1)) / F(size[1])
        for ph in range(size[0]):
            for pw in range(size[1]):
                ends = [F(ph) * bin_h + up, F(ph + 1) * bin_h + up]
                h = sum(min(max(e, F(0)), F(height - 1)) for e in ends) / F(2)
                ends = [F(pw) * bin_w + left, F(pw + 1) * bin_w + left]
                w = sum(min(max(e, F(0)), F(width - 1)) for e in ends) / F(2)
                lh, lw = h - floor(h), w - floor(w)
                plane = x[int(image)].astype(np.float64)
                above = plane[:, floor(h), floor(w)] * (1 - lw) + plane[:, floor(h), ceil(w)] * lw
                below = plane[:, ceil(h), floor(w)] * (1 - lw) + plane[:, ceil(h), ceil(w)] * lw
                top[n, :, ph, pw] = above * (1 - lh) + below * lh
    return top


def decode_bbox(boxes: Array, rois: Array, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """zhaoweicai/cascade-rcnn decode_bbox_layer.cpp and bbox_util.cpp: the boxes of the second class."""
    top = rois.astype(np.float64).copy()
    for i, (_, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
        bx, by, bw, bh = boxes[i, 4:8].astype(np.float64) * std + mean
        pw, ph = x2 - x1 + 1, y2 - y1 + 1
        tw, th = pw * np.exp(bw), ph * np.exp(bh)
        tx, ty = bx * pw + 0.5 * (x2 + x1) - (tw - 1) / 2, by * ph + 0.5 * (y2 + y1) - (th - 1) / 2
        top[i, 1:] = tx, ty, tx + tw - 1, ty + th - 1
    return top


def unpool(x: Array, mask: Array, size: tuple[int, int]) -> Array:
    """alexgkendall/caffe-segnet upsample_layer.cpp."""
    top = np.zeros((*x.shape[:2], size[0] * size[1]), F)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for value, place in zip(x[n, c].ravel(), mask[n, c].ravel(), strict=True):
                top[n, c, int(place)] = value
    return top.reshape(*x.shape[:2], *size)


def max_pool_with_mask(x: Array, kernel: int, stride: int) -> tuple[Array, Array]:
    """BVLC pooling_layer.cpp, MAX without pad, both tops."""
    out = [ceil((n - kernel) / stride) + 1 for n in x.shape[2:]]
    top = np.zeros((*x.shape[:2], *out), F)
    mask = np.zeros_like(top)
    for n, c, i, j in np.ndindex(top.shape):
        window = x[n, c, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        h, w = np.unravel_index(window.argmax(), window.shape)
        top[n, c, i, j] = window[h, w]
        mask[n, c, i, j] = (i * stride + h) * x.shape[3] + j * stride + w
    return top, mask


def stochastic_pool_at_test(x: Array, kernel: int, stride: int) -> Array:
    """BVLC pooling_layer.cu, StoPoolForwardTest: sum x^2 / sum x, 0 where the sum is 0."""
    out = [ceil((n - kernel) / stride) + 1 for n in x.shape[2:]]
    top = np.zeros((*x.shape[:2], *out), np.float64)
    for n, c, i, j in np.ndindex(top.shape):
        window = x[n, c, i * stride : i * stride + kernel, j * stride : j * stride + kernel].astype(
            np.float64
        )
        top[n, c, i, j] = (window**2).sum() / window.sum() if window.sum() > 0 else 0
    return top


def interp(x: Array, size: tuple[int, int], pad_beg: int = 0, pad_end: int = 0) -> Array:
    """gpapan/caffe (DeepLab) util/interp.cpp, caffe_cpu_interp2."""
    if pad_beg or pad_end:
        x = x[:, :, -pad_beg : x.shape[2] + pad_end, -pad_beg : x.shape[3] + pad_end]
    rows, columns = x.shape[2:]
    top = np.zeros((*x.shape[:2], *size), np.float64)
    ratio_h = F(rows - 1) / F(size[0] - 1) if size[0] > 1 else F(0)
    ratio_w = F(columns - 1) / F(size[1] - 1) if size[1] > 1 else F(0)
    for i in range(size[0]):
        for j in range(size[1]):
            h, w = ratio_h * F(i), ratio_w * F(j)
            h0, w0 = int(h), int(w)
            h1, w1 = h0 + (h0 < rows - 1), w0 + (w0 < columns - 1)
            lh, lw = np.float64(h - F(h0)), np.float64(w - F(w0))
            top[:, :, i, j] = (1 - lh) * ((1 - lw) * x[:, :, h0, w0] + lw * x[:, :, h0, w1]) + lh * (
                (1 - lw) * x[:, :, h1, w0] + lw * x[:, :, h1, w1]
            )
    return top


def resize(x: Array, size: tuple[int, int]) -> Array:
    """zimenglan-sysu-512/pose_action_caffe util_img.cpp, BiLinearResizeMat_cpu: place i n / m, 0 beyond."""
    rows, columns = x.shape[2:]
    top = np.zeros((*x.shape[:2], *size), np.float64)
    ratio_h, ratio_w = F(rows) / F(size[0]), F(columns) / F(size[1])
    for i in range(size[0]):
        for j in range(size[1]):
            h, w = F(i) * ratio_h, F(j) * ratio_w
            h0, w0 = floor(h), floor(w)
            for dh, share_h in ((0, 1 - np.float64(h - F(h0))), (1, np.float64(h - F(h0)))):
                for dw, share_w in ((0, 1 - np.float64(w - F(w0))), (1, np.float64(w - F(w0)))):
                    if h0 + dh < rows and w0 + dw < columns:
                        top[:, :, i, j] += share_h * share_w * x[:, :, h0 + dh, w0 + dw]
    return top


def l2_norm(x: Array) -> Array:
    """zlmzju/caffe l2_norm_layer.cpp: each item by its own length, the square of it at least 1e-12."""
    x = x.astype(np.float64).reshape(*x.shape, *(1,) * (4 - x.ndim))
    return x / np.sqrt(np.maximum((x**2).sum((1, 2, 3), keepdims=True), 1e-12))


def padding(x: Array, beg: int, end: int) -> Array:
    """gpapan/caffe (DeepLab v1) padding_layer.cpp: zeros, or a crop where both are negative."""
    size = (x.shape[2] + beg + end, x.shape[3] + beg + end)
    top = np.zeros((*x.shape[:2], *size), F)
    for i in range(size[0]):
        for j in range(size[1]):
            if 0 <= i - beg < x.shape[2] and 0 <= j - beg < x.shape[3]:
                top[:, :, i, j] = x[:, :, i - beg, j - beg]
    return top


def shuffle_channel(x: Array, group: int) -> Array:
    """xieguotian/caffe shuffle_channel_layer.cpp: channel (i, j) of group x rest goes to (j, i)."""
    rest = x.shape[1] // group
    top = np.zeros_like(x)
    for i in range(group):
        for j in range(rest):
            top[:, j * group + i] = x[:, i * rest + j]
    return top


def reorg(x: Array, stride: int) -> Array:
    """choasup/caffe-yolo9000 reorg_layer.cpp, reorg_cpu with forward = 1: flat index to flat index."""
    batch, channels, height, width = x.shape
    source, top = x.ravel(), np.zeros(x.size, F)
    depth = channels // stride**2
    for b, k, j, i in np.ndindex(x.shape):
        c, offset = k % depth, k // depth
        w, h = i * stride + offset % stride, j * stride + offset // stride
        to = w + width * stride * (h + height * stride * (c + depth * b))
        top[to] = source[i + width * (j + height * (k + channels * b))]
    return top.reshape(batch, channels * stride**2, height // stride, width // stride)


def reorg_of_darknet(x: Array, stride: int, reverse: bool = False) -> Array:
    """gklz1982/caffe-yolov2 reorg_layer.cpp, reorg_cpu: as `reorg`, but for `reverse` the other way."""
    batch, channels, height, width = x.shape
    source, top = x.ravel(), np.zeros(x.size, F)
    depth, wide, high = channels // stride**2, width * stride, height * stride
    for n, c, h, w in np.ndindex(x.shape):
        here = w + width * (h + height * (c + channels * n))
        offset = c // depth
        column, row = w * stride + offset % stride, h * stride + offset // stride
        there = column + wide * (row + high * (c % depth + depth * n))
        if reverse:
            top[there] = source[here]
        else:
            top[here] = source[there]
    if reverse:
        return top.reshape(batch, depth, high, wide)
    return top.reshape(batch, channels * stride**2, height // stride, width // stride)


def correlation(
    a: Array,
    b: Array,
    *,
    pad: int,
    kernel: int,
    reach: int,
    stride1: int,
    stride2: int,
    subtract: bool = False,
) -> Array:
    """lmb-freiburg/flownet2 correlation_layer.cu."""
    a, b = (np.pad(m.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad))) for m in (a, b))
    border = reach + (kernel - 1) // 2
    out = [ceil((n - 2 * border) / stride1) for n in a.shape[2:]]
    radius = reach // stride2
    wide = 2 * radius + 1
    top = np.zeros((a.shape[0], wide * wide, *out))
    for n, c, i, j in np.ndindex(top.shape):
        y, x = i * stride1 + reach, j * stride1 + reach
        dy, dx = (c // wide - radius) * stride2, (c % wide - radius) * stride2
        one = a[n, :, y : y + kernel, x : x + kernel]
        two = b[n, :, y + dy : y + dy + kernel, x + dx : x + dx + kernel]
        top[n, c, i, j] = (np.abs(one - two) if subtract else one * two).sum() / (kernel**2 * a.shape[1])
    return top


def flow_warp(image: Array, flow: Array, fill: float = 0.0) -> Array:
    """lmb-freiburg/flownet2 flow_warp_layer.cpp."""
    height, width = image.shape[2:]
    top = np.full(image.shape, fill, np.float64)
    for n, y, x in np.ndindex(image.shape[0], height, width):
        x2, y2 = F(x) + flow[n, 0, y, x], F(y) + flow[n, 1, y, x]
        if x2 >= 0 and y2 >= 0 and x2 < width and y2 < height:
            left, up = int(x2), int(y2)
            right, down = min(left + 1, width - 1), min(up + 1, height - 1)
            a, b = np.float64(x2 - F(left)), np.float64(y2 - F(up))
            plane = image[n].astype(np.float64)
            top[n, :, y, x] = (1 - b) * ((1 - a) * plane[:, up, left] + a * plane[:, up, right]) + b * (
                (1 - a) * plane[:, down, left] + a * plane[:, down, right]
            )
    return top


def _cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return x * x * (1.5 * x - 2.5) + 1
    return x * (x * (-0.5 * x + 2.5) - 4) + 2 if x < 2 else 0.0


def resample(x: Array, size: tuple[int, int], kind: str = "LINEAR", antialias: bool = True) -> Array:
    """lmb-freiburg/flownet2 resample_layer.cu; the half steps of the two axes are exchanged there."""
    rows, columns = x.shape[2:]
    fy, fx = F(rows) / F(size[0]), F(columns) / F(size[1])
    top = np.zeros((*x.shape[:2], *size), np.float64)
    wider = antialias and (fx > 1 or fy > 1)
    ax, ay = (F(1) / fx, F(1) / fy) if wider else (F(1), F(1))
    weigh = _cubic if kind == "CUBIC" else (lambda d: max(0.0, 1 - abs(d)))
    kernel = 4 if kind == "CUBIC" else 2
    rx = 2 if fx < 1 else ceil(F(kernel) / ax)
    ry = 2 if fy < 1 else ceil(F(kernel) / ay)
    for i in range(size[0]):
        for j in range(size[1]):
            x_in = F(j) * fx + fy / F(2) - F(0.5)
            y_in = F(i) * fy + fx / F(2) - F(0.5)
            h, w = round_away(y_in), round_away(x_in)
            if kind == "NEAREST":
                top[:, :, i, j] = x[:, :, h, w]
                continue
            total, weights = np.zeros(x.shape[:2]), 0.0
            for y in range(max(h - ry, 0), min(h + ry, rows - 1) + 1):
                for k in range(max(w - rx, 0), min(w + rx, columns - 1) + 1):
                    weight = ax * weigh(ax * (x_in - F(k))) * ay * weigh(ay * (y_in - F(y)))
                    total += weight * x[:, :, y, k]
                    weights += weight
            top[:, :, i, j] = total / weights if weights else 0
    return top


def convolution(
    x: Array, w: Array, b: Array | None, *, stride: int = 1, pad: int = 0, hole: int = 1, group: int = 1
) -> Array:
    """A convolution over two axes, by its definition."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    maps, per_group, kernel = w.shape[:3]
    out = [(n - hole * (kernel - 1) - 1) // stride + 1 for n in x.shape[2:]]
    top = np.zeros((x.shape[0], maps, *out))
    for o, i, j in np.ndindex(maps, *out):
        first = o // (maps // group) * per_group
        span = hole * (kernel - 1) + 1
        y, z = i * stride, j * stride
        window = x[:, first : first + per_group, y : y + span : hole, z : z + span : hole]
        top[:, o, i, j] = (window * w[o]).sum((1, 2, 3)) + (0 if b is None else b[o])
    return top


def convolution_3d(
    x: Array, w: Array, b: Array | None, *, strides: tuple[int, int, int], pads: tuple[int, int, int]
) -> Array:
    """facebookarchive/C3D convolution3d_layer.cpp on (N, C, L, H, W)."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *((p, p) for p in pads)))
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], w.shape[2:], strides, strict=True)]
    top = np.zeros((x.shape[0], w.shape[0], *out))
    for o, *at in np.ndindex(w.shape[0], *out):
        where = tuple(slice(i * s, i * s + k) for i, s, k in zip(at, strides, w.shape[2:], strict=True))
        window = x[(slice(None), slice(None), *where)]
        top[(slice(None), o, *at)] = (window * w[o]).sum((1, 2, 3, 4)) + (0 if b is None else b[o])
    return top


def pool_3d(
    x: Array, kernels: tuple[int, int, int], strides: tuple[int, int, int], take: Callable[..., Array]
) -> Array:
    """facebookarchive/C3D pool3d_layer.cpp without pad; sizes round up. `take` is np.max or np.mean."""
    out = [ceil((n - k) / s) + 1 for n, k, s in zip(x.shape[2:], kernels, strides, strict=True)]
    top = np.zeros((*x.shape[:2], *out), np.float64)
    for at in np.ndindex(*out):
        where = tuple(slice(i * s, i * s + k) for i, s, k in zip(at, strides, kernels, strict=True))
        top[(slice(None), slice(None), *at)] = take(x[(slice(None), slice(None), *where)], axis=(2, 3, 4))
    return top


def deconvolution_3d(
    x: Array, w: Array, b: Array | None, *, strides: tuple[int, int, int], pads: tuple[int, int, int]
) -> Array:
    """facebookarchive/C3D deconvolution3d_layer.cpp: every value spreads its kernel; the pad is cut off."""
    out = [s * (n - 1) + k for n, k, s in zip(x.shape[2:], w.shape[2:], strides, strict=True)]
    top = np.zeros((x.shape[0], w.shape[1], *out))
    for n, c, *at in np.ndindex(x.shape):
        where = tuple(slice(i * s, i * s + k) for i, s, k in zip(at, strides, w.shape[2:], strict=True))
        top[(n, slice(None), *where)] += np.float64(x[(n, c, *at)]) * w[c]
    inner = tuple(slice(p, n - p) for n, p in zip(out, pads, strict=True))
    top = top[(slice(None), slice(None), *inner)]
    return top if b is None else top + b.reshape(1, -1, 1, 1, 1)
