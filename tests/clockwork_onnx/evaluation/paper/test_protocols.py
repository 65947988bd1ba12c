"""Which frames each protocol plays and scores, written out by hand."""

from __future__ import annotations

import random
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.paper.protocols import (
    AMBIGUITIES,
    COIN_SEED,
    METHODS,
    Method,
    Options,
    adaptive,
    every_tenth,
    last_frame,
    parse_options,
    schedule_text,
    translated,
    whole_shots,
)
from clockwork_onnx.evaluation.scoring.played import Played
from clockwork_onnx.evaluation.scoring.scoring import Clip, Costs, Tally, score_clips
from tests.support.fake_player import MANIFEST, FakePlayer
from weights.errors import DataSetError, UsageError


def shot(numbers: range, labelled: set[int], name: str = "shot") -> Shot:
    def image() -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)

    def label() -> np.ndarray:
        return np.zeros((1, 1), np.uint8)

    return Shot(
        name, tuple(Sample(f"{name}{n}", image, label if n in labelled else None, n) for n in numbers)
    )


def data(*shots: Shot) -> DataSet:
    return DataSet("toy", ("a", "b"), shots)


def played(clip: Clip) -> tuple[list[int | None], list[int], list[int]]:
    return [s.number for s in clip.samples], sorted(clip.scored), sorted(clip.counted)


SIX = data(shot(range(6), set(range(6))))


@pytest.mark.parametrize(
    ("method", "numbers", "scored"),
    [
        ("frame oracle", [2, 3, 4, 5], [0, 1, 2, 3]),
        ("3-stage baseline", [2, 3, 4, 5], [0, 1, 2, 3]),
        ("2-stage baseline", [2, 3, 4, 5], [0, 1, 2, 3]),
        ("2-stage pipeline", [1, 2, 3, 4, 5], [1, 2, 3, 4]),
        ("3-stage pipeline", [0, 1, 2, 3, 4, 5], [2, 3, 4, 5]),
        ("skip frame", [0, 1, 2, 3, 4, 5], [2, 3, 4, 5]),
        ("exponential", [0, 1, 2, 3, 4, 5], [2, 3, 4, 5]),
        ("alternating", [0, 1, 2, 3, 4, 5], [2, 3, 4, 5]),
    ],
)
def test_translated_sequences_are_scored_from_the_third_frame(
    method: str, numbers: list[int], scored: list[int]
) -> None:
    clips = list(translated(SIX, METHODS[method], Options()))
    assert [played(clip) for clip in clips] == [(numbers, scored, scored)]


def test_translated_sequences_with_merged_phases() -> None:
    clips = list(translated(SIX, METHODS["skip frame"], Options(phases="merged")))
    assert [played(c)[0] for c in clips] == [[2], [1, 2], [3], [2, 3], [4], [3, 4], [5], [4, 5]]
    assert all(c.scored == c.counted == {len(c.samples) - 1} for c in clips)
    with pytest.raises(DataSetError, match="exponential has 4 phases"):
        list(translated(SIX, METHODS["exponential"], Options(phases="merged")))
    with pytest.raises(UsageError, match="a protocol without a coin"):
        list(translated(SIX, METHODS["skip frame"], Options(phases="coin")))


YOUTUBE = data(shot(range(1, 45), {1, 11, 21, 31, 41}, "a"), shot(range(1, 15), {1, 11}, "short"))


@pytest.mark.parametrize(
    ("method", "clips"),
    [
        ("frame oracle", [[21], [31], [41]]),
        ("2-stage baseline", [[21], [31], [41]]),
        ("2-stage pipeline", [[11, 21], [21, 31], [31, 41]]),
        ("3-stage pipeline", [[1, 11, 21], [11, 21, 31], [21, 31, 41]]),
        ("skip frame", [[21], [11, 21], [31], [21, 31], [41], [31, 41]]),
        ("alternating", [[21], [11, 21], [31], [21, 31], [41], [31, 41]]),
    ],
)
def test_youtube_runs_every_scored_frame_from_scratch(method: str, clips: list[list[int]]) -> None:
    found = [played(clip) for clip in every_tenth(YOUTUBE, METHODS[method], Options())]
    assert found == [(numbers, [len(numbers) - 1], [len(numbers) - 1]) for numbers in clips]


def test_youtube_adaptive_runs_through_a_shot_after_a_full_pass() -> None:
    clips = list(every_tenth(YOUTUBE, adaptive(0.25), Options()))
    assert [played(clip) for clip in clips] == [([11, 21, 31, 41], [1, 2, 3], [1, 2, 3])]
    counted = list(every_tenth(YOUTUBE, adaptive(0.25), Options(first_frame="fired")))
    assert played(counted[0]) == ([11, 21, 31, 41], [1, 2, 3], [0, 1, 2, 3])


def test_youtube_running_phases_start_on_the_first_scored_frame() -> None:
    clips = list(every_tenth(YOUTUBE, METHODS["skip frame"], Options(phases="running")))
    assert [played(clip) for clip in clips] == [([21, 31, 41], [0, 1, 2], [0, 1, 2])]


def test_merged_phases_cost_what_the_fixed_rate_costs() -> None:
    costs = Costs.of(MANIFEST)
    skip = score_clips(
        FakePlayer((2, 2)),
        Tally(Played("skip"), 2, costs),
        every_tenth(YOUTUBE, METHODS["skip frame"], Options()),
    )
    assert skip.macs_of_oracle == 0.5 and skip.scored_frames == 6
    alternating = score_clips(
        FakePlayer((1, 2)),
        Tally(Played("alternating"), 2, costs),
        every_tenth(YOUTUBE, METHODS["alternating"], Options()),
    )
    assert alternating.macs_of_oracle == 0.7


CITY = data(*(shot(range(20), {19}, f"s{i}-") for i in range(50)))


def test_cityscapes_tosses_the_notebook_s_coin() -> None:
    coin = random.Random(0xCAFFE)
    tosses = [coin.random() for _ in range(100)]
    assert COIN_SEED == 0xCAFFE
    skip = [played(clip)[0] for clip in last_frame(CITY, METHODS["skip frame"], Options())]
    assert skip == [[18, 19] if toss < 0.5 else [19] for toss in tosses[:50]]
    assert 10 < sum(len(numbers) == 2 for numbers in skip) < 40
    alternating = last_frame(CITY, METHODS["alternating"], Options(), coin_tosses=50)
    assert [played(c)[0] for c in alternating] == [[18, 19] if toss < 0.5 else [19] for toss in tosses[50:]]


def test_cityscapes_adaptive_runs_the_whole_sequence_and_scores_its_last_frame() -> None:
    clips = list(last_frame(CITY, adaptive(0.47), Options()))
    assert played(clips[0]) == (list(range(20)), [19], list(range(20)))
    left_out = next(last_frame(CITY, adaptive(0.47), Options(first_frame="left out")))
    assert played(left_out)[2] == list(range(1, 20))


def test_last_frame_pipelines_and_merged_phases() -> None:
    one = data(CITY.shots[0])
    assert [played(c)[0] for c in last_frame(one, METHODS["3-stage pipeline"], Options())] == [[17, 18, 19]]
    exponential = last_frame(one, METHODS["exponential"], Options(), paper_phases="merged")
    assert [played(c)[0] for c in exponential] == [[19], [18, 19], [17, 18, 19], [16, 17, 18, 19]]
    with pytest.raises(UsageError, match="a coin can stand for two phases only"):
        list(last_frame(one, METHODS["exponential"], Options()))


def test_frames_after_the_labelled_one_matter_to_the_adaptive_clock_alone() -> None:
    clip = data(shot(range(1, 52, 10), {31}))
    assert played(next(last_frame(clip, adaptive(0.1), Options())))[:2] == ([1, 11, 21, 31, 41, 51], [3])
    assert played(next(last_frame(clip, METHODS["2-stage pipeline"], Options()))) == ([21, 31], [1], [1])


def test_too_few_frames_are_an_error() -> None:
    short = data(shot(range(19, 20), {19}))
    with pytest.raises(DataSetError, match="2-stage pipeline needs 1 frames before each scored one; found 0"):
        list(last_frame(short, METHODS["2-stage pipeline"], Options()))


def test_plain_video_is_played_whole() -> None:
    clips = list(whole_shots(data(shot(range(3), {0, 2})), METHODS["skip frame"], Options()))
    assert [played(c) for c in clips] == [([0, 1, 2], [0, 2], [0, 1, 2])]


def test_options_are_parsed_and_checked() -> None:
    options = parse_options(["fill=library", "comparison=>"])
    assert options == Options(fill="library", comparison=">")
    with pytest.raises(UsageError, match="no such option of the protocol; found speed=1"):
        parse_options(["speed=1"])
    with pytest.raises(UsageError, match=r"no such choice for fill; found x; expected paper \| library"):
        parse_options(["fill=x"])


@pytest.mark.parametrize(
    ("method", "options", "text"),
    [
        (adaptive(0.25), Options(), "adaptive:0.25"),
        (adaptive(0.25), Options(comparison=">"), "adaptive:0.25@strict"),  # A1
        (adaptive(0.25), Options(reference="previous"), "adaptive:0.25@previous"),  # A2
        (METHODS["3-stage pipeline"], Options(fill="library"), "pipeline:3@lib"),  # A4
        (METHODS["3-stage pipeline"], Options(fill="notebook"), "pipeline:3@youtube"),
        (METHODS["3-stage pipeline"], Options(), "pipeline:3@youtube"),
        (METHODS["alternating"], Options(), "alternating"),  # A7
        (METHODS["alternating"], Options(alternating="last two stages"), "rates:1,2,2"),
    ],
)
def test_options_that_are_a_schedule_s(method: Method, options: Options, text: str) -> None:
    assert schedule_text(method, options, stages=3) == text


def test_two_stages_have_no_last_two_beside_a_first() -> None:
    options = Options(alternating="last two stages")
    assert schedule_text(METHODS["alternating"], options, stages=2) == "alternating"


def test_every_ambiguity_is_an_option() -> None:
    assert list(AMBIGUITIES) == [f"A{i}" for i in range(1, 16)]
    assert set(AMBIGUITIES.values()) == {field.name for field in fields(Options)}


def test_every_ambiguity_has_a_row_in_the_documentation() -> None:
    page = (Path(__file__).parents[4] / "docs/paper.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (A[0-9]+) \| `(\w+)` \| (.+?) \| (.{60,}) \|$", page, re.MULTILINE)
    assert {name: option for name, option, _, _ in rows} == AMBIGUITIES
    hints = get_type_hints(Options)
    for _, option, values, _ in rows:
        assert tuple(re.findall(r"`([^`]+)`", values)) == get_args(hints[option])
        assert getattr(Options(), option) == get_args(hints[option])[0]  # the default comes first
