"""SSD: Normalize and the prior boxes against the fork's code, written out point by point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import random_weights, to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError, UnsupportedError


def normalised(x: np.ndarray, scale: np.ndarray, across: bool, eps: float) -> np.ndarray:
    y = np.zeros_like(x)
    for n in range(len(x)):
        if across:
            y[n] = x[n] / np.sqrt((x[n] ** 2).sum() + eps)
        else:
            for h in range(x.shape[2]):
                for w in range(x.shape[3]):
                    y[n, :, h, w] = x[n, :, h, w] / np.sqrt((x[n, :, h, w] ** 2).sum() + eps)
    return y * (scale.reshape(1, -1, 1, 1) if scale.ndim else scale)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_normalize(tmp_path: Path, across: bool, shared: bool) -> None:
    flags = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()}"
    rest = f"norm_param {{ {flags} eps: 0.1 }}"
    net = read_text(one_layer("Normalize", {"x": (2, 5, 4, 3)}, rest), tmp_path)
    x = noise(2, 5, 4, 3)
    scale = np.array(3.0, np.float32) if shared else noise(5, seed=1)
    found = run(net, {"x": x}, {"l": (scale,)})["y"]
    np.testing.assert_allclose(found, normalised(x, scale, across, 0.1), rtol=1e-5, atol=1e-6)


def test_normalize_fills_its_scale_and_keeps_the_frame_size_open(tmp_path: Path) -> None:
    filler = 'scale_filler { type: "constant" value: 20 }'
    rest = f"norm_param {{ across_spatial: false {filler} channel_shared: false }}"
    net = read_text(one_layer("Normalize", {"x": (1, 4, 8, 8)}, rest), tmp_path)
    x = noise(1, 4, 5, 7)
    np.testing.assert_allclose(
        run(net, {"x": x})["y"], normalised(x, np.full(4, 20.0), False, 1e-10), rtol=1e-5, atol=1e-5
    )


def test_normalize_of_two_meanings_is_refused(tmp_path: Path) -> None:
    net = read_text(one_layer("Normalize", {"x": (1, 4, 8, 8)}), tmp_path)
    with pytest.raises(UnsupportedError, match=r'layer "l" \(Normalize\).*NormFace'):
        run(net, {"x": noise(1, 4, 8, 8)})


def boxes_by_hand(
    places: tuple[int, int],
    picture: tuple[int, int],
    sizes: list[tuple[float, float]],
    step: tuple[float, float],
    *,
    clip: bool,
) -> list[float]:
    found = []
    for h in range(places[0]):
        for w in range(places[1]):
            x, y = (w + 0.5) * step[1], (h + 0.5) * step[0]
            for width, height in sizes:
                box = [
                    (x - width / 2) / picture[1],
                    (y - height / 2) / picture[0],
                    (x + width / 2) / picture[1],
                    (y + height / 2) / picture[0],
                ]
                found += [min(max(v, 0), 1) if clip else v for v in box]
    return found


SSD = """prior_box_param { min_size: 60.7 max_size: 111.9 aspect_ratio: 2 aspect_ratio: 3 aspect_ratio: 2
    flip: true clip: %s variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }"""


@pytest.mark.parametrize("clip", [False, True])
def test_prior_boxes_of_ssd(tmp_path: Path, clip: bool) -> None:
    rest = SSD % str(clip).lower()
    net = read_text(one_layer("PriorBox", {"x": (2, 8, 3, 4), "data": (2, 3, 60, 100)}, rest), tmp_path)
    found = run(net, {"x": noise(2, 8, 3, 4), "data": noise(2, 3, 60, 100)})["y"]
    # Sizes are whole numbers in the fork: 60 and 111; the third aspect ratio repeats the first.
    both = (60 * 111) ** 0.5
    roots = [2**0.5, 0.5**0.5, 3**0.5, (1 / 3) ** 0.5]
    sizes = [(60, 60), (both, both), *((60 * r, 60 / r) for r in roots)]
    boxes = boxes_by_hand((3, 4), (60, 100), sizes, (60 / 3, 100 / 4), clip=clip)
    assert found.shape == (1, 2, 3 * 4 * 6 * 4)
    np.testing.assert_allclose(found[0, 0], boxes, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[0, 1], np.tile([0.1, 0.1, 0.2, 0.2], 72), rtol=1e-6)


def test_prior_boxes_with_stated_picture_and_step_and_one_variance(tmp_path: Path) -> None:
    rest = """prior_box_param { min_size: 8 min_size: 16 flip: false aspect_ratio: 2 img_h: 50 img_w: 40
        step_h: 9 step_w: 7 offset: 0.5 }"""
    net = read_text(one_layer("PriorBox", {"x": (1, 8, 2, 2), "data": (1, 3, 64, 64)}, rest), tmp_path)
    found = run(net, {"x": noise(1, 8, 2, 2), "data": noise(1, 3, 64, 64)})["y"]
    root = 2**0.5
    sizes = [(8, 8), (8 * root, 8 / root), (16, 16), (16 * root, 16 / root)]
    np.testing.assert_allclose(
        found[0, 0], boxes_by_hand((2, 2), (50, 40), sizes, (9, 7), clip=False), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(found[0, 1], 0.1, rtol=1e-6)


def test_clustered_prior_boxes(tmp_path: Path) -> None:
    rest = """prior_box_param { width: 9.4 width: 25.1 height: 15 height: 39.6 step: 16 offset: 0.5
        variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }"""
    shapes = {"x": (1, 8, 2, 3), "data": (1, 3, 32, 48)}
    net = read_text(one_layer("PriorBoxClustered", shapes, rest), tmp_path)
    found = run(net, {k: noise(*s) for k, s in shapes.items()})["y"]
    sizes = [(9.4, 15.0), (25.1, 39.6)]
    np.testing.assert_allclose(
        found[0, 0], boxes_by_hand((2, 3), (32, 48), sizes, (16, 16), clip=False), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("prior_box_param { }", "no min_size"),
        ("prior_box_param { min_size: 4 max_size: 3 }", "max_size is not greater"),
        ("prior_box_param { min_size: 4 max_size: 5 max_size: 6 }", "max_size does not fit"),
        ("prior_box_param { min_size: 4 variance: 1 variance: 2 }", "bad variance"),
        ("prior_box_param { min_size: 4 img_size: 3 img_h: 4 img_w: 4 }", "img_size is given both ways"),
        ("prior_box_param { min_size: 4 aspect_ratio: 0 }", "bad aspect_ratio"),
    ],
)
def test_prior_boxes_that_the_fork_refuses(tmp_path: Path, rest: str, message: str) -> None:
    shapes = {"x": (1, 8, 2, 3), "data": (1, 3, 32, 48)}
    net = read_text(one_layer("PriorBox", shapes, rest), tmp_path)
    with pytest.raises(PrototxtError, match=f'layer "l" \\(PriorBox\\): {message}'):
        run(net, {k: noise(*s) for k, s in shapes.items()})


def test_prior_boxes_need_maps(tmp_path: Path) -> None:
    shapes = {"x": (1, 8), "data": (1, 3, 32, 48)}
    net = read_text(one_layer("PriorBox", shapes, "prior_box_param { min_size: 4 }"), tmp_path)
    with pytest.raises(ShapeError, match="prior boxes need maps"):
        run(net, {k: noise(*s) for k, s in shapes.items()})


def test_prior_boxes_fix_the_frame_size_and_say_so(tmp_path: Path) -> None:
    shapes = {"x": (1, 8, 4, 4), "data": (1, 3, 32, 48)}
    net = read_text(one_layer("PriorBox", shapes, "prior_box_param { min_size: 4 }"), tmp_path)
    model = to_onnx(net, random_weights(net))
    facts = {p.key: p.value for p in model.metadata_props}
    assert 'layer "l" (PriorBox)' in facts["caffe.fixed_size"]


def test_more_prior_boxes_than_any_net_has_are_refused(tmp_path: Path) -> None:
    shapes = {"map": (1, 1, 2000, 2000), "data": (1, 3, 4, 4)}
    net = read_text(one_layer("PriorBox", shapes, "prior_box_param { min_size: 3 }"), tmp_path)
    with pytest.raises(UnsupportedError, match="too many prior boxes; found 4000000"):
        to_onnx(net, {})
