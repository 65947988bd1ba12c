"""Net + weights -> one plain ONNX model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from caffe_port.graph import GraphBuilder, NeedsFixedSize
from caffe_port.match import match_weights
from caffe_port.net import Dims, Layer, Net, Shape, Sizes
from caffe_port.onnx_graph import Draft
from caffe_port.registry import rule_for
from caffe_port.shapes import measure
from caffe_port.shared_memory import overwritten
from weights.errors import ClockworkError, UnsupportedError, UsageError

__all__ = ["ancestors", "check_values", "convert_layers", "draft_onnx", "input_dims", "to_onnx"]


def check_values(net: Net, values: Sequence[str], what: str) -> None:
    """Check that every name is a value of the net whose numbers last until the end.

    Args:
        net: The net.
        values: The names to check.
        what: What the values are to be, such as "output", for the message.

    Raises:
        UsageError: A name is not a value of the net; the message has the nearest names.
        UnsupportedError: A value's numbers are changed in place, by another layer through a blob that shares
            its memory.
    """
    if "" in values:
        raise UsageError(
            f"a blob without a name as {what}", file=net.file, found='""', expected="a name that is not empty"
        )
    known = net.values()
    changed = overwritten(net)[0]
    for value in values:
        if value not in known:
            from difflib import get_close_matches

            near = ", ".join(get_close_matches(value, known, 3)) or ", ".join(known[-4:])
            raise UsageError(
                f'{what} "{value}" is no blob of this net', file=net.file, expected=f"a blob such as {near}"
            )
        if value in changed:
            raise UnsupportedError(
                f'{what} "{value}" shares its memory with another blob',
                file=net.file,
                found=f'layer "{changed[value]}", which changes that blob in place',
                hint="ask for the other blob",
            )


def ancestors(net: Net, values: Sequence[str]) -> list[Layer]:
    """The layers that values depend on.

    Args:
        net: The net.
        values: Names of values.

    Returns:
        The layers in the net's order.
    """
    wanted = set(values)
    kept = []
    for layer in reversed(net.layers):
        if wanted.intersection(layer.tops):
            wanted.update(layer.bottoms)
            kept.append(layer)
    return kept[::-1]


def input_dims(dims: Dims, name: str, first: bool) -> list[int | str]:
    """The graph's dimensions of a net input.

    Args:
        dims: The dimensions, None where they follow the frame size.
        name: The input's name.
        first: Whether it is the first picture.

    Returns:
        Numbers, and where a dimension is open its name: `height` and `width` for the first picture, `NAME_dI`
        for others.
    """
    plain = {2: "height", 3: "width"} if first and len(dims) == 4 else {}
    return [d if d is not None else plain.get(i, f"{name}_d{i}") for i, d in enumerate(dims)]


def convert_layers(
    g: GraphBuilder, layers: Iterable[Layer], weights: Mapping[str, tuple[np.ndarray, ...]]
) -> None:
    """Emit layers in order.

    Args:
        g: The graph; its `env` has the values that the layers read, and gets those that they make.
        layers: Layers of the graph's net.
        weights: The arrays of each layer by its key, already checked (`match_weights`).

    Raises:
        UnsupportedError, ShapeError, WeightsError: A layer cannot be converted; names the file and the layer.
        NeedsFixedSize: A layer cannot follow the frame size.
    """
    for layer in layers:
        g.scope = layer.key or layer.type
        rule = rule_for(layer, g.net)
        bottoms = tuple(g.env[b] for b in layer.bottoms)
        try:
            tops = rule.emit(g, layer, bottoms, weights.get(layer.key, ()))
        except ClockworkError as error:
            raise error.located(**g.net.where(layer)) from None
        for value, name in zip(layer.tops, tops, strict=True):
            g.env[value] = name
    g.scope = ""


def build(
    net: Net,
    sizes: Sizes,
    weights: Mapping[str, tuple[np.ndarray, ...]],
    layers: Sequence[Layer],
    outputs: Sequence[str],
) -> tuple[Draft, list[str]]:
    g = GraphBuilder(net, sizes)
    read = {b for layer in layers for b in layer.bottoms} | set(outputs)
    first = True
    for i in net.inputs:
        if i.name in read:
            g.value_input(i.name, input_dims(sizes.dims[i.name], i.name, first))
            first = first and None not in sizes.dims[i.name]
    convert_layers(g, layers, weights)
    for value in outputs:
        g.output(
            g.env[value],
            value,
            [d if d is not None else f"{value}_d{i}" for i, d in enumerate(sizes.dims[value])],
        )
    return g.draft(net.name), g.notes


def draft_onnx(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    outputs: Sequence[str] | None = None,
    *,
    inputs: Mapping[str, Shape] | None = None,
    fixed: bool = False,
) -> Draft:
    """As `to_onnx`, with the weights beside the model and not copied into it; for `save_model`.

    Args:
        net: As in `to_onnx`.
        blobs: As in `to_onnx`.
        outputs: As in `to_onnx`.
        inputs: As in `to_onnx`.
        fixed: As in `to_onnx`.

    Returns:
        The model without its weights, and the arrays that are to be written.

    Raises:
        UsageError, UnsupportedError, ShapeError, WeightsError: As `to_onnx` does.
    """
    outputs = list(net.outputs if outputs is None else outputs)
    check_values(net, outputs, "output")
    sizes = measure(net, inputs, fixed=fixed)
    layers = ancestors(net, outputs)
    matched = match_weights(net, sizes.shapes, blobs, needed=frozenset(layer.key for layer in layers))
    reason = sizes.reason
    try:
        draft, notes = build(net, sizes, matched.blobs, layers, outputs)
    except NeedsFixedSize as needs:
        reason = str(needs)
        try:
            draft, notes = build(net, measure(net, inputs, fixed=True), matched.blobs, layers, outputs)
        except NeedsFixedSize as still:
            raise UnsupportedError(
                "a number of items that is known only when the net runs", file=net.file, found=str(still)
            ) from None
    facts = {"caffe.notes": "\n".join((*net.notes, *matched.notes, *notes)), "caffe.fixed_size": reason}
    onnx.helper.set_model_props(draft.model, {k: v for k, v in facts.items() if v})
    return draft


def to_onnx(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    outputs: Sequence[str] | None = None,
    *,
    inputs: Mapping[str, Shape] | None = None,
    fixed: bool = False,
) -> onnx.ModelProto:
    """The net as one ONNX model (opset 17) whose inputs and outputs carry the Caffe blob names.

    Height and width stay symbolic (`height`, `width`) unless `fixed` is set or a layer allows one size only;
    the model's metadata then says why.

    Args:
        net: The net, from `read_net`.
        blobs: Weights by layer name, as `weights.read` gives them.
        outputs: Any blobs, by default the net's own outputs.
        inputs: Shapes (N, C, H, W) by input name that replace the prototxt's.
        fixed: Freeze the input size.

    Returns:
        The model, with its weights in it.

    Raises:
        UsageError: An output is not a blob of the net.
        UnsupportedError, ShapeError, WeightsError: The net cannot be converted with these weights and shapes;
            the message names the layer.
    """
    return draft_onnx(net, blobs, outputs, inputs=inputs, fixed=fixed).whole()
