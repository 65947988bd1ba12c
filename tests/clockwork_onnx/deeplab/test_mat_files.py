import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from clockwork_onnx.deeplab.mat_files import blob_name, picture_id, read_mat, write_mat
from weights.errors import DataSetError, UsageError

BLOB = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def level_5(file: Path) -> tuple[str, tuple[int, ...], int, bytes]:
    """Name, dimensions, class and bytes of the one array of an uncompressed file, by the format's paper."""
    data = file.read_bytes()
    assert data[124:128] == struct.pack("<H2s", 0x0100, b"IM")
    kind, length = struct.unpack_from("<II", data, 128)
    assert kind == 14 and 136 + length == len(data)
    place, parts = 136, []
    while place < len(data):
        kind, length = struct.unpack_from("<II", data, place)
        if kind >> 16:  # a small element: four bytes at most, length in the upper half
            parts.append(data[place + 4 : place + 4 + (kind >> 16)])
            place += 8
        else:
            parts.append(data[place + 8 : place + 8 + length])
            place += 8 + -(-length // 8) * 8
    flags, dims, name, values = parts
    return name.decode(), struct.unpack(f"<{len(dims) // 4}i", dims), flags[0], values


def test_the_file_holds_the_blob_s_own_bytes_as_width_height_channels_num(tmp_path: Path) -> None:
    write_mat(tmp_path / "x.mat", BLOB)
    name, dims, kind, values = level_5(tmp_path / "x.mat")
    assert (name, dims, kind) == ("data", (5, 4, 3, 2), 7)  # 7: single
    assert values == BLOB.tobytes()


def test_matlab_s_permutation_gives_height_width_channels(tmp_path: Path) -> None:
    write_mat(tmp_path / "x.mat", BLOB[:1])
    array = loadmat(tmp_path / "x.mat")["data"]
    assert array.dtype == np.float32 and array.shape == (5, 4, 3, 1)
    assert np.array_equal(array[..., 0].transpose(1, 0, 2), BLOB[0].transpose(1, 2, 0))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 999))
def test_what_is_written_is_read(tmp_path: Path, shape: tuple[int, ...], seed: int) -> None:
    blob = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    write_mat(tmp_path / "x.mat", blob)
    assert np.array_equal(read_mat(tmp_path / "x.mat"), blob)


def test_what_matlab_would_save_is_read_too(tmp_path: Path) -> None:
    """Compressed, double, without a fourth axis: `save` drops trailing ones."""
    array = BLOB[0].T.astype(np.float64)
    savemat(tmp_path / "x.mat", {"other": np.eye(2), "data": array}, do_compression=True)
    assert np.array_equal(read_mat(tmp_path / "x.mat"), BLOB[:1])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipy_reads_and_writes_the_same(tmp_path: Path, dtype: type, compressed: bool) -> None:
    array = (BLOB * 100).astype(dtype)
    savemat(tmp_path / "x.mat", {"a": "text", "data": array.T, "z": np.eye(3)}, do_compression=compressed)
    assert np.array_equal(read_mat(tmp_path / "x.mat"), array.astype(np.float32))
    write_mat(tmp_path / "y.mat", array)
    assert np.array_equal(loadmat(tmp_path / "y.mat")["data"], array.astype(np.float32).T)


def test_numbers_that_matlab_stores_in_fewer_bytes_are_read(tmp_path: Path) -> None:
    """MATLAB keeps the whole numbers of a double array as bytes; and a big-endian machine's file."""
    for order, mark in (("<", b"IM"), (">", b"MI")):
        flags = struct.pack(order + "IIII", 6, 8, 6, 0)
        dims = struct.pack(order + "IIii", 5, 8, 2, 3)
        name = struct.pack(order + "I", 1 | 4 << 16) + b"data"
        numbers = struct.pack(order + "II6B2x", 2, 6, *range(6))
        body = flags + dims + name + numbers
        head = b"MATLAB 5.0".ljust(124) + struct.pack(order + "H", 0x0100) + mark
        (tmp_path / "x.mat").write_bytes(head + struct.pack(order + "II", 14, len(body)) + body)
        assert np.array_equal(read_mat(tmp_path / "x.mat"), np.arange(6.0).reshape(1, 1, 3, 2))


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    """An array that says it is small, and a stream that goes on for ever."""
    savemat(tmp_path / "x.mat", {"data": np.zeros((2, 2))})
    plain = (tmp_path / "x.mat").read_bytes()
    squeezed = zlib.compress(plain[128:] + bytes(1 << 24))
    (tmp_path / "x.mat").write_bytes(plain[:128] + struct.pack("<II", 15, len(squeezed)) + squeezed)
    tracemalloc.start()
    assert read_mat(tmp_path / "x.mat").shape == (1, 1, 2, 2)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_three_axes_are_one_picture(tmp_path: Path) -> None:
    write_mat(tmp_path / "x.mat", BLOB[0])
    assert np.array_equal(read_mat(tmp_path / "x.mat"), BLOB[:1])
    with pytest.raises(UsageError, match="C x H x W"):
        write_mat(tmp_path / "y.mat", BLOB[0, 0])
    assert not (tmp_path / "y.mat").exists()


def test_names() -> None:
    assert blob_name("2007_000033") == "2007_000033_blob_0.mat"
    assert blob_name("2007_000033.jpg", 1, strip=4) == "2007_000033_blob_1.mat"
    assert (
        picture_id(Path("a/2007_000033_blob_0.mat")) == picture_id(Path("2007_000033.bin")) == "2007_000033"
    )
    with pytest.raises(UsageError, match="strip"):
        blob_name("ab", strip=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.eye(2)}, 'no variable "data".*other'),
        ({"data": "text"}, "no score map"),
        ({"data": {"a": 1}}, "no score map"),
        ({"data": np.zeros((2, 2, 2, 2, 2), np.float32)}, "no score map"),
        ({"data": np.zeros((0, 2))}, "no score map"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: dict, message: str) -> None:
    savemat(tmp_path / "x.mat", content)
    with pytest.raises(DataSetError, match=message):
        read_mat(tmp_path / "x.mat")


def test_a_missing_a_7_3_and_a_short_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no such"):
        read_mat(tmp_path / "x.mat")
    (tmp_path / "new.mat").write_bytes(
        b"MATLAB 7.3".ljust(124) + struct.pack("<H2s", 0x0200, b"IM") + bytes(400)
    )
    with pytest.raises(DataSetError, match="-v6"):
        read_mat(tmp_path / "new.mat")
    write_mat(tmp_path / "x.mat", BLOB)
    (tmp_path / "short.mat").write_bytes((tmp_path / "x.mat").read_bytes()[:300])
    with pytest.raises(DataSetError, match=r"short.mat"):
        read_mat(tmp_path / "short.mat")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.integers(0, 240), st.integers(0, 255)), min_size=1, max_size=6),
    compressed=st.booleans(),
)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, flips: list[tuple[int, int]], compressed: bool
) -> None:
    savemat(tmp_path / "x.mat", {"data": BLOB.T}, do_compression=compressed)
    data = bytearray((tmp_path / "x.mat").read_bytes())
    for place, value in flips:
        data[place] = value
    (tmp_path / "x.mat").write_bytes(data)
    try:
        assert read_mat(tmp_path / "x.mat").ndim == 4
    except DataSetError as error:
        assert "x.mat" in str(error)
