"""A classifier made fully convolutional gives at every position what the classifier gives there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from caffe_port import infer_shapes, random_weights, read_net, to_onnx
from caffe_port.coord_map import crop_offsets
from caffe_port.net import Input, Net, resolve
from caffe_port.nets.building import (
    Message,
    concat,
    convolution,
    input_layer,
    layer,
    lrn,
    max_pool,
    net_text,
    relu,
)
from caffe_port.nets.convolutionalise import convolutionalise
from caffe_port.nets.fcn import Fcn, Head, alexnet, vgg16
from caffe_port.nets.rewriting import copied_layers
from caffe_port.transplant import transplant_net
from tests.support.ported import read_text, run
from tests.support.shared_data import shared
from weights.errors import ShapeError, UnsupportedError, UsageError

Blobs = dict[str, tuple[np.ndarray, ...]]


def product(name: str, bottom: str, outputs: int) -> Message:
    made = layer(name, "InnerProduct", [bottom])
    made.inner_product_param.num_output = outputs
    return made


def fully_connected(bottom: str, hidden: int, classes: int) -> list[Message]:
    return [
        product("fc6", bottom, hidden), relu("relu6", "fc6"),
        product("fc7", "fc6", hidden), relu("relu7", "fc7"),
        product("fc8", "fc7", classes), layer("prob", "Softmax", ["fc8"]),
    ]  # fmt: skip


def fire(number: int, bottom: str, squeeze: int, expand: int) -> list[Message]:
    """SqueezeNet's module: 1 x 1 to few channels, then 1 x 1 and 3 x 3 to many, side by side."""
    name = f"fire{number}"
    made = [convolution(f"{name}/squeeze1x1", bottom, squeeze, 1), relu(f"{name}/r", f"{name}/squeeze1x1")]
    for kernel in (1, 3):
        top = f"{name}/expand{kernel}x{kernel}"
        made += [
            convolution(top, f"{name}/squeeze1x1", expand, kernel, pad=kernel // 2),
            relu(f"{top}/r", top),
        ]
    return [*made, concat(f"{name}/concat", [f"{name}/expand1x1", f"{name}/expand3x3"])]


def global_average(name: str, bottom: str) -> Message:
    made = layer(name, "Pooling", [bottom])
    made.pooling_param.pool, made.pooling_param.global_pooling = 1, True
    return made


def squeezenet(classes: int) -> list[Message]:
    made = [
        convolution("conv1", "data", 8, 7, stride=2),
        relu("r1", "conv1"),
        max_pool("pool1", "conv1", 3, 2),
    ]
    made += [*fire(2, "pool1", 2, 4), *fire(3, "fire2/concat", 2, 4), max_pool("pool3", "fire3/concat", 3, 2)]
    made += [*fire(4, "pool3", 2, 6), max_pool("pool4", "fire4/concat", 3, 2), *fire(5, "pool4", 3, 6)]
    made += [convolution("conv10", "fire5/concat", classes, 1), relu("r10", "conv10")]
    return [*made, global_average("pool10", "conv10"), layer("prob", "Softmax", ["pool10"])]


def network_in_network(classes: int, widths: Sequence[int] = (12, 32, 48, 128)) -> list[Message]:
    """NiN as published for ImageNet: two layers of 1 x 1 after each convolution, then the mean of the map."""
    made: list[Message] = []
    bottom = "data"
    shapes = ((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1))
    for number, (width, (kernel, stride, pad)) in enumerate(zip(widths, shapes, strict=True), 1):
        name = f"conv{number}"
        made += [
            convolution(name, bottom, width, kernel, stride=stride, pad=pad),
            relu(f"r{number}", name),
        ]
        bottom = name
        for part in (1, 2):
            top = f"cccp{2 * number - 2 + part}"
            last = number == len(widths) and part == 2
            made += [convolution(top, bottom, classes if last else width, 1), relu(f"relu_{top}", top)]
            bottom = top
        if number < len(widths):
            made.append(max_pool(f"pool{number}", bottom, 3, 2))
            bottom = f"pool{number}"
    pool = layer("pool4", "Pooling", [bottom])
    pool.pooling_param.pool = 1
    pool.pooling_param.kernel_size.append(6)
    pool.pooling_param.stride.append(1)
    return [*made, pool, layer("prob", "Softmax", ["pool4"])]


def thin(layers: Sequence[Message], by: int) -> list[Message]:
    for x in layers:
        if x.type == "Convolution":
            x.convolution_param.num_output //= by
    return list(layers)


def classifiers() -> dict[str, str]:
    small = Fcn((Head(1),), widths=(4, 4, 6, 6, 8, 8), pad=1)
    nets = {
        "alexnet": (227, [*thin(alexnet("data", 0), 16), *fully_connected("pool5", 12, 7)]),
        "vgg16": (96, [*vgg16(small, "data"), *fully_connected("pool5", 12, 7)]),
        "squeezenet": (227, squeezenet(7)),
        "nin": (224, network_in_network(7)),
    }
    return {
        name: net_text(name, [input_layer("data", (10, 3, size, size)), *layers])
        for name, (size, layers) in nets.items()
    }


def session(net: Net, blobs: Blobs, *outputs: str) -> ort.InferenceSession:
    model = to_onnx(net, blobs, outputs=list(outputs))
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def tail(net: Net, start: str, window: tuple[int, ...], end: str) -> Net:
    """The classifier from the value `start` on, up to `end`."""
    specs: list[Message] = []
    reached = {start}
    for x in net.layers:
        if reached.intersection(x.bottoms):
            reached.update(x.tops)
            specs.append(x.spec)
        if end in x.tops:
            break
    return resolve("tail", "tail", [Input(start, (1, *window))], specs)


def check_sliding(classifier: Net, blobs: Blobs, size: tuple[int, int]) -> tuple[float, int]:
    """The largest difference over all positions of a picture of `size`, and their number."""
    made = convolutionalise(classifier)
    file = Path(classifier.file).with_name("fcn.prototxt")
    file.write_text(made.text, "utf-8")
    fcn = read_net(file)
    moved = transplant_net(classifier, blobs, fcn)
    assert {f.layer for f in moved.filled} == {"upscore"}
    first = made.changed[0][0]
    features = next(x.bottoms[0] for x in classifier.layers if x.name == first)
    picture = np.random.default_rng(3).normal(0, 50, (1, 3, *size)).astype(np.float32)
    found = session(fcn, moved.blobs, features, made.score).run([features, made.score], {"data": picture})
    maps, scores = found
    window = infer_shapes(classifier)[features][1:]
    ends = session(tail(classifier, features, window, made.score), blobs, made.score)
    worst = 0.0
    for y in range(scores.shape[2]):
        for x in range(scores.shape[3]):
            part = np.ascontiguousarray(maps[:, :, y : y + window[1], x : x + window[2]])
            (one,) = ends.run(None, {features: part})
            worst = max(worst, float(np.abs(one.ravel() - scores[0, :, y, x]).max()))
    scale = float(np.abs(scores).max())
    assert scale > 0
    return worst / max(1.0, scale), scores.shape[2] * scores.shape[3]


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "squeezenet", "nin"])
def test_every_position_is_the_classifier_on_its_window(tmp_path: Path, name: str) -> None:
    classifier = read_text(classifiers()[name], tmp_path)
    worst, positions = check_sliding(classifier, random_weights(classifier, seed=1), (150, 201))
    assert worst < 1e-4 and positions > 20


PUBLISHED = {
    "alexnet": "BVLC+caffe/models/bvlc_alexnet/deploy.prototxt",
    "caffenet": "BVLC+caffe/models/bvlc_reference_caffenet/deploy.prototxt",
    "googlenet": "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt",
    "vgg16": "NVIDIA+caffe/models/vgg16/train_val.prototxt",
    "squeezenet": "dividiti+ck-caffe/package/caffemodel-deepscale-squeezenet-1.0/deploy.prototxt",
    "resnet18": "cwlacewe+netscope/presets/ResNet-18-deploy.prototxt",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_classifiers_with_a_sixteenth_of_their_channels(tmp_path: Path, name: str) -> None:
    net = read_net(shared(f"prototxts/{PUBLISHED[name]}"), define={"batch_size": "1"})
    layers = copied_layers(net)
    for x in layers:
        for spec in (x.convolution_param, x.inner_product_param):
            if spec.num_output > 16:
                spec.num_output //= 16
    classifier = read_text(net_text(name, layers), tmp_path)
    worst, positions = check_sliding(classifier, random_weights(classifier, seed=2), (90, 130))
    assert worst < 1e-4 and positions >= 12


def test_windows_of_pixels_where_no_layer_pads(tmp_path: Path) -> None:
    """Without pads the scores are those of the classifier on the picture's own windows."""
    layers = [input_layer("data", (1, 3, 21, 21)), convolution("c1", "data", 6, 5, stride=2), relu("r", "c1")]
    layers += [
        max_pool("p1", "c1", 3, 2),
        lrn("n", "p1"),
        convolution("c2", "n", 8, 2),
        product("f1", "c2", 9),
    ]
    layers += [relu("fr", "f1"), product("f2", "f1", 4), layer("prob", "Softmax", ["f2"])]
    classifier = read_text(net_text("small", layers), tmp_path)
    blobs = random_weights(classifier, seed=4)
    made = convolutionalise(classifier)
    assert made.stride == 4
    fcn = read_text(made.text, tmp_path)
    moved = transplant_net(classifier, blobs, fcn)
    # As it was before the pad and the upsampling that only a pad leaves enough for.
    fcn.layers[0].spec.convolution_param.pad[:] = [0]
    fcn = replace(fcn, layers=fcn.layers[:-2], outputs=("f2",))
    picture = np.random.default_rng(5).normal(0, 1, (1, 3, 37, 45)).astype(np.float32)
    (scores,) = session(fcn, moved.blobs, "f2").run(None, {"data": picture})
    assert scores.shape == (1, 4, 5, 7)
    alone = session(classifier, blobs, "f2")
    for y in range(5):
        for x in range(7):
            window = np.ascontiguousarray(picture[:, :, 4 * y : 4 * y + 21, 4 * x : 4 * x + 21])
            (one,) = alone.run(None, {"data": window})
            np.testing.assert_allclose(scores[0, :, y, x], one[0], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (33, 500), (97, 64), (120, 61), (200, 201)])
def test_any_size_gives_scores_of_that_size(tmp_path: Path, size: tuple[int, int]) -> None:
    made = convolutionalise(read_text(classifiers()["squeezenet"], tmp_path), classes=3)
    net = read_text(made.text, tmp_path)
    picture = np.zeros((1, 3, *size), np.float32)
    assert run(net, {"data": picture})["score"].shape == (1, 3, *size)


def test_alexnet_becomes_digits_fcn_alexnet(tmp_path: Path) -> None:
    made = convolutionalise(read_text(classifiers()["alexnet"], tmp_path), classes=21)
    assert (made.score, made.stride, made.pad, made.offset) == ("score_fr", 32, 100, 18)
    net = read_text(made.text, tmp_path)
    upscore = next(x for x in net.layers if x.name == "upscore").spec.convolution_param
    assert (list(upscore.kernel_size), list(upscore.stride), upscore.group) == ([63], [32], 21)
    assert [(r.stated, r.computed) for r in crop_offsets(net)] == [((18, 18), (18, 18))]


def test_a_map_that_is_not_square_keeps_its_window(tmp_path: Path) -> None:
    layers = [input_layer("data", (1, 3, 12, 20)), convolution("c", "data", 4, 3), product("f", "c", 5)]
    made = convolutionalise(read_text(net_text("n", layers), tmp_path))
    assert made.changed == (("f", "Convolution 10x18"),)
    assert "kernel_h: 10" in made.text and "kernel_w: 18" in made.text


def test_what_cannot_slide_is_refused(tmp_path: Path) -> None:
    data = input_layer("data", (1, 3, 16, 16))
    recurrent = [data, convolution("c", "data", 4, 3), product("f", "c", 5), layer("t", "Flatten", ["f"])]
    assert convolutionalise(read_text(net_text("n", recurrent), tmp_path)).score == "f"
    pooled = [data, max_pool("p", "data", 2, 2), convolution("c", "p", 4, 3), product("f", "c", 5)]
    with pytest.raises(UnsupportedError, match="does not begin with a convolution"):
        convolutionalise(read_text(net_text("n", pooled), tmp_path))
    shaped = layer("s", "Reshape", ["c"])
    shaped.reshape_param.shape.dim.extend([0, 2, -1])
    with pytest.raises(UnsupportedError, match=r'layer "s" \(Reshape\).*cannot be made fully convolutional'):
        convolutionalise(
            read_text(
                net_text("n", [data, convolution("c", "data", 4, 3), shaped, product("f", "s", 5)]), tmp_path
            )
        )
    plain = read_text(net_text("n", [data, convolution("c", "data", 4, 3), product("f", "c", 5)]), tmp_path)
    with pytest.raises(UsageError, match="no such value"):
        convolutionalise(plain, output="nothing")
    with pytest.raises(ShapeError, match="negative"):
        convolutionalise(plain, pad=0)
