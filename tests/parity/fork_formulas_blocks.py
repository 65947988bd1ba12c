"""What more layers of forks compute: blocks, distances, windows put together; see fork_references.py.

Each function follows the source file named in its docstring; none of them knows the port.
"""

from __future__ import annotations

import numpy as np

F = np.float32
Array = np.ndarray


def convolve(x: Array, w: Array, bias: Array | None = None, pad: int = 0) -> Array:
    """A plain convolution of (N, C, H, W) or (N, C, L, H, W), stride 1, one pad for all axes."""
    axes = w.ndim - 2
    wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0)] + [(pad, pad)] * axes)
    sizes = [n - k + 1 for n, k in zip(wide.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    for at in np.ndindex(*sizes):
        window = wide[
            (slice(None), slice(None), *(slice(a, a + k) for a, k in zip(at, w.shape[2:], strict=True)))
        ]
        y[(slice(None), slice(None), *at)] = np.tensordot(
            window, w.astype(np.float64), [range(1, w.ndim)] * 2
        )
    return y if bias is None else y + bias.reshape(-1, *(1,) * axes)


def _normalised(x: Array, scale: Array, shift: Array, mean: Array, variance: Array, factor: Array) -> Array:
    """BN_inf_Fwd and ReLU_Fwd."""
    share = 0 if factor.item() == 0 else 1 / factor.item()
    y = scale * (x - mean * share) / np.sqrt(variance.astype(np.float64) * share + 1e-5) + shift
    return np.maximum(y, 0)


def dense_block(x: Array, *w: Array, bottleneck: bool = False) -> Array:
    """senlinuc/caffe_ocr DenseBlock_layer.cpp, Forward_cpu in phase TEST."""
    number = (len(w) - 1) // (10 if bottleneck else 5)
    merged = x.astype(np.float64)
    for t in range(number):
        bn = [w[number * k + t] for k in (1, 2, 3, 4)]
        y = _normalised(merged, *bn, w[-1])
        if bottleneck:
            y = convolve(y, w[5 * number + t])
            y = _normalised(y, *(w[number * k + t] for k in (6, 7, 8, 9)), w[-1])
        merged = np.concatenate([merged, convolve(y, w[t], pad=1)], axis=1)
    return merged


def pixel_conv(kernels: Array, x: Array) -> Array:
    """csjcai/RealSR PixelConv_layer.cpp."""
    n, channels, height, width = x.shape
    k = int(np.sqrt(kernels.shape[1] // channels))
    p = k // 2
    y = np.zeros(x.shape)
    for item, c, i, j in np.ndindex(n, channels, height, width):
        for a, b in np.ndindex(k, k):
            r, s = i - p + a, j - p + b
            if 0 <= r < height and 0 <= s < width:
                weight = kernels[item, c * k * k + a * k + b, i, j]
                y[item, c, i, j] += float(weight) * float(x[item, c, r, s])
    return y


def im2dist(
    x: Array,
    kernel: int,
    *,
    pad: int = 0,
    stride: int = 1,
    dilation: int = 1,
    norm: int = 2,
    center: bool = False,
    bounds: bool = False,
) -> Array:
    """aharley/segaware im2dist.cpp, im2dist_cpu."""
    n, channels, height, width = x.shape
    reach = dilation * (kernel - 1) + 1
    rows, columns = ((size + 2 * pad - reach) // stride + 1 for size in (height, width))
    far = np.finfo(F).max / F(100)
    y = np.zeros((n, kernel * kernel, rows, columns))
    for item, c, a, b, i, j in np.ndindex(n, channels, kernel, kernel, rows, columns):
        here = (i * stride - pad + a * dilation, j * stride - pad + b * dilation)
        middle = tuple(v * stride - pad + (kernel // 2) * dilation for v in (i, j))
        at = (item, a * kernel + b, i, j)
        if not (0 <= middle[0] < height and 0 <= middle[1] < width):
            continue
        if center and here == middle:
            y[at] = far
        elif 0 <= here[0] < height and 0 <= here[1] < width:
            d = float(x[item, c, *middle]) - float(x[item, c, *here])
            y[at] += d * d * 0.5 if norm == 2 else abs(d)
        elif bounds:
            y[at] = far
    return y


def inner_distance(x: Array, centres: Array, kind: str = "L2", normalize: bool = False) -> Array:
    """happynear/caffe-windows inner_distance_layer.cpp, items flattened from axis 1."""
    rows = x.reshape(len(x), -1).astype(np.float64)
    w = centres.reshape(len(centres), -1).astype(np.float64)
    if normalize:
        w = np.stack([row / np.sqrt(row @ row + 1e-6) for row in w])
    d = rows[:, None] - w[None]
    return (d * d).sum(2) if kind == "L2" else np.abs(d).sum(2)


def inner_product(x: Array, w: Array, b: Array | None = None, normalize: bool = False) -> Array:
    """happynear/caffe-windows inner_product_layer.cpp; `w` and `b` its blobs or its further bottoms."""
    rows = x.reshape(len(x), -1).astype(np.float64)
    w = w.reshape(len(w), -1).astype(np.float64)
    if normalize:
        w = np.stack([row / np.sqrt(row @ row + 1e-6) for row in w])
    return rows @ w.T + (0 if b is None else b.reshape(-1))


def channel_normalize(x: Array, kind: str = "L2") -> tuple[Array, Array]:
    """happynear/caffe-windows normalize_layer.cpp: both tops."""
    x = x.reshape((*x.shape, 1, 1, 1)[:4]).astype(np.float64)
    total = ((x * x) if kind == "L2" else np.abs(x)).sum(1, keepdims=True) + 1e-6
    norm = np.sqrt(total) if kind == "L2" else total
    return x / norm, norm


def combination(pieces: list[Array], corners: list[tuple[int, int]]) -> Array:
    """ZhiwenShao/JAANet combination_layer.cpp."""
    last, (x, y) = pieces[-1], corners[-1]
    top = np.zeros((*last.shape[:2], y + last.shape[2], x + last.shape[3]), F)
    for piece, (column, row) in zip(pieces, corners, strict=True):
        top[:, :, row : row + piece.shape[2], column : column + piece.shape[3]] = piece
    return top


def convert(x: Array) -> tuple[Array, Array]:
    """Yuliang-Liu/Curve-Text-Detector convert_layer.cpp: both tops."""
    n, depth, width = x.shape[0], x.shape[1], x.shape[-1]
    top = np.zeros((width, n, depth), F)
    for item, d, step in np.ndindex(n, depth, width):
        top[step, item, d] = x[item, d].reshape(-1)[step]
    marks = np.ones((width, n), F)
    marks[0] = 0
    return top, marks


def srelu(x: Array, tr: Array, ar: Array, tl: Array, al: Array) -> Array:
    """srelu_layer.cu, SReLUForward."""
    y = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        v, c = float(x[at]), at[1] if tr.size > 1 else 0
        right, up, left, down = (float(p.reshape(-1)[c]) for p in (tr, ar, tl, al))
        if v >= right:
            y[at] = right + up * (v - right)
        else:
            y[at] = v if left < v < right else left + down * (v - left)
    return y


def nd_max_pool(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]) -> Array:
    """wss321/video-caffe cudnn_ndpooling_layer.cpp, compute_output_shape, by cuDNN's MAX."""
    sizes = []
    for n, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True):
        size = int(np.ceil(F(n + 2 * p - k) / F(s))) + 1
        sizes.append(size - 1 if p > 0 and (size - 1) * s >= n + p else size)
    y = np.zeros((*x.shape[:2], *sizes), F)
    for at in np.ndindex(*sizes):
        spans = [
            slice(max(0, i * s - p), min(n, i * s - p + k))
            for i, n, k, s, p in zip(at, x.shape[2:], kernel, stride, pad, strict=True)
        ]
        y[(slice(None), slice(None), *at)] = x[(slice(None), slice(None), *spans)].max(
            axis=tuple(range(2, x.ndim))
        )
    return y


def interp(x: Array, size: tuple[int, int]) -> Array:
    """lzx1413/CAFFE_SSD interp_layer.cpp, caffe_cpu_interp2: bilinear, corners on corners."""
    y = np.zeros((*x.shape[:2], *size))
    ratios = [(n - 1) / (m - 1) if m > 1 else 0 for n, m in zip(x.shape[2:], size, strict=True)]
    for i, j in np.ndindex(*size):
        r, s = i * ratios[0], j * ratios[1]
        a, b = int(r), int(s)
        c, d = min(a + 1, x.shape[2] - 1), min(b + 1, x.shape[3] - 1)
        u, v = r - a, s - b
        y[:, :, i, j] = (1 - u) * ((1 - v) * x[:, :, a, b] + v * x[:, :, a, d]) + u * (
            (1 - v) * x[:, :, c, b] + v * x[:, :, c, d]
        )
    return y
