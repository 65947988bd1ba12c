"""What the paper's tables play: its data sets, the generated shapes video, or video of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from clockwork_onnx.evaluation.datasets import cityscapes, nyudv2, pascal_voc, shapes, youtube_objects
from clockwork_onnx.evaluation.datasets.base import DataSet, Shot
from clockwork_onnx.evaluation.datasets.sliding_window import translated
from clockwork_onnx.evaluation.paper import protocols
from clockwork_onnx.evaluation.paper.protocols import METHODS, SPACING, Method, Options
from clockwork_onnx.evaluation.scoring.scoring import Clip

__all__ = [
    "SHAPES",
    "SHIFTS",
    "Experiment",
    "Source",
    "experiments",
    "not_there",
    "video_for_figures",
]

SHAPES = Path("shapes")
"""In place of a folder of data: the generated video."""
Source = Path | DataSet
"""Where data come from: a folder of the paper's data sets, SHAPES, or labelled video of the user's own."""

SHIFTS = (16, 32)
"""Pixels a frame of the paper's translated pictures."""
MOST_PICTURES = 40
"""Pictures that are translated, of what is not PASCAL's."""


@dataclass(frozen=True)
class Experiment:
    """Data and how they are played. `name` is for files; `key` names the paper's column, "" for none."""

    key: str
    data_set: DataSet
    clips: Callable[[Method], Iterator[Clip]]
    name: str = ""
    boundary_radius: int | None = None
    paper_fill: Literal["library", "notebook"] = "notebook"
    note: str = ""


def experiments(
    table: int, data: Source, options: Options, shifts: Sequence[int] = SHIFTS
) -> list[Experiment]:
    """What a table plays: every data set of the table that is there.

    Args:
        table: The paper's number of the table.
        data: What is played. Of the user's own video, tables 3 and 5 translate labelled frames.
        options: How the paper's open points are settled.
        shifts: Pixels per frame of tables 3 and 5.

    Returns:
        One experiment per data set, or per shift.

    Raises:
        DataSetError: A data set is broken, or none is there.
    """
    if isinstance(data, DataSet) or data == SHAPES:
        return _other_video(table, data, options, shifts)
    if table in (3, 5):
        return _pascal(data, options, shifts)
    makers = {"nyudv2": _nyudv2, "youtube": _youtube, "cityscapes": _cityscapes}
    # A data set that is not there is left out; one that is there and broken is an error.
    missing = not_there(table, data)
    wanted = _TABLE_DATA[table]
    present = [name for name in wanted if name not in missing]
    return [makers[name](data, options) for name in present or wanted[:1]]


def not_there(table: int, data: Source) -> tuple[str, ...]:
    """The data sets of a table that are not in the folder `data`."""
    if isinstance(data, DataSet):
        return ()
    wanted = () if data == SHAPES else _TABLE_DATA[table]
    return tuple(name for name in wanted if not (_folder(data, name) / _PLACES[name][0]).is_dir())


def video_for_figures(data: Source) -> DataSet:
    """The labelled video that table 1 and the figures play: YouTube-Objects, the shapes, or the user's."""
    if isinstance(data, DataSet):
        return data
    if data == SHAPES:
        return shapes.read()
    return youtube_objects.read(_folder(data, "youtube"))


def _other_video(table: int, data: Source, options: Options, shifts: Sequence[int]) -> list[Experiment]:
    """On labelled video that is none of the paper's data sets: the shapes, or the user's own."""
    own = data if isinstance(data, DataSet) else None
    name = "shapes" if own is None else own.name.replace("/", "-")
    if table in (3, 5):
        pictures = shapes.pictures(MOST_PICTURES) if own is None else _pictures_of(own)
        return [_translated("", f"{name}-{shift}", pictures, shift, options) for shift in shifts]
    video = shapes.read() if own is None else own
    return [Experiment("", video, lambda method: protocols.whole_shots(video, method, options), name=name)]


def _pictures_of(video: DataSet) -> DataSet:
    """Labelled frames, evenly over the video, each by itself."""
    labelled = [sample for shot in video.shots for sample in shot.samples if sample.read_label is not None]
    chosen = labelled[:: -(-len(labelled) // MOST_PICTURES)]
    return replace(video, shots=tuple(Shot(sample.name, (sample,)) for sample in chosen))


def _translated(key: str, name: str, pictures: DataSet, shift: int, options: Options) -> Experiment:
    sequences = translated(pictures, shift)
    return Experiment(
        key,
        sequences,
        lambda method: protocols.translated(sequences, method, options),
        name=name,
        boundary_radius=int(options.boundary_radius),
        paper_fill="library",
    )


def _pascal(data: Path, options: Options, shifts: Sequence[int]) -> list[Experiment]:
    pictures = pascal_voc.read(_folder(data, "pascal"))
    # Every new frame size opens the sessions anew, so pictures of one size follow each other.
    by_size = sorted(pictures.shots, key=lambda shot: shot.samples[0].read_image().shape)
    pictures = replace(pictures, shots=tuple(by_size))
    return [_translated(f"pascal-{shift}", f"pascal-{shift}", pictures, shift, options) for shift in shifts]


def _youtube(data: Path, options: Options) -> Experiment:
    video = youtube_objects.read(_folder(data, "youtube"))
    return Experiment(
        "youtube", video, lambda method: protocols.every_tenth(video, method, options), name="youtube"
    )


def _nyudv2(data: Path, options: Options) -> Experiment:
    # The adaptive clock's firing rate is counted over whole clips, on frames after the labelled one, too.
    clips = nyudv2.read_clips(_folder(data, "nyudv2"), subsample=SPACING, following=True)
    need = max(method.lead for method in METHODS.values())
    long_enough = tuple(
        shot for shot in clips.shots if any(sample.read_label is not None for sample in shot.samples[need:])
    )
    left_out = len(clips.shots) - len(long_enough)
    kept = replace(clips, shots=long_enough)
    return Experiment(
        "nyudv2",
        kept,
        lambda method: protocols.last_frame(kept, method, options, paper_phases="merged"),
        name="nyudv2",
        note=f"{left_out} clips with fewer than {need + 1} frames are left out" if left_out else "",
    )


def _cityscapes(data: Path, options: Options) -> Experiment:
    sequences = cityscapes.read(_folder(data, "cityscapes"), length=int(options.sequence_length))
    # The notebook tosses for skip frame first and goes on for alternating.
    tossed = {"alternating": len(sequences.shots)}
    return Experiment(
        "cityscapes",
        sequences,
        lambda method: protocols.last_frame(
            sequences, method, options, coin_tosses=tossed.get(method.name, 0)
        ),
        name="cityscapes",
    )


_TABLE_DATA: dict[int, tuple[str, ...]] = {
    3: ("pascal",),
    5: ("pascal",),
    4: ("nyudv2", "youtube"),
    6: ("nyudv2", "youtube", "cityscapes"),
}

# A folder that marks each data set, and names under which it may lie in the folder of all data.
_VOC = ("VOC2011", "VOCdevkit/VOC2011", "VOC2012", "VOCdevkit/VOC2012", "pascal")
_PLACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pascal": ("ImageSets/Segmentation", _VOC),
    "youtube": ("youtube_masks", ("youtube", "youtube-objects")),
    "nyudv2": ("segmentation", ("nyudv2", "nyud")),
    "cityscapes": ("gtFine", ("cityscapes",)),
}


def _folder(data: Path, name: str) -> Path:
    """The data set's own folder: `data` itself, or one of its usual names inside."""
    mark, places = _PLACES[name]
    for folder in (data, *(data / place for place in places)):
        if (folder / mark).is_dir():
            return folder
    return data / places[0] if data.is_dir() else data
