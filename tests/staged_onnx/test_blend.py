"""Blends and residuals against SciPy's interpolation and filters."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from scipy import ndimage

from staged_onnx.blend import (
    BlendInput,
    blend_graph,
    blend_labels_graph,
    residual_graph,
    settled_labels_graph,
)

H, W, C = 21, 27, 5


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def read_along(planes: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """C x h x w planes read bilinearly at p + flow[p], the nearest pixel beyond the edge."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float64)
    places = [rows + flow[..., 1], columns + flow[..., 0]]
    return np.stack(
        [ndimage.map_coordinates(p.astype(np.float64), places, order=1, mode="nearest") for p in planes]
    )


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def test_two_moved_maps_are_mixed_by_share() -> None:
    first, second = random(1, C, H, W, seed=1), random(1, C, H, W, seed=2)
    there, later = random(H, W, 2, seed=3, scale=3), random(H, W, 2, seed=4, scale=3)
    share = np.random.default_rng(5).uniform(size=(1, 1, H, W)).astype(np.float32)
    inputs = (BlendInput("a", "there"), BlendInput("b", "later"))
    feeds = {"there": (H, W, 2), "later": (H, W, 2), "share": (1, 1, H, W)}
    model = blend_graph(inputs, (1, C, H, W), feeds)
    found = run(model, a=first, b=second, there=there, later=later, share=share)
    expected = share * read_along(first[0], there) + (1 - share) * read_along(second[0], later)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_moved_map_is_mixed_with_one_as_it_is_on_a_finer_grid_of_flow() -> None:
    """Half a grid's flow is half as many pixels; the share is taken at the map's own pixels."""
    moved, fresh = random(1, C, H, W, seed=1), random(1, C, H, W, seed=2)
    flow = np.broadcast_to(np.float32([4, -2]), (2 * H, 2 * W, 2)).copy()
    share = np.full((1, 1, 2 * H, 2 * W), 0.25, np.float32)
    feeds = {"way": flow.shape, "share": share.shape}
    model = blend_graph((BlendInput("a", "way"), BlendInput("b")), (1, C, H, W), feeds)
    found = run(model, a=moved, b=fresh, way=flow, share=share)
    expected = 0.25 * read_along(moved[0], flow[:H, :W] / 2) + 0.75 * fresh
    np.testing.assert_allclose(found, expected, atol=1e-5)


def rows(planes: np.ndarray) -> np.ndarray:
    """1 x C x h x w as h x w x C."""
    return np.ascontiguousarray(planes[0].transpose(1, 2, 0))


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_rows_are_moved_as_planes_are(padding: str) -> None:
    first, second = random(1, C, H, W, seed=1), random(1, C, H, W, seed=2)
    flow = random(2 * H, 2 * W, 2, seed=3, scale=6)
    share = np.random.default_rng(5).uniform(size=(1, 1, H, W)).astype(np.float32)
    inputs = (BlendInput("a", "way"), BlendInput("b"))
    feeds = {"way": flow.shape, "share": share.shape}
    planes = blend_graph(inputs, (1, C, H, W), feeds, padding=padding)
    together = blend_graph(inputs, (H, W, C), feeds, padding=padding)
    expected = run(planes, a=first, b=second, way=flow, share=share)
    found = run(together, a=rows(first), b=rows(second), way=flow, share=share)
    np.testing.assert_allclose(found, rows(expected), atol=1e-5)


@pytest.mark.parametrize("size", [(H, W), (2 * H, 2 * W)])
def test_labels_are_the_best_of_the_mixed_scores_at_the_frames_size(size: tuple[int, int]) -> None:
    scores, flow = random(1, C, H, W, seed=1), random(H, W, 2, seed=3, scale=2)
    model = blend_labels_graph((BlendInput("a", "way"),), (H, W, C), {"way": (H, W, 2)}, size)
    moved = read_along(scores[0], flow)
    if size != (H, W):
        down, across = (np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1) for n in (H, W))
        places = np.meshgrid(down, across, indexing="ij")
        moved = np.stack([ndimage.map_coordinates(plane, places, order=1) for plane in moved])
    best = np.sort(moved, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    found = run(model, a=rows(scores), way=flow)
    assert found.dtype == np.uint8 and clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], moved.argmax(0)[clear])


def read_labels(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]]
    y = np.clip(rows + np.rint(flow[..., 1]), 0, labels.shape[0] - 1).astype(int)
    x = np.clip(columns + np.rint(flow[..., 0]), 0, labels.shape[1] - 1).astype(int)
    return labels[y, x]


def settle(
    scores: list[np.ndarray], labels: list[np.ndarray], flows: list[np.ndarray], share: np.ndarray
) -> np.ndarray:
    """What the graph makes of two maps of scores (C x h x w) and of labels, each moved along its flow."""
    names = ("a", "b")
    maps = [BlendInput(f"scores_{n}", f"flow_{n}") for n in names]
    found = [BlendInput(f"labels_{n}", f"flow_{n}") for n in names]
    shape = (*scores[0].shape[1:], scores[0].shape[0])
    feeds = {f"flow_{n}": flow.shape for n, flow in zip(names, flows, strict=True)} | {"share": share.shape}
    model = settled_labels_graph(maps, found, shape, feeds, labels[0].shape)
    return run(
        model,
        share=share,
        **{f"scores_{n}": rows(s[np.newaxis]) for n, s in zip(names, scores, strict=True)},
        **{f"labels_{n}": label for n, label in zip(names, labels, strict=True)},
        **{f"flow_{n}": flow for n, flow in zip(names, flows, strict=True)},
    )


@pytest.mark.parametrize("scale", [1, 2])
def test_labels_that_differ_are_settled_by_the_mixed_scores(scale: int) -> None:
    """Frames of `scale` times the scores' size."""
    size = (scale * H, scale * W)
    scores = [random(C, H, W, seed=seed) for seed in (1, 2)]
    labels = [np.random.default_rng(seed).integers(0, C, size, np.uint8) for seed in (3, 4)]
    flows = [random(*size, 2, seed=seed, scale=3) for seed in (5, 6)]
    share = np.random.default_rng(7).uniform(size=(1, 1, *size)).astype(np.float32)
    found = settle(scores, labels, flows, share)
    first, second = (read_labels(*pair) for pair in zip(labels, flows, strict=True))
    rows_, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    mixed = np.zeros((C, *size))
    for planes, flow, weight in zip(scores, flows, (share[0, 0], 1 - share[0, 0]), strict=True):
        places = [(place + 0.5 + flow[..., axis]) / scale - 0.5 for place, axis in ((rows_, 1), (columns, 0))]
        mixed += weight * np.stack(
            [ndimage.map_coordinates(p.astype(np.float64), places, order=1, mode="nearest") for p in planes]
        )
    best = np.sort(mixed, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    differ = first != second
    assert 0.5 < differ.mean() < 1 and clear.mean() > 0.99
    np.testing.assert_array_equal(found[~differ], first[~differ])
    np.testing.assert_array_equal(found[differ & clear], mixed.argmax(0)[differ & clear])


def test_label_maps_that_agree_everywhere_stand() -> None:
    label = np.random.default_rng(0).integers(0, C, (H, W), np.uint8)
    still = np.zeros((H, W, 2), np.float32)
    scores = random(C, H, W)
    found = settle([scores, scores], [label, label], [still, still], np.ones((1, 1, H, W), np.float32))
    np.testing.assert_array_equal(found, label)


def test_one_channel_is_a_probability() -> None:
    scores = np.random.default_rng(0).uniform(size=(H, W, 1)).astype(np.float32)
    model = blend_labels_graph((BlendInput("a"),), (H, W, 1), {}, (H, W))
    np.testing.assert_array_equal(run(model, a=scores), scores[..., 0] > 0.5)


def test_the_residual_is_a_mean_over_a_window_that_shrinks_at_the_edge() -> None:
    image, source = (np.random.default_rng(i).uniform(0, 255, (H, W)).astype(np.float32) for i in (0, 1))
    path = random(H, W, 2, seed=2, scale=2)
    difference = np.abs(image - read_along(source[np.newaxis], path)[0])
    window = np.ones((5, 5))
    sums = ndimage.convolve(difference, window, mode="constant")
    expected = sums / ndimage.convolve(np.ones((H, W)), window, mode="constant")
    found = run(residual_graph((H, W)), image=image, source=source, path=path)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
