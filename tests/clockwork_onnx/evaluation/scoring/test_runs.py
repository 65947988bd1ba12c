"""Schedules played by the real player over a video whose every output is known."""

from __future__ import annotations

import numpy as np
import pytest

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.results.watchers import Gallery, Strips
from clockwork_onnx.evaluation.scoring.runs import TURN, Run, run_schedules, run_truncated, together
from clockwork_onnx.evaluation.scoring.scoring import Result, clips_of
from staged_onnx import Bundle
from tests.support.toy_bundles import TOY_CLASSES, toy_frame


def video(*shots: list[int]) -> DataSet:
    """Shots of one-coloured frames, given by their labels."""

    def sample(shot: int, i: int, label: int) -> Sample:
        truth = np.full((8, 8), label, np.uint8)
        return Sample(f"{shot}/{i}", lambda: toy_frame(label), lambda: truth)

    made = [
        Shot(f"shot {n}", tuple(sample(n, i, label) for i, label in enumerate(labels)))
        for n, labels in enumerate(shots)
    ]
    return DataSet("toy video", TOY_CLASSES, tuple(made))


def play(bundle: Bundle, data: DataSet, *schedules: str) -> dict[str, Result]:
    results = run_schedules(Run(bundle, data, device="cpu"), schedules)
    return {result.schedule: result for result in results}


def test_what_each_schedule_earns_on_ever_changing_frames(toy: Bundle) -> None:
    results = play(
        toy,
        video([0, 1, 2, 0, 1, 2]),
        "oracle",
        "skip:2",
        "alternating",
        "rates:1,1,3",
        "pipeline:2",
        "adaptive:0",
        "adaptive:1.1",
    )
    accuracy = {name: result.scores.pixel_accuracy for name, result in results.items()}
    # Where the deepest stage is stale, its label wins: right on the frames on which it fired alone.
    assert accuracy["oracle"] == accuracy["adaptive:0"] == 1.0
    assert accuracy["skip:2"] == accuracy["alternating"] == 0.5
    assert accuracy["rates:1,1,3"] == pytest.approx(2 / 6)
    assert accuracy["pipeline:2"] == pytest.approx(1 / 6)
    assert accuracy["adaptive:1.1"] == pytest.approx(2 / 6)  # the first label comes again on frame 3
    assert results["alternating"].fires == {"stage1": 6, "stage2": 6, "stage3": 3, "head": 6}
    assert results["skip:2"].fires == {"stage1": 3, "stage2": 3, "stage3": 3, "head": 3}
    assert results["alternating"].mean_age == {"stage1": 0.0, "stage2": 0.0, "stage3": 0.5}
    assert results["oracle"].macs_of_oracle == 1.0
    manifest = toy.manifest
    saved = manifest.stages[2].macs / manifest.macs / 2
    assert results["alternating"].macs_of_oracle == pytest.approx(1 - saved)
    assert results["oracle"].label_changes == 1.0


def test_every_shot_starts_with_a_full_pass(toy: Bundle) -> None:
    data = video([0, 0], [1, 1], [2, 2])
    results = play(toy, data, "skip:2", "adaptive:1.1", "pipeline:3")
    assert all(result.scores.pixel_accuracy == 1.0 for result in results.values())
    assert results["adaptive:1.1"].fires["stage3"] == 3


def test_taking_turns_changes_no_result(toy: Bundle) -> None:
    shots = [[i % 3] * 5 + [(i + 1) % 3] * (TURN // 2) for i in range(5)]
    data = video(*shots)
    turns, alone = play(toy, data, "oracle", "rates:1,2,4"), play(toy, data, "rates:1,2,4")
    first, second = (found["rates:1,2,4"].as_json(TOY_CLASSES, timings=False) for found in (turns, alone))
    assert first == second


def test_two_runs_give_the_same_json(toy: Bundle) -> None:
    data = video([0, 1, 1, 2], [2, 0])
    first, second = (play(toy, data, "oracle", "adaptive:0.5") for _ in range(2))
    for name in first:
        assert first[name].as_json(TOY_CLASSES, False) == second[name].as_json(TOY_CLASSES, False)


def test_a_net_cut_off_early_runs_its_first_stages_alone(toy: Bundle) -> None:
    data = video([0, 1, 2])
    run = Run(toy, data, device="cpu")
    for stages in (1, 2):
        result = run_truncated(run, stages, list(clips_of(data)))
        assert result.scores.pixel_accuracy == 1.0
        assert result.fires == {f"stage{i + 1}": 3 * (i < stages) for i in range(3)} | {"head": 3}
        assert result.macs_of_oracle < 1.0


def test_strips_note_fires_and_shot_starts(toy: Bundle) -> None:
    strips = Strips("stage3")
    run_schedules(Run(toy, video([0, 0, 0], [1, 1]), "cpu"), ["oracle", "rates:1,1,2"], watch=strips.watch)
    assert strips.fired == {"oracle": [True] * 5, "rates:1,1,2": [True, False, True, True, False]}
    assert strips.shots == {0: "shot 0", 3: "shot 1"}


def test_the_gallery_keeps_a_few_frames_of_every_schedule(toy: Bundle) -> None:
    data = video([0, 1, 2, 0, 1, 2])
    gallery = Gallery(data, count=2)
    run_schedules(Run(toy, data, "cpu"), ["oracle", "skip:2"], watch=gallery.watch)
    frames = gallery.frames()
    assert [frame.name for frame in frames] == ["0/1", "0/4"]
    assert [set(frame.outputs) for frame in frames] == [{"oracle", "skip:2"}] * 2
    assert (frames[0].outputs["oracle"] == 1).all() and (frames[0].outputs["skip:2"] == 0).all()
    assert (frames[0].truth == 1).all()
    assert [set(frame.outputs) for frame in gallery.frames(["skip:2", "skip:3"])] == [{"skip:2"}] * 2


def test_the_gallery_prefers_frames_on_which_old_results_are_oldest(toy: Bundle) -> None:
    gallery = Gallery(video([0] * 14, [1] * 7), count=2)
    run_schedules(Run(toy, video([0] * 14, [1] * 7), "cpu"), ["oracle"], watch=gallery.watch)
    assert [frame.name for frame in gallery.frames()] == ["0/5", "1/5"]


def test_together_hands_on_to_all() -> None:
    seen: list[int] = []
    watch = together([lambda s: seen.append(1), lambda s: seen.append(2)])
    watch(None)  # type: ignore[arg-type]
    assert seen == [1, 2]
