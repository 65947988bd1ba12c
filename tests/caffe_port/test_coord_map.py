"""Crop offsets: Caffe's algebra in exact fractions, its three errors, and pixels that stay where they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_port import read_net
from caffe_port.coord_map import AxisMap, CropOffset, crop_offset, crop_offsets, map_between
from caffe_port.net import Net
from caffe_port.nets import digits_fcn_alexnet, fcn8s
from caffe_port.reading.crop_text import with_crop_offsets
from tests.support.ported import read_text, run
from tests.support.shared_data import shared
from weights.errors import ShapeError
from weights.upsample import upsample_filt

INPUT = 'input: "data" input_shape { dim: 1 dim: 1 dim: 40 dim: 48 } '


def conv(name: str, bottom: str, body: str, kind: str = "Convolution") -> str:
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ num_output: 1 bias_term: false {body} }} }} "
    )


def crop(bottom: str, like: str, name: str = "crop", rest: str = "") -> str:
    ends = f'bottom: "{bottom}" bottom: "{like}" top: "{name}"'
    return f'layer {{ name: "{name}" type: "Crop" {ends} {rest} }} '


def rows(net: Net) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(row.stated, row.computed) for row in crop_offsets(net)]


def test_every_fcn_file_states_what_is_computed() -> None:
    files = sorted(shared("prototxts/shelhamer+fcn.berkeleyvision.org").glob("*/*.prototxt"))
    assert len(files) == 31
    found = {tuple(row.computed[:1]) for file in files for row in crop_offsets(read_net(file))}
    assert all(stated == computed for file in files for stated, computed in rows(read_net(file)))
    assert found == {(5,), (9,), (31,), (27,), (19,), (18,)}


@pytest.mark.parametrize("name", [
    "pete-machine+fcn8_ros/models/deploy.prototxt",
    "lltcggie+waifu2x-caffe/bin/models/cunet/noise0_scale2.0x_model.prototxt",
    "nagadomi+waifu2x/appendix/caffe_prototxt/resnet_14l.prototxt",
])  # fmt: skip
def test_other_published_nets_state_what_is_computed(name: str) -> None:
    found = rows(read_net(shared(f"prototxts/{name}")))
    assert found and all(stated == computed for stated, computed in found)


def test_hed_states_none_and_gets_what_its_fork_computed() -> None:
    """HED's Crop computed its own offset when it ran."""
    net = read_net(shared("prototxts/s9xie+hed/examples/hed/deploy.prototxt"), tolerant=True)
    assert [row.computed[0] for row in crop_offsets(net)] == [34, 35, 36, 38, 42]


def test_digits_fcn_alexnet_and_another_stride(tmp_path: Path) -> None:
    text = digits_fcn_alexnet()
    assert rows(read_text(text, tmp_path)) == [((18, 18), (18, 18))]
    pool5 = text.index('name: "pool5"')
    changed = text[:pool5] + text[pool5:].replace("stride: 2", "stride: 1", 1).replace(
        "kernel_size: 63\n    group: 21\n    stride: 32", "kernel_size: 31\n    group: 21\n    stride: 16"
    )
    ((stated, computed),) = rows(read_text(changed, tmp_path))
    # By hand: x -> (x + 83)/16 at pool2, - 1 at pool5, - 5/2 at fc6, then 16 x + 15 upsampled: x + 42.
    assert stated == (18, 18) and computed == (42, 42)


def test_the_three_errors(tmp_path: Path) -> None:
    for body, message in (
        ("kernel_size: 3 stride: 2", r'layer "crop".*scales of the two bottoms differ; found .* 1/2 of'),
        ("kernel_size: 3", "offset is negative; found -1"),
        ("kernel_size: 4 pad: 2", "offset is not whole; found 1/2"),
    ):
        net = read_text(INPUT + conv("a", "data", body) + crop("a", "data"), tmp_path)
        with pytest.raises(ShapeError, match=message):
            crop_offsets(net)


def test_bottoms_that_nothing_spatial_connects(tmp_path: Path) -> None:
    flat = 'layer { name: "f" type: "Flatten" bottom: "data" top: "f" } '
    flat += 'layer { name: "r" type: "Reshape" bottom: "f" top: "r" '
    flat += "reshape_param { shape { dim: 1 dim: 1 dim: 40 dim: 48 } } } "
    (row,) = crop_offsets(read_text(INPUT + flat + crop("r", "data"), tmp_path))
    assert row == CropOffset("crop", "crop", (0, 0), (), row.why) and "no path" in row.why


def test_each_axis_has_its_own_offset(tmp_path: Path) -> None:
    body = "kernel_h: 3 kernel_w: 5 pad_h: 4 pad_w: 2"
    net = read_text(INPUT + conv("a", "data", body) + crop("a", "data"), tmp_path)
    assert rows(net) == [((0, 0), (3, 0))]
    text = with_crop_offsets(Path(net.file).read_text("utf-8"), {("crop", "crop"): (3, 0)})
    assert "crop_param { offset: 3 offset: 0 }" in text
    width_only = crop("a", "data", rest="crop_param { axis: 3 offset: 1 }")
    assert rows(read_text(INPUT + conv("a", "data", body) + width_only, tmp_path)) == [((1,), (0,))]


def test_paths_that_disagree_are_refused(tmp_path: Path) -> None:
    both = 'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" } '
    a, b = conv("a", "data", "kernel_size: 3 pad: 2"), conv("b", "data", "kernel_size: 5 pad: 3")
    assert rows(read_text(INPUT + a + b + both + crop("s", "data"), tmp_path)) == [((0, 0), (1, 1))]
    b = conv("b", "data", "kernel_size: 3 pad: 1") + crop("a", "b", "ac", "crop_param { offset: 0 }")
    wrong = INPUT + a + b + both.replace('"a"', '"ac"') + crop("s", "data")
    # The Crop in between is wrong as stated; the one below is computed with it put right.
    assert rows(read_text(wrong, tmp_path)) == [((0, 0), (1, 1)), ((0, 0), (0, 0))]
    b = conv("b", "data", "kernel_size: 3 pad: 1")
    net = read_text(INPUT + a + b + both + crop("s", "data"), tmp_path)
    with pytest.raises(ShapeError, match="do not align; found shifts"):
        crop_offset(net, net.layers[-1])


NUMBERS = st.fractions(min_value=Fraction(1, 8), max_value=8)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_maps_compose_and_invert_exactly(pairs: list[tuple[Fraction, Fraction]]) -> None:
    chain = AxisMap()
    for scale, shift in pairs:
        chain = AxisMap(scale, shift).after(chain)
    assert chain.inverse().after(chain) == AxisMap() == chain.after(chain.inverse())
    x = Fraction(7, 3)
    there = x
    for scale, shift in pairs:
        there = scale * there + shift
    assert there == chain.scale * x + chain.shift


def test_the_map_is_where_the_numbers_are(tmp_path: Path) -> None:
    """For symmetric kernels the centre of the response is what the map says."""
    text = INPUT + conv("a", "data", "kernel_size: 5 pad: 1 stride: 3")
    text += conv("b", "a", "kernel_size: 6 stride: 3 pad: 1", "Deconvolution")
    net = read_text(text, tmp_path)
    maps = map_between(net, "data", "b")
    assert maps is not None and maps[0].scale == 1
    blobs = {"a": (np.ones((1, 1, 5, 5), np.float32),), "b": (np.ones((1, 1, 6, 6), np.float32),)}
    for y in range(15, 18):
        picture = np.zeros((1, 1, 40, 48), np.float32)
        picture[0, 0, y, 24] = 1
        response = run(net, {"data": picture}, blobs)["b"][0, 0].sum(axis=1)
        centres = [(np.arange(len(response)) * response).sum() / response.sum()]
        assert abs(centres[0] - (y + maps[0].shift)) <= 1  # within the stride of a


STRIDES = [(2, 2, 2), (3, 2, 2), (2, 3, 2), (1, 2, 4)]


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("axis", [0, 1])
def test_an_impulse_comes_out_where_it_went_in(tmp_path: Path, strides: tuple[int, ...], axis: int) -> None:
    """On changed strides the computed offset aligns output and input."""
    total = int(np.prod(strides))
    text, last = INPUT, "data"
    for index, stride in enumerate(strides):
        text += conv(f"c{index}", last, f"kernel_size: 3 pad: {1 if index else 30} stride: {stride}")
        last = f"c{index}"
    text += conv("up", last, f"kernel_size: {2 * total - 1} stride: {total}", "Deconvolution")
    text += crop("up", "data", rest="crop_param { axis: 2 offset: 29 }")
    (row,) = crop_offsets(read_text(text, tmp_path))
    net = read_text(with_crop_offsets(text, {("crop", "crop"): row.computed}), tmp_path)
    middle = np.zeros((1, 1, 3, 3), np.float32)
    middle[..., 1, 1] = 1
    blobs = {f"c{i}": (middle,) for i in range(len(strides))}
    blobs["up"] = (upsample_filt(2 * total - 1)[None, None],)
    seen = 0
    for place in range(15, 15 + total):
        picture = np.zeros((1, 1, 40, 48), np.float32)
        picture.swapaxes(2, 2 + axis)[0, 0, place] = 1  # a line: the strides may leap over a single pixel
        response = run(net, {"data": picture}, blobs)["crop"].swapaxes(2, 2 + axis)[0, 0, :, 24 - 4 * axis]
        if response.max() > 0.5:
            assert response.argmax() == place and response.max() == pytest.approx(1)
            seen += 1
    assert seen == 1  # one of `total` lines is looked at


def test_offsets_come_out_of_the_generator_for_any_geometry(tmp_path: Path) -> None:
    net = read_text(fcn8s(3, widths=(2, 2, 2, 2, 2, 2), pad=44, fc_kernel=3, size=(64, 80)), tmp_path)
    found = rows(net)
    assert all(stated == computed for stated, computed in found)
    with pytest.raises(ShapeError, match="negative"):
        fcn8s(3, widths=(2, 2, 2, 2, 2, 2), pad=10, fc_kernel=7)


def test_only_the_offsets_change_in_the_text() -> None:
    text = (
        "# a net\n"
        'layer { name: "a" type: "Crop" bottom: "x" bottom: "y" top: "a"\n'
        "  crop_param { axis: 2 # of the picture\n offset: [1, 2] } }\n"
        'layer { name: "b" type: "Crop" bottom: "x" bottom: "y" top: "b" crop_param < axis: 2 > } # end\n'
        'layer { name: "c" type: "Crop" bottom: "x" bottom: "y" top: "c" }\n'
    )
    found = with_crop_offsets(text, {("a", "a"): (5, 6), ("c", "c"): (7, 7)})
    assert found == text.replace(
        "{ axis: 2 # of the picture\n offset: [1, 2] }", "{ axis: 2 offset: 5 offset: 6 }"
    ).replace('top: "c" }', 'top: "c" crop_param { offset: 7 } }')
    assert with_crop_offsets(text, {}) == text
