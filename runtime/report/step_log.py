"""The log of a run, `steps.jsonl`: one JSON object per line for every step.

Fields: `frame` (index in the source), `time` (seconds, or null), `name`, `shot`, `fired` (names of the
stages that ran), `ages` (stage: frames since the output that the head used was computed), `signal` (null
where there is none or it is not finite), `ms` (stage: milliseconds, and `total`), `provenance` (fired
stage: {value it read: frame that the value was computed on}), `moved` (value: how often it was moved along
the optical flow since then), `delay` (frames that had to come after it before it could be labelled).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.step import StepLike
from weights.errors import ClockworkError, VideoError
from weights.limits import LOG_LINE
from weights.whole_file import growing, grown

__all__ = ["StepLog", "StepRecord", "finished_steps", "read_steps"]


@dataclass(frozen=True)
class StepRecord:
    """A step read back from a log; the same attributes as a player's step, without the labels."""

    index: int
    name: str
    time: Fraction | None
    shot: int
    fired: tuple[str, ...]
    ages: dict[str, int]
    signal: float | None
    ms: dict[str, float]
    provenance: dict[str, dict[str, int]]
    moved: dict[str, int] = field(default_factory=dict)
    delay: int = 0


class StepLog:
    """Writes a step log; use it in a `with`.

    The log grows line by line as `steps.part.jsonl` beside `steps.jsonl`, and gets its own name on closing,
    also when the `with` is left by an exception or Ctrl-C.

    Args:
        path: The log's own name.
        kept: Bytes of what has grown already that stay; the log goes on after them.
        is_named: Whether it gets its own name; else it stays what has grown.
    """

    def __init__(self, path: str | PathLike[str], *, kept: int = 0, is_named: bool = True) -> None:
        self.path = Path(path)
        self._is_named = is_named
        try:
            if kept:
                os.truncate(growing(self.path), kept)
            else:
                grown(self.path)
            self._file = growing(self.path).open("a", encoding="utf-8", newline="\n", buffering=1)
        except OSError as error:
            raise VideoError("cannot be written", file=path, found=error.strerror) from error

    def __enter__(self) -> StepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, step: StepLike) -> None:
        """Adds one line."""
        fields = {
            "frame": step.index,
            "time": None if step.time is None else float(step.time),
            "name": step.name,
            "shot": step.shot,
            "fired": list(step.fired),
            "ages": dict(step.ages),
            "signal": step.signal if step.signal is not None and math.isfinite(step.signal) else None,
            "ms": {stage: round(ms, 3) for stage, ms in step.ms.items()},
            "provenance": {stage: dict(read) for stage, read in step.provenance.items()},
            "moved": dict(step.moved),
            "delay": step.delay,
        }
        try:
            self._file.write(json.dumps(fields, allow_nan=False) + "\n")
        except OSError as error:
            raise VideoError("cannot be written", file=self.path, found=error.strerror) from error

    def close(self) -> None:
        """Gives the log its name. May be called twice."""
        if not self._file.closed:
            self._file.close()
            if self._is_named:
                os.replace(growing(self.path), self.path)


def finished_steps(path: str | PathLike[str]) -> Iterator[tuple[StepRecord, int]]:
    """The steps of a log that may have broken off, in order: each with the bytes up to the end of its line.

    Ends before the first line that is not whole; a log that is not there has no steps.
    """
    with suppress(OSError, ClockworkError), Path(path).open("rb") as file:
        number = end = 0
        while (line := file.readline(LOG_LINE + 1)).endswith(b"\n"):
            number, end = number + 1, end + len(line)
            yield _record(line, number, path), end


def read_steps(path: str | PathLike[str]) -> list[StepRecord]:
    """The steps of a log.

    Args:
        path: The file, one JSON object per line.

    Returns:
        The steps, in order.

    Raises:
        ClockworkError: The file cannot be read or is not a log; the message names the file and the line at
            fault.
    """
    try:
        with Path(path).open("rb") as file:
            records: list[StepRecord] = []
            while line := file.readline(LOG_LINE + 1):
                records.append(_record(line, len(records) + 1, path))
            return records
    except OSError as error:
        raise VideoError("cannot be read", file=path, found=error.strerror) from error


def _record(line: bytes, number: int, path: str | PathLike[str]) -> StepRecord:
    if len(line) > LOG_LINE:
        raise ClockworkError(f"line {number} is too long for a step log", file=path)
    try:
        fields: Any = json.loads(line)
        moment, signal = fields["time"], fields["signal"]
        record = StepRecord(
            index=_whole(fields["frame"]),
            name=str(fields["name"]),
            # Times are multiples of a container's clock, which is coarser than a microsecond.
            time=None if moment is None else Fraction(_number(moment)).limit_denominator(10**6),
            shot=_whole(fields["shot"]),
            fired=tuple(str(stage) for stage in fields["fired"]),
            ages={str(stage): _whole(age) for stage, age in fields["ages"].items()},
            signal=None if signal is None else _number(signal),
            ms={str(stage): _number(ms) for stage, ms in fields["ms"].items()},
            provenance={
                str(stage): {str(value): _whole(frame) for value, frame in read.items()}
                for stage, read in fields["provenance"].items()
            },
            moved={str(value): _whole(count) for value, count in fields.get("moved", {}).items()},
            delay=_whole(fields.get("delay", 0)),
        )
    except KeyError as error:
        raise ClockworkError(f"line {number} of this step log has no field {error}", file=path) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ClockworkError(
            f"line {number} is not a step",
            file=path,
            found=repr(line[:40].rstrip()),
            expected="a line of a step log",
        ) from error
    return record


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)
