"""Means of channels from Caffe's binaryproto and from .npy."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_port.proto.caffe_pb2 import BlobProto
from weights.errors import WeightsError
from weights.mean_file import read_mean

PICTURE = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
MEANS = (9.5, 29.5, 49.5)


def binaryproto(array: np.ndarray, legacy: bool) -> bytes:
    blob = BlobProto(data=array.reshape(-1).tolist())
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    return blob.SerializeToString()


@pytest.mark.parametrize("legacy", [True, False])
def test_binaryproto_of_every_generation(tmp_path: Path, legacy: bool) -> None:
    file = tmp_path / "mean.binaryproto"
    file.write_bytes(binaryproto(PICTURE, legacy))
    assert read_mean(file) == MEANS


@pytest.mark.parametrize(
    "array",
    [PICTURE, PICTURE[None], PICTURE.transpose(1, 2, 0), PICTURE.astype(np.float64), np.array(MEANS)],
)
def test_npy_of_pictures_and_of_values(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "mean.npy", array)
    assert read_mean(tmp_path / "mean.npy") == MEANS


def test_files_that_hold_no_means_are_refused(tmp_path: Path) -> None:
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3)}
    )
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    bad = {
        "a.npy": huge.getvalue(),
        "b.npy": pickled.getvalue(),
        "c.npy": b"",
        "d.binaryproto": b"\x08\x96\x01\xff",
        "e.binaryproto": binaryproto(np.zeros((2, 3, 4), np.float32), False),
        "f.binaryproto": binaryproto(np.full((3, 1, 1), np.nan, np.float32), False),
        "g.binaryproto": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            read_mean(tmp_path / name)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_means_or_a_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("mean")
    for name, start in (("a.npy", b"\x93NUMPY\x01\x00"), ("b.binaryproto", b"")):
        (folder / name).write_bytes(start + data)
        with contextlib.suppress(WeightsError):
            assert len(read_mean(folder / name)) in (1, 3)
