"""Opening a bundle for playing: its schedule, its device, and who does the work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

from runtime.engine.executors import Threads
from runtime.flow.estimators import FlowSource
from runtime.player import Player, as_schedule
from runtime.schedule.schedule import Schedule
from runtime.sessions.device import Device, choose_device
from staged_onnx import Bundle, check_files, read_bundle
from staged_onnx.resized import resized_bundle
from weights.errors import UsageError

__all__ = ["open_player", "threads_per_stage"]


def open_player(
    path: str | PathLike[str],
    device: str = "auto",
    schedule: str | Schedule | None = None,
    signal: str | None = None,
    *,
    flow: FlowSource | None = None,
    precision: str = "fp32",
    provider_options: Mapping[str, object] | None = None,
    threads: int = 0,
    spin: bool = False,
    overlap: bool = False,
    ahead: int = 1,
    verify: bool = False,
    size: tuple[int, int] | None = None,
    passes: str = "auto",
) -> Player:
    """Open the bundle at `path` for playing.

    Args:
        path: The bundle's folder.
        device: "auto", "cpu", "cuda" or "cuda:N".
        schedule: Text or a Schedule, by default the bundle's.
        signal: The value that adaptive clocks watch, by default the bundle's.
        flow: The optical flow estimator, instead of the one that the schedule names; see `runtime.flow`.
        precision: "fp32", "tf32" or "fp16".
        provider_options: Over the defaults for CUDA.
        threads: Threads of one operator on the CPU, 0 for automatic.
        spin: See `choose_device`.
        overlap: Run stages in threads of their own, so that those that do not wait for each other run at the
            same time, and begin up to `ahead` frames before the labels of the one before are out; the steps
            stay the same.
        ahead: 0 to 8.
        verify: First compare every file of the bundle with the hash that its manifest has of it.
        size: (height, width) to which frames are resized for the net, instead of the bundle's own.
        passes: What is done to the stages' graphs before they are opened; see `choose_device`.

    Returns:
        The player, to be closed when it is no longer needed; its sessions open with the first frame.

    Raises:
        BundleError, ScheduleError, DeviceError, FlowError, UsageError: What cannot be opened, and why.
    """
    if not 0 <= ahead <= 8:
        raise UsageError("bad number of frames to run ahead", found=ahead, expected="0 to 8")
    bundle = read_bundle(path)
    if verify:
        check_files(bundle)
    if size is not None:
        bundle = resized_bundle(bundle, size)
    chosen = as_schedule(schedule, bundle, signal)
    where = choose_device(
        device, precision=precision, provider_options=provider_options, threads=threads, spin=spin,
        passes=passes,
    )  # fmt: skip
    if overlap:
        where = replace(where, threads=threads_per_stage(bundle, where))
    return Player(bundle, where, chosen, executor=Threads(ahead) if overlap else None, flow=flow)


def threads_per_stage(bundle: Bundle, device: Device) -> int:
    """Threads of one operator where stages run side by side.

    Args:
        bundle: The bundle.
        device: The device, which may say how many threads were asked for.

    Returns:
        The number asked for, else a share of the cores, at least 1.
    """
    if device.threads:
        return device.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // len(bundle.manifest.stages))
