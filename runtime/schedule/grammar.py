"""Schedules as text, and back.

`oracle`, `skip:N`, `rates:A,B,C[@P,Q,R]`, `alternating`, `exponential`, `pipeline:K[@lib|@youtube]`,
`budget:MS`; or a clock for the last stage: `adaptive:THETA`, `pixels:THETA`, `confidence:THETA`,
`learned:MODEL.onnx[:THETA]`, `every:N[@PHASE]`, `any(..., ...)`, `all(..., ...)`, `not(...)`; or one clock
per stage, separated by `;`. Values follow the picture between the frames of a clock in `warp:K`,
`between:K`, `warp-feature:K`, `correct:K`, `warp:adaptive:THETA` and `warp:distance:THETA` (see
`runtime.schedule.flow_schedules`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

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
)
from runtime.schedule.feature_flow import FEATURE_FLOWS, feature_flow_schedule
from runtime.schedule.flow_schedules import KINDS, MAX_INTERVAL, Movement, movement_of, played_manifest
from runtime.schedule.schedule import Schedule, check_schedule, edges_of
from staged_onnx import Manifest
from weights import limits
from weights.errors import ScheduleError
from weights.numbers import BadNumber, real, whole

__all__ = ["parse_schedule"]

SCHEDULES = (
    "oracle, skip:N, rates:A,B,..., alternating, exponential, pipeline:K, adaptive:THETA, pixels:THETA, "
    "confidence:THETA, learned:MODEL.onnx:THETA, budget:MS, every:N, any(...), all(...), not(...), "
    "warp:K, between:K, warp-feature:K, correct:K, warp:adaptive:THETA, warp:distance:THETA, "
    "or one clock per stage, separated by ;"
)
_CLOCKS = "always, never, every, adaptive, pixels, confidence, learned, budget, any, all or not"
_MAX_TEXT = limits.SCHEDULE_TEXT
_MAX_NESTING = limits.SCHEDULE_NESTING


def parse_schedule(
    text: str, manifest: Manifest, *, signal: str | None = None, files: bool = True
) -> Schedule:
    """Read a schedule for the stages of a bundle.

    Args:
        text: The schedule, see the module.
        manifest: The bundle's.
        signal: The value that `adaptive` and `confidence` clocks watch, by default the manifest's. The
            schedule's own text then names it.
        files: Whether the text may name a file (`learned:`, `flow=`); not where it comes from a bundle.

    Returns:
        The schedule, whose own text is read back to an equal one.

    Raises:
        ScheduleError: The text is wrong or does not fit the bundle; the message says what is accepted.
        FlowError: The text names a flow estimator that is not to be had.
    """
    watched = manifest.signal if signal is None else signal
    parser = _Parser(text, manifest, watched, files)
    schedule = parser.schedule()
    if parser.watches_signal and watched != manifest.signal:
        return replace(schedule, text=_WATCHING.sub(partial(_with_blob, signal=watched), text))
    return schedule


_WATCHING = re.compile(r"\b(?:adaptive|confidence):[^,;()]*")


def _with_blob(term: re.Match[str], signal: str) -> str:
    """A clock's text that names the value it watches."""
    text = term[0].rstrip()
    return text if "@blob=" in text else f"{text}@blob={signal}"


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

    def __init__(self, text: str, manifest: Manifest, signal: str, files: bool) -> None:
        self.text = text
        self.manifest = manifest
        self.stages = len(manifest.stages)
        self.signal = signal
        self.files = files
        self.movement: Movement | None = None
        self.watches_signal = False

    def fail(self, what: str, found: str, expected: str, hint: str | None = None) -> ScheduleError:
        return ScheduleError(
            f'{what} in schedule "{self.text[:80]}"', found=f'"{found[:80]}"', expected=expected, hint=hint
        )

    def whole(self, text: str, what: str, least: int = 1) -> int:
        try:
            return whole(text, least=least, most=10**9 - 1)
        except BadNumber:
            raise self.fail(f"bad {what}", text, f"a whole number from {least}") from None

    def number(self, text: str, what: str) -> float:
        try:
            return real(text, least=0)
        except BadNumber:
            raise self.fail(f"bad {what}", text, "a number from 0") from None

    def threshold(self, text: str, name: str) -> float:
        if not text:
            hint = "`clockwork calibrate` finds a threshold"
            raise self.fail("a threshold is missing", name, f"{name}:THETA, a number from 0", hint)
        return self.number(text, "threshold")

    def schedule(self) -> Schedule:
        text = self.text
        if len(text) > _MAX_TEXT:
            raise ScheduleError(
                "schedule too long", found=f"{len(text)} letters", expected=f"at most {_MAX_TEXT}"
            )
        name, colon, value = text.partition(":")
        always: tuple[Clock, ...] = (Always(),) * self.stages
        if name in ("oracle", "alternating", "exponential") and colon:
            raise self.fail("unexpected value", value, f"{name} alone")
        if name in FEATURE_FLOWS or self.manifest.feature_flow is not None:
            return self.feature_flow(name, value)
        if name == "oracle":
            return self.of(always, name)
        if name == "alternating":
            return self.of((*always[:-1], Every(2)), name)
        if name == "exponential":
            return self.of((Every(2**i) for i in range(self.stages)), name)
        if name == "skip":
            return replace(self.of((Every(self.whole(value, "rate")),) * self.stages, name), repeat=True)
        if name == "rates":
            return self.of(self.rates(value), name)
        if name == "pipeline":
            return self.pipeline(value)
        if name in KINDS:
            return self.follow(name, value)
        if name == "budget" and ";" not in text:
            return self.of((Always(), *(self.clock(text),) * (self.stages - 1)), name)
        if ";" in text:
            return self.of((self.clock(part.strip()) for part in text.split(";")), "clocks")
        return self.of((*always[:-1], self.clock(text)), re.split(r"[:(]", text.strip())[0])

    def feature_flow(self, name: str, value: str) -> Schedule:
        """`accel:K[@PHASE]` and its kin, and what else a bundle with a flow of its own can be played by."""
        if name not in (*FEATURE_FLOWS, "oracle", "skip"):
            accepted = "accel:K, dff:K, oracle or skip:K, as this bundle has a flow of its own"
            raise self.fail("unknown schedule", self.text, accepted)
        key = Every(1)
        if name != "oracle":
            rate, at, phase = value.partition("@")
            key = Every(self.whole(rate, "interval"), self.whole(phase, "phase", 0) if at else 0)
        return feature_flow_schedule(self.text, name, self.manifest, key)

    def of(self, clocks: Iterable[Clock], family: str) -> Schedule:
        schedule = Schedule(self.text, tuple(clocks), edges_of(self.manifest), family=family)
        check_schedule(schedule, self.manifest)
        return schedule

    def rates(self, value: str) -> tuple[Every, ...]:
        first, at, second = value.partition("@")
        rates = [self.whole(r, "rate") for r in first.split(",")]
        phases = [self.whole(p, "phase", 0) for p in second.split(",")] if at else [0] * len(rates)
        if len(phases) != len(rates):
            raise self.fail("bad phases", second, f"{len(rates)}, one per rate")
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
        schedule = Schedule(self.text, (Always(),) * self.stages, steady, fills, family="pipeline")
        check_schedule(schedule, self.manifest)
        return schedule

    def follow(self, kind: str, value: str) -> Schedule:
        """`warp:K` and its kin; adaptive clocks in it watch how values were moved."""
        movement, value = movement_of(kind, value, self.manifest, files=self.files)
        self.movement = movement
        rate, at, phase = value.partition("@")
        if rate.isdecimal():
            key: Clock = Every(self.whole(rate, "rate"), self.whole(phase, "phase", 0) if at else 0)
        else:
            key = self.clock(value)
        movement = replace(movement, key=key)
        manifest = played_manifest(self.manifest, movement)
        schedule = Schedule(
            self.text,
            movement.clocks(len(manifest.stages)),
            edges_of(manifest),
            movement=movement,
            family=kind,
        )
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
        if self.movement is not None and name in ("adaptive", "distance"):
            return self.drift(self.movement, name, value, options)
        if name in ("adaptive", "pixels", "confidence"):
            return self.watch(name, value, options)
        if self.movement is not None:
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

    def drift(self, movement: Movement, name: str, value: str, options: list[str]) -> Watch:
        """An adaptive clock over values that are moved; it makes a full pass now and then in any case."""
        least, most, rest = self.bounds(options, "strict, min=N or max=N")
        for option in rest:
            if option != "strict":
                raise self.fail("unknown option", option, "strict, min=N or max=N")
        most = max(MAX_INTERVAL, least) if most is None else most
        theta = self.threshold(value, name)
        return Watch(movement.drift(name), theta, "strict" in rest, minimum=least, maximum=most)

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
        if name != "pixels" and not any(option.startswith("blob=") for option in rest):
            self.watches_signal = True
        return Watch(sensor, self.threshold(value, name), strict, name == "confidence", least, most)
