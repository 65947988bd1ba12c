"""What more layers of Caffe forks compute, as plain loops over NumPy arrays; see fork_references.py.

Each function follows the source file named in its docstring; none of them knows the port.
"""

from __future__ import annotations

from math import floor

import numpy as np

from tests.parity.fork_references import round_away

F = np.float32
Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def mish(x: Array) -> Array:
    """synopsys-caffe mish_layer.cpp: x tanh(softplus(x)), softplus linear above 20 and exp below -20."""
    x = x.astype(np.float64)
    soft = np.where(
        x > 20, x, np.where(x < -20, np.exp(np.minimum(x, 0)), np.log(np.exp(np.minimum(x, 20)) + 1))
    )
    return x * np.tanh(soft)


def hard_sigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """synopsys-caffe hard_sigmoid_layer.cpp."""
    return np.clip(alpha * x.astype(np.float64) + beta, 0, 1)


def hard_swish(x: Array) -> Array:
    """synopsys-caffe hard_swish_layer.cpp: x relu6(x + 3) / 6."""
    return x * np.clip(x.astype(np.float64) + 3, 0, 6) / 6


def selu(x: Array, alpha: float = 1.67326324, scale: float = 1.050700987) -> Array:
    """fireae/caffe_latte and synopsys-caffe selu_layer.cpp."""
    x = x.astype(np.float64)
    return np.where(x > 0, scale * x, scale * alpha * (np.exp(np.minimum(x, 0)) - 1))


def rrelu(x: Array, lb: float = 5, ub: float = 10) -> Array:
    """ducha-aiki/caffe rrelu_layer.cpp at TEST time."""
    divisor = (ub - lb) / (np.log(abs(ub)) - np.log(abs(lb)))
    return np.maximum(x, 0) + np.minimum(x, 0) / divisor


def crelu(x: Array, slope: float = 0, axis: int = 1) -> Array:
    """Cambricon/caffe crelu_layer.cpp: block by block, relu of x then relu of -x."""
    outer = int(np.prod(x.shape[:axis]))
    flat = x.reshape(outer, -1)
    rows = []
    for row in flat:
        for half in (row, -row):
            rows.append(np.where(half > 0, half, slope * half))
    return np.array(rows).reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])


def neg_relu(x: Array, slope: float = 0) -> Array:
    """lmb-freiburg/flownet2 neg_relu_layer.cpp."""
    return np.minimum(x, 0) + slope * np.maximum(x, 0)


def signed_sqrt(x: Array) -> Array:
    """gy20073/compact_bilinear_pooling signed_sqrt_layer.cpp."""
    return np.where(x >= 0, np.sqrt(np.abs(x)), -np.sqrt(np.abs(x)))


def transpose(x: Array, order: tuple[int, ...]) -> Array:
    """tianzhi0549/CTPN transpose_layer.cpp: number by number, from strides of both shapes."""
    shape = tuple(x.shape[a] for a in order)
    top = np.empty(shape, x.dtype)
    for index in np.ndindex(x.shape):
        top[tuple(index[a] for a in order)] = x[index]
    return top


def flip(x: Array, width: bool = True, height: bool = False) -> Array:
    """happynear/caffe-windows flip_layer.cpp."""
    top = np.empty_like(x)
    _, _, rows, columns = x.shape
    for h in range(rows):
        for w in range(columns):
            top[:, :, h, w] = x[:, :, rows - 1 - h if height else h, columns - 1 - w if width else w]
    return top


def tiling(x: Array, side: int) -> Array:
    """SeokjuLee/VPGNet tiling_layer.cpp; limuhit/CCN dtow_layer.cpp and Ding-Liu/caffe-videoSR
    rearrange_layer.cpp give the same.
    """
    n, c, rows, columns = x.shape
    top = np.empty((n, c // side**2, rows * side, columns * side), x.dtype)
    for out in range(c // side**2):
        channel = out * side**2
        for ty in range(side):
            for tx in range(side):
                top[:, out, ty::side, tx::side] = x[:, channel]
                channel += 1
    return top


def untiling(x: Array, side: int) -> Array:
    """limuhit/CCN dtow_layer.cpp, WTOD: point (h, w) to channel c s^2 + (h % s) s + w % s."""
    n, c, rows, columns = x.shape
    top = np.empty((n, c * side**2, rows // side, columns // side), x.dtype)
    for channel in range(c):
        for h in range(rows):
            for w in range(columns):
                to = channel * side**2 + (h % side) * side + w % side
                top[:, to, h // side, w // side] = x[:, channel, h, w]
    return top


def gs_tiling(x: Array, side: int, reverse: bool) -> Array:
    """GSTilingLayer, gs_tiling_layer.cpp."""
    n, c, rows, columns = x.shape
    shape = (
        (c // side**2, rows * side, columns * side)
        if reverse
        else (c * side**2, rows // side, columns // side)
    )
    top = np.empty((n, *shape), x.dtype)
    for ic in range(c):
        for iy in range(rows):
            for ix in range(columns):
                if reverse:
                    off = ic // shape[0]
                    to = (ic % shape[0], iy * side + off // side, ix * side + off % side)
                else:
                    to = ((iy % side * side + ix % side) * c + ic, iy // side, ix // side)
                top[(slice(None), *to)] = x[:, ic, iy, ix]
    return top


def window(x: Array, corner: tuple[int, int], size: tuple[int, int]) -> Array:
    """ZhiwenShao/JAANet division_layer.cpp: `size` (width, height) from `corner` (x, y)."""
    return x[:, :, corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]


def merge_crop(a: Array, b: Array, *, add: bool = False, forward: tuple[bool, bool] = (True, True)) -> Array:
    """naibaf7/caffe mergecrop_layer.cu, MergeCropForward, for bottoms of as many channels."""
    pads = [(n - m) // 2 for m, n in zip(a.shape[2:], b.shape[2:], strict=True)]
    channels = a.shape[1] if add else a.shape[1] + b.shape[1]
    top = np.zeros((a.shape[0], channels, *a.shape[2:]), a.dtype)
    for place in np.ndindex(a.shape[2:]):
        there = tuple(p + q for p, q in zip(place, pads, strict=True))
        left = a[(slice(None), slice(None), *place)] * forward[0]
        right = b[(slice(None), slice(None), *there)] * forward[1]
        top[(slice(None), slice(None), *place)] = (
            left + right if add else np.concatenate([left, right], axis=1)
        )
    return top


def mask_pooling(x: Array, mask: Array) -> Array:
    """daijifeng001/caffe-mnc mask_pooling_layer.cu."""
    top = np.empty_like(x)
    for channel in range(x.shape[1]):
        top[:, channel] = x[:, channel] * mask.reshape(x.shape[0], *x.shape[2:])
    return top


def matmul(a: Array, b: Array, turn_a: bool = False, turn_b: bool = False) -> Array:
    """foss-for-synopsys-dwc-arc-processors/synopsys-caffe matmul_layer.cpp."""
    a = np.swapaxes(a, -1, -2) if turn_a else a
    b = np.swapaxes(b, -1, -2) if turn_b else b
    return np.einsum("...ij,...jk->...ik", a.astype(np.float64), b.astype(np.float64))


def grn(x: Array, bias: float = 0) -> Array:
    """openvinotoolkit/training_toolbox_caffe grn_layer.cpp."""
    x = x.astype(np.float64)
    return x / np.sqrt((x**2).sum(1, keepdims=True) + bias)


def l2_normalize(x: Array) -> Array:
    """gy20073/compact_bilinear_pooling l2_normalize_layer.cpp."""
    flat = x.reshape(x.shape[0], -1).astype(np.float64)
    return np.stack([row * (row @ row + 1e-7) ** -0.5 for row in flat]).reshape(x.shape)


def group_norm(
    x: Array, groups: int, eps: float, scale: Array | None = None, shift: Array | None = None
) -> Array:
    """lusenkong/GroupNormalization_Caffe group_norm_layer.cpp; hujie-frank's has a scale and a shift too."""
    rows = x.reshape(x.shape[0] * groups, -1).astype(np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    y = (centred / np.sqrt((centred**2).mean(1, keepdims=True) + eps)).reshape(x.shape)
    if scale is None or shift is None:
        return y
    like = (1, -1, *[1] * (x.ndim - 2))
    return y * scale.reshape(like) + shift.reshape(like)


def lstm(x: Array, w: Array, r: Array, b: Array, cont: Array | None = None) -> Array:
    """junhyukoh/caffe-lstm and tianzhi0549/CTPN lstm_layer.cpp on T x N x I, gates i, f, o, g."""
    steps, streams, _ = x.shape
    size = r.shape[1]
    h = np.zeros((streams, size))
    c = np.zeros((streams, size))
    out = np.zeros((steps, streams, size))
    for t in range(steps):
        gates = x[t].astype(np.float64) @ w.T + b
        for n in range(streams):
            going = bool(cont[t, n]) if cont is not None else t > 0
            row = gates[n] + (r @ h[n] if going else 0)
            i, f, o = (sigmoid(row[k * size : (k + 1) * size]) for k in range(3))
            c[n] = (f if going else 0) * c[n] + i * np.tanh(row[3 * size :])
            h[n] = o * np.tanh(c[n])
        out[t] = h
    return out


def gru(x: Array, wx: Array, wh: Array, om: Array, ox: Array, bz: Array, bo: Array) -> Array:
    """wss321/video-caffe gru_layer.cpp."""
    steps, streams, size = x.shape
    h = np.zeros((streams, size))
    out = np.zeros((steps, streams, size))
    for t in range(steps):
        both = sigmoid(x[t].astype(np.float64) @ wx.T + bz + h @ wh.T)
        z, r = both[:, :size], both[:, size:]
        candidate = np.tanh(x[t] @ ox.T + bo.reshape(-1) + (r * h) @ om.T)
        h = (1 - z) * candidate + z * h
        out[t] = h
    return out


def _bilinear(plane: Array, y: float, x: float) -> float:
    """bilinear_interpolate of caffe-mnc and R-FCN-PSROIAlign; None-like 0 beyond half a point."""
    height, width = plane.shape
    if y < -0.5 or y > height - 0.5 or x < -0.5 or x > width - 0.5:
        return 0.0
    y, x = max(y, F(0)), max(x, F(0))
    top, left = int(y), int(x)
    if top >= height - 1:
        top = bottom = height - 1
        y = F(top)
    else:
        bottom = top + 1
    if left >= width - 1:
        left = right = width - 1
        x = F(left)
    else:
        right = left + 1
    down, across = float(y) - top, float(x) - left
    return float(
        (1 - down) * ((1 - across) * plane[top, left] + across * plane[top, right])
        + down * ((1 - across) * plane[bottom, left] + across * plane[bottom, right])
    )


def roi_warping(x: Array, rois: Array, *, size: tuple[int, int], scale: float) -> Array:
    """daijifeng001/caffe-mnc roi_warping_layer.cu."""
    out = np.zeros((len(rois), x.shape[1], *size))
    for n, (image, *box) in enumerate(rois.astype(F)):
        x1, y1, x2, y2 = (F(round_away(float(v * F(scale)))) for v in box)
        bins = [max(b - a, F(0)) / F(count) for a, b, count in ((y1, y2, size[0]), (x1, x2, size[1]))]
        for c, ph, pw in np.ndindex(x.shape[1], *size):
            out[n, c, ph, pw] = _bilinear(x[int(image), c], y1 + F(ph) * bins[0], x1 + F(pw) * bins[1])
    return out


def psroi_align(x: Array, rois: Array, *, outputs: int, group: int, scale: float, samples: int = 2) -> Array:
    """afantideng/R-FCN-PSROIAlign psroi_align_layer.cu."""
    height, width = x.shape[2:]
    out = np.zeros((len(rois), outputs, group, group))
    for n, (image, x1, y1, x2, y2) in enumerate(rois.astype(F)):
        left, top = x1 * F(scale), y1 * F(scale)
        bin_w = max((x2 + F(1)) * F(scale) - left, F(0.1)) / F(group)
        bin_h = max((y2 + F(1)) * F(scale) - top, F(0.1)) / F(group)
        for d, i, j in np.ndindex(outputs, group, group):
            h0, h1 = (np.clip(F(k) * bin_h + top, F(0), F(height - 1)) for k in (i, i + 1))
            w0, w1 = (np.clip(F(k) * bin_w + left, F(0), F(width - 1)) for k in (j, j + 1))
            plane, total = x[int(image), (d * group + i) * group + j], 0.0
            for p, q in np.ndindex(samples, samples):
                h = h0 + F(p + 1) * (bin_h / F(samples + 1))
                w = w0 + F(q + 1) * (bin_w / F(samples + 1))
                if h < h1 and w < w1:
                    total += _bilinear(plane, h, w)
            out[n, d, i, j] = total / samples**2
    return out


def mask_resize(x: Array, size: tuple[int, int]) -> Array:
    """daijifeng001/caffe-mnc mask_resize_layer.cu."""
    height, width = x.shape[2:]
    out = np.zeros((*x.shape[:2], *size))
    for n, c, h, w in np.ndindex(out.shape):
        place = F(h) * (F(height) / F(size[0])), F(w) * (F(width) / F(size[1]))
        out[n, c, h, w] = _bilinear(x[n, c], *place)
    return out


def spatial_transformer(u: Array, theta: Array, size: tuple[int, int] | None = None) -> Array:
    """daerduoCarey/SpatialTransformerLayer st_layer.cu; `theta` (N, 2, 3)."""
    height, width = u.shape[2:]
    rows, columns = size or (height, width)
    out = np.zeros((*u.shape[:2], rows, columns))
    for n, s, t in np.ndindex(u.shape[0], rows, columns):
        point = np.array([s / rows * 2 - 1, t / columns * 2 - 1, 1])
        p, q = theta[n].reshape(2, 3).astype(np.float64) @ point
        x, y = (p + 1) / 2 * height, (q + 1) / 2 * width
        for a in (floor(x), floor(x) + 1):
            for b in (floor(y), floor(y) + 1):
                if 0 <= a < height and 0 <= b < width:
                    out[n, :, s, t] += (1 - abs(x - a)) * (1 - abs(y - b)) * u[n, :, a, b]
    return out


def dilated_pool(x: Array, kernel: int, stride: int, pad: int, dilation: int, *, mean: bool = False) -> Array:
    """naibaf7/caffe pooling_layer.cpp for the size and pooling_layer.cu for the numbers."""
    reach = (kernel - 1) * dilation + 1
    sizes = []
    for n in x.shape[2:]:
        out = -(-(n + 2 * pad - reach) // stride) + 1
        sizes.append(out - 1 if pad and (out - 1) * stride >= n + pad else out)
    top = np.zeros((*x.shape[:2], *sizes))
    for i, j in np.ndindex(*sizes):
        picked = []
        for a, b in np.ndindex(kernel, kernel):
            h, w = i * stride - pad + a * dilation, j * stride - pad + b * dilation
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                picked.append(x[:, :, h, w])
        top[:, :, i, j] = np.mean(picked, axis=0) if mean else np.max(picked, axis=0)
    return top


def max_pool_volume(
    x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]
) -> Array:
    """xyyu-callen/caffe-3Dstn pooling3d_layer.cpp, MAX."""
    sizes = []
    for n, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True):
        out = -(-(n + 2 * p - k) // s) + 1
        sizes.append(out - 1 if any(pad) and (out - 1) * s >= n + p else out)
    top = np.zeros((*x.shape[:2], *sizes), x.dtype)
    for place in np.ndindex(*sizes):
        part = tuple(
            slice(max(i * s - p, 0), i * s - p + k)
            for i, k, s, p in zip(place, kernel, stride, pad, strict=True)
        )
        top[(slice(None), slice(None), *place)] = x[(slice(None), slice(None), *part)].max((2, 3, 4))
    return top


def dense_prior_box(
    feature: Array,
    image: Array,
    *,
    fixed_size: tuple[float, ...],
    density: tuple[float, ...],
    ratios: tuple[float, ...] = (1,),
    step: float = 0,
    variance: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2),
) -> Array:
    """OpenVINO's PriorBox-8 with fixed_size and density; equal to OpenVINO 2026.4.1 on the cases here."""
    (rows, columns), (height, width) = feature.shape[2:], image.shape[2:]
    steps = (step or height / rows, step or width / columns)
    out: list[float] = []
    for h, w in np.ndindex(rows, columns):
        centre = ((h + 0.5) * steps[0], (w + 0.5) * steps[1])
        for size, number in zip(fixed_size, density, strict=True):
            shift = int(size / number)
            for ratio in ratios:
                half_w, half_h = size * 0.5 * np.sqrt(ratio), size * 0.5 / np.sqrt(ratio)
                for r, c in np.ndindex(int(number), int(number)):
                    y = centre[0] - size / 2 + shift / 2 + r * shift
                    x = centre[1] - size / 2 + shift / 2 + c * shift
                    box = ((x - half_w) / width, (y - half_h) / height)
                    box += ((x + half_w) / width, (y + half_h) / height)
                    out += [min(max(v, 0), 1) for v in box]
    return np.stack([np.array(out), np.tile(variance, len(out) // 4)])[None]
