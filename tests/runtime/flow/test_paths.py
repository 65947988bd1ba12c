"""Paths add up, start anew where they must, and say how well they explain the picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.flow.options import FlowOptions, grid_of
from runtime.flow.paths import FlowPaths
from runtime.transform import Moment
from runtime.video.frames import Frame
from runtime.video.threads import prefetch
from weights.errors import FlowError, UsageError

SIZE = (24, 32)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def shift(*xy: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A flow that is the same everywhere and always."""
    return lambda previous, current: np.broadcast_to(np.float32(xy), (*current.shape[:2], 2))


class Counted:
    """Flows of (x, y) = (number of the call, 0), and the frames of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        self.calls.append((previous, current))
        return np.broadcast_to(np.float32([len(self.calls), 0]), (*SIZE, 2))


def moment(images: list[np.ndarray], at: int, source: int = 0, frame: Any = None) -> Moment:
    return Moment(frame, images[at], images[at - 1], images[source], at, at)


def full(flow: Any, **options: Any) -> FlowPaths:
    return FlowPaths(FlowOptions(flow, scale=Fraction(1), **options))


def test_paths_add_up_from_the_source() -> None:
    images, motion = [image(i) for i in range(4)], full(Counted())
    for at, sum_of_calls in ((1, 1), (2, 3), (3, 6)):
        path = motion.path(moment(images, at))
        assert path is not None and path.shape == (*SIZE, 2)
        np.testing.assert_allclose(path, np.broadcast_to([sum_of_calls, 0], path.shape), atol=1e-5)


def test_one_frame_is_followed_once_however_often_it_is_asked() -> None:
    images, flow = [image(i) for i in range(3)], Counted()
    motion = full(flow)
    now = moment(images, 1)
    first, again = motion.path(now), motion.path(now)
    motion.residual(now), motion.distance(now)
    assert first is again and len(flow.calls) == 1


def test_a_new_source_starts_a_new_path() -> None:
    images, motion = [image(i) for i in range(5)], full(Counted())
    for at in (1, 2):
        motion.path(moment(images, at))
    path = motion.path(moment(images, 4, source=3))
    assert path is not None
    np.testing.assert_allclose(path[..., 0], 3, atol=1e-5)


def test_two_players_do_not_mix_their_paths() -> None:
    one, other = [image(i) for i in range(3)], [image(i) for i in range(10, 13)]
    motion = full(shift(1, 2))
    for at in (1, 2):
        for images in (one, other):
            path = motion.path(moment(images, at))
            assert path is not None
            np.testing.assert_allclose(path, np.broadcast_to([at, 2 * at], path.shape), atol=1e-5)


def test_a_missed_frame_is_bridged_by_flow_from_the_source() -> None:
    images, flow = [image(i) for i in range(4)], Counted()
    motion = full(flow)
    motion.path(moment(images, 1))
    motion.path(moment(images, 3))
    assert flow.calls[1][0] is images[0] and flow.calls[1][1] is images[3]


def test_flow_from_the_key_frame() -> None:
    images, flow = [image(i) for i in range(3)], Counted()
    motion = full(flow, start="key")
    paths = [motion.path(moment(images, at)) for at in (1, 2)]
    assert [(a is images[0], b is images[at + 1]) for at, (a, b) in enumerate(flow.calls)] == [
        (True, True)
    ] * 2
    assert paths[1] is not None and (paths[1][..., 0] == 2).all()


def test_where_nothing_moves_there_is_no_path() -> None:
    images = [image(0)] * 4
    flows = iter([(0, 0), (2, 0), (0, 0)])
    motion = full(lambda a, b: np.broadcast_to(np.float32(next(flows)), (*SIZE, 2)))
    images = [image(0).copy() for _ in range(4)]
    assert motion.path(moment(images, 1)) is None
    moved = motion.path(moment(images, 2))
    assert moved is not None and (moved[..., 0] == 2).all()
    assert motion.path(moment(images, 3)) is None
    assert motion.distance(moment(images, 3)) == pytest.approx(2 / np.hypot(*SIZE))


def test_the_grid_of_a_path() -> None:
    images = [image(i) for i in range(2)]
    motion = FlowPaths(FlowOptions(shift(4, 6), scale=Fraction(1, 2)))
    path = motion.path(moment(images, 1))
    assert path is not None and path.shape == (12, 16, 2)
    np.testing.assert_allclose(path, np.broadcast_to([2, 3], path.shape), atol=1e-5)
    assert motion.frame_of((12, 16)) == SIZE
    assert grid_of((7, 9), Fraction(1, 2)) == (4, 5)


def test_the_scales_follow_the_size_of_the_frame_and_of_the_scores() -> None:
    options = FlowOptions()
    sizes = [(100, 100), (360, 480), (1024, 2048)]
    assert [options.path_scale(size) for size in sizes] == [1, Fraction(1, 2), Fraction(1, 4)]
    assert [options.scores_scale(size, 20) for size in sizes] == [1, 1, Fraction(1, 2)]
    assert options.scores_scale((4096, 8192), 100) == Fraction(1, 4)
    halved = FlowOptions(scale=Fraction(1, 3))
    assert halved.path_scale((100, 100)) == halved.scores_scale((100, 100), 20) == Fraction(1, 3)


def smooth(x: int = 0, y: int = 0) -> np.ndarray:
    """A smooth picture, moved by (x, y)."""
    rough = np.random.default_rng(4).integers(0, 256, (10, 12, 3), np.uint8)
    large = np.asarray(Image.fromarray(rough).resize((96, 80), Image.Resampling.BICUBIC))
    return large[20 - y : 20 - y + SIZE[0], 30 - x : 30 - x + SIZE[1]]


def test_the_residual_is_the_share_that_the_path_does_not_explain() -> None:
    images = [smooth(), smooth(3), smooth(3)]
    assert full(shift(-3, 0)).residual(moment(images, 1)) < 0.1
    assert full(shift(3, 0)).residual(moment(images, 1)) > 0.4
    assert full(shift(0, 0)).residual(moment([smooth(), smooth().copy()], 1)) == 0
    black = [np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8)]
    black[1][:6] = 17
    black[1][6:12] = 16  # a difference of the tolerance is explained
    assert full(shift(0, 0)).residual(moment(black, 1)) == 0.25


def test_the_residual_adds_up_from_step_to_step() -> None:
    images = [np.full((*SIZE, 3), 100, np.uint8) for _ in range(4)]
    images[1][:6] = 0  # a quarter of the frame changes and stays, then another half, then nothing
    images[2][:18] = images[3][:18] = 0
    motion = full(shift(0, 0))
    assert [motion.residual(moment(images, at)) for at in (1, 2, 2, 3)] == [0.25, 0.75, 0.75, 0.75]
    assert motion.residual(moment(images, 3, source=2)) == 0
    from_key = full(shift(0, 0), start="key")
    assert [from_key.residual(moment(images, at)) for at in (1, 2, 3)] == [0.25, 0.75, 0.75]


def test_what_moved_out_of_sight_is_not_followed() -> None:
    """Forward flow that does not lead back: nothing is moved there, with occlusion "previous"."""
    images = [image(i) for i in range(2)]

    def flow(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        backward = current is images[1]
        field = np.zeros((*SIZE, 2), np.float32)
        field[:, :16, 0] = 2 if backward else -2
        field[:, 16:, 0] = 2  # the right half's forward flow does not lead back
        return field

    path = full(flow, occlusion="previous").path(moment(images, 1))
    assert path is not None
    np.testing.assert_array_equal(path[:, 2:12, 0], np.full((24, 10), 2))
    np.testing.assert_array_equal(path[:, 18:, 0], np.zeros((24, 14)))


def test_what_has_come_into_view_stays_marked_and_moves_along() -> None:
    images = [image(i) for i in range(3)]
    forward, backward = np.float32([4, 0]), np.float32([-4, 0])
    motion = full(
        lambda previous, current: np.broadcast_to(
            forward if any(previous is images[i + 1] and current is images[i] for i in (0, 1)) else backward,
            (*SIZE, 2),
        ),
        occlusion="fresh",
    )
    hidden = [motion.hidden(moment(images, at))[0, 0] for at in (1, 2)]
    for at, columns in ((0, 4), (1, 8)):
        assert hidden[at].shape == SIZE
        assert hidden[at][:, :columns].all() and not hidden[at][:, columns:].any()


def test_flow_made_ahead_is_used_once_and_counted() -> None:
    flow = Counted()
    motion = full(flow)
    frames = [Frame(i, None, image(i), "") for i in range(4)]
    ready = list(motion.ahead(iter(frames)))
    assert ready == frames and len(flow.calls) == 3
    images = [frame.image.copy() for frame in frames]  # a player keeps copies
    now = moment(images, 1, frame=frames[1])
    path = motion.path(now)
    assert path is not None and (path[..., 0] == 1).all() and len(flow.calls) == 3
    assert now.ms["flow"] > 0 and now.ms["path"] > 0
    copies = [frame.image.copy() for frame in frames]  # another player, that nothing was made ahead for
    motion.path(moment(copies, 1, frame=frames[1]))
    assert len(flow.calls) == 4


def test_no_flow_is_made_where_none_is_needed() -> None:
    flow = Counted()
    motion = full(flow)
    small = np.zeros((8, 8, 3), np.uint8)
    images = [image(i) for i in range(7)]
    frames = [Frame(i, None, x, "", shot_start=i == 5) for i, x in enumerate(images)]
    frames.append(Frame(7, None, small, ""))
    list(motion.ahead(frames, lambda position: position % 3 == 0))
    made = [next(i for i, x in enumerate(images) if x is now) for _, now in flow.calls]
    assert made == [1, 2, 4, 6]  # 3 is a key frame, 5 starts a shot, 7 has another size


def test_ahead_in_a_thread_leaves_frames_and_errors_in_their_order() -> None:
    def broken(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        return np.full((*SIZE, 2), np.nan, np.float32)

    motion = full(broken)
    seen = []
    with pytest.raises(FlowError, match="not finite"):
        for frame in prefetch(motion.ahead(image(i) for i in range(3))):
            seen.append(frame)
    assert len(seen) == 1
    assert list(motion.ahead([b"no frame", 3])) == [b"no frame", 3]


@pytest.mark.parametrize(
    "options",
    [
        {"start": "end"},
        {"padding": "mirror"},
        {"occlusion": "guess"},
        {"of": "pixels"},
        {"scale": Fraction(2)},
    ],
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        FlowOptions(**options)
