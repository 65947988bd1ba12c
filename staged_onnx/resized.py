"""A bundle whose frames are brought to another size for the net than it was made for.

Where a net takes any size, its graphs leave all sizes open but the one that frames are resized to, which is
a constant of the Resize that comes before everything else. So no file changes: the graphs are read, the
constant is set, and the manifest says what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from staged_onnx.bundle import Bundle
from staged_onnx.fit import nearest_fit
from staged_onnx.manifest import StageSpec, ValueSpec
from weights import limits
from weights.errors import BundleError, UsageError
from weights.regular_file import read_regular

__all__ = ["resized_bundle"]

BEFORE = frozenset({"Cast", "Gather", "Log", "Max", "Mul", "ReduceSum", "Transpose", "Unsqueeze"})
"""What is done with a picture before it is resized."""


def resized_bundle(bundle: Bundle, size: tuple[int, int]) -> Bundle:
    """The bundle with frames brought to `size` (height, width) for the net.

    Raises:
        UsageError: The bundle was not made for a size, its net takes one size only, or not this one.
        BundleError: A graph cannot be read.
    """
    manifest = bundle.manifest
    how = manifest.preprocessing
    if how.size == size:
        return bundle
    if how.size is None or manifest.feature_flow is not None:
        raise UsageError(
            "this bundle sees frames at their own size",
            file=bundle.path,
            found=f"--size {size[0]}x{size[1]}",
            hint="convert it with --size, or leave it out",
        )
    fitting = nearest_fit(size, how.multiple, how.remainder)
    if fitting != size:
        raise UsageError(
            "the net does not take frames of this size",
            file=bundle.path,
            found=f"{size[0]}x{size[1]}",
            expected=f"multiples of {how.multiple[0]}x{how.multiple[1]}"
            + (f" and {how.remainder[0]}x{how.remainder[1]} more" if any(how.remainder) else ""),
            hint=f"the next larger one: --size {fitting[0]}x{fitting[1]}",
        )
    graphs = dict(bundle.graphs)
    models = {part.name: _model(bundle, part) for part in (*manifest.stages, manifest.head)}
    follows = any(value.stride is not None for value in manifest.values.values())
    if how.pads or not follows or any(_is_fixed(models[stage.name]) for stage in manifest.stages):
        raise UsageError(
            "this bundle takes one size",
            file=bundle.path,
            found=f"--size {size[0]}x{size[1]}",
            expected=f"{how.size[0]}x{how.size[1]}",
            hint="convert the net with another --size, if it takes one",
        )
    sizes = {frame.name: (1, frame.preprocessing.planes, *size) for frame in manifest.frames}
    for name, model in models.items():
        if _set_sizes(model.graph, sizes):
            graphs[name] = model.SerializeToString()
    values = {
        name: replace(value, shape=_shape(value, how.size, size)) for name, value in manifest.values.items()
    }
    changed = replace(
        manifest, preprocessing=replace(how, size=size), reference_size=size, values=values,
        more_frames=tuple(
            replace(frame, preprocessing=replace(frame.preprocessing, size=size))
            for frame in manifest.more_frames
        ),
    )  # fmt: skip
    return replace(bundle, manifest=changed, graphs=graphs)


def _model(bundle: Bundle, part: StageSpec) -> onnx.ModelProto:
    content = bundle.graphs.get(part.name) or read_regular(
        bundle.model_path(part), limits.GRAPH_BYTES, expected="the graph of a stage", error=BundleError
    )
    return onnx.ModelProto.FromString(content)  # `read_bundle` has checked it


def _is_fixed(model: onnx.ModelProto) -> bool:
    """Whether the maps that a stage hands out have one size only."""
    maps = [value.type.tensor_type.shape.dim for value in model.graph.output]
    return any(len(dims) == 4 and not any(dim.dim_param for dim in dims) for dims in maps)


def _set_sizes(graph: onnx.GraphProto, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Give each Resize of a picture that comes in another size; whether there was one."""
    makers = {output: node for node in graph.node for output in node.output}
    changed = False
    for node in graph.node:
        if node.op_type != "Resize":
            continue
        source = node.input[0]
        while source in makers and makers[source].op_type in BEFORE:
            source = makers[source].input[0]
        if source in sizes:
            name = f"size of {source}"
            node.input[3] = name
            if all(tensor.name != name for tensor in graph.initializer):
                graph.initializer.append(numpy_helper.from_array(np.array(sizes[source], np.int64), name))
            changed = True
    return changed


def _shape(value: ValueSpec, before: tuple[int, int], after: tuple[int, int]) -> tuple[int, ...]:
    """A carried value's shape at another size, by its stride."""
    if value.stride is None or len(value.shape) != 4:
        return value.shape
    grown = (
        max(1, round(dim + (new - old) / stride))
        for dim, new, old, stride in zip(value.shape[2:], after, before, value.stride, strict=True)
    )
    return (*value.shape[:2], *grown)
