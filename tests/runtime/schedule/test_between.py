"""Frames labelled from the key frames on both sides, and key frames fused with what was moved to them."""

from __future__ import annotations

import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import runtime
import staged_onnx
from runtime.flow.fields import Flow
from runtime.video.frames import Frame
from weights.errors import ScheduleError, UsageError

SIZE = (48, 64)
STEP = (2.0, -1.0)
"""By how many pixels, x and y, the picture moves per frame."""
PICTURE = np.kron(
    np.random.default_rng(7).integers(0, 255, (30, 40, 3), np.uint8), np.ones((4, 4, 1), np.uint8)
)
FRAMES = 11


def picture(t: int) -> np.ndarray:
    """Frame t of a picture that moves by STEP per frame."""
    x, y = round(60 - STEP[0] * t), round(40 - STEP[1] * t)
    return np.ascontiguousarray(PICTURE[y : y + SIZE[0], x : x + SIZE[1]])


PICTURES = [picture(t) for t in range(FRAMES)]


def flow(previous: np.ndarray, current: np.ndarray) -> Flow:
    """The true flow from the current frame to the previous one: told by looking the frames up."""
    before, now = (
        next(t for t, p in enumerate(PICTURES) if np.array_equal(p, x)) for x in (previous, current)
    )
    return np.broadcast_to(np.float32(STEP) * np.float32(before - now), (*SIZE, 2)).copy()


def still(previous: np.ndarray, current: np.ndarray) -> Flow:
    assert np.array_equal(previous, current)
    return np.zeros((*SIZE, 2), np.float32)


def play(bundle: Path, schedule: str, frames: Any, **options: Any) -> list[runtime.Step]:
    options = {"flow": flow, "threads": 1, **options}
    with runtime.open(bundle, device="cpu", schedule=schedule, **options) as player:
        return list(player.play(frames))


def scores_of(bundle: Path, frames: list[np.ndarray]) -> list[np.ndarray]:
    """The network's scores on every frame, read from the cache: C x h x w."""
    with runtime.open(
        bundle, device="cpu", schedule="warp:1@of=scores@scale=1", flow=flow, threads=1
    ) as player:
        found = []
        for _ in player.play(frames):
            entry = player.cache["scores"]
            rows = np.array(entry.buffers[entry.read(0).buffer].numpy())
            found.append(rows.transpose(2, 0, 1))
    return found


# -- an independent reference ----------------------------------------------------------------------------


def read_along(planes: np.ndarray, path: tuple[float, float]) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    places = [rows + path[1], columns + path[0]]
    return np.stack(
        [ndimage.map_coordinates(p, places, order=1, mode="nearest") for p in planes.astype(np.float64)]
    )


def path_of(t: int, source: int) -> tuple[float, float]:
    return STEP[0] * (source - t), STEP[1] * (source - t)


def grey(t: int) -> np.ndarray:
    return np.asarray(Image.fromarray(PICTURES[t]).convert("L"), np.float64)


def residual(t: int, source: int) -> np.ndarray:
    difference = np.abs(grey(t) - read_along(grey(source)[np.newaxis], path_of(t, source))[0])
    window = np.ones((5, 5))
    count = ndimage.convolve(np.ones(SIZE), window, mode="constant")
    return ndimage.convolve(difference, window, mode="constant") / count


def fused(key: int, before: int, scores: list[np.ndarray], estimate: np.ndarray, weight: float) -> np.ndarray:
    share = weight * np.exp(-residual(key, before) / 20)
    return share * read_along(estimate, path_of(key, before)) + (1 - share) * scores[key]


def blended(t: int, a: int, b: int, of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
    weights = [
        distance / (b - a) * np.exp(-residual(t, source) / 10)
        for distance, source in ((b - t, a), (t - a, b))
    ]
    moved = [read_along(estimate, path_of(t, source)) for estimate, source in ((of_a, a), (of_b, b))]
    return (weights[0] * moved[0] + weights[1] * moved[1]) / (weights[0] + weights[1])


def assert_labels(found: np.ndarray, scores: np.ndarray) -> None:
    """The labels are the best of the scores wherever that is clear to 1e-4 of their range."""
    best = np.sort(scores, axis=0)
    clear = best[-1] - best[-2] > 1e-4 * np.ptp(scores)
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(found[clear], scores.argmax(0)[clear])


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("fuse", ["", "@fuse=0.5"])
def test_labels_between_two_key_frames(fcn: Path, fuse: str, overlap: bool) -> None:
    steps = play(fcn, f"between:4@scale=1{fuse}", PICTURES, overlap=overlap)
    scores, keys = scores_of(fcn, PICTURES), [0, 4, 8, 10]
    estimates = {0: scores[0].astype(np.float64)}
    for before, key in pairwise(keys):
        estimates[key] = (
            fused(key, before, scores, estimates[before], 0.5) if fuse else scores[key].astype(np.float64)
        )
    assert [step.index for step in steps] == list(range(FRAMES))
    for t, step in enumerate(steps):
        if t in keys:
            assert_labels(step.labels, estimates[t])
            continue
        a = max(key for key in keys if key < t)
        b = min(key for key in keys if key > t)
        assert_labels(step.labels, blended(t, a, b, estimates[a], estimates[b]))


@pytest.mark.parametrize("schedule", ["warp:1@fuse=0.5", "warp:3@fuse=0.5"])
def test_key_frames_are_fused_with_what_was_moved_there(fcn: Path, schedule: str) -> None:
    steps = play(fcn, f"{schedule}@scale=1", PICTURES)
    scores, every = scores_of(fcn, PICTURES), int(schedule[5])
    estimate = scores[0].astype(np.float64)
    for t, step in enumerate(steps):
        key = t - t % every
        if t == key and t > 0:
            estimate = fused(t, t - every, scores, estimate, 0.5)
        assert_labels(step.labels, read_along(estimate, path_of(t, key)))


# -- what fires, and when --------------------------------------------------------------------------------

NETWORK = ("stage1", "stage2", "stage3", "head")


def test_what_fires_and_how_long_frames_wait(fcn: Path) -> None:
    steps = play(fcn, "between:4", PICTURES)
    for t, step in enumerate(steps):
        key = t in (0, 4, 8, 10)
        assert step.fired == ((*NETWORK, "labels") if key else ("labels",))
        later = next(k for k in (0, 4, 8, 10) if k >= t)
        assert step.delay == later - t
        assert step.moved == ({} if key else {"label_map": t % 4})
        assert step.provenance["labels"] == {"label_map": t if key else t - t % 4}
        assert step.ages == dict.fromkeys(NETWORK, 0 if key else t % 4)
        assert {"flow", "path", "residual", "transform"} <= step.ms.keys() or key


def test_steps_come_as_soon_as_the_next_key_frame_has(fcn: Path) -> None:
    asked: list[int] = []

    def frames() -> Any:
        for t, image in enumerate(PICTURES):
            asked.append(t)
            yield image

    with runtime.open(fcn, device="cpu", schedule="between:4", flow=flow, threads=1) as player:
        came = [(step.index, asked[-1]) for step in player.play(frames())]
    assert came == [(0, 0)] + [(t, 4) for t in range(1, 5)] + [(t, 8) for t in range(5, 9)] + [
        (9, 10),
        (10, 10),
    ]


def test_a_shot_ends_with_a_key_frame_and_the_next_begins_afresh(fcn: Path) -> None:
    shots = [Frame(t, None, image, str(t), shot_start=t == 3) for t, image in enumerate(PICTURES[:6])]
    for overlap in (False, True):
        steps = play(fcn, "between:4@fuse", shots, overlap=overlap)
        assert [step.shot for step in steps] == [0, 0, 0, 1, 1, 1]
        assert ["head" in step.fired for step in steps] == [True, False, True] * 2
        alone = play(fcn, "between:4@fuse", PICTURES[3:6])
        for step, other in zip(steps[3:], alone, strict=True):
            np.testing.assert_array_equal(step.labels, other.labels)


def test_a_key_frame_is_due_where_the_path_does_not_explain(fcn: Path) -> None:
    frames = [*PICTURES[:4], *PICTURES[9:11], *PICTURES[4:6]]
    steps = play(
        fcn, "between:adaptive:0.05@max=3", frames, flow=lambda p, c: np.zeros((*SIZE, 2), np.float32)
    )
    keys = [step.index for step in steps if "head" in step.fired]
    assert keys[:1] == [0] and keys[-1] == 7 and all(b - a <= 3 for a, b in pairwise(keys))
    assert all(step.signal is not None for step in steps[1:])


@pytest.mark.parametrize("schedule", ["between:3", "between:3@fuse", "warp:3@fuse", "warp:1@fuse"])
@pytest.mark.parametrize("overlap", [False, True])
def test_where_nothing_moves_it_is_skipping(fcn: Path, schedule: str, overlap: bool) -> None:
    """Bit for bit, at every scale of the grid."""
    frames = [PICTURES[0]] * 8
    every = schedule.partition(":")[2][0]
    expected = play(fcn, f"skip:{every}", frames)
    for scale in ("1", "1/2"):
        steps = play(fcn, f"{schedule}@scale={scale}", frames, flow=still, overlap=overlap)
        for step, other in zip(steps, expected, strict=True):
            np.testing.assert_array_equal(step.labels, other.labels)


@pytest.mark.parametrize("schedule", ["between:3", "between:4@fuse", "between:adaptive:0.1", "warp:3@fuse"])
def test_threads_change_nothing(fcn: Path, schedule: str) -> None:
    one = play(fcn, schedule, PICTURES)
    for ahead in (0, 1, 3):
        other = play(fcn, schedule, PICTURES, overlap=True, ahead=ahead)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.labels, b.labels)
            assert (a.index, a.fired, a.provenance, a.ages, a.moved, a.delay, a.signal) == (
                b.index,
                b.fired,
                b.provenance,
                b.ages,
                b.moved,
                b.delay,
                b.signal,
            )


def test_a_frame_that_waits_cannot_be_pushed(fcn: Path) -> None:
    with (
        runtime.open(fcn, device="cpu", schedule="between:4", flow=flow) as player,
        pytest.raises(UsageError, match="when the next key frame has come"),
    ):
        player.step(PICTURES[0])


def test_an_exact_chain_moves_the_moved_value(fcn: Path) -> None:
    """`@chained`: Accel's rule, each frame moved on from the one before."""
    whole = play(fcn, "warp-feature:4@scale=1", PICTURES)
    chained = play(fcn, "warp-feature:4@scale=1@chained", PICTURES)
    assert [step.fired for step in whole] == [step.fired for step in chained]
    assert [step.moved for step in whole] == [step.moved for step in chained]
    np.testing.assert_array_equal(whole[1].labels, chained[1].labels)
    np.testing.assert_array_equal(whole[4].labels, chained[4].labels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("between", "unknown schedule or clock"),
        ("between:0", "bad rate"),
        ("between:4@of=labels", "between blends scores"),
        ("between:4@occlusion=fresh", "does not go with between"),
        ("between:4@fuse=2", "bad weight of fusion"),
        ("between:4@fuse=x", "bad weight of fusion"),
        ("between:4@chained", "@chained does not go with between"),
        ("warp:4@chained", "@chained does not go with warp"),
        ("warp:4@fuse@of=labels", "fusion mixes scores"),
        ("warp:4@fuse@occlusion=fresh", "fusion mixes scores"),
    ],
)
def test_what_cannot_be_read(fcn: Path, text: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        runtime.parse_schedule(text, staged_onnx.read_bundle(fcn).manifest)


@pytest.mark.parametrize("overlap", [False, True])
def test_steps_say_where_labels_come_from(fcn: Path, overlap: bool) -> None:
    """By the true flow: so many frames, so far away, and as sure as the picture says."""
    steps = play(fcn, "between:4@scale=1@origin", PICTURES[:9], overlap=overlap)
    plain = play(fcn, "between:4@scale=1", PICTURES[:9])
    for t, step in enumerate(steps):
        origin = step.origin
        assert origin is not None and plain[t].origin is None
        np.testing.assert_array_equal(step.labels, plain[t].labels)
        if t % 4 == 0:
            assert not origin.age.any() and not origin.moved.any() and (origin.sure == 1).all()
            continue
        a, b = t - t % 4, t - t % 4 + 4
        earlier = origin.age == t - a
        assert (origin.age[~earlier] == t - b).all()
        weights = [
            distance * np.exp(-residual(t, source) / 10) for distance, source in ((b - t, a), (t - a, b))
        ]
        clear = np.abs(weights[0] - weights[1]) > 1e-3
        np.testing.assert_array_equal(earlier[clear], (weights[0] > weights[1])[clear])
        for source, where in ((a, earlier), (b, ~earlier)):
            if where.any():
                np.testing.assert_allclose(origin.moved[where] - path_of(t, source), 0, atol=1e-4)
                sure = np.exp(-residual(t, source) / 10)
                np.testing.assert_allclose(origin.sure[where], sure[where], atol=1e-4)


def test_moved_labels_say_where_they_come_from(fcn: Path) -> None:
    for t, step in enumerate(play(fcn, "warp:4@scale=1@origin", PICTURES[:6])):
        assert step.origin is not None
        assert (step.origin.age == t % 4).all()
        np.testing.assert_allclose(step.origin.moved - path_of(t, t - t % 4), 0, atol=1e-4)


class Kept:
    """A frame of which one can see whether somebody still holds it."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image


@pytest.mark.parametrize("schedule", ["between:4", "between:4@fuse", "between:adaptive:100@max=4"])
def test_memory_is_bounded_by_the_interval(fcn: Path, schedule: str) -> None:
    """However long the video: no picture, path or flow is kept for more than the frames around."""
    with runtime.open(fcn, device="cpu", schedule=schedule, threads=1, flow="skimage") as player:
        alive: list[int] = []
        kept: list[weakref.ref[Kept]] = []

        def frames() -> Any:
            for t in range(40):
                frame = Kept(PICTURES[t % FRAMES])
                kept.append(weakref.ref(frame))
                yield frame

        for _ in player.play(frames()):
            alive.append(sum(ref() is not None for ref in kept))
    assert max(alive) <= 2 * 4 + 3
