"""The interval and the weight that agree with the oracle, against what playing the schedules gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from runtime.measure.calibrate_interval import calibrate_interval
from runtime.video.frames import Frame
from weights.errors import ScheduleError, UsageError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(embedded_bundle(tmp_path_factory.mktemp("shapes") / "shapes.staged").path)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    shot = next(s for s in shapes_data.read(frames=9).shots if not s.name.startswith("static"))
    return [Frame(i, None, s.read_image(), str(i)) for i, s in enumerate(shot.samples)]


def agreement(bundle: Path, frames: list[Frame], schedule: str) -> float:
    with runtime.open(bundle, device="cpu", schedule="oracle", threads=1) as player:
        oracle = [step.labels for step in player.play(frames)]
        player.reset(schedule)
        return float(
            np.mean([np.mean(s.labels == o) for s, o in zip(player.play(frames), oracle, strict=True)])
        )


@pytest.mark.parametrize("kind", ["between", "warp@flow=skimage"])
def test_the_longest_interval_that_agrees(bundle: Path, frames: list[Frame], kind: str) -> None:
    with runtime.open(bundle, device="cpu", threads=1) as player:
        first = calibrate_interval(player, frames, 0.5, kind=kind, intervals=(2, 4), weights=())
        values = [point.agreement for point in first.points]
        assert first.points[0].agreement > first.points[1].agreement
        wanted = (values[0] + values[1]) / 2
        found = calibrate_interval(player, frames, wanted, kind=kind, intervals=(4, 2), weights=(0.5,))
    name, _, options = kind.partition("@")
    options = f"@{options}" if options else ""
    assert first.schedule == f"{name}:4{options}"
    assert found.schedule in (f"{name}:2{options}", f"{name}:2{options}@fuse=0.5")
    assert found.agreement == pytest.approx(agreement(bundle, frames, found.schedule))
    assert (found.frames, found.shots) == (9, 1)
    by_text = {point.schedule: point for point in found.points}
    assert by_text[found.schedule].between == max(p.between for p in found.points if p.interval == 2)
    assert by_text[f"{name}:4{options}"].network == pytest.approx(3 / 9)


def test_no_interval_agrees_that_well(bundle: Path, frames: list[Frame]) -> None:
    with runtime.open(bundle, device="cpu", threads=1) as player:
        found = calibrate_interval(player, frames, 1.0, kind="skip", intervals=(2, 3))
    assert found.schedule == "skip:2" and found.agreement < 1


def test_what_cannot_be_calibrated(bundle: Path, frames: list[Frame]) -> None:
    with runtime.open(bundle, device="cpu", threads=1) as player:
        with pytest.raises(UsageError, match="bad agreement"):
            calibrate_interval(player, frames, 0)
        with pytest.raises(UsageError, match="nothing to calibrate on"):
            calibrate_interval(player, frames[:1])
        with pytest.raises(ScheduleError):
            calibrate_interval(player, frames, kind="nothing")
