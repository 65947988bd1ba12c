"""Frames played from an event loop: the same steps, and the loop goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.async_play import play_async
from runtime.step import Step
from tests.support.toy_bundles import toy_bundle, toy_frame
from weights.errors import UsageError, VideoError

FRAMES = [toy_frame(label) for label in (0, 1, 1, 0, 1)]


async def arriving() -> AsyncIterator[np.ndarray]:
    for frame in FRAMES:
        await asyncio.sleep(0)
        yield frame


def steps_of(path: Path, frames: object, schedule: str = "skip:2") -> list[Step]:
    async def collect() -> list[Step]:
        with runtime.open(path, device="cpu", schedule=schedule) as player:
            return [step async for step in play_async(player, frames)]  # type: ignore[arg-type]

    return asyncio.run(collect())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_steps_are_those_of_play(tmp_path: Path, asynchronous: bool) -> None:
    path = toy_bundle(tmp_path).path
    found = steps_of(path, arriving() if asynchronous else FRAMES)
    with runtime.open(path, device="cpu", schedule="skip:2") as player:
        expected = list(player.play(FRAMES))
    assert [(s.index, s.fired, s.shot) for s in found] == [(s.index, s.fired, s.shot) for s in expected]
    assert all(np.array_equal(f.labels, e.labels) for f, e in zip(found, expected, strict=True))


def test_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    async def both() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(tick())
        with runtime.open(toy_bundle(tmp_path).path, device="cpu") as player:
            async for _ in play_async(player, FRAMES):
                pass
        other.cancel()
        return ticks

    assert asyncio.run(both()) > len(FRAMES)


def test_errors_come_out(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path).path
    with pytest.raises(VideoError, match="not a frame"):
        steps_of(path, [FRAMES[0], "frame"])
    with pytest.raises(UsageError, match="when the next key frame has come"):
        steps_of(path, FRAMES, "between:2")
