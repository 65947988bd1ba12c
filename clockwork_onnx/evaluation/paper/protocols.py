"""The experiments of the clockwork paper: which frames are played, and which of them are scored.

The paper and the code behind it leave fifteen points open or contradict each other (A1 to A15 of
docs/paper.md). Each is a field of `Options`; the defaults follow the published notebooks.

Every protocol turns the shots of a data set into `Clip`s for one `Method`:

* `translated`: six-frame sequences made of PASCAL VOC images, scored on frames 2 to 5 by every method;
* `every_tenth`: YouTube-Objects, where every scored frame is run from scratch on every tenth frame;
* `last_frame`: Cityscapes and NYUDv2, where only the last frame of a sequence has labels;
* `whole_shots`: any labelled video, each shot from its start, every labelled frame scored.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.scoring.scoring import Clip
from weights.errors import DataSetError, UsageError

__all__ = [
    "AMBIGUITIES",
    "COIN_SEED",
    "METHODS",
    "SPACING",
    "Method",
    "Options",
    "adaptive",
    "every_tenth",
    "last_frame",
    "options_json",
    "parse_options",
    "schedule_text",
    "translated",
    "whole_shots",
]

SPACING = 10
"""YouTube-Objects is labelled, and played, on every tenth frame."""

COIN_SEED = 0xCAFFE

Phases = Literal["paper", "running", "merged", "coin"]


@dataclass(frozen=True)
class Options:
    """What the paper leaves open. `AMBIGUITIES` says which field settles which of A1 to A15."""

    comparison: Literal[">=", ">"] = ">="
    reference: Literal["fired", "previous"] = "fired"
    signal_area: Literal["whole", "visible"] = "whole"
    fill: Literal["paper", "library", "notebook"] = "paper"
    first_frame: Literal["paper", "left out", "fired"] = "paper"
    sequence_length: Literal["20", "9"] = "20"
    alternating: Literal["last stage", "last two stages"] = "last stage"
    boundary_radius: Literal["5", "10"] = "5"
    misprints: Literal["corrected", "printed"] = "corrected"
    label_change: Literal["proportion", "hamming"] = "proportion"
    phases: Phases = "paper"
    twentieth_class: Literal["wrong", "refused"] = "wrong"
    pixel_values: Literal["mean subtracted", "raw"] = "mean subtracted"


AMBIGUITIES: dict[str, str] = {
    "A1": "comparison",
    "A2": "reference",
    "A3": "signal_area",
    "A4": "fill",
    "A5": "first_frame",
    "A6": "sequence_length",
    "A7": "alternating",
    "A8": "boundary_radius",
    "A9": "misprints",
    "A10": "misprints",
    "A11": "misprints",
    "A12": "label_change",
    "A13": "phases",
    "A14": "twentieth_class",
    "A15": "pixel_values",
}


def parse_options(settings: Sequence[str]) -> Options:
    """`Options` from texts like "fill=library"."""
    hints = get_type_hints(Options)
    chosen: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in hints:
            raise UsageError(
                "no such option of the protocol",
                found=setting,
                expected=f"NAME=VALUE with {', '.join(hints)}",
            )
        if value not in get_args(hints[name]):
            raise UsageError(
                f"no such choice for {name}", found=value, expected=" | ".join(get_args(hints[name]))
            )
        chosen[name] = value
    return Options(**chosen)


def options_json(options: Options) -> dict[str, str]:
    """The choices made, for a report."""
    return {field.name: getattr(options, field.name) for field in fields(options)}


@dataclass(frozen=True)
class Method:
    """A row of the paper's tables.

    `schedule` is what the player runs. `lead`: frames that only fill the pipeline. `period`: frames after
    which a fixed-rate schedule repeats. `stages`: for a truncated net, how many stages it is made of.
    """

    name: str
    schedule: str
    lead: int = 0
    period: int = 1
    stages: int | None = None
    threshold: float | None = None

    @property
    def is_adaptive(self) -> bool:
        """Whether it is the adaptive clock, with `threshold`."""
        return self.threshold is not None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("frame oracle", "oracle"),
        Method("3-stage baseline", "oracle", stages=1),
        Method("3-stage pipeline", "pipeline:3", lead=2),
        Method("2-stage baseline", "oracle", stages=2),
        Method("2-stage pipeline", "pipeline:2", lead=1),
        Method("skip frame", "skip:2", period=2),
        Method("exponential", "exponential", period=4),
        Method("alternating", "alternating", period=2),
    )
}


def adaptive(threshold: float) -> Method:
    """The adaptive clock at a threshold, as a method."""
    return Method(f"adaptive {threshold:g}", f"adaptive:{threshold:g}", threshold=threshold)


def schedule_text(
    method: Method, options: Options, stages: int, paper_fill: Literal["library", "notebook"] = "notebook"
) -> str:
    """The schedule that a player runs for a method.

    Args:
        method: The method.
        options: How the paper's open points are settled.
        stages: How many stages the bundle has.
        paper_fill: What fill = paper means.

    Returns:
        The schedule's text.
    """
    if method.is_adaptive:
        strict = "@strict" if options.comparison == ">" else ""
        reference = "" if options.reference == "fired" else f"@{options.reference}"
        return f"{method.schedule}{strict}{reference}"
    if method.name == "alternating" and options.alternating == "last two stages" and stages > 2:
        return "rates:" + ",".join(["1"] * (stages - 2) + ["2", "2"])
    if method.schedule.startswith("pipeline:"):
        fill = paper_fill if options.fill == "paper" else options.fill
        return f"{method.schedule}@{'lib' if fill == 'library' else 'youtube'}"
    return method.schedule


def translated(data_set: DataSet, method: Method, options: Options) -> Iterator[Clip]:
    """Sequences of translated pictures: every method is scored on the frames from the third on.

    Oracle and truncated nets start there; pipelines start as many frames earlier as they fill; clocks run
    from frame 0, or (phases = merged) from scratch for every phase of every scored frame.

    Args:
        data_set: The sequences, each a shot.
        method: What plays them.
        options: How the paper's open points are settled.

    Yields:
        What is played at a stretch, and which of its frames are scored.

    Raises:
        DataSetError: A sequence is too short.
    """
    first = max(m.lead for m in METHODS.values())
    phases = "running" if options.phases == "paper" else options.phases
    for shot in data_set.shots:
        if len(shot.samples) <= first:
            raise DataSetError("a sequence is too short", found=f"{len(shot.samples)} frames in {shot.name}")
        if method.period > 1 and phases != "running":
            for end in range(first, len(shot.samples)):
                yield from _phases(shot.name, shot.samples[: end + 1], method, phases, None)
            continue
        runs_up = method.is_adaptive or method.period > 1
        start = 0 if runs_up else first - method.lead
        samples = shot.samples[start:]
        scored = frozenset(range(first - start, len(samples)))
        yield Clip(shot.name, samples, scored=scored, counted=scored)


def every_tenth(data_set: DataSet, method: Method, options: Options) -> Iterator[Clip]:
    """YouTube-Objects: labelled frames f >= 21, each run from scratch on f - 20, f - 10 and f.

    The labels of fixed-rate methods are merged over phases (as the notebooks do): skip frame is half "the
    labels of f - 10" and half "a full pass on f". The adaptive clock runs through a shot, after a full pass
    on the frame before the first scored one.

    Args:
        data_set: The shots.
        method: What plays them.
        options: How the paper's open points are settled.

    Yields:
        What is played at a stretch, and which of its frames are scored.
    """
    phases = "merged" if options.phases == "paper" else options.phases
    coin = random.Random(COIN_SEED)
    for shot in data_set.shots:
        numbered = {sample.number: sample for sample in shot.samples}
        targets = [
            sample
            for sample in shot.samples
            if sample.read_label is not None and _number(sample) >= 2 * SPACING + 1
        ]
        if not targets:
            continue

        def history(sample: Sample, numbered: dict[int | None, Sample] = numbered) -> tuple[Sample, ...]:
            numbers = range(_number(sample), 0, -SPACING)
            found = []
            for number in numbers:
                if number not in numbered:
                    break
                found.append(numbered[number])
            return tuple(reversed(found))

        if method.is_adaptive or (method.period > 1 and phases == "running"):
            before = history(targets[0])[-2:-1] if method.is_adaptive else ()
            yield _shot_run(shot, before, targets, options)
            continue
        for sample in targets:
            if method.period > 1:
                yield from _phases(sample.name, history(sample), method, phases, coin)
            else:
                yield _from_scratch(sample.name, history(sample), method)


def last_frame(
    data_set: DataSet,
    method: Method,
    options: Options,
    *,
    coin_tosses: int = 0,
    paper_phases: Phases = "coin",
) -> Iterator[Clip]:
    """Sequences of which only the last frame has labels: Cityscapes, NYUDv2.

    phases = coin tosses a coin per sequence (Cityscapes' notebook, seed 0xCAFFE): the state comes from the
    frame before with probability 1/2, else the frame is run in full.

    Args:
        data_set: The sequences, each a shot.
        method: What plays them.
        options: How the paper's open points are settled.
        coin_tosses: How many have been made before: the notebook goes on tossing from one method to the next.
        paper_phases: What phases = paper means.

    Yields:
        What is played at a stretch, and which of its frames are scored.
    """
    phases = paper_phases if options.phases == "paper" else options.phases
    coin = random.Random(COIN_SEED)
    for _ in range(coin_tosses):
        coin.random()
    for shot in data_set.shots:
        # Frames after the labelled one (NYUDv2's clips may have them) matter to firing rates alone.
        end = max(i for i, sample in enumerate(shot.samples) if sample.read_label is not None)
        history = shot.samples[: end + 1]
        if method.is_adaptive or (method.period > 1 and phases == "running"):
            left_out = 1 if method.is_adaptive and options.first_frame == "left out" else 0
            counted = frozenset(range(left_out, len(shot.samples)))
            yield Clip(shot.name, shot.samples, scored=frozenset({end}), counted=counted)
        elif method.period > 1:
            yield from _phases(shot.name, history, method, phases, coin)
        else:
            yield _from_scratch(shot.name, history, method)


def whole_shots(data_set: DataSet, method: Method, options: Options) -> Iterator[Clip]:
    """Every shot from its start, all frames counted, those with labels scored.

    Args:
        data_set: The shots.
        method: Makes no difference: a plain run is the same for all.
        options: Make no difference either.

    Yields:
        One clip per shot.
    """
    del method, options  # nothing depends on them: a plain run is the same for all
    for shot in data_set.shots:
        labelled = frozenset(i for i, sample in enumerate(shot.samples) if sample.read_label is not None)
        yield Clip(shot.name, shot.samples, scored=labelled, counted=frozenset(range(len(shot.samples))))


def _from_scratch(name: str, history: tuple[Sample, ...], method: Method) -> Clip:
    """The last frame of `history` after as many frames as the method needs to fill."""
    if len(history) <= method.lead:
        raise DataSetError(
            f"{method.name} needs {method.lead} frames before each scored one",
            found=f"{len(history) - 1} before {name}",
        )
    samples = history[-(method.lead + 1) :]
    last = frozenset({len(samples) - 1})
    return Clip(name, samples, scored=last, counted=last)


def _phases(
    name: str, history: tuple[Sample, ...], method: Method, phases: str, coin: random.Random | None
) -> Iterator[Clip]:
    """The last frame of `history` at phases of the clock: all of them, or one by the toss of a coin."""
    if len(history) < method.period:
        raise DataSetError(
            f"{method.name} has {method.period} phases, which need {method.period - 1} frames before each "
            "scored one",
            found=f"{len(history) - 1} before {name}",
            hint="choose phases=running",
        )
    if phases == "merged":
        chosen = list(range(method.period))
    elif coin is None or method.period != 2:
        raise UsageError(
            "a coin can stand for two phases only",
            found=f"{method.period} phases of {method.name}" if coin else "a protocol without a coin",
            hint="choose phases=merged or phases=running",
        )
    else:
        chosen = [1 if coin.random() < 0.5 else 0]
    for phase in chosen:
        samples = history[-(phase + 1) :]
        last = frozenset({phase})
        yield Clip(name, samples, scored=last, counted=last)


def _shot_run(shot: Shot, before: tuple[Sample, ...], targets: list[Sample], options: Options) -> Clip:
    samples = (*before, *targets)
    scored = frozenset(range(len(before), len(samples)))
    counted = frozenset(range(len(samples))) if options.first_frame == "fired" else scored
    return Clip(shot.name, samples, scored=scored, counted=counted)


def _number(sample: Sample) -> int:
    if sample.number is None:
        raise DataSetError("this protocol needs numbered frames", found=sample.name)
    return sample.number
