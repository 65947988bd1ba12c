"""The sizes that published segmentation nets have: FCN's and its variants, DeepLab v1, DIGITS' FCN-AlexNet.

The nets are generated here; the figures are those of the papers, of the prototxts' own comments and of the
nets as their authors ran them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from caffe_port import infer_shapes
from caffe_port.match import wanted_blobs
from caffe_port.net import Net
from caffe_port.nets import FCNS, digits_fcn_alexnet
from caffe_port.nets.building import net_text
from caffe_port.nets.fcn import Fcn, Head, fcn_layers
from tests.support.ported import read_text

VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def layer(name: str, kind: str, bottoms: str | Sequence[str], body: str = "", top: str | None = None) -> str:
    ends = [bottoms] if isinstance(bottoms, str) else bottoms
    reads = " ".join(f'bottom: "{b}"' for b in ends)
    return f'layer {{ name: "{name}" type: "{kind}" {reads} top: "{top or name}" {body} }}\n'


def sizes(net: Net, height: int, width: int, blobs: Iterable[str]) -> dict[str, tuple[int, ...]]:
    channels = net.inputs[0].shape[1]
    shapes = infer_shapes(net, {"data": (1, channels, height, width)})
    return {blob: shapes[blob][2:] for blob in blobs}


@pytest.mark.parametrize("channels", [3, 4])
def test_fcn32s(tmp_path: Path, channels: int) -> None:
    text = net_text("fcn32s", fcn_layers(Fcn((Head(21),), 32, (("data", channels),))))
    assert "offset: 19" in text
    net = read_text(text, tmp_path)
    for (height, width), small in {(500, 500): (16, 16), (375, 500): (12, 16), (425, 560): (14, 18)}.items():
        found = sizes(net, height, width, ("score_fr", "upscore", "score"))
        assert found["score_fr"] == small
        assert found["upscore"] == (32 * small[0] + 32, 32 * small[1] + 32)
        assert found["score"] == (height, width)


def test_fcn16s_with_two_heads(tmp_path: Path) -> None:
    """SIFT Flow's net labels every pixel twice: 33 semantic and 3 geometric classes."""
    text = net_text("siftflow", fcn_layers(FCNS["siftflow-fcn16s"]))
    assert text.count("offset: 5\n") == 2 and text.count("offset: 27\n") == 2
    net = read_text(text, tmp_path)
    assert net.outputs == ("score_sem", "score_geo")
    assert sizes(net, 500, 500, ("pool4", "upscore2_sem", "upscore16_sem", "score_geo")) == {
        "pool4": (44, 44),
        "upscore2_sem": (34, 34),
        "upscore16_sem": (560, 560),
        "score_geo": (500, 500),
    }
    assert sizes(net, 256, 256, ("score_fr_sem", "score_sem")) == {
        "score_fr_sem": (9, 9),
        "score_sem": (256, 256),
    }


def test_fcn_alexnet_of_digits(tmp_path: Path) -> None:
    net = read_text(digits_fcn_alexnet(size=(375, 500)), tmp_path)
    assert sizes(net, 375, 500, ("pool5", "fc6", "upscore", "score")) == {
        "pool5": (17, 21),
        "fc6": (12, 16),
        "upscore": (415, 543),
        "score": (375, 500),
    }
    shapes = infer_shapes(net)
    assert shapes["pool5"] == (1, 256, 17, 21) and shapes["fc6"] == (1, 4096, 12, 16)
    fc6 = wanted_blobs(net, shapes)["fc6"]
    assert [b.shape for b in fc6] == [(4096, 256, 6, 6), (4096,)]


V1_TYPES = {"conv": "CONVOLUTION", "pool": "POOLING", "interp": "INTERP", "pad": "PADDING"}


def v1(name: str, kind: str, bottom: str, body: str) -> str:
    """A layer as DeepLab v1 writes it."""
    param = {"conv": "convolution_param", "pool": "pooling_param", "interp": "interp_param"}.get(
        kind, "padding_param"
    )
    return (
        f'layers {{ name: "{name}" type: {V1_TYPES[kind]} bottom: "{bottom}" top: "{name}" '
        f"strict_dim: false {param} {{ {body} }} }}\n"
    )


def deeplab(pools: Sequence[str], fc6: str, size: int) -> str:
    """DeepLab's VGG16 with `hole`: `pools` are the parameters of its pools, a sixth those of pool5a."""
    text = f'input: "data" input_dim: 1 input_dim: 3 input_dim: {size} input_dim: {size}\n'
    last = "data"
    for number, (width, depth) in enumerate(VGG, 1):
        rest = "pad: 2 hole: 2" if number == 5 else "pad: 1"
        for index in range(1, depth + 1):
            name = f"conv{number}_{index}"
            text += v1(name, "conv", last, f"num_output: {width} kernel_size: 3 {rest}")
            last = name
        text += v1(f"pool{number}", "pool", last, f"pool: MAX {pools[number - 1]}")
        last = f"pool{number}"
    for name, parameters in zip(("pool5a",), pools[5:], strict=False):
        text += v1(name, "pool", last, f"pool: AVE {parameters}")
        last = name
    text += v1("fc6", "conv", last, fc6) + v1("fc7", "conv", "fc6", "num_output: 1024 kernel_size: 1")
    text += v1("fc8", "conv", "fc7", "num_output: 21 kernel_size: 1")
    return text + v1("fc8_interp", "interp", "fc8", "zoom_factor: 8")


HALVING, KEEPING = "kernel_size: 3 stride: 2 pad: 1", "kernel_size: 3 stride: 1 pad: 1"
LARGE_FOV = (HALVING,) * 3 + (KEEPING,) * 3
ATROUS = "num_output: 1024 kernel_size: 3 pad: 12 hole: 12"


@pytest.mark.parametrize(("n", "halves"), [(513, (257, 129, 65)), (321, (161, 81, 41))])
def test_deeplab_large_fov(tmp_path: Path, n: int, halves: tuple[int, ...]) -> None:
    net = read_text(deeplab(LARGE_FOV, ATROUS, n), tmp_path)
    shapes = infer_shapes(net)
    assert tuple(shapes[f"pool{i}"][2] for i in (1, 2, 3)) == halves
    assert {shapes[blob][2:] for blob in ("pool4", "pool5", "pool5a", "fc6", "fc8")} == {(halves[2],) * 2}
    assert shapes["fc8_interp"] == (1, 21, n, n)


@pytest.mark.parametrize("k", [19, 32])
def test_deeplab_vgg128(tmp_path: Path, k: int) -> None:
    """For n = 16 k + 2 its authors say: m = 2 k + 3 after pool4, 8 m - 7 = n + 15 after Interp."""
    n, m = 16 * k + 2, 2 * k + 3
    padded = "kernel_size: 2 stride: 2 pad: 1"
    pools = (padded, padded, padded, "kernel_size: 2 stride: 1 pad: 1", KEEPING)
    text = deeplab(pools, "num_output: 4096 kernel_size: 4 pad: 6 hole: 4", n)
    net = read_text(text + v1("fc8_crop", "pad", "fc8_interp", "pad_beg: -7 pad_end: -8"), tmp_path)
    shapes = infer_shapes(net)
    assert shapes["pool4"][2:] == (m, m)
    assert shapes["fc8"][2:] == (m, m)
    assert shapes["fc8_interp"][2:] == (n + 15, n + 15)
    assert net.outputs == ("fc8_crop",) and shapes["fc8_crop"] == (1, 21, n, n)


def test_deeplab_msc_sums_six_maps_of_one_size(tmp_path: Path) -> None:
    text = deeplab(LARGE_FOV, ATROUS, 513)
    maps = []
    for blob, zoom in (("data", 1), ("pool1", 2), ("pool2", 4), ("pool3", 8), ("pool4", 8)):
        text += v1(f"{blob}_conv", "conv", blob, "num_output: 128 kernel_size: 3 pad: 1")
        text += v1(f"{blob}_ms", "conv", f"{blob}_conv", "num_output: 21 kernel_size: 1")
        text += v1(f"{blob}_interp", "interp", f"{blob}_ms", f"zoom_factor: {zoom}")
        maps.append(f"{blob}_interp")
    ends = " ".join(f'bottom: "{m}"' for m in [*maps, "fc8_interp"])
    text += f'layers {{ name: "sum" type: ELTWISE {ends} top: "sum" eltwise_param {{ operation: SUM }} }}'
    shapes = infer_shapes(read_text(text, tmp_path))
    assert [shapes[f"pool{i}_ms"][2] for i in (1, 2, 3, 4)] == [257, 129, 65, 65]
    assert shapes["sum"] == (1, 21, 513, 513)
