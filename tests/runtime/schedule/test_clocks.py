"""The clocks that look: adaptive, pixels, confidence, learned, budget, and their combinations."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

import runtime
from caffe_port.onnx_graph import OnnxGraph
from runtime.schedule.clocks import Always, Budget, Learned, Not, Watch
from runtime.video.frames import Frame
from tests.support.toy_bundles import CLASSES, FLOAT, chain, frame_input, frame_of
from weights.errors import BundleError, ScheduleError

H, W = 2, 5


def map_frame(*classes: int) -> np.ndarray:
    """A frame whose score maps are best for these classes, one per position, in rows."""
    frame = frame_of(0, (H, W))
    frame[..., 0] = np.array(classes + (0,) * (H * W - len(classes))).reshape(H, W)
    return frame


def play(bundle: Path, schedule: object, frames: list, **options) -> list[runtime.Step]:
    with runtime.open(bundle, device="cpu", schedule=schedule, threads=1, **options) as player:
        return list(player.play(frames))


def fires(steps: list[runtime.Step]) -> list[int]:
    return [int("stage3" in step.fired) for step in steps]


# 10 positions; positions that differ from frame 0: 0, 1, 2, 3, then back to the map of frame 3
SEQUENCE = [map_frame(*(1,) * n) for n in (0, 1, 2, 3, 3, 4, 5, 5, 2)]


@pytest.mark.parametrize("overlap", [False, True])
def test_adaptive_compares_with_the_last_fired_frame(three: Path, overlap: bool) -> None:
    steps = play(three, "adaptive:0.3", SEQUENCE, overlap=overlap)
    # against frame 0 until 3 positions differ, at exactly theta; then against frame 3; and so on
    assert fires(steps) == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert [step.signal for step in steps] == [None, 0.1, 0.2, 0.3, 0.0, 0.1, 0.2, 0.2, 0.1]
    assert [step.ages["stage3"] for step in steps] == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert steps[3].provenance["stage3"] == {"v2": 3}


def test_adaptive_above_theta_only(three: Path) -> None:
    assert fires(play(three, "adaptive:0.3@strict", SEQUENCE)) == [1, 0, 0, 0, 0, 1, 0, 0, 0]


def test_adaptive_against_the_previous_frame(three: Path) -> None:
    steps = play(three, "adaptive:0.3@previous", SEQUENCE)
    assert fires(steps) == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [step.signal for step in steps][1:] == [0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.0, 0.3]


def test_theta_zero_fires_always_unless_strict(three: Path) -> None:
    still = [map_frame(1)] * 4
    assert fires(play(three, "adaptive:0", still)) == [1, 1, 1, 1]
    assert fires(play(three, "adaptive:0@strict", still)) == [1, 0, 0, 0]


def test_interval_bounds(three: Path) -> None:
    busy = [map_frame(*(n % CLASSES,) * 10) for n in range(8)]
    assert fires(play(three, "adaptive:0.5@min=3", busy)) == [1, 0, 0, 1, 0, 0, 1, 0]
    still = [map_frame(1)] * 8
    steps = play(three, "adaptive:0.5@max=3", still)
    assert fires(steps) == [1, 0, 0, 1, 0, 0, 1, 0]
    assert all(step.signal == 0 for step in steps[1:])


def test_the_watched_blob_can_be_chosen(three: Path) -> None:
    for steps in (
        play(three, "adaptive:0.3", SEQUENCE, signal="score1"),
        play(three, "adaptive:0.3@blob=score1", SEQUENCE),
    ):
        assert fires(steps) == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    with pytest.raises(ScheduleError, match=r'found "v3"; expected v1, score1, v2, score2; .*--signal BLOB'):
        play(three, "adaptive:0.3", SEQUENCE, signal="v3")


def test_a_value_without_a_channel_a_class_is_measured_by_relative_change(three: Path) -> None:
    steps = play(three, "adaptive:0.0005@blob=v1", [frame_of(r, (H, W)) for r in (0, 0, 1, 1)])
    assert fires(steps) == [1, 0, 1, 0]
    assert steps[2].signal == pytest.approx(1 / 1000.5, rel=1e-3)


def test_argmax_of_a_single_channel_is_refused(three: Path) -> None:
    with pytest.raises(ScheduleError, match='"v1" is no score map; found 1x1x2x5'):
        play(three, "adaptive:0.1@measure=argmax@blob=v1", SEQUENCE[:1])


def test_every_shot_starts_with_a_full_pass_and_a_new_reference(three: Path) -> None:
    a, b = map_frame(*(0,) * 10), map_frame(*(1,) * 10)
    frames = [a, a, b[:, :4].copy(), b[:, :4].copy(), a]
    steps = play(three, "adaptive:0.5", frames)
    assert fires(steps) == [1, 0, 1, 0, 1]
    assert [step.signal for step in steps] == [None, 0.0, None, 0.0, None]


def test_the_reference_is_an_entry_of_the_cache(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="adaptive:0.3") as player:
        list(player.play(SEQUENCE[:6]))
        state = {entry.name: entry for entry in player.cache.describe()}
    reference = next(entry for name, entry in state.items() if name.startswith("reference stage3 score2"))
    assert (reference.shape, reference.index, reference.age) == ((1, H, W), 3, 2)
    assert state["v3"].index == 3 and state["v1"].index == 5 and state["v1"].device == "cpu"


def test_stages_before_the_clocked_one_run_first_also_in_the_middle(three: Path) -> None:
    steps = play(three, "always;adaptive:0.3@blob=score1;every:2", SEQUENCE[:5])
    assert [int("stage2" in step.fired) for step in steps] == [1, 0, 0, 1, 0]
    assert steps[2].provenance["stage3"] == {"v2": 0}
    assert steps[2].ages["stage3"] == 2


def test_pixel_difference_with_the_frame_before(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "p.staged", mean=[10.0, 20.0, 30.0], channels="bgr")
    frames = [frame_of(r) for r in (40, 40, 50, 50, 60)]
    steps = play(bundle, "pixels:0.01", frames)
    assert fires(steps) == [1, 0, 1, 0, 1]
    # red is the last of the net's channels: 10 against 20 after its mean of 30; the other two do not change
    assert steps[2].signal == pytest.approx((10 / 15) / 3, rel=1e-5)


def test_confidence_fires_when_the_peaks_are_low(three: Path) -> None:
    sure = (np.exp(0) / np.exp(-np.arange(4.0)).sum()).item()  # classes 0 and 3
    unsure = (np.exp(0) / np.exp(-np.array([1.0, 0.0, 1.0, 2.0])).sum()).item()  # classes 1 and 2
    frames = [map_frame(*(c,) * 10) for c in (0, 0, 1, 3, 2)]
    steps = play(three, f"confidence:{(sure + unsure) / 2}", frames)
    assert fires(steps) == [1, 0, 1, 0, 1]
    assert [step.signal for step in steps][1:] == pytest.approx([sure, unsure, sure, unsure], rel=1e-5)


def with_clock(bundle: Path, clock: object) -> runtime.Schedule:
    from staged_onnx import read_bundle

    schedule = runtime.parse_schedule("oracle", read_bundle(bundle).manifest)
    return dataclasses.replace(schedule, clocks=(Always(), Always(), clock))


def test_learned_clock_from_a_function(three: Path) -> None:
    seen = []

    def jump(now: np.ndarray, before: np.ndarray) -> float:
        seen.append((now[0, 0, 0], before[0, 0, 0]))
        return float(now[0, 0, 0]) - float(before[0, 0, 0])

    frames = [frame_of(r, (H, W)) for r in (1, 2, 9, 10)]
    steps = play(three, with_clock(three, Learned(jump, theta=5)), frames)
    assert fires(steps) == [1, 0, 1, 0] and seen == [(2, 1), (9, 2), (10, 9)]
    assert [step.signal for step in steps] == [None, 1, 7, 1]


def test_a_learned_clock_sees_the_frame_before_even_where_its_memory_is_used_again(three: Path) -> None:
    memory = frame_of(0, (H, W))

    def frames():
        for red in (1, 2, 9, 10):
            memory[..., 0] = red
            yield memory

    clock = Learned(lambda now, before: float(now[0, 0, 0]) - float(before[0, 0, 0]), theta=5)
    assert fires(play(three, with_clock(three, clock), frames())) == [1, 0, 1, 0]


def clock_model(path: Path) -> Path:
    """Mean of now minus mean of before."""
    g = OnnxGraph()
    frames = [frame_input(g, name) for name in ("frame", "before")]
    means = [g.node("ReduceMean", g.node("Cast", frame, to=FLOAT), keepdims=0) for frame in frames]
    g.output(g.node("Sub", *means), "fire", [])
    onnx.save(g.model("clock"), path)
    return path


@pytest.mark.parametrize("overlap", [False, True])
def test_learned_clock_from_a_model(three: Path, tmp_path: Path, overlap: bool) -> None:
    file = clock_model(tmp_path / "clock.onnx")
    frames = [frame_of(r, (H, W)) for r in (3, 6, 30, 33)]
    steps = play(three, f"learned:{file}:5", frames, overlap=overlap)
    assert fires(steps) == [1, 0, 1, 0]
    assert [step.signal for step in steps] == [None, 1, 8, 1]


def values_model(path: Path, first: str, second: str, channels: int = 1) -> Path:
    """Largest difference of two values of the cache."""
    g = OnnxGraph()
    values = [g.input(name, [1, channels, "h", "w"]) for name in (first, second)]
    change = g.node("Abs", g.node("Sub", *values))
    g.output(g.node("ReduceMax", change, keepdims=0), "fire", [])
    onnx.save(g.model("clock"), path)
    return path


@pytest.mark.parametrize("overlap", [False, True])
def test_learned_clock_of_values_against_those_that_it_fired_on(
    three: Path, tmp_path: Path, overlap: bool
) -> None:
    """v2 is the frame's red and a constant: how far red has moved since the deep stage ran."""
    file = values_model(tmp_path / "clock.onnx", "v2", "v2@fired")
    frames = [frame_of(r, (H, W)) for r in (3, 6, 9, 11, 30, 31)]
    steps = play(three, f"learned:{file}:6", frames, overlap=overlap)
    assert [step.signal for step in steps] == [None, 3, 6, 2, 21, 1]
    assert fires(steps) == [1, 0, 1, 0, 1, 0]


def test_learned_clock_of_the_state_of_the_net(three: Path, tmp_path: Path) -> None:
    """v3, which the clocked stage made, still stands: 1000 more than v2 was when it was made."""
    file = values_model(tmp_path / "clock.onnx", "v2", "v3")
    steps = play(three, f"learned:{file}:3005", [frame_of(r, (H, W)) for r in (9, 8, 3, 3)])
    assert [step.signal for step in steps] == [None, 3001, 3006, 3000]
    assert fires(steps) == [1, 0, 1, 0]


def test_a_learned_clock_begins_anew_with_a_shot(three: Path, tmp_path: Path) -> None:
    file = values_model(tmp_path / "clock.onnx", "v2@fired", "v2")
    frames = [Frame(i, None, frame_of(r, (H, W)), "", i == 2) for i, r in enumerate((3, 4, 50, 52))]
    steps = play(three, f"learned:{file}:40", frames)
    assert [step.signal for step in steps] == [None, 1, None, 2]


def test_a_learned_clock_names_what_it_cannot_have(three: Path, tmp_path: Path) -> None:
    for first, second, message in (
        ("v2", "nothing", 'found "nothing"; expected frame, v1, .*each also with @fired'),
        ("v2", "v3@fired", "made after it is asked; found v3@fired"),
    ):
        file = values_model(tmp_path / "clock.onnx", first, second)
        with pytest.raises(ScheduleError, match=message):
            play(three, f"learned:{file}", SEQUENCE[:1])
    g = OnnxGraph()
    g.output(g.node("ReduceMax", g.input("frame", ["h", "w", 3]), keepdims=0), "fire", [])
    onnx.save(g.model("clock"), tmp_path / "float.onnx")
    with pytest.raises(ScheduleError, match='found "frame" as float32; expected uint8'):
        play(three, f"learned:{tmp_path / 'float.onnx'}", SEQUENCE[:1])


def test_a_learned_model_of_another_kind_is_refused(three: Path, tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="has other outputs than a clock's; expected one output"):
        play(three, f"learned:{three / 'stage1.onnx'}", SEQUENCE[:1])
    with pytest.raises(BundleError, match=r"nowhere\.onnx: frame 0: cannot be read; found No such file"):
        play(three, f"learned:{tmp_path / 'nowhere.onnx'}", SEQUENCE[:1])


def test_a_bundle_cannot_make_the_player_open_a_file(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "x.staged", schedule="learned:/tmp/clock.onnx")
    with pytest.raises(ScheduleError, match="a bundle's own schedule names a file"):
        runtime.open(bundle, device="cpu")


def test_combinations_measure_on_every_frame(three: Path) -> None:
    steps = play(three, "any(every:4,adaptive:0.3)", SEQUENCE)
    # fires at 0; at 3 (0.3 from 0); at 4 (rate); at 8 (rate)
    assert fires(steps) == [1, 0, 0, 1, 1, 0, 0, 0, 1]
    assert [step.signal for step in steps][1:5] == [0.1, 0.2, 0.3, 0.0]
    steps = play(three, "all(every:2,not(adaptive:0.2))", SEQUENCE)
    assert fires(steps) == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert steps[8].signal == 0.2


def test_two_signals_have_references_of_their_own(three: Path) -> None:
    steps = play(three, "any(adaptive:0.3,adaptive:0.3@previous)", SEQUENCE)
    assert fires(steps) == [1, 0, 0, 1, 0, 0, 0, 0, 1]


class FakeTick:
    def __init__(self, **what) -> None:
        self.position, self.since, self.number, self.left = 5, 1, 0.0, 0.0
        self.__dict__.update(what)

    def measure(self, sensor: object) -> float:
        return self.number

    def fits(self, budget_ms: float) -> bool:
        return self.left <= budget_ms


def test_budget_fires_what_fits() -> None:
    assert Budget(10).fires(FakeTick(left=9.9)) and not Budget(10).fires(FakeTick(left=10.1))
    assert Budget(10, maximum=7).fires(FakeTick(left=99, since=7))
    assert not Budget(10, maximum=7).fires(FakeTick(left=99, since=6))
    assert Not(Budget(10)).fires(FakeTick(left=99))


def test_budget_on_a_player(three: Path) -> None:
    frames = [map_frame(1)] * 5
    assert fires(play(three, "budget:10000", frames)) == [1] * 5
    starved = play(three, "budget:0@max=3", frames)
    assert fires(starved) == [1, 0, 0, 1, 0]
    assert all("stage1" in step.fired for step in starved)


def test_watch_below() -> None:
    clock = Watch(None, 0.5, strict=True, below=True)  # type: ignore[arg-type]
    assert clock.fires(FakeTick(number=0.4)) and not clock.fires(FakeTick(number=0.5))


def test_no_thread_is_left(three: Path) -> None:
    before = threading.active_count()
    play(three, "adaptive:0.3", SEQUENCE, overlap=True)
    assert threading.active_count() == before
