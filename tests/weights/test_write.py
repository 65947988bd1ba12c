"""weights.write: what it wrote is read back by this package, by protobuf and by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

import weights
from caffe_port.proto import caffe_pb2
from weights.errors import WeightsError

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Layer:
    name: str
    type: str = "Convolution"
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Net:
    layers: tuple[Layer, ...]
    name: str = "net"


def _arrays(*shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)


NET = Net(
    (
        Layer("data", "Input", (), ("data",)),
        Layer("conv", "Convolution", ("data",), ("conv@conv",)),
        Layer("relu", "ReLU", ("conv@conv",), ("conv",)),
    )
)


def test_binary_as_protobuf_reads_it(tmp_path: Path) -> None:
    blobs = {"conv": _arrays((4, 3, 3, 3), (4,)), "loss": _arrays((2,))}
    path = tmp_path / "net.caffemodel"
    done = weights.write(path, NET, blobs)
    assert (done.layers, done.left_over, done.unreadable) == (("conv",), ("loss",), ())
    assert done.size == path.stat().st_size
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    assert net.name == "net"
    assert [(x.name, x.type, list(x.bottom), list(x.top)) for x in net.layer] == [
        ("data", "Input", [], ["data"]),
        ("conv", "Convolution", ["data"], ["conv"]),
        ("relu", "ReLU", ["conv"], ["conv"]),
    ]
    for stored, array in zip(net.layer[1].blobs, blobs["conv"], strict=True):
        assert tuple(stored.shape.dim) == array.shape
        np.testing.assert_array_equal(np.array(stored.data, np.float32), array.reshape(-1))


def test_hdf5_in_caffes_layout(tmp_path: Path) -> None:
    blobs = {"conv": _arrays((4, 3, 3, 3), (4,))}
    path = tmp_path / "net.caffemodel.h5"
    weights.write(path, NET, blobs)
    with h5py.File(path) as mine, h5py.File(DATA / "mini.caffemodel.h5") as caffes:
        assert sorted(mine) == sorted(caffes) == ["data"]
        assert sorted(mine["data"]) == ["conv", "data", "relu"]
        assert not len(mine["data/relu"]) and not len(caffes["data/relu"])
        assert mine["data/conv/0"].dtype == caffes["data/c1/0"].dtype
        np.testing.assert_array_equal(mine["data/conv/1"][...], blobs["conv"][1])


@pytest.mark.parametrize("name", ["mini.caffemodel", "mini.caffemodel.h5"])
def test_caffes_own_file_comes_back_the_same(tmp_path: Path, name: str) -> None:
    blobs = weights.read(DATA / name)
    told = weights.describe(DATA / "mini.caffemodel")
    net = Net(tuple(Layer(layer.name, layer.type) for layer in told.layers), "mini")
    weights.write(tmp_path / name, net, blobs)
    again = weights.read(tmp_path / name)
    assert sorted(again) == sorted(blobs)
    for layer, arrays in blobs.items():
        for mine, theirs in zip(again[layer], arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs, strict=True)


def test_opencv_reads_it(tmp_path: Path) -> None:
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 6\n'
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"\n'
        "  convolution_param { num_output: 4 kernel_size: 3 } }\n"
        'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"\n'
        "  inner_product_param { num_output: 5 } }\n"
    )
    net = Net((Layer("conv", "Convolution", ("data",), ("conv",)), Layer("fc", "InnerProduct")))
    weight, bias, full, shift = _arrays((4, 3, 3, 3), (4,), (5, 64), (5,))
    path = tmp_path / "net.caffemodel"
    weights.write(path, net, {"conv": (weight, bias), "fc": (full, shift)})
    read = cv2.dnn.readNetFromCaffe(str(prototxt), str(path))
    (x,) = _arrays((1, 3, 6, 6))
    read.setInput(x, "data")
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), axis=(1, 2))
    conv = np.einsum("ochw,cyxhw->oyx", weight, windows) + bias[:, None, None]
    np.testing.assert_allclose(read.forward("conv")[0], conv, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(read.forward("fc")[0], full @ conv.reshape(-1) + shift, rtol=1e-4, atol=1e-4)


def test_half_precision_file_of_opencv(tmp_path: Path) -> None:
    small = tmp_path / "half.caffemodel"
    cv2.dnn.shrinkCaffeModel(str(DATA / "mini.caffemodel"), str(small))
    full, half = weights.read(DATA / "mini.caffemodel"), weights.read(small)
    assert half["c1"][0].dtype == np.float32
    expected = full["c1"][0].astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(half["c1"][0], expected, rtol=2**-10)
    assert np.any(half["c1"][0] != full["c1"][0])


def test_other_dtypes_and_orders(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4) / 3)
    for name in ("x.caffemodel", "x.caffemodel.h5"):
        weights.write(tmp_path / name, NET, {"conv": [array, np.arange(3), np.float32(2.5)]})
        first, second, third = weights.read(tmp_path / name)["conv"]
        np.testing.assert_array_equal(first, array.astype(np.float32))
        np.testing.assert_array_equal(second, np.arange(3, dtype=np.float32), strict=True)
        assert third.shape == () and third == 2.5


def test_layers_of_one_name_are_written_once(tmp_path: Path) -> None:
    net = Net((Layer("conv"), Layer("conv", "ReLU")))
    weights.write(tmp_path / "x.caffemodel", net, {"conv": _arrays((2, 2))})
    told = weights.describe(tmp_path / "x.caffemodel")
    assert [(layer.name, layer.type, layer.shapes) for layer in told.layers] == [
        ("conv", "Convolution", ((2, 2),))
    ]


def test_slash_in_names(tmp_path: Path) -> None:
    blobs = {"conv": _arrays((2, 2)), "conv/bn": _arrays((2,), (2,)), "a/b/c": _arrays((3,))}
    net = Net(tuple(Layer(name) for name in blobs))
    done = weights.write(tmp_path / "x.h5", net, blobs)
    assert done.unreadable == ("conv/bn", "a/b/c")
    found = weights.read(tmp_path / "x.h5")
    assert {n: [a.tobytes() for a in x] for n, x in found.items()} == {
        n: [a.tobytes() for a in x] for n, x in blobs.items()
    }
    assert weights.write(tmp_path / "x.caffemodel", net, blobs).unreadable == ()


@pytest.mark.parametrize("name", ["", ".", "a//b", "/a", "a/", "x\0y"])
def test_names_hdf5_does_not_have(tmp_path: Path, name: str) -> None:
    net = Net((Layer(name),))
    with pytest.raises(WeightsError, match=r"write a binary \.caffemodel"):
        weights.write(tmp_path / "x.h5", net, {name: _arrays((1,))})
    assert list(tmp_path.iterdir()) == []
    weights.write(tmp_path / "y.h5", Net((Layer(name), Layer("ok"))), {"ok": _arrays((1,))})
    assert list(weights.read(tmp_path / "y.h5")) == ["ok"]
    weights.write(tmp_path / "x.caffemodel", net, {name: _arrays((1,))})
    assert list(weights.read(tmp_path / "x.caffemodel")) == [name]


def test_layer_named_like_a_blob(tmp_path: Path) -> None:
    net = Net((Layer("conv"), Layer("conv/0")))
    with pytest.raises(WeightsError, match='has a blob of layer "conv" at that name'):
        weights.write(tmp_path / "x.h5", net, {"conv": _arrays((1,)), "conv/0": _arrays((1,))})


def test_existing_file_stays_when_writing_fails(tmp_path: Path) -> None:
    for name in ("x.caffemodel", "x.caffemodel.h5"):
        path = tmp_path / name
        path.write_bytes(b"before")
        with pytest.raises(WeightsError, match="holds no numbers"):
            weights.write(path, NET, {"conv": (np.array(["a"]),)})
        assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


def test_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.limits.MESSAGE_BYTES", 100)
    with pytest.raises(WeightsError, match="too large for a binary caffemodel"):
        weights.write(tmp_path / "x.caffemodel", NET, {"conv": _arrays((100,))})
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for name in ("none/x.caffemodel", "none/x.h5"):
        with pytest.raises(WeightsError, match="cannot be written") as caught:
            weights.write(tmp_path / name, NET, {})
        assert str(tmp_path / name) in str(caught.value)
    (tmp_path / "folder.caffemodel").mkdir()
    with pytest.raises(WeightsError, match="cannot be written"):
        weights.write(tmp_path / "folder.caffemodel", NET, {})
    assert [path.name for path in tmp_path.iterdir()] == ["folder.caffemodel"]


def test_written_over_the_file_it_was_read_from(tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    weights.write(path, NET, {"conv": _arrays((50, 40))})
    blobs = weights.read(path)
    before = blobs["conv"][0].copy()
    weights.write(path, NET, {"conv": (blobs["conv"][0] * 2,)})
    np.testing.assert_array_equal(blobs["conv"][0], before)
    np.testing.assert_array_equal(weights.read(path)["conv"][0], before * 2)
