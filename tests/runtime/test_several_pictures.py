"""Players of bundles that take several pictures per frame: each reaches its input, whatever the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from runtime.measure.bench import bench
from runtime.measure.oracle import oracle_labels
from runtime.sessions.device import choose_device
from runtime.video.frames import Frame
from staged_onnx import read_bundle
from tests.support.ported import run
from tests.support.several_pictures import net_inputs, pictures, thin_bundle
from weights.errors import VideoError

Made = tuple[str, Any, Any, Path]
FRAMES = 6


@pytest.fixture(scope="module", params=["hha", "depth"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Which picture comes with colour; the net, its weights, and its bundle."""
    net, blobs, bundle = thin_bundle(tmp_path_factory.mktemp("several"), request.param, kind="map")
    return request.param, net, blobs, bundle.path


def scores(net: Any, blobs: Any, frame: dict[str, np.ndarray]) -> np.ndarray:
    """What the plain model makes of inputs prepared in NumPy."""
    return run(net, net_inputs(frame), blobs)["score"][0]


def test_equals_the_plain_model_on_inputs_made_by_hand(made: Made) -> None:
    which, net, blobs, path = made
    frames = pictures(which, 3) + pictures(which, 1, (73, 64))
    with runtime.open(path, device="cpu", schedule="oracle") as player:
        for frame, step in zip(frames, player.play(frames), strict=True):
            expected = scores(net, blobs, frame)
            np.testing.assert_allclose(step.output, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("schedule", ["oracle", "skip:2", "alternating", "pipeline:2", "rates:2,1"])
def test_schedules_read_each_picture_of_the_frame_they_say(made: Made, schedule: str) -> None:
    """Provenance of the pictures is that of the frame, also where stages have threads of their own."""
    which, _, _, path = made
    frames = pictures(which, FRAMES)
    found = []
    for more in ({}, {"overlap": True, "ahead": 2}):
        with runtime.open(path, device="cpu", schedule=schedule, **more) as player:  # type: ignore[arg-type]
            found.append(list(player.play(frames)))
    for step, other in zip(*found, strict=True):
        np.testing.assert_array_equal(step.output, other.output)
        assert step.provenance == other.provenance
        for reads in step.provenance.values():
            assert all(reads[name] == step.index for name in ("frame", which) if name in reads)


def test_each_picture_matters_to_the_stages_that_read_it(made: Made) -> None:
    which, _, _, path = made
    one, other = pictures(which, 2)
    mixed = {"frame": one["frame"], which: other[which]}
    with runtime.open(path, device="cpu", schedule="oracle") as player:
        first, second, third = (step.output for step in player.play([one, mixed, other]))
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


@pytest.mark.parametrize("schedule", ["warp:2", "between:2", "adaptive:0.1", "pixels:0.1"])
def test_what_follows_the_picture_that_is_shown(tmp_path: Path, schedule: str) -> None:
    """Flow, blending between key frames and clocks go by the first picture; the others come with it."""
    _, _, bundle = thin_bundle(tmp_path, "hha")
    frames = [
        Frame(i, None, p["frame"], f"{i}", more={"hha": p["hha"]}) for i, p in enumerate(pictures("hha", 5))
    ]
    with runtime.open(bundle.path, device="cpu", schedule=schedule) as player:
        steps = list(player.play(frames))
        oracle = oracle_labels(player, frames)
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    for step, labels in zip(steps, oracle, strict=True):
        if set(step.fired) >= {"stage1", "stage2"}:
            np.testing.assert_array_equal(step.labels, labels)


def test_a_frame_that_waits_keeps_its_pictures(tmp_path: Path) -> None:
    """With `between` a frame is computed when later ones have come: its owner may use its memory again."""
    _, _, bundle = thin_bundle(tmp_path, "hha")
    frames = pictures("hha", 5)
    with runtime.open(bundle.path, device="cpu", schedule="between:2") as player:
        expected = [step.labels for step in player.play(frames)]
        buffer = {name: np.empty_like(picture) for name, picture in frames[0].items()}

        def reused() -> Any:
            for frame in frames:
                for name, picture in frame.items():
                    buffer[name][:] = picture
                yield buffer

        for step, labels in zip(player.play(reused()), expected, strict=True):
            np.testing.assert_array_equal(step.labels, labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("hha"), 'without its picture "hha".*frame, hha'),
        (lambda f: f.pop("frame"), "not a frame"),
        (lambda f: f.update(hha=f["hha"][:-1]), '"hha" does not fit the frame.*60, 70, 3'),
        (lambda f: f.update(hha=f["hha"].astype(np.uint16)), "uint16"),
        (lambda f: f.update(hha=f["hha"][:, :, 0]), "does not fit"),
        (lambda f: f.update(hha="picture"), "does not fit"),
    ],
)
def test_pictures_that_do_not_fit(tmp_path: Path, change: Any, said: str) -> None:
    _, _, bundle = thin_bundle(tmp_path, "hha")
    (frame,) = pictures("hha")
    change(frame)
    with runtime.open(bundle.path, device="cpu") as player, pytest.raises(VideoError, match=said) as caught:
        list(player.play([frame]))
    assert caught.value.frame == 0


def test_depth_without_an_axis_of_channels(made: Made) -> None:
    which, _, _, path = made
    if which != "depth":
        return
    (frame,) = pictures(which)
    flat = {**frame, which: frame[which][:, :, 0]}
    with runtime.open(path, device="cpu") as player:
        np.testing.assert_array_equal(player.step(frame).output, player.step(flat).output)


def test_bench_makes_up_every_picture(made: Made) -> None:
    found = bench(read_bundle(made[3]), choose_device("cpu"), ("skip:2",), count=2, rounds=1, warm_up=1)
    assert found.whole is not None and len(found.schedules) == 2
