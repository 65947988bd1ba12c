"""What `run` and `calibrate` say of schedules that wait, and of flow from the stream."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clockwork_onnx.cli import run
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from runtime.report.step_log import read_steps
from tests.support.video_files import write_video


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(embedded_bundle(tmp_path_factory.mktemp("shapes") / "shapes.staged").path)


def video(path: Path, **options: str) -> str:
    rough = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    large = np.kron(rough, np.ones((4, 4, 1), np.uint8))
    frames = [large[40 - 2 * t : 104 - 2 * t, 60 - 3 * t : 156 - 3 * t] for t in range(7)]
    return str(write_video(path, frames, **options))


def test_the_delay_is_logged_and_summed_up(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = video(tmp_path / "video.mp4")
    command = ["run", bundle, file, "--schedule", "between:3", "--device", "cpu", "-o", str(tmp_path / "out")]
    assert run([*command, "--log", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["longest_delay"] == 2 and found["mean_delay"] == pytest.approx(6 / 7)
    assert [step.delay for step in read_steps(tmp_path / "out" / "steps.jsonl")] == [0, 2, 1, 0, 2, 1, 0]
    assert run(["run", bundle, file, "--schedule", "between:3", "--device", "cpu", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "labels waited for the next key frame: 0.9 frames on average, 2 at most" in shown
    assert run(["run", bundle, file, "--schedule", "warp:3", "--device", "cpu", "--quiet"]) == 0
    assert "waited" not in capsys.readouterr().out


def test_a_live_source_is_warned_of_labels_that_come_late(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = video(tmp_path / "video.mp4")
    for schedule, late in (("between:3", True), ("warp:3", False)):
        assert run(["run", bundle, file, "--schedule", schedule, "--live", "queue", "--device", "cpu"]) == 0
        assert ("come up to 3 frames late" in capsys.readouterr().err) == late


def test_a_run_says_from_where_its_flow_came(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = video(tmp_path / "one.mp4", bf="0", refs="1", g="100", sc_threshold="0")
    usual = video(tmp_path / "usual.mp4")
    command = ["run", bundle, one, "--schedule", "warp:7@flow=codec", "--device", "cpu", "--quiet"]
    assert run(command) == 0
    assert "flow of 6 frames from the stream's motion vectors\n" in capsys.readouterr().out
    command[2] = usual
    assert run(command) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "flow of 0 frames from the stream's motion vectors, of 6 estimated" in shown
    assert "reference frames (6)" in shown


def test_the_interval_that_agrees_with_the_oracle(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = video(tmp_path / "video.mp4")
    command = ["calibrate", bundle, file, "--interval", "skip", "--agreement", "0.01", "--device", "cpu"]
    assert run([*command, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["schedule"] == "skip:16"
    assert run([*command[:-4], "--agreement", "1", "--device", "cpu", "--quiet"]) == 0
    said = capsys.readouterr()
    assert "schedule skip:2" in said.out and "no interval agrees on 100.0%" in said.err
