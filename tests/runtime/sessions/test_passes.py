"""Passes on stages as they are played: no value of the cache and no label differs, whatever moves them."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
import staged_onnx
from caffe_port import random_weights
from runtime.measure.bench import moving_frames
from runtime.player import Player
from runtime.sessions.device import choose_device
from runtime.sessions.stage_sessions import StageSessions
from staged_onnx import Bundle, Preprocessing, read_bundle
from tests.support.small_nets import thin_fcn8s
from weights.errors import UsageError

SIZE = (200, 232)


@pytest.fixture(scope="module")
def fcn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("fcn")
    net = thin_fcn8s(folder)
    plan = staged_onnx.plan(net, ["pool3", "pool4", "upscore2"])
    how = Preprocessing(None, "bgr", (104.0, 117.0, 123.0))
    staged_onnx.export(net, random_weights(net, seed=3), plan, folder / "fcn.staged", preprocessing=how)
    return read_bundle(folder / "fcn.staged")


def played(bundle: Bundle, passes: str, schedule: str) -> list[dict[str, np.ndarray]]:
    """For each frame the labels and every value of the cache."""
    found = []
    with runtime.open(bundle.path, "cpu", schedule, threads=1, passes=passes) as player:
        for step in player.play(moving_frames(SIZE, 4)):
            values = {
                name: np.array(entry.buffers[entry.current.buffer].numpy())
                for name, entry in player.cache.entries.items()
                if entry.current is not None
            }
            found.append({**values, "labels": step.labels})
    return found


@pytest.mark.parametrize(
    "schedule", ["oracle", "alternating", "pipeline:2", "warp:2", "warp-feature:2", "correct:2"]
)
def test_live_region_changes_no_bit(fcn: Bundle, schedule: str) -> None:
    plain, narrowed = (played(fcn, passes, schedule) for passes in ("none", "live-region"))

    for before, after in zip(plain, narrowed, strict=True):
        assert before.keys() == after.keys()
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_live_region_goes_through_the_stages(fcn: Bundle) -> None:
    device = choose_device("cpu", threads=1, passes="live-region")
    sessions = StageSessions(fcn, device, SIZE)
    saved = {p.spec.name: p.session.prepared.savings[0].macs for p in (*sessions.stages, sessions.head)}
    sessions.close()

    assert saved["stage1"][1] < 0.75 * saved["stage1"][0]
    assert saved["stage2"][1] < 0.9 * saved["stage2"][0]
    assert saved["head"][1] < saved["head"][0]
    assert {"pool3", "score_pool3"} <= sessions.stages[1].assumed.keys() | sessions.head.assumed.keys()


def test_nothing_is_taken_for_granted_of_what_is_moved(fcn: Bundle) -> None:
    """A moved map brings what a frame has changed to where no frame could."""
    device = choose_device("cpu", threads=1)
    sessions = StageSessions(fcn, device, SIZE, moved=frozenset({"pool3"}))
    assert "pool3" not in sessions.stages[1].assumed
    sessions.close()


def test_a_player_does_not_borrow_what_takes_too_much_for_granted(fcn: Bundle) -> None:
    device = choose_device("cpu", threads=1, passes="live-region")
    frames = moving_frames(SIZE, 3)
    lent = StageSessions(fcn, device, SIZE)
    schedule = runtime.parse_schedule("warp-feature:2", fcn.manifest)
    with Player(fcn, device, schedule, sessions=lent) as player:
        borrowed = [step.labels for step in player.play(frames)]
    with Player(fcn, choose_device("cpu", threads=1, passes="none"), schedule) as player:
        own = [step.labels for step in player.play(frames)]
    lent.close()

    np.testing.assert_array_equal(borrowed, own)


@pytest.mark.parametrize(
    ("text", "precision"), [("winogrand", "fp32"), ("", "fp32"), ("live-region", "fp16")]
)
def test_bad_passes_are_refused(text: str, precision: str) -> None:
    with pytest.raises(UsageError):
        choose_device("cpu", passes=text, precision=precision)


def test_which_passes_are_taken() -> None:
    assert "live-region" in choose_device("cpu").passes
    assert choose_device("cpu", passes="none").passes == ()
    assert choose_device("cpu", precision="fp16").passes == ()
