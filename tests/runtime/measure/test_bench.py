"""The bench's arithmetic, on times that do not depend on the machine."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from caffe_port.onnx_graph import OnnxGraph
from runtime.measure.bench import Timing, bench, moving_frames
from runtime.sessions.device import choose_device
from runtime.sessions.session import Session
from staged_onnx import Bundle, read_bundle
from tests.support.toy_bundles import chain, frame_input, labels_output, red_of
from weights.errors import BundleError, ScheduleError, UsageError

CPU = choose_device("cpu", threads=1)
COST = {"stage1": 5.0, "stage2": 2.0, "stage3": 3.0, "head": 0.5, "whole net": 10.0}


def whole_model() -> onnx.ModelProto:
    g = OnnxGraph()
    labels_output(g, g.node("Squeeze", red_of(g, frame_input(g)), g.ints(0, 1)))
    return g.model("whole")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("toy") / "three.staged"
    return read_bundle(chain(path, size=(32, 48), whole=whole_model()))


class Clock(threading.local):
    """A clock a thread that only stands forward when a session runs, by that session's cost."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, run = Clock(), Session.run

    def slow_run(self: Session, binding: object) -> None:
        run(self, binding)
        clock.now += COST[self.name] / 1e3

    monkeypatch.setattr(Session, "run", slow_run)
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    return clock


def test_times_and_ratios(bundle: Bundle, clock: Clock) -> None:
    found = bench(bundle, CPU, ["alternating", "skip:2", "exponential"], count=8, rounds=2, warm_up=2)
    by_name = {one.schedule: one for one in found.schedules}
    assert list(by_name) == ["oracle", "alternating", "skip:2", "exponential"]
    oracle = by_name["oracle"]
    assert oracle.frame.median == pytest.approx(10.5) and oracle.frame.count == 16
    assert {name: t.median for name, t in oracle.stages.items()} == pytest.approx(
        {name: COST[name] for name in ("stage1", "stage2", "stage3", "head")}
    )
    assert oracle.measured == oracle.throughput == oracle.latency == 1
    alternating = by_name["alternating"]
    assert alternating.fires == {"stage1": 1, "stage2": 1, "stage3": 0.5, "head": 1}
    assert alternating.measured == pytest.approx(alternating.predicted) == pytest.approx(9 / 10.5)
    assert alternating.throughput == pytest.approx(10.5 / 9)
    assert by_name["skip:2"].measured == pytest.approx(0.5) == by_name["skip:2"].predicted
    assert by_name["exponential"].predicted == pytest.approx((5 + 2 / 2 + 3 / 4 + 0.5) / 10.5)
    assert found.whole is not None and found.whole.median == pytest.approx(10)
    assert found.staging == pytest.approx(1.05)
    assert oracle.fps == pytest.approx(1000 / 10.5)


def test_pipelines_are_timed_in_threads_too_beside_the_papers_figures(bundle: Bundle) -> None:
    found = bench(bundle, CPU, ["pipeline:2", "pipeline:3"], count=4, rounds=2, warm_up=1)
    assert [(one.schedule, one.overlap, one.ahead, one.paper_latency) for one in found.schedules] == [
        ("oracle", False, 0, None),
        ("pipeline:2", False, 0, 0.77),
        ("pipeline:3", False, 0, 0.59),
        ("pipeline:2", True, 0, 0.77),
        ("pipeline:2", True, 1, 0.77),
        ("pipeline:3", True, 0, 0.59),
        ("pipeline:3", True, 1, 0.59),
    ]
    assert all(one.frame.count == 8 and one.frame.median > 0 for one in found.schedules)
    assert not [t for t in threading.enumerate() if t.name.startswith("clockwork")]


def test_json_and_profile(bundle: Bundle) -> None:
    found = bench(bundle, CPU, ["oracle"], count=2, rounds=1, warm_up=1)
    data = json.loads(json.dumps(found.to_json()))
    assert (
        data["device"] == "cpu" and data["size"] == [32, 48] and data["schedules"][0]["schedule"] == "oracle"
    )
    assert data["host_copies"] == 0 and data["cpu_nodes"] == {}


def test_real_frames_and_another_whole_net(bundle: Bundle, tmp_path: Path) -> None:
    onnx.save(whole_model(), tmp_path / "other.onnx")
    frames = moving_frames((16, 20), 3)
    found = bench(bundle, CPU, [], frames=frames, rounds=1, warm_up=1, whole=tmp_path / "other.onnx")
    assert found.size == (16, 20) and found.whole is not None and found.whole.count == 3


def test_moving_frames_move() -> None:
    one, two = moving_frames((20, 40), 2)
    assert one.shape == (20, 40, 3) and np.array_equal(one[:, :-3], two[:, 3:])


def test_timing() -> None:
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (timing.median, timing.count) == (3.0, 5) and 4 < timing.p95 <= 100


def test_what_cannot_be_timed(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="unknown schedule"):
        bench(bundle, CPU, ["sometimes"])
    with pytest.raises(UsageError, match="begin at 1"):
        bench(bundle, CPU, rounds=0)
    with pytest.raises(UsageError, match="no frames"):
        bench(bundle, CPU, frames=[])
    with pytest.raises(BundleError, match=r"none\.onnx: cannot be read; found No such file"):
        bench(bundle, CPU, whole=tmp_path / "none.onnx")
