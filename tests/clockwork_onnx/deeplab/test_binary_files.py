import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.deeplab.binary_files import (
    read_labels_bin,
    read_ppm,
    read_scores_bin,
    write_labels_bin,
    write_ppm,
    write_scores_bin,
)
from weights.errors import DataSetError, UsageError


def test_scores_are_rows_columns_channels_then_column_major_floats(tmp_path: Path) -> None:
    scores = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # K, H, W
    write_scores_bin(tmp_path / "x.bin", scores)
    data = (tmp_path / "x.bin").read_bytes()
    expected = [scores[k, r, c] for k in range(2) for c in range(4) for r in range(3)]
    assert data == struct.pack("<3i24f", 3, 4, 2, *expected)
    assert np.array_equal(read_scores_bin(tmp_path / "x.bin"), scores)


def test_labels_are_int16_with_one_channel(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 20], [255, 3, 4]])
    write_labels_bin(tmp_path / "x.bin", labels)
    assert (tmp_path / "x.bin").read_bytes() == struct.pack("<3i6h", 2, 3, 1, 0, 255, 1, 3, 20, 4)
    assert np.array_equal(read_labels_bin(tmp_path / "x.bin"), labels)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        struct.pack("<3i", 2, 3, 1),
        struct.pack("<3i5h", 2, 3, 1, *range(5)),
        struct.pack("<3i7h", 2, 3, 1, *range(7)),
        struct.pack("<3i", -2, -3, 1) + bytes(12),
        struct.pack("<3i", 0, 3, 1),
        struct.pack("<3i", 2**31 - 1, 2**31 - 1, 2**31 - 1) + bytes(8),
    ],
)
@pytest.mark.parametrize("read", [read_labels_bin, read_scores_bin])
def test_a_length_that_does_not_fit_the_header_is_refused(
    tmp_path: Path, read: Callable[[Path], Any], data: bytes
) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(DataSetError, match=r"x.bin"):
        read(tmp_path / "x.bin")


def test_scores_are_no_labels_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(struct.pack("<3i4h", 1, 2, 2, *range(4)))
    with pytest.raises(DataSetError, match="2 channels"):
        read_labels_bin(tmp_path / "x.bin")
    with pytest.raises(DataSetError, match=r"no such .*y.bin|y.bin: no such"):
        read_scores_bin(tmp_path / "y.bin")


def test_ppm_as_others_write_and_read_it(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_ppm(tmp_path / "x.ppm", picture)
    with Image.open(tmp_path / "x.ppm") as image:
        assert np.array_equal(np.array(image), picture)
    Image.fromarray(picture).save(tmp_path / "y.ppm")
    assert np.array_equal(read_ppm(tmp_path / "y.ppm"), picture)
    comment = b"P6 # made by\n#a scanner\n 7\t5\n255\n" + picture.tobytes()
    (tmp_path / "z.ppm").write_bytes(comment)
    assert np.array_equal(read_ppm(tmp_path / "z.ppm"), picture)
    with pytest.raises(UsageError, match="not a picture"):
        write_ppm(tmp_path / "w.ppm", picture[:, :, 0])


@pytest.mark.parametrize(
    "data",
    [b"", b"P5 2 2 255 abcd", b"P6 2 2 65535 " + bytes(24), b"P6 2 2 255 " + bytes(11), b"P6 0 2 255 ",
     b"P6" + b" " * 9999, b"P6 99999 99999 255 " + bytes(8)],
)  # fmt: skip
def test_other_pictures_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.ppm").write_bytes(data)
    with pytest.raises(DataSetError, match=r"x.ppm"):
        read_ppm(tmp_path / "x.ppm")
