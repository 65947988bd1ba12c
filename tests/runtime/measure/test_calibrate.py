"""Thresholds from unlabelled video: the replayed clock against the player itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.measure.calibrate import calibrate, keep_schedule
from staged_onnx import read_bundle
from tests.support.toy_bundles import CLASSES, chain
from weights.errors import ScheduleError, UsageError

SIZE = (6, 8)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain(tmp_path_factory.mktemp("toy") / "two.staged", 2, size=SIZE)


def video(count: int = 60, seed: int = 0) -> list[np.ndarray]:
    """Class maps that change by a random number of positions per frame, slow and fast in turns."""
    rng = np.random.default_rng(seed)
    frame = np.zeros((*SIZE, 3), np.uint8)
    frame[..., 0] = rng.integers(0, CLASSES, SIZE)
    frames = []
    for t in range(count):
        for _ in range(rng.integers(0, 3 if t // 15 % 2 else 9)):
            frame[rng.integers(SIZE[0]), rng.integers(SIZE[1]), 0] = rng.integers(0, CLASSES)
        frames.append(frame.copy())
    return frames


def played_share(bundle: Path, schedule: str, frames: list, **options) -> float:
    with runtime.open(bundle, device="cpu", schedule=schedule, threads=1, **options) as player:
        return sum("stage2" in step.fired for step in player.play(frames)) / len(frames)


@pytest.mark.parametrize("budget", [0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(
    "schedule",
    [
        "adaptive:0",
        "adaptive:0@previous",
        "adaptive:0@strict@min=2@max=12",
        "adaptive:0@blob=v1",
        "pixels:0",
        "confidence:0",
    ],
)
def test_the_share_is_what_the_player_then_does(two: Path, schedule: str, budget: float) -> None:
    frames = video()
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        found = calibrate(player, frames, budget, schedule=schedule)
    assert found.share == played_share(two, found.schedule, frames)
    best = min(abs(point.share - budget) for point in found.curve)
    assert abs(found.share - budget) == best
    if schedule == "adaptive:0" and budget <= 0.5:  # too many frames are exactly alike for 0.8
        assert best <= 0.05


def test_every_point_of_the_curve_is_what_the_player_does(two: Path) -> None:
    frames = video(30, seed=3)
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        found = calibrate(player, frames, 0.3)
        for point in found.curve[::6]:
            player.reset(f"adaptive:{point.theta!r}")
            fired = sum("stage2" in step.fired for step in player.play(frames))
            assert point.share == fired / len(frames), point
    assert found.curve[0].theta == 0 and found.curve[0].share == 1
    assert [p.theta for p in found.curve] == sorted(p.theta for p in found.curve)


def test_the_clocked_stage_is_not_run(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.sessions.session import Session

    runs: list[str] = []
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, binding: (runs.append(self.name), run(self, binding))[1])
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        calibrate(player, video(20), 0.5)
    assert runs.count("stage1") == 20 and runs.count("stage2") == 1


def test_shots_count_as_fired(two: Path) -> None:
    frames = video(20)
    small = [frame[:, :5].copy() for frame in frames]
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        found = calibrate(player, frames + small, 0.05)
    assert found.shots == 2 and found.frames == 40
    assert found.share == played_share(two, found.schedule, frames + small) >= 2 / 40


def test_the_schedule_can_be_kept_in_the_manifest(tmp_path: Path) -> None:
    path = chain(tmp_path / "two.staged", 2, size=SIZE)
    bundle = read_bundle(path)
    before = json.loads((path / "manifest.json").read_text())
    keep_schedule(bundle, "adaptive:0.125")
    after = json.loads((path / "manifest.json").read_text())
    assert after["schedule"] == "adaptive:0.125" and after["stages"] == before["stages"]
    assert runtime.open(path, device="cpu").schedule.text == "adaptive:0.125"
    assert {p.name for p in path.iterdir()} == {"manifest.json", "stage1.onnx", "stage2.onnx", "head.onnx"}
    with pytest.raises(ScheduleError):
        keep_schedule(bundle, "adaptive:x")
    with pytest.raises(ScheduleError, match="names a file"):
        keep_schedule(bundle, "learned:x.onnx")


def test_what_cannot_be_calibrated(two: Path) -> None:
    with runtime.open(two, device="cpu", schedule="oracle") as player:
        with pytest.raises(UsageError, match="bad budget"):
            calibrate(player, video(3), 1.5)
        with pytest.raises(ScheduleError, match="nothing to calibrate"):
            calibrate(player, video(3), 0.5, schedule="alternating")
        with pytest.raises(UsageError, match="no frames"):
            calibrate(player, [], 0.5)
        with pytest.raises(UsageError, match="no two frames of one shot"):
            calibrate(player, video(1), 0.5)


def test_json(two: Path) -> None:
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        found = calibrate(player, video(10), 0.5)
    data = json.loads(json.dumps(found.to_json()))
    assert data["schedule"] == found.schedule and data["curve"][0] == {"theta": 0.0, "share": 1.0}


@pytest.mark.parametrize("schedule", ["adaptive:0", "pixels:0", "adaptive:0@previous"])
def test_a_still_video_is_refused(two: Path, schedule: str) -> None:
    player = runtime.open(two, device="cpu", schedule="oracle", threads=1)
    with player, pytest.raises(UsageError, match="0 on every frame: a still video"):
        calibrate(player, video(1) * 8, schedule=schedule)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("schedule", ["confidence:0", "adaptive:0@blob=v1"])
def test_a_signal_that_is_no_number_is_refused(
    two: Path, schedule: str, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.measure.calibrate._Recording._measured", lambda *_: bad)
    player = runtime.open(two, device="cpu", schedule="oracle", threads=1)
    with player, pytest.raises(UsageError, match=f"frame 1: the signal is not a number.*found {bad}"):
        calibrate(player, video(8), schedule=schedule)


def test_numbers_that_grow_with_the_age_of_the_reference_are_covered(two: Path) -> None:
    """A steady drift: against the first frame of the shot the number is many times that of neighbours."""
    frame = np.zeros((*SIZE, 3), np.uint8)
    frames = [frame.copy()]
    for position in range(SIZE[0] * SIZE[1] - 1):
        frame[position // SIZE[1], position % SIZE[1], 0] = 1
        frames.append(frame.copy())
    with runtime.open(two, device="cpu", schedule="oracle", threads=1) as player:
        found = calibrate(player, frames, 1 / len(frames))
    assert found.share == played_share(two, found.schedule, frames) == 1 / len(frames)
