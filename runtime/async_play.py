"""Frames played from an event loop: `async for step in play_async(player, frames)`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from runtime.player import Player
from runtime.step import Step

__all__ = ["play_async"]


async def play_async(player: Player, frames: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Step]:
    """One step per frame, in order, while the event loop goes on with other work.

    Frames are asked for and played in threads, one after the other; a shot begins with the first, as it does
    after `player.end_shot()`. The schedule may be any that does not wait for later frames (`between:K` does).

    Args:
        player: The player; nobody else uses it meanwhile.
        frames: As for `Player.play`, from an ordinary iterable, such as `open_video`'s, or an asynchronous
            one.

    Yields:
        Each frame's step.

    Raises:
        UsageError: The schedule waits, or the player is closed or in use elsewhere.
        VideoError: Not a frame.
        BundleError, DeviceError: A stage cannot run on it.
    """
    async for frame in _each(frames):
        yield await asyncio.to_thread(player.step, frame)


async def _each(frames: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The frames; an ordinary iterable is read in a thread, for it may wait for a file or a camera."""
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    source, end = iter(frames), object()
    while (frame := await asyncio.to_thread(next, source, end)) is not end:
        yield frame
