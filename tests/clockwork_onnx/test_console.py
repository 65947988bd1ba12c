from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from clockwork_onnx.console import progress

SCRIPT = """
import sys, time
from clockwork_onnx.console import progress
for i in progress(range(30), {total}, description="street [x]", quiet={quiet}):
    time.sleep(0.01)
    if i == 20:
        print("frame 20 [bold] is damaged", file=sys.stderr)
"""


def on_a_terminal(total: int | None, quiet: bool) -> str:
    if not hasattr(os, "openpty"):
        pytest.skip("needs a system with pseudo-terminals")
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(total=total, quiet=quiet)],
        stderr=slave,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # what Linux says when the other side is closed
                break
            if not part:
                break
            output += part
    os.close(master)
    assert process.returncode == 0
    return output.decode()


def test_a_terminal_shows_frames_rate_and_what_is_printed() -> None:
    output = on_a_terminal(30, quiet=False)
    assert "street [x]" in output
    assert "30 of 30 frames" in output
    assert "frames/s" in output
    assert "frame 20 [bold] is damaged" in output


def test_an_unknown_total_counts_on() -> None:
    output = on_a_terminal(None, quiet=False)
    assert "30 frames" in output and " of " not in output


def test_quiet_draws_nothing() -> None:
    assert on_a_terminal(30, quiet=True).strip() == "frame 20 [bold] is damaged"


def test_no_terminal_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress("abc", 3, description="street")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_the_bars_thread_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    before = set(threading.enumerate())
    with closing(progress(range(10), 10)) as items:
        next(items)
        started = set(threading.enumerate()) - before
        assert started
    for thread in started:
        thread.join(2)  # rich only tells it to stop
        assert not thread.is_alive()
