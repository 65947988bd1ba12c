"""Schedules as data: one clock a stage, and for every edge between stages which version it reads.

As text: `oracle`, `skip:N`, `rates:A,B,C[@P,Q,R]`, `alternating`, `exponential`,
`pipeline:K[@lib|@youtube]`, `budget:MS`; or a clock for the last stage: `adaptive:THETA`, `pixels:THETA`,
`confidence:THETA`, `learned:MODEL.onnx[:THETA]`, `every:N[@PHASE]`, `any(..., ...)`, `all(..., ...)`,
`not(...)`; or one clock a stage, separated by `;`. Values follow the picture between the frames of a clock in
`warp:K`, `warp-feature:K`, `correct:K`, `warp:adaptive:THETA` and `warp:distance:THETA` (see
`runtime.schedule.flow_schedules`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from runtime.flow.estimators import FlowSource
from runtime.schedule.clocks import (
    All,
    Always,
    Any,
    Budget,
    Clock,
    Every,
    Learned,
    Never,
    Not,
    Sensor,
    Watch,
    sensors_of,
)
from runtime.schedule.flow_schedules import KINDS, MAX_INTERVAL, Moving, clocks_of, motion_of, played_manifest
from runtime.transform import Transform
from staged_onnx import Manifest
from weights.errors import ScheduleError

__all__ = ["Edge", "Schedule", "check_schedule", "edges_of", "parse_schedule"]

SCHEDULES = (
    "oracle, skip:N, rates:A,B,..., alternating, exponential, pipeline:K, adaptive:THETA, pixels:THETA, "
    "confidence:THETA, learned:MODEL.onnx:THETA, budget:MS, every:N, any(...), all(...), not(...), "
    "warp:K, warp-feature:K, correct:K, warp:adaptive:THETA, warp:distance:THETA, "
    "or one clock a stage separated by ;"
)
_CLOCKS = "always, never, every, adaptive, pixels, confidence, learned, budget, any, all or not"
_MAX_TEXT = 4096
_MAX_NESTING = 8


@dataclass(frozen=True)
class Edge:
    """A stage reads a value: lag 0, as it stands when the stage runs; lag 1, as it was before this frame."""

    stage: str
    value: str
    lag: int = 0


@dataclass(frozen=True)
class Schedule:
    """When each stage runs and what it reads.

    clocks: one a stage, in order. edges: every edge from a stage to a stage, with its lag; the head reads
    with lag 0. The first frame of a shot is a full pass without lags, whatever the clocks say; `fill` holds
    the edges of the frames that follow it, where they differ from `edges`. repeat: on a frame on which no
    stage fires the whole previous output stands, and the head does not run even if it reads pixels (frame
    skipping). transforms: how values are moved on frames on which their stage does not fire. moving: the
    motion that they follow, where it is the picture's; the stages are then those of
    `played_manifest(manifest, moving)`.
    """

    text: str
    clocks: tuple[Clock, ...]
    edges: tuple[Edge, ...]
    fill: tuple[tuple[Edge, ...], ...] = ()
    repeat: bool = False
    transforms: tuple[Transform, ...] = ()
    moving: Moving | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def lagged_values(self) -> frozenset[str]:
        """Values of which some edge reads the version from before the frame."""
        edges = [edge for edges in (*self.fill, self.edges) for edge in edges]
        return frozenset(edge.value for edge in edges if edge.lag)

    def lags_at(self, position: int) -> frozenset[tuple[str, str]]:
        """The (stage, value) pairs that are read with lag on this frame of a shot."""
        if position == 0:
            return frozenset()
        edges = self.fill[position - 1] if position <= len(self.fill) else self.edges
        return frozenset((edge.stage, edge.value) for edge in edges if edge.lag)


def edges_of(manifest: Manifest, groups: int = 1) -> tuple[Edge, ...]:
    """All edges between stages, with lag 1 where they lead from one of `groups` groups to another.

    The last groups - 1 stages are groups of their own, the stages before them are one.
    """
    made_by = {value: i for i, stage in enumerate(manifest.stages) for value in stage.outputs}
    first_alone = len(manifest.stages) - groups + 1
    edges = []
    for i, stage in enumerate(manifest.stages):
        for value in stage.inputs:
            if value in made_by:
                maker = made_by[value]
                # a value that its reader or a later stage makes can only be read from before the frame
                lag = 1 if maker >= i else int(max(maker, first_alone - 1) != max(i, first_alone - 1))
                edges.append(Edge(stage.name, value, lag))
    return tuple(edges)


def check_schedule(schedule: Schedule, manifest: Manifest) -> None:
    """Raise ScheduleError where a schedule does not fit the stages of a bundle."""
    manifest = played_manifest(manifest, schedule.moving)
    stages = manifest.stages
    _expect_stages(schedule.text, len(schedule.clocks), len(stages))
    made_by = {value: i for i, stage in enumerate(stages) for value in stage.outputs}
    known = {(stage.name, value) for stage in stages for value in stage.inputs if value in made_by}
    for edges in (*schedule.fill, schedule.edges):
        given = [(edge.stage, edge.value) for edge in edges]
        if set(given) != known or len(given) != len(known):
            raise ScheduleError(
                f'the edges of "{schedule}" are not those of the bundle', found=given, expected=sorted(known)
            )
        for edge in edges:
            later = made_by[edge.value] >= [s.name for s in stages].index(edge.stage)
            if edge.lag not in (0, 1) or (later and edge.lag == 0):
                raise ScheduleError(
                    f'bad lag of {edge.value} into {edge.stage} in "{schedule}"',
                    found=edge.lag,
                    expected="1, its maker comes later" if later else "0 or 1",
                )
    for i, clock in enumerate(schedule.clocks):
        ready = ["frame", *(value for stage in stages[:i] for value in stage.outputs)]
        for sensor in sensors_of(clock):
            if isinstance(sensor, Sensor) and sensor.value not in ready:
                raise ScheduleError(
                    f'the clock of {stages[i].name} in "{schedule}" cannot watch this value',
                    found=f'"{sensor.value}"' if sensor.value else "none",
                    expected=", ".join(ready[1:]) or "a stage before the one it decides on",
                    hint="name a blob that an earlier stage makes: --signal BLOB",
                )
    moved = [transform.value for transform in schedule.transforms]
    if not set(moved) <= made_by.keys() or len(set(moved)) != len(moved):
        raise ScheduleError("bad transforms", found=", ".join(moved), expected="carried values, each once")


def parse_schedule(
    text: str,
    manifest: Manifest,
    *,
    signal: str | None = None,
    files: bool = True,
    flow: FlowSource | None = None,
) -> Schedule:
    """Read a schedule for the stages of a bundle.

    signal: the value that `adaptive` and `confidence` clocks watch, by default the manifest's. files: whether
    the text may name a file (`learned:`, `flow=`); not where it comes from a bundle. flow: the estimator for
    schedules that move values, instead of the text's. Raises ScheduleError with what is wrong and what is
    accepted, FlowError for an estimator that cannot be had.
    """
    return _Parser(text, manifest, manifest.signal if signal is None else signal, files, flow).schedule()


def _expect_stages(text: str, found: int, stages: int) -> None:
    if found != stages:
        raise ScheduleError(
            f'"{text}" does not fit the bundle',
            found=f"clocks for {found} stages",
            expected=f"{stages}, one a stage (the head is not counted)",
        )


def _split(text: str) -> list[str]:
    """Parts between commas that are in no parentheses."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


class _Parser:
    """One schedule's text, read for one manifest."""

    def __init__(
        self, text: str, manifest: Manifest, signal: str, files: bool, flow: FlowSource | None
    ) -> None:
        self.text = text
        self.manifest = manifest
        self.stages = len(manifest.stages)
        self.signal = signal
        self.files = files
        self.flow = flow
        self.moving: Moving | None = None

    def fail(self, what: str, found: str, expected: str, hint: str | None = None) -> ScheduleError:
        return ScheduleError(
            f'{what} in schedule "{self.text[:80]}"', found=f'"{found[:80]}"', expected=expected, hint=hint
        )

    def whole(self, text: str, what: str, least: int = 1) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise self.fail(f"bad {what}", text, f"a whole number from {least}")
        return int(text)

    def number(self, text: str, what: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise self.fail(f"bad {what}", text, "a number from 0")
        return value

    def threshold(self, text: str, name: str) -> float:
        if not text:
            hint = "`clockwork calibrate` finds a threshold"
            raise self.fail("a threshold is missing", name, f"{name}:THETA, a number from 0", hint)
        return self.number(text, "threshold")

    def schedule(self) -> Schedule:
        text = self.text
        if len(text) > _MAX_TEXT:
            raise ScheduleError(
                "schedule too long", found=f"{len(text)} letters", expected=f"{_MAX_TEXT} at most"
            )
        name, colon, value = text.partition(":")
        always: tuple[Clock, ...] = (Always(),) * self.stages
        if name in ("oracle", "alternating", "exponential") and colon:
            raise self.fail("unexpected value", value, f"{name} alone")
        if name == "oracle":
            return self.of(always)
        if name == "alternating":
            return self.of((*always[:-1], Every(2)))
        if name == "exponential":
            return self.of(tuple(Every(2**i) for i in range(self.stages)))
        if name == "skip":
            return replace(self.of((Every(self.whole(value, "rate")),) * self.stages), repeat=True)
        if name == "rates":
            return self.of(self.rates(value))
        if name == "pipeline":
            return self.pipeline(value)
        if name in KINDS:
            return self.follow(name, value)
        if name == "budget" and ";" not in text:
            return self.of((Always(), *(self.clock(text),) * (self.stages - 1)))
        if ";" in text:
            return self.of(tuple(self.clock(part.strip()) for part in text.split(";")))
        return self.of((*always[:-1], self.clock(text)))

    def of(self, clocks: Iterable[Clock]) -> Schedule:
        schedule = Schedule(self.text, tuple(clocks), edges_of(self.manifest))
        check_schedule(schedule, self.manifest)
        return schedule

    def rates(self, value: str) -> tuple[Every, ...]:
        first, at, second = value.partition("@")
        rates = [self.whole(r, "rate") for r in first.split(",")]
        phases = [self.whole(p, "phase", 0) for p in second.split(",")] if at else [0] * len(rates)
        if len(phases) != len(rates):
            raise self.fail("bad phases", second, f"{len(rates)}, one a rate")
        return tuple(Every(r, p) for r, p in zip(rates, phases, strict=True))

    def pipeline(self, value: str) -> Schedule:
        number, at, fill = value.partition("@")
        depth = self.whole(number, "depth", 2)
        if at and fill not in ("lib", "youtube"):
            raise self.fail("unknown fill", fill, "lib or youtube")
        if depth > self.stages:
            raise ScheduleError(
                f'"{self.text}" does not fit the bundle',
                found=f"{self.stages} stage{'s' * (self.stages > 1)}",
                expected=f"{depth} or more",
                hint="cut the net at more blobs",
            )
        steady = edges_of(self.manifest, depth)
        # The original library fills a pipeline by a full pass, then a step of the pipeline one shorter; the
        # YouTube notebook by a full pass and then the pipeline itself.
        fills = tuple(edges_of(self.manifest, d) for d in range(2, depth)) if fill == "lib" else ()
        schedule = Schedule(self.text, (Always(),) * self.stages, steady, fills)
        check_schedule(schedule, self.manifest)
        return schedule

    def follow(self, kind: str, value: str) -> Schedule:
        """`warp:K` and its kin; adaptive clocks in it watch how values were moved."""
        moving, value = motion_of(kind, value, self.manifest, flow=self.flow, files=self.files)
        self.moving = moving
        rate, at, phase = value.partition("@")
        if rate.isdigit():
            clock: Clock = Every(self.whole(rate, "rate"), self.whole(phase, "phase", 0) if at else 0)
        else:
            clock = self.clock(value)
        manifest = played_manifest(self.manifest, moving)
        clocks = clocks_of(moving, clock, len(manifest.stages))
        edges, transforms = edges_of(manifest), moving.transforms(manifest)
        schedule = Schedule(self.text, clocks, edges, transforms=transforms, moving=moving)
        check_schedule(schedule, self.manifest)
        return schedule

    def clock(self, text: str, nesting: int = 0) -> Clock:
        text = text.strip()
        combined = re.fullmatch(r"(any|all|not)\((.*)\)", text, re.DOTALL)
        if combined is not None:
            if nesting >= _MAX_NESTING:
                raise self.fail("too deeply nested", text, f"{_MAX_NESTING} levels at most")
            parts = tuple(self.clock(part, nesting + 1) for part in _split(combined[2]))
            if combined[1] == "not":
                if len(parts) != 1:
                    raise self.fail("not() takes one clock", text, "not(CLOCK)")
                return Not(parts[0])
            return Any(parts) if combined[1] == "any" else All(parts)
        if re.match(r"(any|all|not)\(", text) and text.count("(") > text.count(")"):
            raise self.fail("unclosed bracket", text, "a ) for each (")
        term, *options = self.options(text)
        name, _, value = term.partition(":")
        if name in ("always", "never") and term == name and not options:
            return Always() if name == "always" else Never()
        if name == "every":
            return Every(self.whole(value, "rate"), self.phase(options))
        if name == "budget":
            return self.budget(value, options)
        if name == "learned":
            return self.learned(value, options)
        if self.moving is not None and name in ("adaptive", "distance"):
            return self.drift(self.moving, name, value, options)
        if name in ("adaptive", "pixels", "confidence"):
            return self.watch(name, value, options)
        if self.moving is not None:
            accepted = f"a number of frames, or a clock: {_CLOCKS.replace('adaptive', 'adaptive, distance')}"
        else:
            accepted = SCHEDULES if text == self.text else _CLOCKS
        raise self.fail("unknown schedule or clock", text, accepted)

    def options(self, text: str) -> list[str]:
        """A term and its options; `blob=` comes last and may itself hold an @."""
        first, found, blob = text.partition("@blob=")
        return [*first.split("@"), *([f"blob={blob}"] if found else [])]

    def phase(self, options: list[str]) -> int:
        if len(options) > 1:
            raise self.fail("too many options", "@".join(options), "every:N@PHASE")
        return self.whole(options[0], "phase", 0) if options else 0

    def bounds(self, options: list[str], others: str) -> tuple[int, int | None, list[str]]:
        """The interval options, and what is left. `others` names what else is accepted."""
        least, most, rest = 1, None, []
        for option in options:
            if option.startswith("min="):
                least = self.whole(option[4:], "min")
            elif option.startswith("max="):
                most = self.whole(option[4:], "max")
            else:
                rest.append(option)
        if most is not None and most < least:
            raise self.fail("max is below min", "@".join(options), "min <= max")
        if rest and not others:
            raise self.fail("unknown option", rest[0], "min=N or max=N")
        return least, most, rest

    def budget(self, value: str, options: list[str]) -> Budget:
        least, most, _ = self.bounds(options, "")
        if least != 1:
            raise self.fail("unknown option", "min", "max=N")
        ms = self.number(value, "budget")
        return Budget(ms) if most is None else Budget(ms, most)

    def learned(self, value: str, options: list[str]) -> Learned:
        if not self.files:
            raise self.fail("a bundle's own schedule names a file", value, "a schedule without learned:")
        least, most, _ = self.bounds(options, "")
        path, _, theta = value.rpartition(":")
        if not path or theta.endswith(".onnx"):
            path, theta = value, "0.5"
        if not path:
            raise self.fail("no model", value, "learned:MODEL.onnx or learned:MODEL.onnx:THETA")
        return Learned(path, self.number(theta, "threshold"), least, most)

    def drift(self, moving: Moving, name: str, value: str, options: list[str]) -> Watch:
        """An adaptive clock over values that are moved; it makes a full pass now and then in any case."""
        least, most, rest = self.bounds(options, "strict, min=N or max=N")
        for option in rest:
            if option != "strict":
                raise self.fail("unknown option", option, "strict, min=N or max=N")
        most = max(MAX_INTERVAL, least) if most is None else most
        theta = self.threshold(value, name)
        return Watch(moving.drift(name), theta, "strict" in rest, minimum=least, maximum=most)

    def watch(self, name: str, value: str, options: list[str]) -> Watch:
        accepted = "strict, previous, min=N, max=N, measure=argmax, measure=relative or blob=NAME"
        least, most, rest = self.bounds(options, accepted)
        sensor = {
            "adaptive": Sensor(self.signal),
            "pixels": Sensor("frame", "relative", "previous"),
            "confidence": Sensor(self.signal, "peak"),
        }[name]
        strict = name == "confidence"  # sure at exactly theta is sure enough
        for option in rest:
            if option == "strict":
                strict = True
            elif option == "previous":
                sensor = replace(sensor, reference="previous")
            elif option == "fired":
                sensor = replace(sensor, reference="fired")
            elif option in ("measure=argmax", "measure=relative") and name == "adaptive":
                sensor = replace(sensor, measure=option.partition("=")[2])
            elif option.startswith("blob=") and name != "pixels":
                sensor = replace(sensor, value=option[5:])
            else:
                raise self.fail("unknown option", option, accepted)
        return Watch(sensor, self.threshold(value, name), strict, name == "confidence", least, most)
