from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import runtime.video.writer
from runtime.video.reader import open_video
from runtime.video.writer import LabelWriter, VideoWriter
from staged_onnx.palettes import classes
from tests.support.video_files import moving_bar
from weights.errors import UsageError, VideoError

RATES = [Fraction(25), Fraction(15), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(5, 2)]


def write(path: Path, images: list[np.ndarray], fps: Fraction = Fraction(25), **options: object) -> Path:
    with VideoWriter(path, fps, images[0].shape[:2]) as writer:
        for image in images:
            writer.write(image)
    return path


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_frame_rate_is_exact(tmp_path: Path, fps: Fraction, suffix: str) -> None:
    path = write(tmp_path / f"v{suffix}", moving_bar(20), fps)
    with open_video(path) as reader:
        if suffix == ".mp4":  # Matroska's own clock counts milliseconds
            assert reader.fps == fps
            assert [f.time for f in reader] == [i / fps for i in range(20)]
        else:
            assert all(abs(f.time - i / fps) <= Fraction(1, 1000) for i, f in enumerate(reader) if f.time)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_pictures_survive(tmp_path: Path) -> None:
    flat = [
        np.full((48, 64, 3), colour, np.uint8) for colour in [(200, 30, 40), (10, 180, 90), (20, 40, 230)]
    ]
    with open_video(write(tmp_path / "v.mp4", flat)) as reader:
        for frame, image in zip(reader, flat, strict=True):
            assert np.abs(frame.image.astype(int) - image).max() <= 6


def test_it_is_h264_that_any_player_shows(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "v.mp4", moving_bar(3)))) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)


def test_odd_sizes_grow_by_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    image = np.zeros((47, 61, 3), np.uint8)
    image[:, 30:] = 200
    with open_video(write(tmp_path / "v.mp4", [image] * 3)) as reader:
        assert reader.size == (48, 62)
        got = next(reader).image.astype(int)
    assert np.abs(got[:47, :61] - image).mean() < 3
    assert abs(got[47, 61].mean() - 200) < 12


def test_variable_frame_times(tmp_path: Path) -> None:
    times = [Fraction(n, 30) for n in (0, 1, 4, 5, 20)]
    with VideoWriter(tmp_path / "v.mp4", Fraction(30), (48, 64)) as writer:
        for image, moment in zip(moving_bar(5), times, strict=True):
            writer.write(image, moment)
    with open_video(tmp_path / "v.mp4") as reader:
        assert [f.time for f in reader] == times


def test_times_that_do_not_advance_are_moved_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", Fraction(25), (48, 64)) as writer:
        for image, n in zip(moving_bar(4), (0, 2, 2, 1), strict=True):
            writer.write(image, Fraction(n, 25))
    with open_video(tmp_path / "v.mp4") as reader:
        times = [f.time for f in reader if f.time is not None]
    assert times[:2] == [0, Fraction(2, 25)]
    assert Fraction(2, 25) < times[2] < times[3] < Fraction(3, 25)


def test_a_frame_of_another_size_is_fitted(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", Fraction(25), (48, 64)) as writer:
        writer.write(np.full((48, 64, 3), 100, np.uint8))
        writer.write(np.full((96, 32, 3), 200, np.uint8))  # tall: black left and right
    with open_video(tmp_path / "v.mp4") as reader:
        assert [f.image.shape for f in reader] == [(48, 64, 3)] * 2
    with open_video(tmp_path / "v.mp4", start=1) as reader:
        tall = next(reader).image.astype(int)
    assert abs(tall[:, 26:38].mean() - 200) < 8
    assert tall[:, :20].mean() < 8 and tall[:, 44:].mean() < 8


def test_mpeg4_where_x264_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent, mpeg4 = ("no-such-encoder", {}, 1), runtime.video.writer._ENCODERS[1]
    monkeypatch.setattr(runtime.video.writer, "_ENCODERS", (absent, mpeg4))
    for fps in (*RATES, Fraction(1_000_003, 33_333)):
        path = write(tmp_path / "v.mp4", moving_bar(10), fps)
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "mpeg4"
        with open_video(path) as reader:
            assert reader.fps is not None and abs(reader.fps / fps - 1) < 1e-4
            assert len(list(reader)) == 10
    monkeypatch.setattr(runtime.video.writer, "_ENCODERS", (absent,))
    with pytest.raises(VideoError, match="no video encoder"):
        write(tmp_path / "w.mp4", moving_bar(1))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_video_can_be_played(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "v.mp4"
    with pytest.raises(interruption), VideoWriter(path, Fraction(25), (48, 64)) as writer:
        for i, image in enumerate(moving_bar(50)):
            writer.write(image)
            if i == 29:
                raise interruption
    with open_video(path) as reader:
        assert len(list(reader)) == 30
    assert list(tmp_path.iterdir()) == [path]


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"older")
    with VideoWriter(path, Fraction(25), (48, 64)) as writer:
        writer.write(moving_bar(1)[0])
        assert path.read_bytes() == b"older"
    assert path.stat().st_size > 500
    writer.close()


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", Fraction(25), (48, 64)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name in \.mkv, \.mov, \.mp4"):
        VideoWriter(tmp_path / "v.gif", Fraction(25), (48, 64))
    with pytest.raises(UsageError, match="must be positive"):
        VideoWriter(tmp_path / "v.mp4", Fraction(0), (48, 64))
    with pytest.raises(VideoError, match="cannot be written; found No such file"):
        VideoWriter(tmp_path / "no" / "v.mp4", Fraction(25), (48, 64))
    with (
        VideoWriter(tmp_path / "v.mp4", Fraction(25), (48, 64)) as writer,
        pytest.raises(VideoError, match=r"found float64 \(48, 64, 3\)"),
    ):
        writer.write(np.zeros((48, 64, 3)))
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_thread_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: VideoWriter, packets: object) -> None:
        raise av.error.FFmpegError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_mux", full)
    before = threading.active_count()
    with (
        pytest.raises(VideoError, match="No space left"),
        VideoWriter(tmp_path / "v.mp4", Fraction(25), (48, 64)) as writer,
    ):
        for image in moving_bar(100):
            writer.write(image)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_labels_are_indexed_png_with_the_palette(tmp_path: Path) -> None:
    table = classes("cityscapes")
    maps = [np.random.default_rng(i).integers(0, 19, (5 + i, 7), np.uint8) for i in range(3)]
    with LabelWriter(tmp_path / "labels", table.palette) as writer:
        writer.write(maps[0], "street_1")
        writer.write(maps[1], "street_2.left")
        writer.write(maps[2])
    names = sorted(entry.name for entry in (tmp_path / "labels").iterdir())
    assert names == ["000002.png", "street_1.png", "street_2.left.png"]
    for name, labels in zip(("street_1", "street_2.left", "000002"), maps, strict=True):
        with Image.open(tmp_path / "labels" / f"{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), labels)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), table.colours()[labels])


def test_labels_keep_all_256_values(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with LabelWriter(tmp_path, [(0, 0, 0)]) as writer:
        writer.write(labels, "x")
    with Image.open(tmp_path / "x.png") as image:
        np.testing.assert_array_equal(np.asarray(image), labels)


def test_label_names_cannot_leave_the_folder_or_collide(tmp_path: Path) -> None:
    labels = np.zeros((2, 2), np.uint8)
    with LabelWriter(tmp_path / "labels", [(0, 0, 0)]) as writer:
        for name in ("../x", "a/b", "..", "a\\b", "a\0"):
            with pytest.raises(VideoError, match="not a file name"):
                writer.write(labels, name)
        writer.write(labels, "x")
        with pytest.raises(VideoError, match="two frames of this name; found x"):
            writer.write(labels, "x")
        with pytest.raises(VideoError, match=r"found int64 \(2, 2\); expected uint8"):
            writer.write(labels.astype(np.int64), "y")
    assert [p.name for p in tmp_path.rglob("*")] == ["labels", "x.png"]


def test_labels_into_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file")
    with pytest.raises(VideoError, match="cannot be made a folder"):
        LabelWriter(tmp_path / "labels", [(0, 0, 0)])
