"""Labelled data of the user's own: the options that name them, and the data set that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.evaluation.datasets import catalogue, folders
from clockwork_onnx.evaluation.datasets.base import NO_CLASS, DataSet, classes_met, excerpt
from clockwork_onnx.options import WholeNumber
from staged_onnx import Bundle, Classes, classes
from weights.errors import UsageError
from weights.numbers import BadNumber, whole

__all__ = ["LabelledOptions", "labelled_options"]


@dataclass(frozen=True)
class LabelledOptions:
    """The options that say which frames are scored against which labels."""

    frames: Path | None
    labels: Path | None
    data_set: str | None
    class_map: str | None
    ignore: tuple[int, ...]
    class_names: str | None
    start: int
    stride: int
    max_frames: int | None

    def __post_init__(self) -> None:
        excerpt_wanted = (self.start, self.stride, self.max_frames) != (0, 1, None)
        if excerpt_wanted and (self.frames is None or self.labels is None):
            raise UsageError("--start, --stride and --max-frames go with --frames and --labels")

    def named(self) -> bool:
        """Whether the user named data of their own."""
        return bool(self.frames or self.labels or self.data_set or self.class_map)

    def read(self, opened: Bundle, root: Path | None) -> tuple[DataSet, Classes]:
        """The data to score a bundle on, and the label classes; checked against each other.

        Args:
            opened: The bundle.
            root: Folder of the data set, where one is named.

        Returns:
            The data set and its classes.

        Raises:
            UsageError: Options contradict each other, or do not fit the net.
            DataSetError: The data are not as they should be.
        """
        table_map = _class_map(self.class_map, len(opened.manifest.class_names))
        table = _label_classes(opened, table_map, self.class_names)
        chosen = _data(self.frames, self.labels, self.data_set, root, table, self.ignore, table_map)
        if self.data_set is not None and self.class_names is None:
            table = _label_classes(opened, table_map, None, chosen)
        label_classes = len(chosen.classes)
        if self.labels is not None:
            met = classes_met(chosen)  # of all labels: an excerpt may be without a class
            chosen = excerpt(chosen, self.start, self.stride, self.max_frames)
            if self.class_names is None and table_map is not None:
                label_classes = met[-1] + 1
            elif self.class_names is None and len(met) < label_classes:
                click.echo(_fewer_classes(len(met), label_classes), err=True)
        if table_map is not None:
            _check_map(table_map, label_classes)
        return chosen, table


def labelled_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name labelled data; the command takes them as `labelled: LabelledOptions`."""
    names = [field.name for field in fields(LabelledOptions)]

    @wraps(command)
    def with_labelled(**given: Any) -> Any:
        own = {name: given.pop(name) for name in names}
        return command(labelled=LabelledOptions(**own), **given)

    options = (
        click.option("--frames", type=click.Path(path_type=Path), help="Folder of frames."),
        click.option(
            "--labels", type=click.Path(path_type=Path), help="Folder of label images named as the frames."
        ),
        click.option(
            "--data-set",
            type=click.Choice(catalogue.NAMES),
            help="A data set in its original layout under --data, instead of --frames and --labels.",
        ),
        click.option("--map", "class_map", help="Label class of each net class, e.g. 0,1,1,2 (255: none)."),
        click.option(
            "--ignore", type=click.IntRange(0, 255), multiple=True, help="Label class that is not scored."
        ),
        click.option(
            "--classes", "class_names", help="Names of the label classes: camvid, voc, ... or a file."
        ),
        click.option("--start", type=WholeNumber(0), default=0, help="First frame of --frames."),
        click.option("--stride", type=WholeNumber(1), default=1, help="Every Nth frame of --frames."),
        click.option("--max-frames", type=WholeNumber(1), help="Stop after this many frames of --frames."),
    )
    for option in reversed(options):
        with_labelled = option(with_labelled)
    return with_labelled


def _class_map(text: str | None, net_classes: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        table = tuple(whole(part, least=-1) for part in text.split(","))
    except BadNumber:
        raise UsageError("--map takes whole numbers", found=text, expected="e.g. 0,1,1,2") from None
    if not all(0 <= value <= 255 for value in table):
        raise UsageError("--map names an impossible label class", found=text, expected="0 to 255")
    if len(table) != net_classes:
        raise UsageError(
            "--map has one entry per class of the net", found=f"{len(table)} entries", expected=net_classes
        )
    return table


def _check_map(class_map: Sequence[int], label_classes: int) -> None:
    """Refuse a map that leads to a class which no label can have: it would silently count as wrong."""
    for net_class, label_class in enumerate(class_map):
        if label_classes <= label_class != NO_CLASS:
            raise UsageError(
                "--map leads to a class that no label has",
                found=f"class {label_class} for class {net_class} of the net",
                expected=f"0 to {label_classes - 1}, or 255 for none of them",
                hint="if there are label classes that occur in no label, name all with --classes",
            )


def _fewer_classes(label_classes: int, net_classes: int) -> str:
    return (
        f"clockwork: the labels have {label_classes} classes, the net {net_classes}: what it gives of the "
        "others counts as wrong; if the two are numbered differently, give --map"
    )


def _label_classes(
    bundle: Bundle, class_map: tuple[int, ...] | None, names: str | None, data_set: DataSet | None = None
) -> Classes:
    """Names and colours of the label classes: as asked for, as the data set's, or as the net's."""
    if names is not None:
        return classes(names)
    manifest = bundle.manifest
    if data_set is not None:
        numbered = classes(len(data_set.classes))
        same = data_set.classes == manifest.class_names
        return Classes(data_set.classes, manifest.palette if same else numbered.palette)
    if class_map is None:
        return Classes(manifest.class_names, manifest.palette)
    return classes(1 + max((value for value in class_map if value != 255), default=0))


def _data(
    frames: Path | None,
    labels: Path | None,
    name: str | None,
    root: Path | None,
    table: Classes,
    ignore: tuple[int, ...],
    class_map: tuple[int, ...] | None,
) -> DataSet:
    if name is not None:
        if root is None or frames is not None or labels is not None:
            raise UsageError("--data-set goes with --data, not with --frames and --labels")
        return catalogue.read(name, root, class_map)
    if frames is None or labels is None:
        raise UsageError(
            "nothing to score", expected="--frames and --labels, or --data-set and --data", hint="see --help"
        )
    return folders.read(
        frames,
        labels,
        classes=table.names,
        ignored=ignore,
        prediction_map=class_map,
        name=f"{frames.parent.name}/{frames.name}" if frames.parent.name else frames.name,
    )
