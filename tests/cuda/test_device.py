"""When a GPU is used, and what is refused on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OnStubs = Callable[..., Any]


def test_a_gpu_that_computes_wrong_numbers_is_not_used(on_stubs: OnStubs) -> None:
    said = on_stubs("without_check")
    assert "cuda:0 cannot be used" in said and "give wrong numbers" in said


def test_an_input_that_is_read_on_the_cpu_is_refused(on_stubs: OnStubs) -> None:
    assert "found shape is read on the CPU" in on_stubs("opened", graph="shape")


def test_fused_bias_is_refused_where_it_would_fail(on_stubs: OnStubs) -> None:
    fused = {"fuse_conv_bias": 1}
    assert "cannot run with fuse_conv_bias" in on_stubs("opened", graph="bias", options=fused)
    assert on_stubs("opened", graph="bias") == "open"
    assert on_stubs("opened", graph="plain", options=fused) == "open"


def test_nets_run_on_a_gpu_as_a_whole(on_stubs: OnStubs) -> None:
    said = on_stubs("placed", every=6)
    assert int(said.pop("opened")) > 70
    without_kernel = ("MaxRoiPool", "Atan", "GRU")  # docs/devices.md
    left = {name: text for name, text in said.items() if not any(f" {op} " in text for op in without_kernel)}
    assert not {name for name in left if not name.startswith("lstm")}, said  # stubs know no size of an LSTM


def test_a_channels_last_layout_can_be_asked_for(on_stubs: OnStubs) -> None:
    assert on_stubs("opened", graph="bias", options={"prefer_nhwc": 1}) == "open"
