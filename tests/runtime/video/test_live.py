"""Live sources, from a paced HTTP camera on the loopback address."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from runtime.video import live
from runtime.video.frames import Problem
from runtime.video.reader import open_video
from weights.errors import VideoError

PACE = 0.02  # seconds between two pictures


class Camera:
    """Sends pictures of a rising grey level at a steady pace; breaks off after `most` per connection."""

    def __init__(self, most: int | None = None, connections: int | None = None) -> None:
        self.sent = 0
        self.connections = 0
        self.most, self.allowed = most, connections
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if camera.allowed is not None and camera.connections >= camera.allowed:
                    self.send_error(503)
                    return
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                start = camera.sent
                while camera.most is None or camera.sent - start < camera.most:
                    try:
                        self.wfile.write(picture(camera.sent))
                    except OSError:
                        return
                    camera.sent += 1
                    time.sleep(PACE)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://user:secret@127.0.0.1:{self._server.server_port}/stream"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((32, 48, 3), number % 250, np.uint8)).save(out, "jpeg")
    data = out.getvalue()
    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def number_of(image: np.ndarray) -> int:
    return round(float(image.mean()))


@pytest.fixture
def cameras() -> Iterator[list[Camera]]:
    opened: list[Camera] = []
    yield opened
    for camera in opened:
        camera.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(live, "PATIENCE", 1.0)


def test_a_slow_loop_sees_recent_pictures_and_the_rest_is_counted(cameras: list[Camera]) -> None:
    cameras.append(camera := Camera())
    with open_video(camera.address, max_frames=12) as reader:
        assert reader.live is not None and reader.frame_count == 12
        assert reader.address == camera.address.replace("user:secret@", "")
        late, times = [], []
        for frame in reader:
            late.append(camera.sent - number_of(frame.image))
            times.append(frame.time)
            time.sleep(6 * PACE)
        counts = reader.live
    assert len(late) == 12  # dropped frames do not count
    assert max(late[-4:]) < 40 and late[-1] <= late[2] + 12  # it does not fall further and further behind
    assert counts.dropped >= 12
    assert 0 <= counts.received - counts.dropped - counts.taken <= 2
    assert counts.reconnections == 0
    assert counts.to_json()["dropped"] == counts.dropped
    assert all(a is not None and b is not None and a < b for a, b in pairwise(times))


def test_a_queue_hands_out_every_picture(cameras: list[Camera]) -> None:
    cameras.append(camera := Camera())
    with open_video(camera.address, live="queue", max_frames=20) as reader:
        numbers = [number_of(frame.image) for frame in reader]
        assert reader.live is not None and reader.live.dropped == 0
    assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_a_stream_that_breaks_off_is_opened_again(cameras: list[Camera]) -> None:
    cameras.append(camera := Camera(most=15, connections=3))
    problems: list[Problem] = []
    with open_video(camera.address, live="queue", on_problem=problems.append) as reader:
        frames = list(reader)
        counts = reader.live
    assert counts is not None and counts.reconnections == 2 and camera.connections == 3
    starts = [frame for frame in frames if frame.shot_start]
    assert len(starts) == 2  # what was computed before a break is no longer of use
    indices = [frame.index for frame in frames]
    assert indices == list(range(len(frames))) and len(frames) >= 36
    times = [frame.time for frame in frames if frame.time is not None]
    assert times == sorted(times)
    # the camera then refused, and was given up after a while
    told = [problem.text.partition(":")[0] for problem in problems]
    assert told[-1] == "not reachable"
    assert set(told) <= {"not reachable", *(f"the stream broke off after {n} frames" for n in (15, 30, 45))}
    assert reader.left_out == 0  # nobody knows how many there would have been
    assert "secret" not in " ".join(map(str, problems))


def test_closing_does_not_wait_for_a_pause(cameras: list[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(live, "PATIENCE", 600.0)
    cameras.append(camera := Camera(most=8, connections=1))
    reader = open_video(camera.address)
    next(reader)
    time.sleep(12 * PACE)
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 20


def test_an_address_that_never_answered_is_an_error_at_once(cameras: list[Camera]) -> None:
    cameras.append(camera := Camera(connections=0))
    with pytest.raises(VideoError, match="cannot be opened") as caught:
        open_video(camera.address)
    assert "secret" not in str(caught.value)
