from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from runtime.progress import ProgressBar

SCRIPT = """
import time
from runtime.progress import ProgressBar
with ProgressBar({total}, "street [x]", quiet={quiet}) as bar:
    for i in range(30):
        time.sleep(0.01)
        bar.advance()
        if i == 20:
            bar.note("frame 20 [bold] is damaged")
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


def test_a_terminal_shows_frames_rate_and_notes() -> None:
    output = on_a_terminal(30, quiet=False)
    assert "street [x]" in output
    assert "30 of 30 frames" in output
    assert "frames/s" in output
    assert "frame 20 [bold] is damaged" in output


def test_an_unknown_total_counts_on() -> None:
    output = on_a_terminal(None, quiet=False)
    assert "30 frames" in output and " of " not in output


def test_quiet_shows_the_notes_alone() -> None:
    assert on_a_terminal(30, quiet=True).strip() == "frame 20 [bold] is damaged"


def test_no_terminal_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(10, "street") as bar:
        bar.advance()
        bar.note("one problem")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "one problem\n")


def test_the_bars_thread_ends_with_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError), ProgressBar(10):
        raise RuntimeError
    assert threading.active_count() == before
