"""The warp graph against NumPy and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from scipy.ndimage import map_coordinates

from staged_onnx.warp import path_graph, warp_graph, warp_labels_graph
from weights.errors import UsageError

RNG = np.random.default_rng(3)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def constant_flow(size: tuple[int, int], x: float, y: float) -> np.ndarray:
    return np.broadcast_to(np.float32([x, y]), (*size, 2)).copy()


def sampled(value: np.ndarray, flow: np.ndarray, mode: str) -> np.ndarray:
    """Every plane of 1 x C x h x w read at p + flow[p], by SciPy."""
    rows, columns = np.mgrid[: value.shape[2], : value.shape[3]]
    where = [rows + flow[..., 1], columns + flow[..., 0]]
    return np.stack([map_coordinates(plane, where, order=1, mode=mode) for plane in value[0]])[None]


@pytest.mark.parametrize("size", [(31, 44), (180, 320)])
@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, -4), (-7, 5), (0, 0)])
def test_whole_pixels_are_exact_inside(size: tuple[int, int], x: int, y: int) -> None:
    value = RNG.uniform(size=(1, 5, *size)).astype(np.float32)
    moved = run(warp_graph(value.shape, (*size, 2)), value=value, flow=constant_flow(size, x, y))
    inside = np.zeros(size, bool)
    inside[max(0, -y) : size[0] - max(0, y), max(0, -x) : size[1] - max(0, x)] = True
    expected = np.roll(value, (-y, -x), axis=(2, 3))
    np.testing.assert_array_equal(moved[..., inside], expected[..., inside])


@pytest.mark.parametrize("size", [(23, 37), (360, 480)])
@pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_fractions_of_a_pixel_equal_map_coordinates(size: tuple[int, int], padding: str, mode: str) -> None:
    value = RNG.uniform(size=(1, 3, *size)).astype(np.float32)
    flow = RNG.uniform(-6, 6, size=(*size, 2)).astype(np.float32)
    moved = run(warp_graph(value.shape, flow.shape, padding=padding), value=value, flow=flow)
    np.testing.assert_allclose(moved, sampled(value, flow, mode), atol=1e-5, rtol=0)


def test_the_formula_of_grid_generator_and_bilinear_sampler() -> None:
    """MXNet's own two steps, corner by corner, zeros outside."""
    value = RNG.uniform(size=(1, 2, 9, 11)).astype(np.float32)
    flow = RNG.uniform(-4, 4, size=(9, 11, 2)).astype(np.float32)
    expected = np.zeros_like(value)
    for y, x in np.ndindex(9, 11):
        grid = (x + flow[y, x, 0]) / 5 - 1, (y + flow[y, x, 1]) / 4 - 1
        column, row = (grid[0] + 1) * 5, (grid[1] + 1) * 4
        left, top = int(np.floor(column)), int(np.floor(row))
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= r < 9 and 0 <= c < 11:
                expected[0, :, y, x] += value[0, :, r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    moved = run(warp_graph(value.shape, flow.shape, padding="zeros"), value=value, flow=flow)
    np.testing.assert_allclose(moved, expected, atol=1e-5, rtol=0)


def test_flow_on_a_finer_grid_is_scaled_to_the_value() -> None:
    value = RNG.normal(size=(1, 2, 20, 30)).astype(np.float32)
    moved = run(warp_graph(value.shape, (40, 90, 2)), value=value, flow=constant_flow((40, 90), 6, -4))
    np.testing.assert_allclose(moved[..., 2:, :-2], value[..., :-2, 2:], atol=1e-5, rtol=0)


def test_flow_is_looked_up_where_the_value_lies() -> None:
    """Left half stands still, right half moves: the halves of a coarser value do as theirs."""
    value = RNG.normal(size=(1, 1, 8, 16)).astype(np.float32)
    flow = constant_flow((32, 64), 0, 0)
    flow[:, 32:, 1] = 4
    moved = run(warp_graph(value.shape, flow.shape), value=value, flow=flow)
    np.testing.assert_allclose(moved[..., :7], value[..., :7], atol=1e-5)
    np.testing.assert_allclose(moved[..., :-1, 9:], value[..., 1:, 9:], atol=1e-5)


def test_a_value_that_reaches_beyond_the_frame() -> None:
    """Stride 8 over a frame of 32 x 48 with four pixels of padding grid all round: extent 2 and 10/6."""
    value = RNG.normal(size=(1, 2, 8, 10)).astype(np.float32)
    graph = warp_graph(value.shape, (32, 48, 2), extent=(2, 10 / 6))
    moved = run(graph, value=value, flow=constant_flow((32, 48), 8, -16))
    np.testing.assert_allclose(moved[..., 2:, :-1], value[..., :-2, 1:], atol=1e-5)
    flow = constant_flow((32, 48), 0, 0)
    flow[16:, :, 0] = 8  # the frame's lower half: the value's rows 4 and 5, and 6 and 7 beyond the frame
    moved = run(graph, value=value, flow=flow)
    np.testing.assert_allclose(moved[..., :4, :], value[..., :4, :], atol=1e-5)
    np.testing.assert_allclose(moved[..., 4:, :-1], value[..., 4:, 1:], atol=1e-5)


def test_float16_values_stay_float16() -> None:
    value = RNG.normal(size=(1, 2, 6, 7)).astype(np.float16)
    flow = constant_flow((6, 7), 2, 0)
    moved = run(warp_graph(value.shape, flow.shape, dtype=np.float16), value=value, flow=flow)
    assert moved.dtype == np.float16
    np.testing.assert_allclose(moved[..., :-2], value[..., 2:], rtol=2e-3, atol=1e-3)


def test_label_maps_move_by_whole_pixels_exactly() -> None:
    labels = RNG.integers(0, 256, (37, 50)).astype(np.uint8)
    moved = run(warp_labels_graph((37, 50), (37, 50, 2)), value=labels, flow=constant_flow((37, 50), -6, 4))
    np.testing.assert_array_equal(moved[:-4, 6:], labels[4:, :-6])
    np.testing.assert_array_equal(moved[:-4, :6], np.repeat(labels[4:, :1], 6, axis=1))


def test_label_maps_take_the_nearest_label() -> None:
    labels = RNG.integers(0, 20, (24, 30)).astype(np.uint8)
    flow = RNG.uniform(-5, 5, size=(24, 30, 2)).astype(np.float32)
    rows, columns = np.mgrid[:24, :30]
    y, x = np.rint(rows + flow[..., 1]).astype(int), np.rint(columns + flow[..., 0]).astype(int)
    inside = (y >= 0) & (x >= 0) & (y < 24) & (x < 30)
    graph = warp_labels_graph((24, 30), flow.shape, padding="zeros")
    moved = run(graph, value=labels, flow=flow)
    np.testing.assert_array_equal(moved, np.where(inside, labels[y.clip(0, 23), x.clip(0, 29)], 0))
    coarse = run(warp_labels_graph((24, 30), (12, 10, 2)), value=labels, flow=constant_flow((12, 10), 1, -2))
    np.testing.assert_array_equal(coarse[4:, :-3], labels[:-4, 3:])


def test_the_last_channel_says_what_was_hidden() -> None:
    value = RNG.uniform(size=(1, 4, 9, 12)).astype(np.float32)
    flow, hidden = constant_flow((9, 12), 2, 0), RNG.uniform(size=(1, 1, 9, 12)).astype(np.float32)
    graph = warp_graph(value.shape, flow.shape, hidden=hidden.shape)
    moved = run(graph, value=value, flow=flow, hidden=hidden)
    plain = run(warp_graph((1, 3, 9, 12), flow.shape), value=value[:, :3], flow=flow)
    np.testing.assert_array_equal(moved, np.concatenate([plain, hidden], axis=1))
    coarse = np.full((1, 1, 3, 4), 0.25, np.float32)
    graph = warp_graph(value.shape, flow.shape, hidden=coarse.shape)
    moved = run(graph, value=value, flow=flow, hidden=coarse)
    np.testing.assert_array_equal(moved[:, 3], np.full((1, 9, 12), 0.25))


def test_a_path_is_the_sum_of_flows_along_the_way() -> None:
    """Moving along the path at once is moving frame by frame, but for the blur."""
    flows = [constant_flow((24, 32), x, y) for x, y in ((2, 1), (-1, 3), (4, -2))]
    longer = path_graph((24, 32, 2), (24, 32))
    path = flows[0]
    for flow in flows[1:]:
        path = run(longer, path=path, flow=flow)
    np.testing.assert_allclose(path, constant_flow((24, 32), 5, 2), atol=1e-5)


def test_a_path_follows_the_pixel() -> None:
    flow = RNG.uniform(-3, 3, size=(15, 18, 2)).astype(np.float32)
    path = RNG.uniform(-3, 3, size=(15, 18, 2)).astype(np.float32)
    before = sampled(path.transpose(2, 0, 1)[None], flow, "nearest")[0].transpose(1, 2, 0)
    np.testing.assert_allclose(
        run(path_graph((15, 18, 2), (15, 18)), path=path, flow=flow), flow + before, atol=1e-5
    )


def test_a_path_on_a_coarser_grid_than_the_flow() -> None:
    path = run(
        path_graph((24, 64, 2), (12, 16)),
        path=constant_flow((12, 16), 1, 1),
        flow=constant_flow((24, 64), 8, -2),
    )
    np.testing.assert_allclose(path, constant_flow((12, 16), 3, 0), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "flow", "padding", "problem"),
    [
        ((3, 4, 5), (4, 5, 2), "border", "only a map can be warped"),
        ((2, 3, 4, 5), (4, 5, 2), "border", "only a map can be warped"),
        ((1, 3, 4, 5), (4, 5), "border", "not a flow's shape"),
        ((1, 3, 4, 5), (4, 5, 3), "border", "not a flow's shape"),
        ((1, 3, 4, 5), (4, 5, 2), "mirror", "unknown padding"),
    ],
)
def test_what_cannot_be_warped_is_refused(
    shape: tuple[int, ...], flow: tuple[int, ...], padding: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        warp_graph(shape, flow, padding=padding)


def test_the_graph_is_valid(tmp_path: Path) -> None:
    for model in (warp_graph((1, 3, 5, 6), (10, 12, 2)), path_graph((9, 7, 2), (5, 6))):
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
