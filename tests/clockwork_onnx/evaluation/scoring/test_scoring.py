"""What a schedule earns and costs, with a player whose every output is known."""

from __future__ import annotations

import json
import math
import tracemalloc
from functools import partial

import numpy as np
import pytest

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.scoring.played import Played
from clockwork_onnx.evaluation.scoring.scoring import (
    Clip,
    Costs,
    StepSeen,
    Tally,
    clips_of,
    play_clips,
    score_clips,
    warm_up,
)
from tests.support.fake_player import MANIFEST, FakePlayer
from weights.errors import ShapeError

COSTS = Costs.of(MANIFEST)


def sample(name: str, red: int, green: int, truth: int | None) -> Sample:
    """A 2 x 2 frame of constant channels whose true label is `truth` everywhere."""
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = red, green
    label = None if truth is None else np.full((2, 2), truth, np.uint8)
    return Sample(name, lambda: image, None if label is None else (lambda: label))


# The deep class changes every frame from 1 to 2 and back; the shallow one says nothing.
SHOT = Shot("moving", tuple(sample(f"f{i}", 0, 1 + i % 2, 1 + i % 2) for i in range(4)))
DATA = DataSet("toy", ("none", "one", "two"), (SHOT,))


def run(rates: tuple[int, int], shots: tuple[Shot, ...] = (SHOT,), **options: object):
    tally = Tally(Played("test"), 3, COSTS, **options)  # type: ignore[arg-type]
    return score_clips(FakePlayer(rates), tally, clips_of(DataSet("toy", DATA.classes, shots)))


def test_the_oracle_is_right_and_costs_all() -> None:
    result = run((1, 1))
    assert result.scores.mean_iu == 1.0
    assert result.fires == {"s1": 4, "s2": 4, "head": 4}
    assert result.macs_per_frame == 100 and result.macs_of_oracle == 1.0
    assert result.mean_age == {"s1": 0.0, "s2": 0.0}
    assert result.ms_per_frame == 10.0
    assert result.label_changes == 1.0


def test_half_the_deep_fires_cost_and_earn_less() -> None:
    result = run((1, 2))
    assert result.fires == {"s1": 4, "s2": 2, "head": 4}
    assert result.macs_per_frame == 30 + 60 / 2 + 10
    assert result.mean_age == {"s1": 0.0, "s2": 0.5}
    assert result.scores.pixel_accuracy == 0.5  # every other frame shows the label before
    assert result.ms_per_frame == 7.0 and result.stage_ms == {"s1": 3.0, "s2": 3.0, "head": 1.0}


def test_skipped_frames_do_not_pay_for_the_head() -> None:
    result = run((2, 2))
    assert result.fires == {"s1": 2, "s2": 2, "head": 2}
    assert result.macs_of_oracle == 0.5


def test_a_new_shot_starts_with_a_full_pass() -> None:
    result = run((2, 2), shots=(SHOT, Shot("short", (sample("x", 0, 2, 2),))))
    assert result.fires["s2"] == 3
    assert result.frames == 5


def test_unlabelled_frames_are_played_but_not_scored() -> None:
    shot = Shot("half", (sample("a", 0, 1, None), sample("b", 0, 2, 2)))
    result = run((1, 1), shots=(shot,))
    assert (result.frames, result.scored_frames) == (2, 1)
    assert result.scores.pixels == 4


def test_fill_frames_are_neither_scored_nor_counted() -> None:
    clip = Clip("fill", SHOT.samples, scored=frozenset({3}), counted=frozenset({2, 3}))
    result = score_clips(FakePlayer((1, 4)), Tally(Played("test"), 3, COSTS), [clip])
    assert (result.frames, result.scored_frames) == (2, 1)
    assert result.fires == {"s1": 2, "s2": 0, "head": 2}
    assert result.mean_age["s2"] == 2.5


def test_the_net_s_classes_are_mapped_before_scoring() -> None:
    result = run((1, 1), prediction_map=(0, 2, 1))
    assert result.scores.pixel_accuracy == 0.0
    assert run((1, 1), prediction_map=(0, 1, 1)).scores.pixel_accuracy == 0.5


def test_the_boundary_is_scored_apart() -> None:
    result = run((1, 1), boundary_radius=5)
    assert result.boundary is not None
    assert result.boundary.pixels == 0  # all foreground: no outline
    assert run((1, 1)).boundary is None


def test_steps_keep_their_place_when_the_player_reads_ahead() -> None:
    class Greedy(FakePlayer):
        def play(self, frames):
            return super().play(list(frames))

    clips = [
        Clip("a", SHOT.samples[:2], frozenset(), frozenset()),
        Clip("b", SHOT.samples, frozenset(), frozenset()),
    ]
    seen = list(play_clips(Greedy(), clips))
    assert [(s.clip.name, s.position) for s in seen] == [
        (c, i) for c, n in (("a", 2), ("b", 4)) for i in range(n)
    ]
    assert all(np.array_equal(s.image[:, :, 1], s.step.labels) for s in seen)


def test_json_has_no_nan_and_is_the_same_twice() -> None:
    first, second = (run((1, 2)).as_json(DATA.classes, timings=False) for _ in range(2))
    text = json.dumps(first, allow_nan=False)
    assert text == json.dumps(second, allow_nan=False)
    assert first["class_iu"]["none"] is None
    assert first["macs_of_oracle"] == pytest.approx(0.7)
    assert "ms_per_frame" not in first and run((1, 2)).as_json(DATA.classes)["ms_per_frame"] == 7.0


def test_work_done_before_a_frame_comes_costs_but_does_not_delay_it() -> None:
    class Pipelined(FakePlayer):
        def play(self, frames):
            for step in super().play(frames):
                step.ms["total"] -= step.ms["s2"]
                yield step

    tally = Tally(Played("test"), 3, COSTS)
    result = score_clips(Pipelined((1, 1)), tally, clips_of(DATA))
    assert result.latency_ms == 4.0 and result.ms_per_frame == 10.0


def test_two_thousand_frames_take_no_more_memory_than_two_hundred() -> None:
    height, width = 40, 60

    def image(number: int) -> np.ndarray:
        return np.full((height, width, 3), number % 3, np.uint8)

    def label(number: int) -> np.ndarray:
        return np.full((height, width), number % 3, np.uint8)

    samples = tuple(Sample("f", partial(image, i), partial(label, i), i) for i in range(2000))
    long = DataSet("long", DATA.classes, (Shot("long", samples),))
    used: dict[int, int] = {}

    def measure(seen: StepSeen) -> None:
        if seen.position in (201, 1999):
            used[seen.position] = tracemalloc.get_traced_memory()[0]

    tally = Tally(Played("test"), 3, COSTS)
    tracemalloc.start()
    try:
        result = score_clips(FakePlayer((1, 2)), tally, clips_of(long), watch=measure)
    finally:
        tracemalloc.stop()
    assert result.scored_frames == 2000
    assert used[1999] - used[201] < height * width  # less than one label map


def test_warming_up_plays_and_counts_nothing() -> None:
    played = []

    class Counting(FakePlayer):
        def play(self, frames):
            for step in super().play(frames):
                played.append(step)
                yield step

    warm_up(Counting(), clips_of(DATA))
    assert len(played) == 2


def test_waiting_for_later_frames_delays_labels_but_costs_nothing() -> None:
    class Waiting(FakePlayer):
        def play(self, frames):
            for step in super().play(frames):
                step.ms["total"] += 100.0
                yield step

    tally = Tally(Played("test", waits=True), 3, COSTS)
    result = score_clips(Waiting((1, 1)), tally, clips_of(DATA))
    assert result.latency_ms == 110.0 and result.ms_per_frame == 10.0


def test_labels_that_do_not_fit_are_named() -> None:
    odd = Sample("f7", sample("f7", 0, 1, None).read_image, lambda: np.zeros((3, 2), np.uint8))
    with pytest.raises(ShapeError, match="labels of f7: label maps of different sizes"):
        run((1, 1), shots=(Shot("odd", (odd,)),))


def test_an_empty_run_is_nan_not_a_crash() -> None:
    result = Tally(Played("test"), 3, COSTS).result()
    assert math.isnan(result.scores.mean_iu) and math.isnan(result.ms_per_frame)
    assert result.as_json(DATA.classes)["mean_iu"] is None
