"""Nets that move features between key frames by a flow of their own: Deep Feature Flow, Accel.

Such a net is two graphs (see `caffe_port.nets.feature_flow`): that of key frames, from the picture to the
scores, and that of the frames between, which reads this picture, an earlier one and the earlier one's
features. The value that both make, from the picture in one and from the earlier features in the other, is
what is moved. So the stages follow from the graphs:

    reference    the picture as it is, for later frames to see as the earlier one
    flow         this picture and the earlier one -> what the value is moved by
    correction   this picture -> what the head adds to the moved value, where there is such a branch
    features     key net: the picture -> the value
    transform    the value and what `flow` made -> the moved value
    head         the value (and `correction`) -> scores; on key frames the key net's own
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe_port.convert import ancestors
from caffe_port.net import Input, Layer, Net, Shape
from caffe_port.shapes import infer_shapes
from staged_onnx.planning import Plan, StagePlan, asked_output, score_value, stage_plan
from weights.errors import BundleError

__all__ = ["FeatureFlowPlan", "is_feature_flow", "plan_feature_flow"]

KEY_STAGE = "key"
"""The NetState stage of key frames."""
FEATURES, REFERENCE, FLOW, CORRECTION = "features", "reference", "flow", "correction"
RESIZES = ("Crop", "Deconvolution", "Interp")
"""Layers at the end of a branch that leave its map as it is but for its size."""


@dataclass(frozen=True)
class FeatureFlowPlan:
    """How the two graphs of such a net become stages.

    key: the stage `features` and the head of key frames, of `key_net`. between: `flow`, `correction` where
    there is one, and the head of the other frames, of `net`. transform: the layers that move `value`, whose
    earlier version the net's input `earlier_value` is; `picture` and `earlier_picture` are its other inputs.
    """

    key_net: Net
    net: Net
    key: Plan
    between: Plan
    transform: StagePlan
    value: str
    earlier_value: str
    picture: str
    earlier_picture: str

    @property
    def corrects(self) -> bool:
        """Whether something of the frame itself is added to what was moved."""
        return len(self.between.stages) > 1


def _pictures(net: Net) -> list[Input]:
    return [i for i in net.inputs if len(i.shape) == 4 and i.shape[1] in (1, 3)]


def is_feature_flow(net: Net) -> bool:
    """Whether a net reads what only a bundle of this kind can give it: two pictures and features."""
    pictures = _pictures(net)
    return len(net.inputs) == 3 and len(pictures) == 2 and pictures[0].shape == pictures[1].shape


def plan_feature_flow(key_net: Net, net: Net, size: tuple[int, int] | None = None) -> FeatureFlowPlan:
    """Divide the two graphs of a net that moves its features.

    Args:
        key_net: The net of key frames: one picture in, scores out.
        net: The net of the other frames; of its two pictures the one of the key net's name is this frame's.
        size: Height and width of the pictures, for the cost figures, by default the prototxt's.

    Returns:
        The stages of both nets, and what is carried from key frames.

    Raises:
        BundleError: The two do not belong together.
    """
    picture, earlier_picture, carried = _inputs_of(key_net, net)
    pictures = {i.name: (*i.shape[:2], *(size or i.shape[2:])) for i in _pictures(net)}
    key_shapes = infer_shapes(key_net, {picture: pictures[picture]})
    moving = _readers(net, carried)
    value = next((top for layer in moving for top in layer.tops if top in key_shapes), None)
    if value is None:
        raise _unfit(net, f'no value that depends on "{carried}" is one of the key net')
    shapes = infer_shapes(net, {**pictures, carried: key_shapes[value]})
    if not shapes[value] == key_shapes[value]:
        raise _unfit(net, f'"{value}" is {key_shapes[value]} on key frames and {shapes[value]} between them')
    keys = {layer.key for layer in ancestors(net, [value])}
    transform = [layer for layer in moving if layer.key in keys]
    made = {top for layer in transform for top in layer.tops} | {carried}
    moved_by = list(dict.fromkeys(b for layer in transform for b in layer.bottoms if b not in made))
    between = _plan_between(net, shapes, value, moving, transform, moved_by)
    return FeatureFlowPlan(
        key_net=key_net,
        net=net,
        key=_plan_key(key_net, key_shapes, value),
        between=between,
        transform=stage_plan(net, "transform", "", transform, [value], shapes),
        value=value,
        earlier_value=carried,
        picture=picture,
        earlier_picture=earlier_picture,
    )


def _unfit(net: Net, found: str) -> BundleError:
    return BundleError(
        "this net cannot be played as key frames and frames between them",
        file=net.file,
        found=found,
        expected='one prototxt, with the NetState stage "key" a net of one picture, without it a net of that '
        "picture, an earlier one of the same size and the earlier one's features",
        hint="clockwork net accel, clockwork net dff-deeplab",
    )


def _inputs_of(key_net: Net, net: Net) -> tuple[str, str, str]:
    """The names of the picture, of the earlier one and of the earlier features."""
    key_inputs = [i.name for i in key_net.inputs]
    names = [i.name for i in _pictures(net)]
    if not is_feature_flow(net) or len(key_inputs) != 1 or key_inputs[0] not in names:
        shown = [f"{i.name} {'x'.join(map(str, i.shape))}" for i in (*key_net.inputs, *net.inputs)]
        raise _unfit(net, ", ".join(shown) or "no input")
    picture = key_inputs[0]
    earlier = next(name for name in names if name != picture)
    carried = next(i.name for i in net.inputs if i.name not in names)
    return picture, earlier, carried


def _readers(net: Net, value: str) -> list[Layer]:
    """The layers that depend on a value, in the net's order."""
    known, found = {value}, []
    for layer in net.layers:
        if known.intersection(layer.bottoms):
            known.update(layer.tops)
            found.append(layer)
    return found


def _plan_key(net: Net, shapes: dict[str, Shape], value: str) -> Plan:
    asked = asked_output(net, None)
    scores = score_value(net, asked, shapes)
    inside = ancestors(net, [value])
    keys = {layer.key for layer in inside}
    rest = [layer for layer in ancestors(net, [scores]) if layer.key not in keys]
    stage = stage_plan(net, FEATURES, value, inside, [value], shapes)
    head = stage_plan(net, "head", "", rest, (scores,), shapes, extra_inputs=(scores,))
    if value not in head.inputs or set(head.inputs) != {value}:
        raise _unfit(net, f'the scores of key frames are not made of "{value}" alone')
    return Plan((stage,), head, scores, shapes, asked=asked)


def _plan_between(
    net: Net,
    shapes: dict[str, Shape],
    value: str,
    moving: Sequence[Layer],
    transform: Sequence[Layer],
    moved_by: Sequence[str],
) -> Plan:
    asked = asked_output(net, None)
    scores = score_value(net, asked, shapes)
    flow = ancestors(net, moved_by)
    taken = {layer.key for layer in (*flow, *transform)}
    after = {layer.key for layer in moving}
    rest = [layer for layer in ancestors(net, [scores]) if layer.key not in taken]
    head = [layer for layer in rest if layer.key in after]
    branch = [layer for layer in rest if layer.key not in after]
    stages = [stage_plan(net, FLOW, "", flow, moved_by, shapes)]
    if branch:
        made = {top for layer in branch for top in layer.tops}
        read = list(dict.fromkeys(b for layer in head for b in layer.bottoms if b in made))
        outputs = [_before_upsampling(branch, each) for each in read]
        keys = {layer.key for layer in ancestors(net, outputs)}
        head = [layer for layer in rest if layer.key in after or layer.key not in keys]
        branch = [layer for layer in branch if layer.key in keys]
        stages.append(stage_plan(net, CORRECTION, "", branch, list(dict.fromkeys(outputs)), shapes))
    return Plan(
        tuple(stages),
        stage_plan(net, "head", "", head, (scores,), shapes, extra_inputs=(scores,)),
        scores,
        shapes,
        asked=asked,
    )


def _before_upsampling(layers: Sequence[Layer], value: str) -> str:
    """The value of which `value` is only a larger copy: a map of scores is carried before it is brought to
    the frame's size, which the head can do.
    """
    makers = {top: layer for layer in layers for top in layer.tops}
    while value in makers and makers[value].type in RESIZES:
        value = makers[value].bottoms[0]  # a Crop's other bottom lends its size
    return value
