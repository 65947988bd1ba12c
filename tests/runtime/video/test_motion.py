"""Motion vectors are believed only where the stream says that they lead to the picture before."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.video.frames import Frame
from runtime.video.h264 import nal_units, read_sequence, split_configuration
from runtime.video.motion import MotionReader
from runtime.video.reader import open_video
from tests.support.video_files import write_video

ONE = {"bf": "0", "refs": "1", "g": "100", "sc_threshold": "0"}


def pictures(count: int = 8) -> list[np.ndarray]:
    """A rough picture that moves by (3, 2) pixels per frame."""
    rough = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    large = np.kron(rough, np.ones((4, 4, 1), np.uint8))
    return [large[40 - 2 * t : 104 - 2 * t, 60 - 3 * t : 156 - 3 * t] for t in range(count)]


def read(path: Path, **options: int) -> list[Frame]:
    with open_video(path, motion=True, **options) as reader:
        return list(reader)


def refusals(path: Path) -> list[str]:
    return [frame.motion.refused for frame in read(path) if frame.motion is not None]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_p_pictures_with_one_reference_are_believed(tmp_path: Path, suffix: str) -> None:
    file = write_video(tmp_path / f"video.{suffix}", pictures(), **ONE)
    assert refusals(file) == ["I pictures", *[""] * 7]
    for frame in read(file)[1:]:
        assert frame.motion is not None and frame.motion.vectors is not None
        found = frame.motion.vectors
        motion = np.stack([found["motion_x"], found["motion_y"]], -1) / found["motion_scale"][:, None]
        np.testing.assert_allclose(np.median(motion, axis=0), [-3, -2], atol=0.3)


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_codecs_of_one_reference(tmp_path: Path, codec: str) -> None:
    file = write_video(
        tmp_path / "video.mkv", pictures(), codec=codec, bf="0", g="100", sc_threshold="1000000"
    )
    # the decoder of MPEG-2 hands out the last picture without its vectors
    assert refusals(file)[:7] == ["I pictures", *[""] * 6]


def test_pictures_after_b_pictures_are_not(tmp_path: Path) -> None:
    file = write_video(tmp_path / "video.mkv", pictures(), codec="mpeg4", bf="2", g="100")
    found = set(refusals(file))
    assert "B pictures" in found and "" not in found


def test_x264_as_it_does_by_default_is_not(tmp_path: Path) -> None:
    file = write_video(tmp_path / "video.mp4", pictures())
    assert all("reference frames" in reason for reason in refusals(file))
    more = write_video(tmp_path / "more.mp4", pictures(), bf="0", refs="3")
    assert set(refusals(more)) == {"3 reference frames"}


def test_a_codec_without_vectors(tmp_path: Path) -> None:
    file = write_video(tmp_path / "video.mkv", pictures(3), codec="ffv1")
    assert set(refusals(file)) == {"a codec without vectors of a known reference: ffv1"}


def test_a_picture_after_one_that_nothing_is_predicted_from() -> None:
    """By the two bits of its NAL unit that say so, in streams with start codes and with lengths."""
    for size, lead in ((0, b"\x00\x00\x01"), (4, b"\x00\x00\x00\x03")):
        reader = MotionReader("h264", None)
        reader._length_size = size
        assert reader._look_into(lead + b"\x41\x9a\x00"[:3].ljust(3, b"\x01"))
        assert not reader._look_into(lead + b"\x01\x9a\x02")


def test_nothing_is_read_where_nobody_asks(tmp_path: Path) -> None:
    file = write_video(tmp_path / "video.mp4", pictures(3), **ONE)
    with open_video(file) as reader:
        assert all(frame.motion is None for frame in reader)


@given(st.binary(max_size=200))
def test_headers_from_strangers_are_refused_or_read(data: bytes) -> None:
    for work in (
        lambda: read_sequence(data),
        lambda: split_configuration(data),
        lambda: list(nal_units(data, 4)),
        lambda: list(nal_units(data, 0)),
    ):
        with suppress(ValueError):
            work()
