"""The generated nets have the sizes, offsets and inputs of the published ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from caffe_port import infer_shapes, read_net
from caffe_port.nets import accel, dff_deeplab, fcn8s, flownet, stage_fcn8s, truncated_fcn, write_fcn8s
from caffe_port.nets.fcn8s import Step, crop_offset
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


def test_crop_offset_algebra() -> None:
    convolutions = [
        (11, 4, 100),
        (3, 2, 0),
        (5, 1, 2),
        (3, 2, 0),
        (3, 1, 1),
        (3, 1, 1),
        (3, 1, 1),
        (3, 2, 0),
        (6, 1, 0),
    ]
    fcn_alexnet: list[Step] = [*(("conv", *c) for c in convolutions), ("deconv", 63, 32, 0)]
    assert crop_offset(fcn_alexnet) == 18
    with pytest.raises(UsageError, match="do not align"):
        crop_offset([("conv", 3, 2, 1)])
    with pytest.raises(UsageError, match="do not align"):
        crop_offset([("conv", 3, 1, 0)])  # would need an offset of -1


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
