from __future__ import annotations

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

import runtime.video.images
import runtime.video.streams
from runtime.video.frames import Problem
from runtime.video.images import natural_key, read_image
from runtime.video.reader import open_video
from runtime.video.threads import prefetch
from tests.support.shared_data import shared
from tests.support.video_files import damage_packet, moving_bar, write_video
from weights.errors import UsageError, VideoError

IMAGES = moving_bar(12)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(
        tmp_path_factory.mktemp("clip") / "clip.mp4", IMAGES, fps=Fraction(30000, 1001), crf="12"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in (1, 2, 10, 20):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame1.png").write_bytes(b"\0\5\26\7")
    return tmp_path


def test_video_file_gives_every_frame_with_exact_times(clip: Path) -> None:
    with open_video(clip) as reader:
        assert (reader.name, reader.size, reader.fps) == ("clip", (48, 64), Fraction(30000, 1001))
        assert reader.frame_count == 12
        frames = list(reader)
    assert [f.index for f in frames] == list(range(12))
    assert [f.time for f in frames] == [Fraction(1001 * i, 30000) for i in range(12)]
    assert [f.name for f in frames[:2]] == ["000000", "000001"]
    for frame, image in zip(frames, IMAGES, strict=True):
        assert frame.image.dtype == np.uint8 and frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.astype(int) - image).mean() < 6  # lossy, with halved colour resolution
    assert reader.problems == []


def test_start_stride_and_maximum(clip: Path) -> None:
    with open_video(clip, start=2, stride=3, max_frames=3) as reader:
        assert reader.fps == Fraction(10000, 1001)
        assert reader.frame_count == 3
        frames = list(reader)
    assert [f.index for f in frames] == [2, 5, 8]
    assert frames[0].time == Fraction(2 * 1001, 30000)
    with open_video(clip, start=1, stride=5) as reader:
        assert reader.frame_count == len(list(reader)) == 3


def test_variable_frame_rate_keeps_the_real_times(tmp_path: Path) -> None:
    times = [Fraction(n, 1000) for n in (0, 40, 50, 250, 251, 900)]
    path = write_video(tmp_path / "v.mkv", IMAGES[:6], times=times)
    with open_video(path) as reader:
        assert [f.time for f in reader] == times


@pytest.mark.parametrize("name", ["odd.mkv", "odd.avi"])
def test_odd_sizes(tmp_path: Path, name: str) -> None:
    images = [image[:47, :61] for image in IMAGES[:4]]
    path = write_video(tmp_path / name, images, codec="ffv1", pix_fmt="bgr0")
    with open_video(path) as reader:
        assert reader.size == (47, 61)
        assert reader.frame_count == 4
        for frame, image in zip(reader, images, strict=True):
            np.testing.assert_array_equal(frame.image, image)


def test_rotation_is_undone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4", IMAGES[:3], crf="12")
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0: times, track, duration; layer and volume
    quarter_turn = np.array([0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30], ">i4")
    data[matrix : matrix + 36] = quarter_turn.tobytes()
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.size == (64, 48)
        first = next(reader).image
    clockwise = np.rot90(IMAGES[0], -1)
    assert np.abs(first.astype(int) - clockwise).mean() < 6


def test_folder_is_read_in_natural_order(folder: Path) -> None:
    with open_video(folder) as reader:
        assert (reader.fps, reader.frame_count, reader.size) == (None, 4, (6, 8))
        assert reader.name == folder.name
        frames = list(reader)
    assert [f.name for f in frames] == ["frame1", "frame2", "frame10", "frame20"]
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 2, 10, 20]
    assert [f.time for f in frames] == [None] * 4


def test_glob_list_and_single_image(folder: Path) -> None:
    with open_video(str(folder / "frame1*.png")) as reader:
        assert [f.name for f in reader] == ["frame1", "frame10"]
    with open_video([folder / "frame20.png", folder / "frame1.png"]) as reader:
        assert [f.name for f in reader] == ["frame20", "frame1"]
    with open_video(folder / "frame2.png") as reader:
        assert reader.name == "frame2"
        assert [f.name for f in reader] == ["frame2"]


def test_equal_stems_get_distinct_names(tmp_path: Path) -> None:
    for camera in ("left", "right"):
        (tmp_path / camera).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / camera / "a.png")
    with open_video(str(tmp_path / "*" / "a.png")) as reader:
        assert [f.name for f in reader] == ["000000_a", "000001_a"]


def test_images_may_change_size(tmp_path: Path) -> None:
    for i, size in enumerate([(8, 6), (5, 7)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    with open_video(tmp_path) as reader:
        assert reader.size == (6, 8)
        assert [f.image.shape for f in reader] == [(6, 8, 3), (7, 5, 3)]


def test_natural_key_compares_numbers_as_numbers() -> None:
    names = ["b1", "a10", "a2", "A1", "a02", "10", "9", "a", "a2b10", "a2b9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "A1", "a02", "a2", "a2b9", "a2b10", "a10", "b1"]


def test_image_kinds_become_rgb(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = np.repeat(ramp[:, :, None], 3, axis=2)
    path = tmp_path / "x.png"

    Image.fromarray(ramp).save(path)
    np.testing.assert_array_equal(read_image(path), grey)

    Image.fromarray(ramp.astype(np.uint16) * 256 + 255).save(path)
    np.testing.assert_array_equal(read_image(path), grey)

    indexed = Image.fromarray(ramp % 3).convert("P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    indexed.save(path)
    np.testing.assert_array_equal(
        read_image(path), np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[ramp % 3]
    )

    Image.fromarray(np.dstack([grey, ramp])).save(path)
    np.testing.assert_array_equal(read_image(path), grey)

    Image.fromarray(ramp > 127).save(path)
    np.testing.assert_array_equal(read_image(path), np.where(grey > 127, 255, 0))


def test_16_bit_rgb_keeps_the_high_byte(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="writes the 16-bit RGB file")
    rgb = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.png"), rgb[:, :, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), rgb >> 8)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.rot90(pixels, -1))


def test_corrupt_image_is_reported_and_left_out(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(
        folder / "frame2.png"
    )
    whole = (folder / "frame2.png").read_bytes()
    (folder / "frame2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "frame10.png").write_bytes(b"<html>moved</html>")
    told = []
    with open_video(folder, on_problem=told.append) as reader:
        assert [f.name for f in reader] == ["frame1", "frame20"]
    assert told == reader.problems
    assert [(p.index, p.name) for p in told] == [(1, "frame2"), (2, "frame10")]
    assert "damaged image" in told[0].text
    assert "found an HTML page" in told[1].text
    assert str(told[0]).startswith("frame 1 (frame2) is left out: ")


@pytest.mark.parametrize(("intact", "message"), [(0.0, "cannot be decoded"), (0.5, "damaged picture")])
def test_corrupt_video_frame_is_reported_and_left_out(tmp_path: Path, intact: float, message: str) -> None:
    path = write_video(tmp_path / "c.mp4", moving_bar(30), g="5", bf="0")
    damage_packet(path, 12, intact)
    with open_video(path) as reader:
        frames = list(reader)
    assert len(reader.problems) == 1
    assert message in reader.problems[0].text
    assert len(frames) == 29
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(30) if i != 12]
    assert frames[-1].index == 29


def test_truncated_video_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "c.mkv", moving_bar(60), g="5", bf="0")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with open_video(path) as reader:
        frames = list(reader)
    assert 15 < len(frames) < 45
    assert [f.index for f in frames] == list(range(len(frames)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"<!DOCTYPE html><html></html>", "not a video that can be read; found an HTML page"),
        ("a.mp4", b"", "found an empty file"),
        ("a.mp4", bytes(range(100)), "found bytes that start with 00 01 02"),
        ("a.txt", b"one line\n" * 200, "found a text file"),
        ("a.mp4", b"ffconcat version 1.0\nfile 'clip.mp4'\n", "found a text file"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nclip.mp4\n", "found a text file"),
        ("a.png", b"<html></html>", "no frame of this source can be decoded; found 1 unreadable"),
    ],
)
def test_what_is_not_a_video(tmp_path: Path, clip: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())  # a playlist beside it must not play it
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message) as caught:
        open_video(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file or folder"):
        open_video(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match=r"no image in this folder; found 0 other entries"):
        open_video(tmp_path)
    with pytest.raises(VideoError, match="no image matches this pattern; found nothing"):
        open_video(str(tmp_path / "*.png"))
    with pytest.raises(VideoError, match="empty list"):
        open_video([])


def test_sound_without_picture(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no video in this file; found audio"):
        open_video(tmp_path / "s.mp4")


def test_start_past_the_end(clip: Path, folder: Path) -> None:
    for source in (clip, folder):
        with pytest.raises(VideoError, match="ends before the first frame asked for; found start 500"):
            open_video(source, start=500)


def test_options_out_of_range(clip: Path) -> None:
    for wrong in ({"start": -1}, {"stride": 0}, {"max_frames": 0}, {"live": "sometimes"}):
        with pytest.raises(UsageError):
            open_video(clip, **wrong)  # type: ignore[arg-type]


def test_size_is_checked_before_decoding(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runtime.video.images, runtime.video.streams):
        monkeypatch.setattr(module, "MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(VideoError, match="video frames too large; found 64 x 48"):
        open_video(clip)
    Image.new("RGB", (64, 48)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(VideoError, match="image too large; found 64 x 48"):
        read_image(tmp_path / "x.png")


def test_image_that_claims_a_huge_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pgm"
    path.write_bytes(b"P5 100000 100000 255\n" + bytes(100))
    with pytest.raises(VideoError, match="image too large"):
        read_image(path)


def test_address_without_server_hides_the_password() -> None:
    with pytest.raises(
        VideoError, match=r"rtsp://127\.0\.0\.1:9/cam: this address cannot be opened"
    ) as caught:
        open_video("rtsp://user:secret@127.0.0.1:9/cam")
    assert "secret" not in str(caught.value)


def test_camera_that_is_not_there() -> None:
    with pytest.raises(VideoError, match="this camera cannot be opened"):
        open_video("camera:99")


@pytest.fixture
def server(clip: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_http_address(server: str) -> None:
    with open_video(f"{server}/clip.mp4") as reader:
        assert reader.name == "clip"
        assert len(list(reader)) == 12


def test_remote_playlist_cannot_open_local_files(server: str, clip: Path) -> None:
    (clip.parent / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(VideoError):
        open_video(f"{server}/list.m3u8")


def test_live_drop_hands_out_recent_frames_at_the_sources_pace(clip: Path) -> None:
    began = time.monotonic()
    indices = []
    with open_video(clip, live="drop") as reader:
        for frame in reader:
            indices.append(frame.index)
            time.sleep(0.12)
    assert indices[0] == 0 and indices[-1] == 11
    assert indices == sorted(set(indices))
    assert len(indices) < 12
    assert time.monotonic() - began > 11 / 30


def test_live_queue_keeps_every_frame(clip: Path) -> None:
    with open_video(clip, live="queue") as reader:
        assert [f.index for f in reader] == list(range(12))


def test_live_needs_frame_times(folder: Path) -> None:
    with pytest.raises(UsageError, match="without frame times"):
        open_video(folder, live="drop")


def test_nothing_is_left_open(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video")

    def use_all_ways() -> None:
        with open_video(clip) as reader:
            for _ in prefetch(reader):
                break
        with open_video(clip, live="queue") as reader:
            next(reader)
        with pytest.raises(VideoError):
            open_video(tmp_path / "no.mp4")
        with pytest.raises(RuntimeError), open_video(clip) as reader:
            raise RuntimeError

    use_all_ways()  # the first use may open files that stay open, such as /dev/urandom
    threads = threading.active_count()
    process = [Path("/proc/self/fd"), Path("/proc/self/task")]
    counts = [len(list(what.iterdir())) for what in process if what.exists()]
    for _ in range(3):
        use_all_ways()
    assert threading.active_count() == threads
    assert [len(list(what.iterdir())) for what in process if what.exists()] == counts


def test_a_closed_reader_is_empty(clip: Path) -> None:
    reader = open_video(clip)
    reader.close()
    reader.close()
    assert list(reader) == []


def test_real_frames() -> None:
    with open_video(shared("video/camvid-val/frames"), max_frames=3) as reader:
        assert (reader.size, reader.frame_count) == ((360, 480), 3)
        assert [f.name for f in reader] == ["0016E5_07959", "0016E5_07961", "0016E5_07963"]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.mp4", "libx264")]
)
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
def test_a_whole_file_has_no_shortfall(tmp_path: Path, name: str, codec: str, rate: Fraction) -> None:
    path = write_video(tmp_path / name, moving_bar(40), codec=codec, fps=rate)
    with open_video(path) as reader:
        assert len(list(reader)) == 40
        assert (reader.problems, reader.left_out) == ([], 0)
    with open_video(path, max_frames=10) as reader:
        assert len(list(reader)) == 10 and reader.left_out == 0
    with open_video(path, start=3, stride=4) as reader:
        assert len(list(reader)) == 10 and reader.left_out == 0


def test_frames_that_a_container_states_and_does_not_have_are_a_problem(tmp_path: Path) -> None:
    """A damaged block ends a Matroska file for FFmpeg without an error; a cut file just ends."""
    damaged = write_video(tmp_path / "damaged.mkv", moving_bar(32))
    damage_packet(damaged, 6)
    cut = write_video(tmp_path / "cut.webm", moving_bar(32), codec="libvpx")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for path in (damaged, cut):
        told: list[Problem] = []
        with open_video(path, on_problem=told.append) as reader:
            count = len(list(reader))
        assert 1 <= count < 32
        (problem,) = reader.problems
        assert told == [problem]
        assert str(problem) == f"the source ends after {count} frames, though its container states 1.28 s"
        assert reader.left_out == problem.frames == 32 - count


def test_a_video_on_standard_input(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkv = clip.with_suffix(".mkv")
    write_video(mkv, IMAGES)
    with mkv.open("rb") as file:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))
        with open_video("-") as reader:
            assert len(list(reader)) == 12


def test_a_number_is_a_camera_unless_there_is_such_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VideoError, match="this camera cannot be opened"):
        open_video("97")
    (folder / "97").mkdir()
    Image.new("RGB", (8, 6)).save(folder / "97" / "a.png")
    monkeypatch.chdir(folder)
    with open_video("97") as reader:
        assert [frame.name for frame in reader] == ["a"]
