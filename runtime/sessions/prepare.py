"""Between a stage's file and its session: the passes of `staged_onnx.passes`, at one set of sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from staged_onnx.passes import (
    Border,
    FixedGraph,
    Saving,
    Target,
    apply_passes,
    borders_of,
    fix_sizes,
    partly_live_outputs,
)

__all__ = ["Prepared", "add_arrays", "prepare"]

Shape = tuple[int, ...]
Open = Callable[[FixedGraph], ort.InferenceSession]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph that is ready to be opened.

    model: serialised, its weights in files of `folder` or among `arrays`. borders: what is known beforehand
    of its outputs. savings: what each pass did.
    """

    model: bytes
    folder: str
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    borders: Mapping[str, Border] = field(default_factory=dict)
    savings: tuple[Saving, ...] = ()


def prepare(
    model: str | PathLike[str] | bytes,
    folder: str | None,
    shapes: Mapping[str, Shape],
    passes: Sequence[str],
    open_graph: Open,
    borders: Mapping[str, Border],
    threads: int,
) -> Prepared:
    """Fix a model's sizes and take it through the passes.

    Args:
        model: A file or a serialised graph.
        folder: Where its weights are, if it keeps them outside; by default the file's own folder.
        shapes: The shape of every input, by name.
        passes: Names of passes.
        open_graph: Opens a graph as the finished one will be, for the values that a pass asks for.
        borders: What is known beforehand of its inputs.
        threads: Of one operator.

    Returns:
        The graph, the arrays that it only declares, and what each pass has saved.
    """
    if isinstance(model, bytes):
        proto, place = onnx.load_from_string(model), folder or ""
    else:
        proto = onnx.load(fspath(model), load_external_data=False)
        place = folder or os.path.dirname(fspath(model))
    known = {name: border for name, border in borders.items() if name in shapes}
    graph = fix_sizes(proto, shapes, folder=place, borders=known)
    evaluate = _OnEmptyFrame(graph, open_graph)
    after, savings = apply_passes(graph, passes, Target(evaluate, threads))
    finished, arrays = after.model()
    return Prepared(finished.SerializeToString(), place, arrays, borders_of(graph, evaluate), savings)


class _OnEmptyFrame:
    """Values of a graph on an empty frame, each computed once."""

    def __init__(self, graph: FixedGraph, open_graph: Open) -> None:
        self._graph = graph
        self._open = open_graph
        self._found: dict[str, np.ndarray] = {}
        self._later = partly_live_outputs(graph)

    def __call__(self, graph: FixedGraph, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        missing = [name for name in names if name not in self._found]
        if missing:
            ends = [n for n in self._later if n not in self._found]  # one pass for all that will be asked for
            missing = list(dict.fromkeys((*missing, *ends)))
            session = self._open(graph.giving(missing))
            self._found |= zip(missing, session.run(missing, self._feeds()), strict=True)
        return {name: self._found[name] for name in names}

    def _feeds(self) -> dict[str, np.ndarray]:
        feeds = {}
        for value in self._graph.inputs:
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            known = self._graph.borders.get(value.name)
            empty = np.zeros(self._graph.shapes[value.name], dtype)
            feeds[value.name] = empty if known is None else known.values
        return feeds


def add_arrays(options: ort.SessionOptions, arrays: Mapping[str, np.ndarray]) -> None:
    """Hand a session the arrays that its model only declares.

    Args:
        options: The session's.
        arrays: By name.
    """
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    options.add_external_initializers(list(arrays), values)
