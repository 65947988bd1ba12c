"""What a player asks of a GPU: copies, waits, captured graphs, memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

OnStubs = Callable[..., Any]
FRAMES = 16
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize")
FIXED = ("oracle", "skip:2", "alternating", "exponential", "pipeline:2", "pipeline:3")
MOVING = ("warp:4", "warp-feature:4", "correct:4", "warp:4@fuse", "between:4")
GRAPHS = {"provider_options": {"enable_cuda_graph": 1}}


def copies(calls: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in calls.items() if name.startswith("cudaMemcpy")}


@pytest.fixture(scope="module")
def played(on_stubs: OnStubs) -> dict[str, Any]:
    """Every schedule, one after the other."""
    found: dict[str, Any] = on_stubs("played", schedules=[*FIXED, *MOVING, "adaptive:0.1"])
    return {**found, "messages": on_stubs.messages}  # type: ignore[attr-defined]


@pytest.mark.parametrize("schedule", FIXED)
def test_a_frame_goes_up_once_and_its_labels_come_down_once(played: dict[str, Any], schedule: str) -> None:
    calls, heads = played[schedule]["calls"], played[schedule]["heads"]
    assert copies(calls) == {"cudaMemcpyAsync pin>dev": heads, "cudaMemcpyAsync dev>pin": heads}
    assert heads == (FRAMES // 2 if schedule == "skip:2" else FRAMES)
    assert not any(calls.get(name) for name in (*WAITS, "cudaMalloc", "cudaHostAlloc"))


def test_an_adaptive_clock_brings_one_number_more(played: dict[str, Any]) -> None:
    calls = played["adaptive:0.1"]["calls"]
    assert copies(calls) == {"cudaMemcpyAsync pin>dev": FRAMES, "cudaMemcpyAsync dev>pin": 2 * FRAMES}
    assert not any(calls.get(name) for name in (*WAITS, "cudaMalloc"))


@pytest.mark.parametrize("schedule", MOVING)
def test_what_moves_values_uploads_its_path_and_waits_for_nothing(
    played: dict[str, Any], schedule: str
) -> None:
    calls = played[schedule]["calls"]
    made = copies(calls)
    assert set(made) <= {"cudaMemcpyAsync pin>dev", "cudaMemcpyAsync dev>pin", "cudaMemcpyAsync dev>dev"}
    assert made["cudaMemcpyAsync dev>pin"] <= FRAMES
    assert not any(calls.get(name) for name in (*WAITS, "cudaMalloc"))


def test_stages_are_timed_on_the_gpu(played: dict[str, Any]) -> None:
    # the stub's clock says 0.01 ms between any two events
    ms = played["oracle"]["ms"]
    assert all(step["stage1"] == pytest.approx(0.01) and step["total"] > 0.01 for step in ms)


def test_nothing_is_written_to_the_terminal(played: dict[str, Any]) -> None:
    assert played["messages"] == ""


@pytest.mark.parametrize("overlap", [False, True])
def test_a_stage_is_captured_once_and_then_launched(on_stubs: OnStubs, overlap: bool) -> None:
    found = on_stubs(
        "played",
        environment={"FC_SLOWCAP": "1"},
        schedules=["oracle", "alternating", "pipeline:3"],
        options={**GRAPHS, "overlap": overlap},
    )
    for schedule, one in found.items():
        calls = one["calls"]
        assert not [name for name in calls if name.startswith("VIOL")], schedule
        if not overlap:  # with frames ahead there are more combinations of buffers than these frames meet
            assert calls["cudaGraphLaunch"] == one["fired"] and "launch" not in calls, schedule
        assert calls["cudaGraphLaunch"] > FRAMES, schedule


def test_graphs_are_captured_anew_at_another_size(on_stubs: OnStubs) -> None:
    found = on_stubs("played", schedules=["alternating"], options=GRAPHS, sizes=2)["alternating"]
    assert found["calls"]["cudaGraphLaunch"] == found["fired"] and "launch" not in found["calls"]


@pytest.mark.parametrize("options", [{}, GRAPHS])
def test_memory_does_not_grow_with_schedules_that_are_played(
    on_stubs: OnStubs, options: dict[str, Any]
) -> None:
    used = on_stubs("resets", schedules=["oracle", "pipeline:3", "warp:2"], options=options)
    assert used[-1] <= used[2], used


def test_half_precision_is_played_alike(on_stubs: OnStubs) -> None:
    found = on_stubs("played", schedules=["alternating"], options={"precision": "fp16"})["alternating"]
    assert copies(found["calls"]) == {"cudaMemcpyAsync pin>dev": FRAMES, "cudaMemcpyAsync dev>pin": FRAMES}


def test_leaving_python_without_closing_a_player_ends_the_process(on_stubs: OnStubs) -> None:
    assert on_stubs("never_closed") == "left open"
