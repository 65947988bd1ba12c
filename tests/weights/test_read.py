"""weights.read and weights.describe on every form of file, and on what is none."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

import weights
from caffe_port.proto import caffe_pb2
from tests.support.shared_data import shared
from tests.support.wire import block, loose, number, varint
from weights.errors import WeightsError

DATA = Path(__file__).parent / "data"
SIX = np.arange(6, dtype="<f4") / 7
FLOATS = SIX.tobytes()
SHAPE_2X3 = block(7, block(1, varint(2), varint(3)))


def _file(tmp_path: Path, content: bytes, name: str = "net.caffemodel") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def _v2(*blobs: bytes, name: str = "conv") -> bytes:
    return block(100, block(1, name), block(2, "Convolution"), *(block(7, blob) for blob in blobs))


def _refused(tmp_path: Path, content: bytes, name: str = "net.caffemodel") -> str:
    path = _file(tmp_path, content, name)
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5"])
def test_files_of_real_caffe(suffix: str) -> None:
    found = weights.read(DATA / f"mini.{suffix}")
    with np.load(DATA / "mini.npz") as expected:
        assert {f"{name}#{i}" for name, arrays in found.items() for i in range(len(arrays))} == set(expected)
        for key, array in expected.items():
            name, index = key.split("#")
            np.testing.assert_array_equal(found[name][int(index)], array, strict=True)


@pytest.mark.parametrize(
    "path",
    [
        "models/espnet-cityscapes/pretrained.caffemodel",
        "models/enet-cityscapes/pretrained.caffemodel",
        "models/tusimple-lane/weights.caffemodel",
    ],
)
def test_real_nets_as_protobuf_reads_them(path: str) -> None:
    file = shared(path)
    net = caffe_pb2.NetParameter.FromString(file.read_bytes())
    expected = {
        layer.name: [
            np.array(blob.data, np.float32).reshape(
                blob.shape.dim
                if blob.HasField("shape")
                else (blob.num, blob.channels, blob.height, blob.width)
            )
            for blob in layer.blobs
        ]
        for layer in net.layer
        if layer.blobs
    }
    found = weights.read(file)
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        for mine, theirs in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs, strict=True)


def test_views_are_read_only_and_not_copied(tmp_path: Path) -> None:
    array = weights.read(_file(tmp_path, _v2(SHAPE_2X3 + block(5, FLOATS))))["conv"][0]
    assert array.dtype == np.float32 and not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(SHAPE_2X3 + block(5, FLOATS), id="packed"),
        pytest.param(block(5, FLOATS) + SHAPE_2X3, id="shape last"),
        pytest.param(block(7, number(1, 2), number(1, 3)) + block(5, FLOATS), id="unpacked dims"),
        pytest.param(SHAPE_2X3 + loose(5, FLOATS, 4), id="unpacked"),
        pytest.param(SHAPE_2X3 + block(5, FLOATS[:8]) + block(5, FLOATS[8:]), id="packed in two chunks"),
        pytest.param(SHAPE_2X3 + loose(5, FLOATS[:8], 4) + block(5, FLOATS[8:]), id="mixed"),
        pytest.param(
            SHAPE_2X3 + loose(5, FLOATS[:12], 4) + loose(6, FLOATS, 4) + loose(5, FLOATS[12:], 4),
            id="unpacked with diff between",
        ),
        pytest.param(SHAPE_2X3 + block(8, SIX.astype("<f8").tobytes()), id="double"),
        pytest.param(SHAPE_2X3 + loose(8, SIX.astype("<f8").tobytes(), 8), id="unpacked double"),
        pytest.param(SHAPE_2X3 + block(5, FLOATS) + block(6, FLOATS), id="with diff"),
        pytest.param(
            SHAPE_2X3 + block(5, bytes(24)) + block(8, SIX.astype("<f8").tobytes()), id="double goes first"
        ),
        pytest.param(SHAPE_2X3 + number(10, 1) + block(12, FLOATS), id="raw float"),
        pytest.param(SHAPE_2X3 + block(1000, b"fork") + block(5, FLOATS), id="unknown field"),
    ],
)
def test_ways_to_store_numbers(tmp_path: Path, blob: bytes) -> None:
    (array,) = weights.read(_file(tmp_path, _v2(blob)))["conv"]
    np.testing.assert_array_equal(array, SIX.reshape(2, 3), strict=True)


def test_half_floats_of_nvcaffe(tmp_path: Path) -> None:
    half = SIX.astype("<f2")
    (array,) = weights.read(_file(tmp_path, _v2(SHAPE_2X3 + number(10, 2) + block(12, half.tobytes()))))[
        "conv"
    ]
    np.testing.assert_array_equal(array, half.astype(np.float32).reshape(2, 3), strict=True)


def test_long_unpacked_run(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(50_000).astype("<f4")
    shape = block(7, block(1, varint(len(values))))
    (array,) = weights.read(_file(tmp_path, _v2(shape + loose(5, values.tobytes(), 4))))["conv"]
    np.testing.assert_array_equal(array, values, strict=True)


def test_double_beyond_float_is_infinite_as_in_caffe(tmp_path: Path) -> None:
    data = np.array([1e300, -1e300], "<f8").tobytes()
    (array,) = weights.read(_file(tmp_path, _v2(block(7, block(1, varint(2))) + block(8, data))))["conv"]
    np.testing.assert_array_equal(array, np.array([np.inf, -np.inf], np.float32))


def test_scalar_and_empty_shapes(tmp_path: Path) -> None:
    scalar = block(7) + block(5, FLOATS[:4])
    empty = block(7, block(1, varint(0), varint(3)))
    found = weights.read(_file(tmp_path, _v2(scalar, empty)))["conv"]
    assert [array.shape for array in found] == [(), (0, 3)]


def test_v1_with_legacy_shapes(tmp_path: Path) -> None:
    net = caffe_pb2.NetParameter(name="old")
    layer = net.layers.add(name="ip", type=caffe_pb2.V1LayerParameter.INNER_PRODUCT)
    layer.blobs.add(num=1, channels=1, height=2, width=3, data=SIX, diff=SIX)
    layer.blobs.add(num=1, channels=1, height=1, width=2, data=SIX[:2])
    net.layers.add(name="relu", type=caffe_pb2.V1LayerParameter.RELU)
    path = _file(tmp_path, net.SerializeToString())
    assert [array.shape for array in weights.read(path)["ip"]] == [(1, 1, 2, 3), (1, 1, 1, 2)]
    told = weights.describe(path)
    assert (told.format, told.name, told.parameters) == ("caffemodel V1", "old", 8)
    assert [(layer.name, layer.type, layer.shapes) for layer in told.layers] == [
        ("ip", "INNER_PRODUCT", ((1, 1, 2, 3), (1, 1, 1, 2))),
        ("relu", "RELU", ()),
    ]


def test_v0(tmp_path: Path) -> None:
    net = caffe_pb2.NetParameter()
    outer = net.layers.add(bottom=["data"], top=["conv1"])
    outer.layer.name, outer.layer.type = "conv1", "conv"
    outer.layer.blobs.add(num=1, channels=2, height=3, width=1, data=SIX)
    path = _file(tmp_path, net.SerializeToString())
    np.testing.assert_array_equal(weights.read(path)["conv1"][0], SIX.reshape(1, 2, 3, 1), strict=True)
    assert weights.describe(path).format == "caffemodel V0"
    assert weights.describe(path).layers[0].type == "conv"


def test_layer_number_of_a_fork_keeps_its_blobs(tmp_path: Path) -> None:
    blob = number(1, 1) + number(2, 1) + number(3, 2) + number(4, 3) + block(5, FLOATS)
    path = _file(tmp_path, block(2, block(4, "x"), number(5, 45), block(6, blob)))
    assert weights.read(path)["x"][0].shape == (1, 1, 2, 3)
    assert weights.describe(path).layers[0].type == "45"


def test_old_and_new_layers_in_one_file(tmp_path: Path) -> None:
    one = block(7, block(1, varint(1)))
    old = block(2, block(4, "both"), number(5, 4), block(6, one + block(5, FLOATS[4:8])))
    new = _v2(one + block(5, FLOATS[:4]), name="both") + _v2(one + block(5, FLOATS[:4]), name="new")
    for content in (old + new, new + old):
        path = _file(tmp_path, content)
        found = weights.read(path)
        assert sorted(found) == ["both", "new"]
        assert found["both"][0][0] == SIX[1]
        assert weights.describe(path).format == "caffemodel V2, V1"


def test_last_layer_with_blobs_counts(tmp_path: Path) -> None:
    one = block(7, block(1, varint(1)))
    content = _v2(one + block(5, FLOATS[4:8])) + _v2(one + block(5, FLOATS[8:12])) + _v2()
    assert weights.read(_file(tmp_path, content))["conv"][0][0] == SIX[2]


def test_several_files_overlaid(tmp_path: Path) -> None:
    one = block(7, block(1, varint(1)))
    low = _file(tmp_path, _v2(one + block(5, FLOATS[4:8]), name="a") + _v2(SHAPE_2X3 + block(5, FLOATS)), "x")
    high = _file(tmp_path, _v2(one + block(5, FLOATS[8:12]), name="a"), "y")
    found = weights.read(f"{low},{high}")
    assert found["a"][0][0] == SIX[2] and found["conv"][0].shape == (2, 3)
    assert weights.read(f"{high},{low}")["a"][0][0] == SIX[1]
    both = _file(tmp_path, high.read_bytes(), "x,y")
    assert list(weights.read(both)) == ["a"], "a file whose name has a comma is that file"
    with pytest.raises(WeightsError, match="several with commas"):
        weights.read(f"{low},")


def test_hdf5_by_content_whatever_the_suffix(tmp_path: Path) -> None:
    path = _file(tmp_path, (DATA / "mini.caffemodel.h5").read_bytes(), "mini.caffemodel")
    assert sorted(weights.read(path)) == ["bn", "c1", "fc"]
    told = weights.describe(path)
    assert told.format == "HDF5"
    assert {layer.name: layer.shapes for layer in told.layers}["c1"] == ((4, 3, 3, 3), (4,))
    assert "relu" in {layer.name for layer in told.layers}


def test_name_that_is_not_utf8_stays_visible(tmp_path: Path) -> None:
    blob = SHAPE_2X3 + block(5, FLOATS)
    path = _file(tmp_path, block(100, block(1, b"\xbe\xed1"), block(7, blob)))
    assert list(weights.read(path)) == ["\\xbe\\xed1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page; expected a caffemodel"),
        (b"\n\n  <HTML><head>", "an HTML page"),
        (b'name: "net"\nlayer { name: "a" }\n', "a prototxt"),
        (b"# a net\nlayers {\n name: 'x' }", "a prototxt"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (pickle.dumps({"a": [1.0]}), "a Python pickle"),
        (b"PK\x03\x04" + bytes(40), ".npz"),
        (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"{}", "a JSON document"),
        (b"hello\n", "a text file"),
        (bytes(5000), "nothing but zeros"),
        (b"\x08\x01\x10\x03\x18\x01\x20\x01", "a mean image"),
        (b"\x0a\x03net", "without layers"),
        (b"\xff" * 12, "more than ten bytes"),
    ],
)
def test_what_is_no_caffemodel(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in _refused(tmp_path, content)


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder"):
        weights.read(tmp_path)
    with pytest.raises(WeightsError, match="No such file"):
        weights.read(tmp_path / "none.caffemodel")
    with pytest.raises(WeightsError, match="a pipe or a device"):
        weights.read("/dev/null")
    with pytest.raises(WeightsError, match="no file named"):
        weights.read("")


HUGE = 2**62


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (block(7, block(1, varint(2), varint(4))) + block(5, FLOATS), "6 numbers for shape 2x4; expected 8"),
        (block(7, block(1, varint(-2), varint(-3))) + block(5, FLOATS), "impossible shape; found -2x-3"),
        (block(7, block(1, varint(HUGE), varint(4))), "impossible shape"),
        (block(7, block(1, varint(0), varint(2**31 - 1), varint(2**31 - 1))), "impossible shape"),
        (block(7, block(1, varint(1 << 20), varint(1 << 10))), "0 numbers for shape 1048576x1024"),
        (block(7, block(1, *[varint(1)] * 40)) + block(5, FLOATS[:4]), "too many axes"),
        (SHAPE_2X3, "without its weights"),
        (b"", "0 numbers for shape ()"),
        (SHAPE_2X3 + block(6, FLOATS), "0 numbers for shape 2x3"),
        (SHAPE_2X3 + block(5, FLOATS[:-1]), "no whole count of numbers; found 23 bytes"),
        (SHAPE_2X3 + number(10, 3) + block(12, FLOATS), "holds no weights; found type 3"),
        (number(1, 2) + block(5, FLOATS), "shape 2x0x0x0"),
        (SHAPE_2X3 + varint(5 << 3 | 2) + varint(HUGE) + FLOATS, f"expected {HUGE} bytes there"),
    ],
)
def test_blobs_that_cannot_be(tmp_path: Path, blob: bytes, words: str) -> None:
    text = _refused(tmp_path, _v2(blob))
    assert words in text and 'layer "conv"' in text


def test_file_of_tiny_fields_is_refused_in_time(tmp_path: Path) -> None:
    assert "too many fields" in _refused(tmp_path, number(5, 0) * 1_000_001)


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5"])
def test_cut_short_anywhere(tmp_path: Path, suffix: str) -> None:
    whole = (DATA / f"mini.{suffix}").read_bytes()
    full = weights.read(DATA / f"mini.{suffix}")
    readable = 0
    for length in range(0, len(whole), 1 if suffix == "caffemodel" else 61):
        path = _file(tmp_path, whole[:length])
        try:
            found = weights.read(path)
        except WeightsError as error:
            assert str(path) in str(error)
            continue
        # Only a cut between two layers leaves a file in order, which then holds the first ones.
        readable += 1
        assert list(found) == list(full)[: len(found)]
        assert all(a.tobytes() == b.tobytes() for n in found for a, b in zip(found[n], full[n], strict=True))
    assert readable == (
        0 if suffix.endswith("h5") else len(weights.describe(DATA / "mini.caffemodel").layers) - 1
    )


def _hdf5(tmp_path: Path) -> tuple[Path, h5py.File]:
    path = tmp_path / "net.h5"
    return path, h5py.File(path, "w")


def _hdf5_refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_hdf5_opens_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data/conv/0"] = SIX
    (tmp_path / "secret.bin").write_bytes(FLOATS)
    path, file = _hdf5(tmp_path)
    with file:
        file["data"] = h5py.ExternalLink(str(secret), "/data")
    assert "links are not followed" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file.create_group("data/conv")["0"] = h5py.SoftLink("/data/conv/1")
    assert "links are not followed" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        external = [(str(tmp_path / "secret.bin"), 0, 24)]
        file.create_dataset("data/conv/0", (6,), "f4", external=external)
    assert "kept in another file" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        layout = h5py.VirtualLayout((6,), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "data/conv/0", (6,))
        file.create_virtual_dataset("data/conv/0", layout)
    assert "kept in another file" in _hdf5_refused(path)


def test_hdf5_that_would_fill_the_memory(tmp_path: Path) -> None:
    path, file = _hdf5(tmp_path)
    with file:
        file.create_dataset("data/conv/0", (1 << 30,), "f4", chunks=(1 << 20,))
    assert "less data than its shape; found 0 bytes" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file.create_dataset("data/conv/0", (1 << 30,), "f4", chunks=(1 << 20,), compression="gzip")
    assert "less data than its shape" in _hdf5_refused(path)


def test_hdf5_compressed_and_double(tmp_path: Path) -> None:
    path, file = _hdf5(tmp_path)
    with file:
        file.create_dataset("data/conv/0", data=SIX.astype(">f8").reshape(2, 3), compression="gzip")
    np.testing.assert_array_equal(weights.read(path)["conv"][0], SIX.reshape(2, 3), strict=True)


def test_hdf5_groups_in_a_circle(tmp_path: Path) -> None:
    path, file = _hdf5(tmp_path)
    with file:
        group = file.create_group("data/conv")
        group["again"] = group
    assert "too many groups" in _hdf5_refused(path)


def test_hdf5_of_another_layout(tmp_path: Path) -> None:
    path, file = _hdf5(tmp_path)
    with file:
        file["model_weights/conv/kernel"] = SIX
    assert "at the top: model_weights; expected a group data/<layer name>" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file["data"] = SIX
        file["label"] = SIX
    assert "not in Caffe's layout" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file["iter"], file["learned_net"], file["current_step"] = 1, 2, 3
        file["history/0"] = SIX
    assert "a solver's state" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file["data/conv/kernel"] = SIX
    assert '"/data/conv/kernel"' in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file["data/conv/0"] = ["text"]
    assert "holds no floats" in _hdf5_refused(path)
    path, file = _hdf5(tmp_path)
    with file:
        file.create_group("data")
    assert "no layers in it" in _hdf5_refused(path)


def test_hdf5_with_a_shared_blob_left_out(tmp_path: Path) -> None:
    path, file = _hdf5(tmp_path)
    with file:
        file["data/one/0"], file["data/one/1"] = SIX, SIX
        file.create_group("data/shares_all")
    assert list(weights.read(path)) == ["one"]
    with h5py.File(path, "a") as file:
        file["data/shares_weight/1"] = SIX
    assert 'layer "shares_weight": some blobs of the layer are not in the file' in _hdf5_refused(path)
