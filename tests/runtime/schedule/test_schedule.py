"""Schedules as text: what is read, and what is refused and how."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.schedule.clocks import All, Always, Any, Budget, Every, Learned, Never, Not, Sensor, Watch
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Edge, Schedule, check_schedule
from staged_onnx import Manifest, read_bundle
from tests.support.toy_bundles import chain
from weights.errors import ScheduleError


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_bundle(chain(tmp_path_factory.mktemp("toy") / "three.staged")).manifest


A = Always()
SCORE = Sensor("score2")
CLOCKS = {
    "oracle": (A, A, A),
    "skip:2": (Every(2), Every(2), Every(2)),
    "rates:1,2,3@0,1,2": (Every(1), Every(2, 1), Every(3, 2)),
    "alternating": (A, A, Every(2)),
    "exponential": (Every(1), Every(2), Every(4)),
    "pipeline:3": (A, A, A),
    "adaptive:0.25": (A, A, Watch(SCORE, 0.25)),
    "adaptive:.5@strict@min=2@max=9": (A, A, Watch(SCORE, 0.5, strict=True, minimum=2, maximum=9)),
    "adaptive:0.5@previous@blob=score1": (A, A, Watch(Sensor("score1", reference="previous"), 0.5)),
    "adaptive:0.5@measure=relative": (A, A, Watch(Sensor("score2", "relative"), 0.5)),
    "pixels:0.1": (A, A, Watch(Sensor("frame", "relative", "previous"), 0.1)),
    "pixels:0.1@fired": (A, A, Watch(Sensor("frame", "relative", "fired"), 0.1)),
    "confidence:0.9": (A, A, Watch(Sensor("score2", "peak"), 0.9, strict=True, below=True)),
    "learned:a/b.onnx": (A, A, Learned("a/b.onnx", 0.5)),
    "learned:C:/b.onnx:2@min=3": (A, A, Learned("C:/b.onnx", 2.0, minimum=3)),
    "budget:20": (A, Budget(20.0), Budget(20.0)),
    "every:4@1": (A, A, Every(4, 1)),
    "any(adaptive:0.5, every:8)": (A, A, Any((Watch(SCORE, 0.5), Every(8)))),
    "all(not(every:2),any(never,always))": (A, A, All((Not(Every(2)), Any((Never(), A))))),
    "always; every:2 ;budget:5@max=4": (A, Every(2), Budget(5.0, 4)),
}


@pytest.mark.parametrize("text", CLOCKS)
def test_clocks(manifest: Manifest, text: str) -> None:
    schedule = parse_schedule(text, manifest)
    assert schedule.clocks == CLOCKS[text] and str(schedule) == text
    assert schedule.repeat == text.startswith("skip")


def test_every_edge_has_an_explicit_lag(manifest: Manifest) -> None:
    assert parse_schedule("oracle", manifest).edges == (Edge("stage2", "v1", 0), Edge("stage3", "v2", 0))
    assert parse_schedule("pipeline:2", manifest).edges == (Edge("stage2", "v1", 0), Edge("stage3", "v2", 1))
    lib = parse_schedule("pipeline:3@lib", manifest)
    assert lib.edges == (Edge("stage2", "v1", 1), Edge("stage3", "v2", 1))
    assert lib.fill == (parse_schedule("pipeline:2", manifest).edges,)
    assert (
        parse_schedule("pipeline:3@youtube", manifest).fill
        == parse_schedule("pipeline:3", manifest).fill
        == ()
    )


REFUSED = {
    "": "unknown schedule",
    "sometimes": "unknown schedule .*expected oracle, skip:N",
    "oracle:1": "unexpected value",
    "skip": "bad rate",
    "skip:0": "bad rate .*found \"0\"; expected a whole number from 1",
    "skip:-1": "bad rate",
    "skip:1.5": "bad rate",
    "skip:9999999999": "bad rate",
    "skip:²": "bad rate",
    "rates:1,2": "found clocks for 2 stages; expected 3",
    "rates:1,2,x": "bad rate",
    "rates:1,2,4@0,1": "bad phases .*expected 3",
    "pipeline:1": "bad depth",
    "pipeline:4": "found 3 stages; expected 4 or more; cut the net at more blobs",
    "pipeline:3@other": 'unknown fill .*found "other"; expected lib or youtube',
    "adaptive": 'a threshold is missing .*found "adaptive"; expected adaptive:THETA.*`clockwork calibrate`',
    "pixels:": 'a threshold is missing .*expected pixels:THETA',
    "any(confidence,every:2)": 'a threshold is missing .*found "confidence"',
    "adaptive:x": 'bad threshold .*found "x"; expected a number from 0',
    "any(adaptive:0.1": r'unclosed bracket .*found "any\(adaptive:0.1"; expected a \) for each \(',
    "any(all(always,never), not(every:2)": "unclosed bracket",
    "always;always;any(always": "unclosed bracket",
    "adaptive:-0.1": "bad threshold",
    "adaptive:nan": "bad threshold",
    "adaptive:inf": "bad threshold",
    "adaptive:0.5@maybe": 'unknown option .*found "maybe"',
    "adaptive:0.5@min=3@max=2": "max is below min",
    "adaptive:0.5@blob=v9": 'found "v9"; expected v1, score1, v2, score2',
    "pixels:0.5@blob=v1": "unknown option",
    "budget:5@min=2": "unknown option",
    "learned:": "no model",
    "every:2@1@1": "too many options",
    "any()": "unknown schedule or clock",
    "not(always,never)": "takes one clock",
    "not(" * 9 + "always" + ")" * 9: "too deeply nested",
    "always;always": "found clocks for 2 stages",
    "x" * 5000: "schedule too long",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refused(manifest: Manifest, text: str) -> None:
    with pytest.raises(ScheduleError, match=REFUSED[text]):
        parse_schedule(text, manifest)


@given(text=st.text(st.sampled_from("adptive:any(),;@0129.5=blo\n"), max_size=40))
def test_any_text_is_read_or_refused(manifest: Manifest, text: str) -> None:
    try:
        schedule = parse_schedule(text, manifest)
    except ScheduleError as error:
        assert "\n" not in str(error)
    else:
        assert len(schedule.clocks) == 3


def test_schedules_that_do_not_fit(manifest: Manifest) -> None:
    good = parse_schedule("oracle", manifest)
    with pytest.raises(ScheduleError, match="edges"):
        check_schedule(Schedule("mine", good.clocks, good.edges[:1]), manifest)
    with pytest.raises(ScheduleError, match="bad lag of v1 into stage2"):
        check_schedule(Schedule("mine", good.clocks, (Edge("stage2", "v1", 2), good.edges[1])), manifest)
    with pytest.raises(ScheduleError, match="found clocks for 2 stages"):
        check_schedule(Schedule("mine", good.clocks[:2], good.edges), manifest)


# -- schedules are data ----------------------------------------------------------------------------------

_ROUND = st.floats(0, 100, allow_nan=False).map(lambda number: f"{number:g}")
_RATE = st.integers(1, 64).map(str)
_BOUNDS = st.sampled_from(["", "@min=2", "@max=9", "@min=2@max=9", "@strict"])
_SINGLE = st.one_of(
    st.sampled_from(["always", "never"]),
    _RATE.map("every:{}".format),
    st.builds("every:{}@{}".format, _RATE, st.integers(0, 9)),
    st.builds("adaptive:{}{}".format, _ROUND, _BOUNDS),
    st.builds("adaptive:{}@previous@measure=relative@blob=v1".format, _ROUND),
    st.builds("pixels:{}{}".format, _ROUND, _BOUNDS),
    st.builds("confidence:{}".format, _ROUND),
    st.builds("learned:model.onnx:{}".format, _ROUND),
    st.builds("budget:{}@max=7".format, _ROUND),
)
_CLOCK = st.recursive(
    _SINGLE,
    lambda inner: st.one_of(
        st.builds("any({}, {})".format, inner, inner),
        st.builds("all({},{})".format, inner, inner),
        inner.map("not({})".format),
    ),
    max_leaves=4,
)
_FLOW = st.builds(
    "{}:{}{}".format,
    st.sampled_from(["warp", "warp-feature", "correct"]),
    st.one_of(_RATE, st.builds("{}@1".format, _RATE), st.builds("adaptive:{}".format, _ROUND)),
    st.sampled_from(["", "@flow=skimage", "@flow=skimage/4@scale=1/2", "@from=key@padding=zeros"]),
)
TEXTS = st.one_of(
    st.sampled_from(["oracle", "alternating", "exponential", "pipeline:2", "pipeline:3@lib"]),
    _RATE.map("skip:{}".format),
    st.builds("rates:{},{},{}@0,1,2".format, _RATE, _RATE, _RATE),
    _CLOCK,
    _FLOW,
)


@given(TEXTS, st.sampled_from([None, "score1", "v2"]))
def test_text_gives_the_schedule_back(manifest: Manifest, text: str, signal: str | None) -> None:
    """Whatever the text and the watched value: equal, of equal hash, and the same after a pickle."""
    try:
        schedule = parse_schedule(text, manifest, signal=signal)
    except ScheduleError:
        assume(False)
    again = parse_schedule(str(schedule), manifest)
    assert again == schedule and hash(again) == hash(schedule)
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule and str(copy) == str(schedule)


@pytest.mark.parametrize(
    ("text", "family", "rates", "interval", "theta"),
    [
        ("oracle", "oracle", (1, 1, 1), 1, None),
        ("skip:4", "skip", (4, 4, 4), 4, None),
        ("rates:1,2,3", "rates", (1, 2, 3), 3, None),
        ("alternating", "alternating", (1, 1, 2), 2, None),
        ("pipeline:2", "pipeline", (1, 1, 1), 1, None),
        ("adaptive:0.25@max=9", "adaptive", None, None, 0.25),
        ("any(adaptive:0.5, every:8)", "any", None, None, 0.5),
        ("budget:20", "budget", None, None, None),
        ("always;never;every:3", "clocks", None, None, None),
        ("warp:8@2@flow=skimage", "warp", (8, 8, 8, 8), 8, None),
        ("warp-feature:adaptive:0.2", "warp-feature", None, None, 0.2),
        ("correct:4", "correct", (1, 1, 4), 4, None),
    ],
)
def test_what_a_schedule_is_can_be_asked(
    manifest: Manifest,
    text: str,
    family: str,
    rates: tuple[int, ...] | None,
    interval: int | None,
    theta: float | None,
) -> None:
    schedule = parse_schedule(text, manifest)
    found = (schedule.family, schedule.rates, schedule.interval, schedule.theta)
    assert found == (family, rates, interval, theta)


def test_another_way_to_write_it_is_the_same_schedule(manifest: Manifest) -> None:
    one, other = (parse_schedule(text, manifest) for text in ("adaptive:0.50", "adaptive:.5"))
    assert one == other and str(one) != str(other)
    assert one != parse_schedule("adaptive:0.51", manifest)
