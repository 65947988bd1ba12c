"""The long run: `python -m tests.fuzz.run --count 50000 [TARGET ...]`."""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, Target
from weights.errors import ClockworkError

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 10
"""What one input may take."""


class TooLong(Exception):
    """An input that took longer than SECONDS."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise TooLong(f"more than {SECONDS} s")


def kept(target: Target) -> list[Path]:
    """The inputs of `corpus/` for a target: each was a finding once."""
    return sorted((CORPUS / target.name).glob("*"))


def try_one(target: Target, data: bytes, folder: Path) -> str:
    """Read one input: "read" or "refused"; anything else that happens comes through as it is."""
    try:
        target.run(data, folder)
    except ClockworkError as error:
        text = str(error)
        assert "\n" not in text and text.isprintable(), text
        return "refused"
    return "read"


def campaign(
    target: Target, count: int, seed: int, *, stop: float | None = None
) -> tuple[dict[str, int], list[Path]]:
    """Hand `count` damaged inputs to a target, fewer where the clock passes `stop`.

    Returns:
        How many were read and refused, and the files that findings were kept in.
    """
    outcomes = {"read": 0, "refused": 0, "findings": 0}
    found: list[Path] = []
    seeds = target.seeds()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            if stop is not None and time.monotonic() > stop:
                break
            data = mutated(seeds, target.words, random.Random(f"{target.name} {seed} {number}"))
            signal.alarm(SECONDS)
            try:
                outcomes[try_one(target, data, Path(folder))] += 1
            except Exception as error:
                outcomes["findings"] += 1
                place = CORPUS / target.name / hashlib.sha256(data).hexdigest()[:16]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                found.append(place)
                print(f"{target.name} {number}: {type(error).__name__}: {error} -> {place}", flush=True)
            finally:
                signal.alarm(0)
    return outcomes, found


def guided(target: Target) -> None:
    """Let atheris guide the mutations; runs until it is stopped or finds something."""
    import atheris  # type: ignore[import-not-found]

    folder = Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate((*target.seeds(), *(path.read_bytes() for path in kept(target)))):
        (corpus / str(number)).write_bytes(data)
    atheris.instrument_all()
    limits = ["-max_len=262144", f"-timeout={SECONDS}", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], lambda data: try_one(target, data, folder) and None)
    atheris.Fuzz()


def main() -> int:
    """Run the targets named, all by default; exit status 1 for a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="all by default")
    parser.add_argument("--count", type=int, default=50_000, help="inputs per target")
    parser.add_argument("--seconds", type=float, help="stop a target after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", metavar="TARGET", choices=list(TARGETS))
    options = parser.parse_args()
    if options.atheris:
        guided(TARGETS[options.atheris])
    signal.signal(signal.SIGALRM, _alarm)
    failed = False
    for name in options.targets or TARGETS:
        began = time.monotonic()
        stop = None if options.seconds is None else began + options.seconds
        outcomes, found = campaign(TARGETS[name], options.count, options.seed, stop=stop)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"{name}: {outcomes} in {time.monotonic() - began:.0f} s, {memory} MiB at most", flush=True)
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
