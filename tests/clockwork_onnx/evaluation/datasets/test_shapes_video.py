"""The shapes video: the same bits everywhere, labels that fit the pictures, motion as the names say."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from clockwork_onnx.evaluation.datasets import shapes_video as shapes
from clockwork_onnx.evaluation.datasets.shapes_video import (
    ALL_KINDS,
    CLASS_NAMES,
    FRAME_SIZE,
    PALETTE,
    shapes_shot,
    shapes_video,
)


def changed(labels: np.ndarray) -> float:
    """Share of the pixels whose label differs from the frame before."""
    return float(np.mean(labels[1:] != labels[:-1]))


def test_same_bits_everywhere() -> None:
    """The digest was taken once; another one means that every number measured on the video is void."""
    shot = shapes_shot(7, frames=4, size=(96, 112), speed="fast", pan=True)
    digest = hashlib.sha256(shot.frames.tobytes() + shot.labels.tobytes()).hexdigest()
    assert digest == "b92046812bd6bdcbba4ce6dbb54be7b5aa57eddf5d1833bb60789c4dcd25392a"


def test_no_sine_is_near_a_tie() -> None:
    """The table is rounded from floats: no platform's last bit may decide an entry."""
    exact = np.sin(2 * np.pi * np.arange(1024) / 1024) * (1 << 14)
    distance_to_tie = np.abs(exact - np.floor(exact) - 0.5)
    assert distance_to_tie.min() > 1e-6
    assert list(shapes._SIN) == [int(i) for i in np.rint(exact)]


def test_shot_is_frames_and_labels() -> None:
    shot = shapes_shot(3, frames=3, size=(64, 80))
    assert shot.frames.shape == (3, 64, 80, 3) and shot.frames.dtype == np.uint8
    assert shot.labels.shape == (3, 64, 80) and shot.labels.dtype == np.uint8
    assert shot.labels.max() < len(CLASS_NAMES)


def test_a_longer_shot_begins_like_a_shorter_one_without_lifetimes() -> None:
    """Frame t depends on t, not on how many frames follow (objects = 0 leaves only background and camera)."""
    short = shapes_shot(5, frames=2, objects=0, speed="slow", pan=True)
    long = shapes_shot(5, frames=4, objects=0, speed="slow", pan=True)
    np.testing.assert_array_equal(short.frames, long.frames[:2])
    assert not np.array_equal(long.frames[2], long.frames[3])


def test_splits_never_share_a_seed() -> None:
    assert set(shapes.TRAIN_SEEDS).isdisjoint(shapes.VAL_SEEDS)
    train = shapes_video("train", frames=1)
    val = shapes_video("val", frames=1)
    for theirs in train:
        assert not any(np.array_equal(theirs.frames, mine.frames) for mine in val)


def test_video_has_every_kind_and_every_class() -> None:
    shots = shapes_video("val", frames=10)
    assert [shot.name.rsplit(" ", 1)[0] for shot in shots] == list(ALL_KINDS)
    seen = np.unique(np.concatenate([np.unique(shot.labels) for shot in shots]))
    assert list(seen) == list(range(len(CLASS_NAMES)))
    assert all(shot.labels.shape[1:] == FRAME_SIZE for shot in shots)


def test_rounds_go_on_where_the_last_one_ended() -> None:
    two = shapes_video("val", rounds=2, frames=1)
    second = shapes_video("val", rounds=1, frames=1, first=len(ALL_KINDS))
    assert [shot.name for shot in two[len(ALL_KINDS) :]] == [shot.name for shot in second]
    np.testing.assert_array_equal(two[-1].frames, second[-1].frames)


def test_static_shot_never_changes() -> None:
    shot = shapes_shot(11, frames=5, speed="static")
    assert all(np.array_equal(frame, shot.frames[0]) for frame in shot.frames)
    assert np.any(shot.labels > 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fast_shots_change_more_than_slow_ones(seed: int) -> None:
    slow, fast = shapes_shot(seed, frames=8, speed="slow"), shapes_shot(seed, frames=8, speed="fast")
    assert 0 < changed(slow.labels) < changed(fast.labels) / 2


def test_noise_is_new_on_every_frame() -> None:
    shot = shapes_shot(4, frames=3, objects=0)
    assert not shot.labels.any()
    difference = shot.frames[1].astype(int) - shot.frames[0]
    assert 0 < np.abs(difference).mean() < 16


def test_camera_takes_the_background_along() -> None:
    """Without objects a later frame is the first one moved, but for the noise."""
    shot = shapes_shot(6, frames=2, objects=0, speed="fast", pan=True)
    first, second = shot.frames.astype(int)
    height, width = FRAME_SIZE
    best = min(
        np.abs(
            first[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
            - second[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
        ).mean()
        for dy in range(-6, 7)
        for dx in range(-6, 7)
        if (dy, dx) != (0, 0)
    )
    still = np.abs(first - second).mean()
    assert best < 8 < still


@pytest.mark.parametrize("seed", range(6))
def test_an_object_has_a_rim_two_colours_and_its_label(seed: int) -> None:
    """Where the label says object the pixels show (noise aside) its rim or one of two colours, always."""
    shot = shapes_shot(seed, frames=4, speed="slow", objects=1)
    assert len(set(np.unique(shot.labels)) - {0}) == 1
    pixels = shot.frames[shot.labels > 0].astype(int)
    groups: list[np.ndarray] = []
    for pixel in pixels[:: max(1, len(pixels) // 400)]:
        if not any(np.abs(pixel - group).max() <= 32 for group in groups):
            groups.append(pixel)
    assert 2 <= len(groups) <= 3


def test_shapes_are_what_their_names_say() -> None:
    """Areas in units of the radius squared, drawn 100 pixels large: the closed formula of each figure."""
    radius = 100 * 16
    y, x = np.mgrid[-150:150, -150:150].astype(np.int64) * 16 + 8
    area = dict.fromkeys(CLASS_NAMES[1:], 0.0)
    for label, name in enumerate(CLASS_NAMES[1:], start=1):
        area[name] = float(shapes._inside(label, x, y, radius).sum()) / 100**2
    inner = 13 / 32
    pentagon = 5 * inner**2 * np.tan(np.pi / 5)
    point = inner**2 * np.tan(np.pi / 5) ** 2 * np.tan(2 * np.pi / 5)
    assert area["disc"] == pytest.approx(np.pi, rel=0.01)
    assert area["ring"] == pytest.approx(np.pi * (1 - 0.5**2), rel=0.01)
    assert area["square"] == pytest.approx((2 * 0.8125) ** 2, rel=0.02)
    assert area["cross"] == pytest.approx(2 * (2 * 0.375 * 2) - (2 * 0.375) ** 2, rel=0.03)
    assert area["triangle"] == pytest.approx(3 * np.sqrt(3) * 0.5625**2, rel=0.01)
    assert area["star"] == pytest.approx(pentagon + 5 * point, rel=0.02)


def test_objects_come_and_go() -> None:
    """In a fast shot of a minute's length some class is in view on some frames only."""
    shot = shapes_shot(2, frames=60, speed="fast", size=(96, 112))
    there = np.stack([(shot.labels == label).any(axis=(1, 2)) for label in range(1, len(CLASS_NAMES))])
    assert np.any(there.any(axis=1) & ~there.all(axis=1))


def test_one_distinct_colour_a_class() -> None:
    assert len(PALETTE) == len(CLASS_NAMES) == len(set(PALETTE))
    pairs = [(a, b) for i, a in enumerate(PALETTE) for b in PALETTE[:i]]
    assert min(sum(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in pairs) > 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speed": "warp"}, "static, slow, fast"),
        ({"frames": 0}, "at least 1 frame"),
        ({"size": (8, 64)}, "16 x 16"),
        ({"objects": -1}, "-1 objects"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shapes_shot(0, **arguments)  # type: ignore[arg-type]


def test_unknown_split_and_kind() -> None:
    with pytest.raises(ValueError, match="train or val"):
        shapes_video("test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sideways"):
        shapes_video("val", kinds=("sideways",))
