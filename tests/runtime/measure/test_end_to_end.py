"""Whole runs are timed by part, and every schedule runs the whole video."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from clockwork_onnx.commands.bench import command
from runtime.measure.end_to_end import PARTS, whole_runs
from runtime.sessions.device import choose_device
from staged_onnx import Bundle, read_bundle
from tests.support.toy_bundles import chain
from weights.errors import ClockworkError, UsageError

CPU = choose_device("cpu", threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(chain(tmp_path_factory.mktemp("toy") / "two.staged", 2, size=(24, 32)))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("frames")
    picture = np.random.default_rng(0).integers(0, 256, (24, 60, 3), np.uint8)
    for t in range(9):
        Image.fromarray(picture[:, 2 * t : 2 * t + 32]).save(folder / f"{t}.png")
    return str(folder)


def test_every_part_of_a_run_is_timed(bundle: Bundle, video: str) -> None:
    runs = whole_runs(bundle, CPU, ["oracle", "warp:3@flow=skimage"], video, rounds=2)
    oracle, warp = runs
    assert [run.schedule for run in runs] == ["oracle", "warp:3@flow=skimage"]
    for run in runs:
        assert run.frames == 9 and tuple(run.ms) == PARTS
        assert run.fps == pytest.approx(run.frames / run.seconds)
        assert run.throughput > 0
        assert all(run.ms[part] > 0 for part in ("decode", "network", "write"))
    assert oracle.ms["flow"] == oracle.ms["warp"] == 0 < min(warp.ms["flow"], warp.ms["warp"])


def test_throughput_is_the_median_of_the_rounds_ratios(
    bundle: Bundle, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle takes 4, 6 and 8 seconds, the other 2, 1 and 4: twice, six times and twice as fast."""
    seconds = iter([4.0, 2.0, 6.0, 1.0, 8.0, 4.0])

    def run(*_: object) -> dict[str, float]:
        return {"seconds": next(seconds), "frames": 10.0, "decode": 0.5}

    monkeypatch.setattr("runtime.measure.end_to_end._run", run)
    oracle, skip = whole_runs(bundle, CPU, ["oracle", "skip:2"], video, rounds=3)
    assert (oracle.throughput, skip.throughput) == (1, 2)
    assert (oracle.frames, oracle.seconds, oracle.fps) == (10, 6, 30 / 18)
    assert skip.fps == 30 / 7 and skip.ms["decode"] == pytest.approx(50)


def test_part_of_a_video(bundle: Bundle, video: str) -> None:
    (run,) = whole_runs(bundle, CPU, ["skip:2"], video, max_frames=4)
    assert run.frames == 4


def test_what_cannot_be_run(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ClockworkError):
        whole_runs(bundle, CPU, ["oracle"], str(tmp_path / "nothing.mp4"))


def test_the_command_prints_the_parts(bundle: Bundle, video: str) -> None:
    options = ["--frames", video, "--count", "2", "--rounds", "1", "--warm-up", "1", "--device", "cpu"]
    arguments = [str(bundle.path), *options, "--schedule", "warp:3@flow=skimage", "--end-to-end"]
    shown = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "decode" in shown.output and "warp:3@flow=skimage" in shown.output
    found = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [run["schedule"] for run in found["end_to_end"]] == ["oracle", "warp:3@flow=skimage"]
    (warp,) = (one for one in found["schedules"] if one["schedule"] != "oracle")
    assert {"flow", "path", "transform"} <= warp["stages"].keys()


def test_end_to_end_needs_a_video(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="which video"):
        CliRunner().invoke(command, [str(bundle.path), "--end-to-end"], catch_exceptions=False)
