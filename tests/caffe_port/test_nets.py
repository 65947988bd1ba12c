"""The generated nets have the sizes, offsets and inputs of the published ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from caffe_port import infer_shapes, read_net
from caffe_port.nets import (
    FCNS,
    accel,
    dff_deeplab,
    digits_fcn_alexnet,
    fcn,
    fcn8s,
    flownet,
    stage_fcn8s,
    truncated_fcn,
    write_fcn8s,
)
from tests.support.shared_data import shared
from weights.errors import UsageError

# One dimension of each blob by input size n, from the paper's nets (ceil pooling).
SIZES = {
    333: (67, 34, 11, 24, 50, 408),
    340: (68, 34, 11, 24, 50, 408),
    375: (72, 36, 12, 26, 54, 440),
    420: (78, 39, 14, 30, 62, 504),
    425: (78, 39, 14, 30, 62, 504),
    500: (88, 44, 16, 34, 70, 568),
    560: (95, 48, 18, 38, 78, 632),
    1024: (153, 77, 33, 68, 138, 1112),
    2048: (281, 141, 65, 132, 266, 2136),
}
BLOBS = ("pool3", "pool4", "score_fr", "upscore2", "upscore_pool4", "upscore8")


@pytest.mark.parametrize("make", [fcn8s, stage_fcn8s])
def test_fcn8s_sizes(tmp_path: Path, make: object) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(make(21), "utf-8")  # type: ignore[operator]
    net = read_net(file)
    for n, expected in SIZES.items():
        shapes = infer_shapes(net, {"data": (1, 3, n, n)})
        assert tuple(shapes[b][2] for b in BLOBS) == expected
        assert shapes["score"] == (1, 21, n, n)


@pytest.mark.parametrize("classes", [21, 40, 19])
def test_the_four_nets(tmp_path: Path, classes: int) -> None:
    files = write_fcn8s(tmp_path, classes)
    offsets = {f.name: [int(o) for o in re.findall(r"offset: (\d+)", f.read_text("utf-8"))] for f in files}
    assert offsets == {
        "fcn8s.prototxt": [5, 9, 31],
        "stage-fcn8s.prototxt": [5, 9, 31],
        "fcn-pool3.prototxt": [103],
        "fcn-pool4.prototxt": [107],
    }
    for file in files:
        net = read_net(file)
        assert infer_shapes(net)["score"] == (1, classes, 500, 500)
    with pytest.raises(UsageError, match="--force"):
        write_fcn8s(tmp_path, classes)


def test_plain_and_stage_order_hold_the_same_layers(tmp_path: Path) -> None:
    nets = []
    for name, text in (("a", fcn8s(5)), ("b", stage_fcn8s(5))):
        (tmp_path / name).write_text(text, "utf-8")
        nets.append(read_net(tmp_path / name))
    plain, staged = ([layer.name for layer in net.layers] for net in nets)
    assert plain != staged and sorted(plain) == sorted(staged)
    assert staged.index("score_pool3") == staged.index("pool3") + 1
    assert staged.index("score_pool4") == staged.index("pool4") + 1


def test_truncated_nets_upsample_densely(tmp_path: Path) -> None:
    (tmp_path / "n").write_text(truncated_fcn(3, 21), "utf-8")
    upscore = next(layer for layer in read_net(tmp_path / "n").layers if layer.name == "upscore")
    assert upscore.spec.convolution_param.group == 1
    assert list(upscore.spec.convolution_param.kernel_size) == [16]


def plain(spec: object) -> dict[str, object]:
    """A layer's fields, without those that only state a default."""
    copy = type(spec)()
    copy.CopyFrom(spec)  # type: ignore[attr-defined]
    convolution = copy.convolution_param  # type: ignore[attr-defined]
    for name, default in (("pad", 0), ("stride", 1)):
        if list(getattr(convolution, name)) == [default]:
            convolution.ClearField(name)
    if convolution.group == 1:
        convolution.ClearField("group")
    return MessageToDict(copy)


PUBLISHED = "prototxts/shelhamer+fcn.berkeleyvision.org"


@pytest.mark.parametrize("name", FCNS)
def test_fcns_are_the_published_ones_layer_by_layer(tmp_path: Path, name: str) -> None:
    files = sorted(shared(f"{PUBLISHED}/{name}").glob("*.prototxt"))
    assert files
    for file in files:
        theirs = read_net(file)
        text = fcn(name, with_dropout=file.stem != "deploy")
        (tmp_path / "n.prototxt").write_text(text, "utf-8")
        ours = read_net(tmp_path / "n.prototxt")
        assert ours.inputs == theirs.inputs
        assert ours.outputs == theirs.outputs
        assert [plain(layer.spec) for layer in ours.layers] == [plain(layer.spec) for layer in theirs.layers]


def test_every_published_fcn_file_has_its_generator() -> None:
    folders = {file.parent.name for file in shared(PUBLISHED).glob("*/*.prototxt")}
    assert folders == set(FCNS)


def test_fcns_offsets_come_out(tmp_path: Path) -> None:
    found = {name: [int(o) for o in re.findall(r"offset: (\d+)", fcn(name))] for name in FCNS}
    assert found["voc-fcn32s"] == [19] and found["voc-fcn-alexnet"] == [18]
    assert found["pascalcontext-fcn16s"] == [5, 27] and found["voc-fcn8s-atonce"] == [5, 9, 31]
    assert found["nyud-fcn32s-color-hha"] == [19] and found["siftflow-fcn8s"] == [5, 9, 31, 5, 9, 31]


def test_an_fcn_for_other_classes_sizes_and_with_grouped_upsampling(tmp_path: Path) -> None:
    (tmp_path / "n").write_text(fcn("voc-fcn16s", classes=5, size=(97, 130), grouped=True), "utf-8")
    net = read_net(tmp_path / "n")
    assert infer_shapes(net)["score"] == (1, 5, 97, 130)
    assert {x.spec.convolution_param.group for x in net.layers if x.type == "Deconvolution"} == {5}
    with pytest.raises(UsageError, match="two heads"):
        fcn("siftflow-fcn8s", classes=5)
    with pytest.raises(UsageError, match="no such FCN"):
        fcn("voc-fcn4s")


def test_digits_fcn_alexnet_has_its_published_layers(tmp_path: Path) -> None:
    (tmp_path / "n").write_text(digits_fcn_alexnet(suffix="_21classes"), "utf-8")
    net = read_net(tmp_path / "n")
    assert net.inputs[0].shape == (1, 3, 500, 356)
    assert " ".join(layer.name for layer in net.layers) == (
        "shift conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
        "fc6 relu6 drop6 fc7 relu7 drop7 score_fr_21classes upscore_21classes score"
    )
    shift, upscore, score = net.layers[0], net.layers[-2], net.layers[-1]
    assert shift.spec.power_param.shift == -116
    assert MessageToDict(upscore.spec.convolution_param) == {
        "numOutput": 21, "biasTerm": False, "kernelSize": [63], "stride": [32], "group": 21,
        "weightFiller": {"type": "bilinear"},
    }  # fmt: skip
    assert score.bottoms == ("upscore_21classes", "data") and list(score.spec.crop_param.offset) == [18]


@pytest.mark.parametrize(("classes", "widths"), [(0, (1,) * 6), (5, (1, 2, 3)), (5, (0,) * 6)])
def test_impossible_nets(classes: int, widths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        fcn8s(classes, widths=widths)


@pytest.mark.parametrize("version", [18, 34, 50, 101])
def test_accel_at_the_published_size(tmp_path: Path, version: int) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(accel(version), "utf-8")
    between, key = read_net(file), read_net(file, stages=["key"])
    assert [i.name for i in between.inputs] == ["data", "data_key", "feat_key"]
    assert [i.name for i in key.inputs] == ["data"]
    shapes = infer_shapes(between)
    assert shapes["flow"] == (1, 2, 64, 128)
    assert shapes["conv_feat"] == shapes["feat_key"] == infer_shapes(key)["conv_feat"] == (1, 2048, 64, 128)
    assert between.outputs == (("croped_score",) if version == 101 else ("correction",))
    assert key.outputs == ("croped_score",)
    assert shapes[between.outputs[0]] == (1, 19, 1024, 2048)


def test_deep_feature_flow_scales_what_it_warps(tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(dff_deeplab(7, size=(64, 128), thin=8), "utf-8")
    shapes = infer_shapes(read_net(file))
    assert shapes["Convolution5_scale"] == shapes["conv_feat"] == (1, 128, 4, 8)
    assert shapes["croped_score"] == (1, 7, 64, 128)
    assert infer_shapes(read_net(file, stages=["key"]))["conv_feat"] == (1, 128, 4, 8)


@pytest.mark.parametrize("size", [(97, 130), (64, 64), (100, 75)])
def test_flownet_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(flownet(size=size, thin=8), "utf-8")
    shapes = infer_shapes(read_net(file))
    height, width = size
    for _ in range(4):  # the half of the picture, then strides of 2, each rounded up
        height, width = -(-height // 2), -(-width // 2)
    assert shapes["flow"] == (1, 2, height, width)


@pytest.mark.parametrize(
    "make", [lambda: accel(19), lambda: accel(18, 0), lambda: dff_deeplab(300), lambda: accel(size=(32, 64))]
)
def test_feature_flow_refuses_what_it_cannot_make(make: Callable[[], str]) -> None:
    with pytest.raises(UsageError):
        make()
