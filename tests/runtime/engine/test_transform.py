"""The third update rule: values moved along a flow, chained and from the key frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import runtime
from caffe_port.onnx_graph import OnnxGraph
from staged_onnx import read_bundle
from tests.support.toy_bundles import chain, frame_of
from weights.errors import ScheduleError

H, W = 5, 9


def warp(shape: tuple[int, ...], dtype: np.dtype, feeds: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """moved(y, x) = value(y + flow_y, x + flow_x), zeros outside."""
    height, width = shape[2:]
    g = OnnxGraph()
    value, flow = g.input("value", shape), g.input("flow", feeds["flow"])
    ys, xs = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    at = g.node("Add", flow, g.const(np.stack([xs, ys], -1)))
    unit = g.node("Sub", g.node("Div", at, g.const([(width - 1) / 2, (height - 1) / 2])), g.const(1.0))
    grid = g.node("Unsqueeze", unit, g.ints(0))
    moved = g.node("GridSample", value, grid, align_corners=1, mode="bilinear", padding_mode="zeros")
    g.output(moved, "moved", shape)
    return g.model("warp")


def column_of(image: np.ndarray) -> int:
    return int(image[0, :, 0].argmax())


def flow_between(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    flow = np.zeros((*now.shape[:2], 2), np.float32)
    flow[..., 0] = column_of(then) - column_of(now)
    return flow


def bar(column: int) -> np.ndarray:
    """A frame with a bright column."""
    image = frame_of(0, (H, W))
    image[:, column, 0] = 50
    return image


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain(tmp_path_factory.mktemp("toy") / "two.staged", 2, size=(H, W))


def schedule(bundle: Path, text: str, *, chained: bool, model=warp, **feed) -> runtime.Schedule:
    make = feed.get("make") or (lambda m: flow_between(m.image, m.previous if chained else m.source))
    read = runtime.Read("value", "v2", "newest" if chained else "source")
    transform = runtime.Transform("v2", model, (runtime.Feed("flow", make),), (read,))
    return dataclasses.replace(
        runtime.parse_schedule(text, read_bundle(bundle).manifest), transforms=(transform,)
    )


COLUMNS = [1, 2, 4, 5, 7, 6, 4]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("chained", [True, False])
def test_a_moved_value_follows_the_picture(two: Path, chained: bool, overlap: bool) -> None:
    plan = schedule(two, "rates:1,4", chained=chained)
    with runtime.open(two, device="cpu", schedule=plan, overlap=overlap) as player:
        steps = []
        for step in player.play(bar(c) for c in COLUMNS):
            steps.append(step)
    assert ["stage2" in s.fired for s in steps] == [True, False, False, False, True, False, False]
    assert [s.moved for s in steps] == [{}, {"v2": 1}, {"v2": 2}, {"v2": 3}, {}, {"v2": 1}, {"v2": 2}]
    assert [s.provenance["head"]["v2"] for s in steps] == [0, 0, 0, 0, 4, 4, 4]
    assert [s.ages["stage2"] for s in steps] == [0, 1, 2, 3, 0, 1, 2]
    for step, column in zip(steps, COLUMNS, strict=True):
        # the bar of the fresh stage and the moved one lie on each other, whatever entered at the border
        assert np.all(step.labels[:, column] == 100), (step.index, step.labels)


def test_chained_moves_lose_what_left_the_frame_and_moves_from_the_key_do_not(two: Path) -> None:
    columns = [6, 8, 2]  # a pan that takes the right of the picture out of the frame and brings it back
    moved = {}
    for chained in (True, False):
        plan = schedule(two, "rates:1,9", chained=chained)
        with runtime.open(two, device="cpu", schedule=plan) as player:
            list(player.play(bar(c) for c in columns))
            entry = player.cache["v2"]
            moved[chained] = np.array(entry.buffers[entry.read(0).buffer].numpy())[0, 0, 0]
    key = np.full(W, 3000.0)
    key[6] = 3050
    expected = np.zeros(W)
    expected[:5] = key[4:]  # 4 to the left of the key, zeros from outside
    np.testing.assert_allclose(moved[False], expected, rtol=1e-6)
    expected[3:5] = 0  # the key's columns 7 and 8 were outside on the second frame
    np.testing.assert_allclose(moved[True], expected, rtol=1e-6)


def test_feeds_are_made_only_where_needed_and_see_the_right_images(two: Path) -> None:
    seen = []

    def make(moment: runtime.Moment) -> np.ndarray:
        seen.append(
            (moment.position, *(column_of(i) for i in (moment.image, moment.previous, moment.source)))
        )
        assert column_of(moment.frame) == column_of(moment.image)
        return flow_between(moment.image, moment.previous)

    with runtime.open(
        two, device="cpu", schedule=schedule(two, "rates:1,3", chained=True, make=make)
    ) as player:
        list(player.play(bar(c) for c in COLUMNS))
        names = [entry.name for entry in player.cache.describe()]
    assert seen == [(1, 2, 1, 1), (2, 4, 2, 1), (4, 7, 5, 5), (5, 6, 7, 5)]
    assert "feed flow" in names


def test_lagged_readers_see_the_value_from_before_the_move(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "three.staged", 3, size=(H, W))
    plan = runtime.parse_schedule("pipeline:3", read_bundle(bundle).manifest)
    moves = runtime.Transform(
        "v2", warp, (runtime.Feed("flow", lambda m: flow_between(m.image, m.previous)),)
    )
    every_other = runtime.parse_schedule("rates:1,2,1", read_bundle(bundle).manifest).clocks
    plan = dataclasses.replace(plan, clocks=every_other, transforms=(moves,))
    with runtime.open(bundle, device="cpu", schedule=plan) as player:
        states = []
        for _ in player.play(bar(c) for c in (1, 2, 4, 5)):
            value = [player.cache[n] for n in ("v2", "v3")]
            states.append([np.array(e.buffers[e.current.buffer].numpy())[0, 0, 0] for e in value])
    for before, after in pairwise(states):
        np.testing.assert_allclose(after[1], before[0] + 3000, rtol=1e-6)


def test_a_feed_that_changes_its_shape_and_a_graph_that_does_not_fit_are_named(two: Path) -> None:
    def uneven(moment: runtime.Moment) -> np.ndarray:
        return np.zeros((H, W + moment.position - 1, 2), np.float32)

    with (
        runtime.open(
            two, device="cpu", schedule=schedule(two, "rates:1,9", chained=True, make=uneven)
        ) as player,
        pytest.raises(ScheduleError, match=r'frame 2: feed "flow" has changed its shape'),
    ):
        list(player.play(bar(c) for c in COLUMNS))

    def other(shape, dtype, feeds) -> onnx.ModelProto:
        g = OnnxGraph()
        value = g.input("value", shape)
        g.input("flow", feeds["flow"])
        g.output(g.node("Cast", value, to=TensorProto.INT32), "moved", shape, TensorProto.INT32)
        return g.model("other")

    with (
        runtime.open(
            two, device="cpu", schedule=schedule(two, "rates:1,9", chained=True, model=other)
        ) as player,
        pytest.raises(ScheduleError, match=r'the transform of v2 does not fit; .*expected an output "moved"'),
    ):
        list(player.play(bar(c) for c in COLUMNS))


def test_transforms_must_name_carried_values(two: Path) -> None:
    plan = schedule(two, "oracle", chained=True)
    wrong = dataclasses.replace(plan, transforms=(dataclasses.replace(plan.transforms[0], value="v9"),))
    with pytest.raises(ScheduleError, match="bad transforms; found v9"):
        runtime.open(two, device="cpu", schedule=wrong)
