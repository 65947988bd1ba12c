"""Entries: which buffer is read and written when, and what the cache says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runtime
from runtime.engine.cache import Entry, FeatureCache
from runtime.sessions.device import Device
from tests.support.toy_bundles import chain, frame_of

CPU = Device("cpu", 0, "test")


def entry(**options: object) -> Entry:
    return Entry("v", (1, 2), np.float32, CPU, **options)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["write", "chain", "key", "keep"]), max_size=30), st.integers(0, 2))
def test_no_version_is_overwritten_while_it_may_be_read(actions: list[str], spare: int) -> None:
    """A model of the rule: what was newest before the frame, and the source, survive the frame's own
    write.
    """
    e = entry(lagged=True, moved=True, spare=spare)
    e.write(0, 0)
    kept: dict[int, tuple[int, int]] = {}  # buffer -> what was last written there
    kept[e.read(0).buffer] = (0, 0)
    for t, action in enumerate(actions, 1):
        e.begin_frame()
        before, source = e.read(1), e.source
        assert source is not None
        survives = [before]
        if action == "write":
            written = e.write(t, t)
        elif action in ("chain", "key"):
            start = e.version("newest" if action == "chain" else "source")
            assert start == (before if action == "chain" else source)
            written = e.rewrite(start, [start], computed=False)
            survives.append(start)
            assert written.transforms == before.transforms + 1 and written.index == source.index
        else:
            assert e.read(0) == before
            continue
        assert written.buffer not in {version.buffer for version in survives}
        assert e.read(0) == written and e.read(1) == before


@given(st.lists(st.sampled_from(["fused", "plain", "other"]), max_size=30), st.integers(0, 2))
def test_a_fused_value_takes_the_place_of_what_was_computed(actions: list[str], spare: int) -> None:
    """What was computed before survives the computation and the fusion; what a transform makes of other
    values takes no version of this one.
    """
    e = entry(moved=True, keeps_earlier=True, spare=spare)
    e.write(0, 0)
    for t, action in enumerate(actions, 1):
        e.begin_frame()
        source = e.version("source")
        if action == "other":
            made = e.rewrite(source, [], computed=False)
            assert made.buffer != source.buffer and e.version("source") == source
            e.restore()
            assert e.read(0) == source
            continue
        fresh = e.write(t, t)
        assert e.version("earlier") == source and fresh.buffer != source.buffer
        if action == "fused":
            fused = e.rewrite(source, [source, fresh], computed=True)
            assert len({fused.buffer, fresh.buffer, source.buffer}) == 3
            assert (fused.position, fused.index, fused.transforms) == (t, t, 0)
            assert e.version("source") == e.version("newest") == fused and e.version("earlier") == source


def test_buffers_are_only_as_many_as_needed() -> None:
    assert [len(entry(**o).buffers) for o in ({}, {"lagged": True}, {"moved": True}, {"spare": 2})] == [
        1,
        2,
        2,
        3,
    ]


def test_a_recurrent_value_begins_as_zeros() -> None:
    e = entry(lagged=True)
    e.buffers[0].update_inplace(np.ones((1, 2), np.float32))
    e.buffers[1].update_inplace(np.ones((1, 2), np.float32))
    version = e.read(1)
    assert version.index == -1 and e.buffers[version.buffer].numpy().tolist() == [[0, 0]]
    assert e.write(0, 0).buffer != version.buffer


def test_describe() -> None:
    cache = FeatureCache()
    e = cache.add(entry(lagged=True))
    (empty,) = cache.describe()
    assert (empty.index, empty.age, empty.buffers, empty.bytes) == (None, None, 2, 16)
    cache.begin_frame(0)
    e.write(0, 40)
    cache.begin_frame(3)
    (line,) = cache.describe()
    assert (line.name, line.shape, line.dtype, line.device, line.index, line.age) == (
        "v",
        (1, 2),
        "float32",
        "cpu",
        40,
        3,
    )


def test_the_steady_state_allocates_no_features(tmp_path: Path) -> None:
    """Every frame's values lie in the buffers made with the first one, and no binding is made after all
    combinations of them have been seen."""
    bundle = chain(tmp_path / "three.staged")
    with runtime.open(bundle, device="cpu", schedule="pipeline:3") as player:
        steps = player.play(frame_of(r) for r in range(40))
        for _ in range(8):
            next(steps)
        assert player._engine is not None
        addresses = {(e.name, i): b.data_ptr() for e in player.cache for i, b in enumerate(e.buffers)}
        bindings = len(player._engine.dispatch.bindings)
        for _ in steps:
            pass
        assert {(e.name, i): b.data_ptr() for e in player.cache for i, b in enumerate(e.buffers)} == addresses
        assert len(player._engine.dispatch.bindings) == bindings
        assert {e.name: len(e.buffers) for e in player.cache} == {
            "frame": 1, "v1": 2, "v2": 2, "v3": 1, "score1": 1, "score2": 1,
        }  # fmt: skip


def test_sizes_are_kept_up_to_a_limit(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "two.staged", 2)
    sizes = [(4, 6), (5, 6), (4, 6), (6, 6), (4, 6), (5, 6)]
    opened = []
    with runtime.open(bundle, device="cpu", schedule="oracle") as player:
        for step in player.play(frame_of(9, size) for size in sizes):
            assert step.labels.shape == sizes[step.index] and np.all(step.labels == 18)
            opened.append([size for size, *_ in player._sessions])
    assert opened[-1] == [(4, 6), (5, 6)] and max(map(len, opened)) == 2


@pytest.mark.parametrize("overlap", [False, True])
def test_values_read_back_are_what_the_stages_computed(tmp_path: Path, overlap: bool) -> None:
    bundle = chain(tmp_path / "three.staged")
    with runtime.open(bundle, device="cpu", schedule="alternating", overlap=overlap, ahead=0) as player:
        for step in player.play(frame_of(r) for r in (10, 11, 12)):
            values = {
                n: player.cache[n].buffers[player.cache[n].read(0).buffer].numpy() for n in ("v1", "v3")
            }
            assert np.all(values["v1"] == 1010 + step.index)
            assert np.all(values["v3"] == 6010 + step.index - step.index % 2)
