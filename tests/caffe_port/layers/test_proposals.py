"""Regions of an RPN in the graph (`postprocess`), as the forks' loops or OpenCV have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import caffe_port
from tests.parity.cases import given, layer
from weights.errors import ClockworkError, UnsupportedError

TOLERANCE = 1e-4
Arrays = dict[str, np.ndarray]
RATIOS, SCALES = (0.5, 1.0, 2.0), (2.0, 4.0)
ANCHORS = len(RATIOS) * len(SCALES)
LISTED = " ".join([*(f"ratio: {r}" for r in RATIOS), *(f"scale: {s}" for s in SCALES)])


def heads(seed: int, info: list[float]) -> Arrays:
    """The bottoms of a proposal layer, for a picture of 96 x 128."""
    rng = np.random.default_rng(seed)
    feeds = {
        "cls": rng.uniform(0, 1, (1, 2 * ANCHORS, 6, 8)),
        "box": rng.normal(0, 0.4, (1, 4 * ANCHORS, 6, 8)),
        "im_info": np.array([info]),
    }
    return {name: values.astype(np.float32) for name, values in feeds.items()}


def ported(path: Path, text: str, feeds: Arrays) -> list[np.ndarray]:
    path.write_text("".join(given(*values.shape, name=name) for name, values in feeds.items()) + text)
    model = caffe_port.to_onnx(caffe_port.read_net(path, postprocess=True), {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def anchors(half_up: bool) -> np.ndarray:
    """rpn/generate_anchors.py, and that of PVANet's proposal_layer.cpp, which rounds halves up."""
    whole = (lambda v: np.floor(v + 0.5)) if half_up else np.round
    boxes = []
    for ratio in RATIOS:
        w = whole(np.sqrt(16 * 16 / ratio))
        h = whole(w * ratio)
        for scale in SCALES:
            boxes.append([7.5 - (w * scale - 1) / 2, 7.5 - (h * scale - 1) / 2] * 2)
            boxes[-1][2:] = [15 - boxes[-1][0], 15 - boxes[-1][1]]
    return np.array(boxes)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1
    if sides.min() <= 0:
        return 0.0
    areas = [np.prod(box[2:] - box[:2] + 1) for box in (a, b)]
    return float(sides.prod() / (sum(areas) - sides.prod()))


def proposed(
    feeds: Arrays, *, half_up: bool, drop: bool, least: tuple[float, float], topn: tuple[int, int], nms: float
) -> tuple[np.ndarray, np.ndarray]:
    """PVANet proposal_layer.cpp, or with `drop` rpn/proposal_layer.py: regions and scores."""
    shapes = anchors(half_up)
    height, width = feeds["im_info"][0, :2]
    boxes: list[tuple[float, np.ndarray]] = []
    for i, j, a in np.ndindex(6, 8, ANCHORS):
        x1, y1, x2, y2 = shapes[a] + [16 * j, 16 * i, 16 * j, 16 * i]
        w, h = x2 - x1 + 1, y2 - y1 + 1
        dx, dy, dw, dh = feeds["box"][0, 4 * a : 4 * a + 4, i, j].astype(np.float64)
        cx, cy = x1 + w / 2 + dx * w, y1 + h / 2 + dy * h
        w, h = w * np.exp(dw), h * np.exp(dh)
        box = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, [width - 1, height - 1] * 2)
        large = box[2] - box[0] + 1 >= least[1] and box[3] - box[1] + 1 >= least[0]
        score = float(feeds["cls"][0, ANCHORS + a, i, j])
        if large or not drop:
            boxes.append((score if large else 0.0, box))
    boxes.sort(key=lambda one: -one[0])
    kept: list[tuple[float, np.ndarray]] = []
    for one in boxes[: topn[0]]:
        if len(kept) < topn[1] and all(iou(one[1], other[1]) <= nms for other in kept):
            kept.append(one)
    return np.array([[0, *box] for _, box in kept]), np.array([score for score, _ in kept])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("info", [[96.0, 128.0, 1.5, 1.5], [96.0, 128.0, 1.0, 2.0]])
def test_proposal_is_pvanets(tmp_path: Path, seed: int, info: list[float]) -> None:
    feeds = heads(seed, info)
    param = f"proposal_param {{ {LISTED} pre_nms_topn: 150 post_nms_topn: 30 nms_thresh: 0.6 min_size: 20 }}"
    rois, scores = ported(
        tmp_path / "p.prototxt", layer("Proposal", "cls box im_info", "rois scores", rest=param), feeds
    )
    least = (20 * info[2], 20 * info[3])
    boxes, own = proposed(feeds, half_up=True, drop=False, least=least, topn=(150, 30), nms=0.6)

    assert rois.shape == (30, 5) and scores.shape == (30,)
    np.testing.assert_allclose(rois, boxes, atol=TOLERANCE, rtol=1e-6)
    np.testing.assert_allclose(scores, own, atol=TOLERANCE)


PYTHON = 'python_param {{ module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "{}" }}'


@pytest.mark.parametrize(
    "param",
    [
        "{'feat_stride': 16, 'scales': [2, 4]}",
        "'feat_stride': 16\\n'scales': [2, 4]",
        "'feat_stride': 16, 'scales': (2.0, 4), 'ratios': [0.5, 1, 2]",
    ],
)
def test_proposal_layer_is_py_faster_rcnns(tmp_path: Path, param: str) -> None:
    feeds = heads(7, [96.0, 128.0, 1.6])
    text = layer("Python", "cls box im_info", "rois scores", rest=PYTHON.format(param))
    rois, scores = ported(tmp_path / "p.prototxt", text, feeds)
    least = (16 * 1.6,) * 2
    boxes, own = proposed(feeds, half_up=False, drop=True, least=least, topn=(6000, 300), nms=0.7)

    assert 20 < len(boxes) < 300
    np.testing.assert_allclose(rois, boxes, atol=TOLERANCE, rtol=1e-6)
    np.testing.assert_allclose(scores, own[:, None], atol=TOLERANCE)


def test_proposal_is_opencvs(tmp_path: Path) -> None:
    """OpenCV has no min_size; with 0 nothing is too small."""
    cv2 = pytest.importorskip("cv2")
    feeds = heads(3, [96.0, 128.0, 1.0])
    param = f"proposal_param {{ {LISTED} pre_nms_topn: 200 post_nms_topn: 40 nms_thresh: 0.7 min_size: 0 }}"
    path = tmp_path / "p.prototxt"
    (rois,) = ported(path, layer("Proposal", "cls box im_info", "rois", rest=param), feeds)
    reader = cv2.dnn.readNetFromCaffe(str(path))
    for name, values in feeds.items():
        reader.setInput(values, name)

    np.testing.assert_allclose(rois, reader.forward("rois"), atol=TOLERANCE * 128)


def test_a_detector_runs_from_picture_to_classes(tmp_path: Path) -> None:
    """What reads the regions has as many rows as there are regions."""
    feeds = heads(1, [96.0, 128.0, 1.0]) | {"map": np.ones((1, 3, 6, 8), np.float32)}
    text = layer(
        "Python", "cls box im_info", "rois", rest=PYTHON.format("'feat_stride': 16, 'scales': [2, 4]")
    )
    text += layer(
        "ROIPooling",
        "map rois",
        "p",
        rest="roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 }",
    )
    text += layer("Softmax", "p", "y")
    (found,) = ported(tmp_path / "p.prototxt", text, feeds)

    assert found.shape[1:] == (3, 2, 2) and 20 < len(found) < 300


@pytest.mark.parametrize(
    "param", ["'feat_stride': 16, 'beast': 3", "feat_stride", "{'scales': [2, 4]}", "__import__('os')"]
)
def test_an_unknown_python_layer_is_cut_off(tmp_path: Path, param: str) -> None:
    feeds = heads(0, [96.0, 128.0, 1.0])
    path = tmp_path / "p.prototxt"
    text = layer("Python", "cls box im_info", "rois", rest=PYTHON.format(param))
    text += layer("ReLU", "cls", "c")
    path.write_text("".join(given(*v.shape, name=n) for n, v in feeds.items()) + text)

    assert [x.type for x in caffe_port.read_net(path, postprocess=True).layers] == ["ReLU"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    feeds = heads(0, [96.0, 128.0, 1.0])
    path = tmp_path / "p.prototxt"
    for param, error, message in (
        ("ratio: 1 scale: 64", UnsupportedError, "scales in points of the picture"),
        ("ratio: 1", ClockworkError, "bad ratio or scale"),
        ("ratio: 1 scale: 2", ClockworkError, "bottoms do not fit"),
        (f"{LISTED} feat_stride: 0", ClockworkError, "feat_stride or a top_n is 0"),
    ):
        with pytest.raises(error, match=message):
            rest = f"proposal_param {{ {param} }}"
            ported(path, layer("Proposal", "cls box im_info", "rois", rest=rest), feeds)
