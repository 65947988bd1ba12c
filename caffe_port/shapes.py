"""Shapes of every value by Caffe's formulas, without running anything."""

from __future__ import annotations

from collections.abc import Mapping

from caffe_port.net import Dims, Layer, Net, Shape, Sizes
from caffe_port.registry import rule_for
from weights.errors import ClockworkError, ShapeError

__all__ = ["canonical_axis", "count", "infer_shapes", "layer_shapes", "measure"]

MAX_ELEMENTS = 2**31 - 1
"""As many as a Blob of Caffe can hold."""


def count(shape: Shape) -> int:
    """Number of elements (1 for the shape of a scalar)."""
    product = 1
    for dim in shape:
        product *= dim
    return product


def canonical_axis(axis: int, rank: int) -> int:
    """A negative axis counted from the end, as Blob::CanonicalAxisIndex.

    Args:
        axis: From -rank to rank - 1.
        rank: How many axes there are.

    Returns:
        The axis from 0 on.

    Raises:
        ShapeError: The axis is out of range.
    """
    if not -rank <= axis < rank:
        raise ShapeError("axis out of range", found=axis, expected=f"{-rank} to {rank - 1}")
    return axis + rank if axis < 0 else axis


def layer_shapes(
    net: Net, layer: Layer, bottoms: tuple[Shape, ...], *, recount: bool = False
) -> tuple[Shape, ...]:
    """The shapes of one layer's tops.

    Args:
        net: The net.
        layer: A layer of it.
        bottoms: The shapes of the layer's bottoms.
        recount: Take one item more than there can be where the rule says that items are counted when the net
            runs.

    Returns:
        One shape per top.

    Raises:
        ShapeError, UnsupportedError: There are no such shapes; the message names the file and the layer.
    """
    try:
        rule = rule_for(layer, net)
        tops = rule.shape(layer, bottoms)
    except ClockworkError as error:
        raise error.located(**net.where(layer)) from None
    if len(tops) != len(layer.tops):
        raise ShapeError(
            "a layer with tops that nothing makes"
            if len(tops) < len(layer.tops)
            else "a layer without its tops",
            **net.where(layer),
            found=f"{len(layer.tops)} tops of {len(bottoms)} bottoms",
            expected=f"{len(tops)}",
        )
    axis = rule.counted
    if recount and axis is not None:
        tops = tuple((*top[:axis], top[axis] + 1, *top[axis + 1 :]) for top in tops)
    for top, shape in zip(layer.tops, tops, strict=True):
        if any(dim <= 0 for dim in shape) or count(shape) > MAX_ELEMENTS:
            raise ShapeError(
                f'impossible shape of "{top}"',
                **net.where(layer),
                found=f"{shape} from bottoms {bottoms}",
                expected=f"sizes above 0 and at most {MAX_ELEMENTS} numbers",
                hint="is the input large enough for this net?",
            )
    return tops


def infer_shapes(
    net: Net, inputs: Mapping[str, Shape] | None = None, *, recount: bool = False
) -> dict[str, Shape]:
    """The shape of every value of the net, inputs included.

    Args:
        net: The net, from `read_net`.
        inputs: Shapes by name that override those of net inputs.
        recount: As in `layer_shapes`, to see what depends on such a count.

    Returns:
        Value -> shape.

    Raises:
        ShapeError, UnsupportedError: A layer has no shape; the message names the file and the layer.
    """
    shapes: dict[str, Shape] = {i.name: tuple((inputs or {}).get(i.name, i.shape)) for i in net.inputs}
    for layer in net.layers:
        tops = layer_shapes(net, layer, tuple(shapes[b] for b in layer.bottoms), recount=recount)
        shapes.update(zip(layer.tops, tops, strict=True))
    return shapes


PROBE = (64, 128)
"""Added to height and width to see what follows them: multiples of the strides in use, and different."""


def _open(shapes: Mapping[str, Shape], other: Mapping[str, Shape]) -> dict[str, Dims]:
    """None wherever the two differ."""
    return {
        value: tuple(d if d == o else None for d, o in zip(shape, other[value], strict=True))
        for value, shape in shapes.items()
    }


def measure(net: Net, inputs: Mapping[str, Shape] | None = None, *, fixed: bool = False) -> Sizes:
    """Shapes at the given input size, and what would change with another frame size.

    Found by inferring twice: a dimension that differs for a larger frame follows the frame size. Where the
    larger frame does not fit the net, or would need other weights (InnerProduct on a feature map), the net's
    size is fixed.

    Args:
        net: The net.
        inputs: Shapes by name that override those of net inputs.
        fixed: Take the size as fixed, whatever the layers allow.

    Returns:
        The shapes, which dimensions are open, and why the size is fixed where it is.

    Raises:
        ShapeError, UnsupportedError: A layer has no shape at the given size.
    """
    shapes = infer_shapes(net, inputs)
    counted = any(rule_for(layer, net).counted is not None for layer in net.layers)
    frozen = _open(shapes, infer_shapes(net, inputs, recount=True) if counted else shapes)
    if fixed:
        return Sizes(shapes, frozen, True)
    larger = {
        i.name: (*shapes[i.name][:2], *(d + p for d, p in zip(shapes[i.name][2:], PROBE, strict=True)))
        for i in net.inputs
        if len(shapes[i.name]) == 4 and min(shapes[i.name][2:]) > 1
    }
    if not larger:
        return Sizes(shapes, frozen, True, "no input is a picture (N, C, H, W)")
    try:
        other = infer_shapes(net, {**shapes, **larger}, recount=counted)
    except ClockworkError as error:
        return Sizes(shapes, frozen, True, str(error))
    for layer in net.layers:
        rule = rule_for(layer, net)
        before = rule.blobs(layer, tuple(shapes[b] for b in layer.bottoms))
        after = rule.blobs(layer, tuple(other[b] for b in layer.bottoms))
        if [b.shape for b in before] != [b.shape for b in after]:
            return Sizes(
                shapes,
                frozen,
                True,
                f'the weights of layer "{layer.name}" ({layer.type}) fit one input size only',
            )
    return Sizes(shapes, _open(shapes, other), False)
