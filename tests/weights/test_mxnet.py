"""MXNet's .params files: of real MXNet 0.9.5, 0.11.0 and 1.9.1, and hostile ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weights
from clockwork_onnx.commands.weights import command
from weights import mxnet
from weights.errors import WeightsError

DATA = Path(__file__).parent / "data"
FILES = ["legacy", "v1", "v2", "v3"]


def _file(generation: str) -> Path:
    return DATA / f"mxnet-{generation}.params"


@pytest.mark.parametrize("generation", FILES)
def test_files_of_real_mxnet(generation: str) -> None:
    content = _file(generation).read_bytes()
    found = {array.name: array for array in mxnet.scan(content)}
    with np.load(DATA / f"mxnet-{generation}.npz") as expected:
        tests = {name.replace("_test", ""): expected[name] for name in expected if "_test" in name}
        wanted = {name: expected[name] for name in expected if "_test" not in name} | tests
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert mxnet.type_name(found[name]) == array.dtype.name
        np.testing.assert_array_equal(
            mxnet.load(content, found[name]), array.astype(np.float32), strict=True, err_msg=name
        )


@pytest.mark.parametrize("generation", ["legacy", "v1", "v2"])
def test_layers_have_their_blobs_in_order(generation: str) -> None:
    found = weights.read(_file(generation))
    assert [array.shape for array in found["conv1"]] == [(2, 3, 1, 2), (2,)]
    assert [array.tolist() for array in found["bn1"]] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert [array.tolist() for array in found["rfcn_bbox"]] == [[[8]], [9]], "the _test copies count"
    assert found["scale"][0].tolist() == [[0.125]]
    assert all(not array.flags.writeable for arrays in found.values() for array in arrays)


def test_floats_are_views_of_the_file() -> None:
    assert not weights.read(_file("v2"))["conv1"][0].flags.owndata


def test_several_files_overlaid_by_single_arrays(tmp_path: Path) -> None:
    other = tmp_path / "b.params"
    other.write_bytes(
        saved_arrays({"arg:conv1_bias": np.array([9, 9], "<f4"), "arg:new_weight": np.ones(3, "<f4")})
    )
    found = weights.read(f"{_file('v1')},{other}")
    assert found["conv1"][0].shape == (2, 3, 1, 2)
    assert found["conv1"][1].tolist() == [9, 9]
    assert found["new"][0].shape == (3,)
    mixed = weights.read(f"{DATA / 'mini.caffemodel'},{_file('v1')}")
    assert {"c1", "conv1"} <= set(mixed)


def test_description_and_command() -> None:
    told = weights.describe(_file("legacy"))
    assert told.format == "MXNet legacy"
    layer = {layer.name: layer for layer in told.layers}["conv1"]
    assert layer.shapes == ((2, 3, 1, 2), (2,)) and layer.parameters == 14
    assert layer.arrays == ("arg:conv1_weight float32", "arg:conv1_bias float32")
    shown = CliRunner().invoke(command, ["show", str(_file("v2"))])
    assert shown.exit_code == 0 and "aux:bn1_moving_var float32" in shown.output
    assert "MXNet V2" in shown.output


def _array(array: np.ndarray, code: int = 0) -> bytes:
    """In V2."""
    shape = struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
    return struct.pack("<Ii", 0xF993FAC9, 0) + shape + struct.pack("<iii", 1, 0, code) + array.tobytes()


def _list(arrays: list[bytes], names: list[str]) -> bytes:
    texts = b"".join(struct.pack("<Q", len(name.encode())) + name.encode() for name in names)
    return (
        mxnet.MAGIC + bytes(8) + struct.pack("<Q", len(arrays)) + b"".join(arrays)
        + struct.pack("<Q", len(names)) + texts
    )  # fmt: skip


def saved_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    return _list([_array(array) for array in arrays.values()], list(arrays))


def _refused(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "x.params"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


ONE = np.ones(1, "<f4")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (mxnet.MAGIC, "cut short"),
        (mxnet.MAGIC + bytes(8) + struct.pack("<Q", 2**63), "too many arrays"),
        (_list([_array(ONE)], ["a", "b"]), "a name for each array"),
        (_list([], []), "a name for each array"),
        (_list([_array(ONE)], []), "mx.nd.save(file, {name: array})"),
        (saved_arrays({"arg:a": ONE}) + b"x", "1 bytes after its end"),
        (_list([_array(ONE, code=99)], ["a"]), "unknown type; found type 99"),
        (_list([struct.pack("<Iii", 0xF993FAC9, 0, 60)], ["a"]), "too many axes"),
        (_list([struct.pack("<Iii", 0xF993FAC9, 0, -7)], ["a"]), "too many axes"),
        (_list([struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, 2**40, 2**40)], ["a"]), "impossible shape"),
        (_list([struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, -1, -1)], ["a"]), "impossible shape"),
        (_list([struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 2**30, 1, 0, 0)], ["a"]), "expected 4294967296"),
        (_list([_array(np.array([2**24 + 1], "<i4"), code=4)], ["a"]), "float32 does not have"),
        (saved_arrays({"arg:a_bias": ONE}), 'layer "a": bias without weight'),
        (saved_arrays({"arg:a_moving_var": ONE}), "moving_var without gamma"),
        (saved_arrays({"arg:a_weight": ONE, "aux:a_weight": ONE}), "two arrays for one place"),
    ],
)  # fmt: skip
def test_hostile_files(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in _refused(tmp_path, content)


def test_sparse_arrays_say_what_to_do(tmp_path: Path) -> None:
    assert 'found csr; expected dense arrays; save array.tostype("default")' in _refused(
        tmp_path, (DATA / "mxnet-sparse.params").read_bytes()
    )


@pytest.mark.parametrize("generation", FILES)
def test_cut_short_anywhere(tmp_path: Path, generation: str) -> None:
    whole = _file(generation).read_bytes()
    for end in range(8, len(whole)):
        _refused(tmp_path, whole[:end])


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_raise_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(_file(data.draw(st.sampled_from(FILES))).read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(8, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[place] = value
    path = tmp_path / "x.params"
    path.write_bytes(content)
    try:
        found = weights.read(path)
        assert sum(array.nbytes for arrays in found.values() for array in arrays) <= 4 * len(content)
    except WeightsError as error:
        assert str(path) in str(error)


def test_bfloat16() -> None:
    content = _list([_array(np.array([0x3F80, 0xC040], "<u2"), code=12)], ["x"])
    (array,) = mxnet.scan(content)
    assert mxnet.load(content, array).tolist() == [1.0, -3.0] and mxnet.type_name(array) == "bfloat16"
