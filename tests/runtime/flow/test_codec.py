"""Flow from motion vectors: exact where blocks say so, filled and smoothed elsewhere, estimated where
refused.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from runtime.flow.codec import FROM_STREAM, CodecFlow, block_flow, turned_round
from runtime.flow.estimators import flow_estimator
from runtime.flow.fields import resize_flow
from runtime.video.frames import Frame, Motion
from runtime.video.reader import open_video
from tests.support.toy_bundles import chain
from tests.support.video_files import write_video

VECTOR = np.dtype(
    [
        ("source", "<i4"), ("w", "u1"), ("h", "u1"), ("src_x", "<i2"), ("src_y", "<i2"), ("dst_x", "<i2"),
        ("dst_y", "<i2"), ("flags", "<u8"), ("motion_x", "<i4"), ("motion_y", "<i4"), ("motion_scale", "<u2"),
    ]
)  # fmt: skip


def blocks(rows: list[tuple[int, int, int, int, float, float]]) -> np.ndarray:
    """Vectors of blocks given as left, top, width, height and the motion in pixels."""
    found = np.zeros(len(rows), VECTOR)
    for one, (left, top, width, height, x, y) in zip(found, rows, strict=True):
        one["w"], one["h"], one["source"], one["motion_scale"] = width, height, -1, 4
        one["dst_x"], one["dst_y"] = left + width // 2, top + height // 2
        one["motion_x"], one["motion_y"] = round(4 * x), round(4 * y)
    return found


def tiles(size: tuple[int, int], motion: Any, side: int = 16) -> np.ndarray:
    """Blocks all over a frame; `motion` of left and top."""
    return blocks(
        [(x, y, side, side, *motion(x, y)) for y in range(0, size[0], side) for x in range(0, size[1], side)]
    )


@pytest.mark.parametrize("size", [(64, 96), (90, 100)])
def test_one_motion_everywhere(size: tuple[int, int]) -> None:
    flow = block_flow(tiles(size, lambda x, y: (-3, 1.5)), size)
    whole = resize_flow(flow, *size)
    np.testing.assert_allclose(whole, np.broadcast_to(np.float32([-3, 1.5]), (*size, 2)), atol=1e-4)


def test_what_does_not_move_is_exactly_0() -> None:
    assert not block_flow(tiles((90, 100), lambda x, y: (0, 0)), (90, 100)).any()


def test_blocks_of_every_shape_lie_where_they_are() -> None:
    shapes = [(0, 0, 16, 8), (0, 8, 16, 8), (16, 0, 8, 16), (24, 0, 8, 16), (0, 16, 8, 8), (8, 16, 8, 8)]
    shapes += [(0, 24, 16, 8), (16, 16, 16, 16)]
    flow = block_flow(blocks([(*shape, i + 1, 0) for i, shape in enumerate(shapes)]), (32, 32))
    expected = np.zeros((32, 32))
    for i, (left, top, width, height) in enumerate(shapes):
        expected[top : top + height, left : left + width] = i + 1
    whole = flow[..., 0] * 32 / flow.shape[1]
    assert flow.shape == (8, 8, 2)
    np.testing.assert_allclose(whole[5:7, 5:7], expected[20:28:4, 20:28:4], atol=0.5)
    assert whole[0, 0] == pytest.approx(1, abs=0.4) and whole[0, 7] == pytest.approx(4, abs=0.7)


def test_holes_take_what_is_around() -> None:
    found = tiles((128, 128), lambda x, y: (4, -2))
    kept = found[(found["dst_x"] > 70) | (found["dst_y"] > 70)]
    expected = np.broadcast_to([1, -0.5], (32, 32, 2))
    np.testing.assert_allclose(block_flow(kept, (128, 128)), expected, atol=1e-5)


def test_a_stray_vector_does_not_reach_far() -> None:
    found = tiles((96, 96), lambda x, y: (0, 0), side=8)
    found["motion_x"][60] = 400
    flow = block_flow(found, (96, 96))
    assert (flow[..., 0] > 1).mean() < 0.02


def test_the_flow_the_other_way() -> None:
    forward = turned_round(np.broadcast_to(np.float32([2, -1]), (20, 30, 2)).copy())
    np.testing.assert_allclose(forward, np.broadcast_to([-2, 1], (20, 30, 2)), atol=1e-6)


def test_it_takes_no_more_than_2_ms() -> None:
    """At 480 x 360, the best of many."""
    rng = np.random.default_rng(0)
    found = tiles((360, 480), lambda x, y: rng.normal(0, 3, 2), side=8)
    found = found[rng.random(len(found)) > 0.1]
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        block_flow(found, (360, 480))
        taken.append(time.perf_counter() - began)
    assert min(taken) < 2e-3


def test_only_frames_next_to_each_other_and_only_vectors_that_were_not_refused() -> None:
    flow = CodecFlow(flow_estimator("skimage"))
    image = np.zeros((32, 32, 3), np.uint8)
    vectors = tiles((32, 32), lambda x, y: (1, 0))
    frames = [Frame(i, None, image, str(i), motion=Motion(vectors)) for i in range(4)]
    assert flow.from_stream(frames[0], frames[1], (32, 32)) is not None
    assert flow.from_stream(frames[1], frames[3], (32, 32)) is None
    refused = Frame(1, None, image, "1", motion=Motion(None, "B pictures"))
    assert flow.from_stream(frames[0], refused, (32, 32)) is None
    assert flow.from_stream(image, image, (32, 32)) is None
    assert flow.counts == {
        FROM_STREAM: 1, "frames left out": 1, "B pictures": 1, "frames without a stream": 1,
    }  # fmt: skip


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("schedule", ["warp:4", "between:4"])
def test_a_stream_is_played_with_its_own_flow(tmp_path: Path, schedule: str, overlap: bool) -> None:
    rough = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    large = np.kron(rough, np.ones((4, 4, 1), np.uint8))
    pictures = [large[40 - 2 * t : 104 - 2 * t, 60 - 3 * t : 156 - 3 * t] for t in range(9)]
    options = {"bf": "0", "refs": "1", "g": "100", "sc_threshold": "0"}
    file = write_video(tmp_path / "video.mp4", pictures, **options)
    bundle = chain(tmp_path / "toy.staged", 2, size=(64, 96))
    if schedule.startswith("between"):
        pytest.importorskip("cv2")
    kind = schedule if schedule.startswith("warp") else "warp:4@occlusion=previous"
    with runtime.open(bundle, device="cpu", schedule=f"{kind}@flow=codec", overlap=overlap) as player:
        assert player.reads_motion
        with open_video(file, motion=True) as reader:
            steps = list(player.play(reader))
        assert player.flow_counts[FROM_STREAM] >= 6 and len(steps) == 9
        assert set(player.flow_counts) == {FROM_STREAM}
        with open_video(file) as reader:
            list(player.play(reader))
        assert player.flow_counts["frames without a stream"] >= 6
