"""The graph of each stage, of the head and of the whole net, from the net's own layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnx import TensorProto

from caffe_port.convert import convert_layers
from caffe_port.graph import GraphBuilder
from caffe_port.match import Matched
from caffe_port.net import Dims, Input, Net, Shape, Sizes
from caffe_port.onnx_graph import Draft
from caffe_port.registry import rule_for
from caffe_port.shapes import infer_shapes, measure
from staged_onnx.fit import emit_unfit
from staged_onnx.frame_graphs import Preprocessing, emit_preprocessing, emit_resize
from staged_onnx.manifest import ValueSpec
from staged_onnx.outputs import MAPS, OutputSpec, emit_output
from staged_onnx.planning import Plan, StagePlan
from weights.errors import BundleError, ClockworkError

__all__ = ["StageGraphs", "frame_sized", "input_shape", "larger_inputs", "picture_input", "reads_pixels"]

FRAME = "frame"
"""The graph input that is the frame which is played."""


def picture_input(net: Net) -> Input:
    """The input that takes the frame: the net's only one, 1 x 1 or 3 x H x W.

    Raises:
        BundleError: the net cannot be fed from a video frame alone.
    """
    if len(net.inputs) != 1 or len(net.inputs[0].shape) != 4 or net.inputs[0].shape[1] not in (1, 3):
        found = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in net.inputs) or "no input"
        raise BundleError(
            "this net cannot be fed from video frames",
            file=net.file,
            found=found,
            expected="one input N x 3 x H x W or N x 1 x H x W",
            hint="convert it to one plain model instead: -o NAME.onnx",
        )
    return net.inputs[0]


def input_shape(net: Net, size: tuple[int, int] | None) -> dict[str, Shape]:
    """The picture's shape for one frame.

    Args:
        net: The net.
        size: Height and width of the frame, by default the prototxt's.

    Returns:
        The input's name -> (1, C, H, W).
    """
    picture = picture_input(net)
    height, width = size or (picture.shape[2], picture.shape[3])
    return {picture.name: (1, picture.shape[1], height, width)}


def larger_inputs(shapes: dict[str, Shape], by: tuple[int, int] = (64, 128)) -> dict[str, Shape]:
    """The inputs of a larger frame.

    Args:
        shapes: Shapes (N, C, H, W) by name.
        by: How many pixels it is larger, down and across.

    Returns:
        Shapes by name.
    """
    return {name: (*shape[:2], shape[2] + by[0], shape[3] + by[1]) for name, shape in shapes.items()}


def frame_sized(net: Net, shapes: dict[str, Shape], value: str, picture: str | None = None) -> bool:
    """Whether a value has the picture's height and width at every frame size that the net takes.

    Tried on sizes that leave every remainder of the strides in use; a net whose map is of the frame's size
    only for a multiple of 8, or one more than that, does not count.

    Args:
        net: The net.
        shapes: Shapes of the inputs that grow with the frame.
        value: The value.
        picture: The input of the frame's size, by default the net's only one.

    Returns:
        False where one size shows another height or width.
    """
    picture = picture or picture_input(net).name
    for step in range(33):
        tried = larger_inputs(shapes, (step, 2 * step + 1 if step else 0))
        try:
            found = infer_shapes(net, tried)
        except ClockworkError:
            continue  # a size that the net does not take at all
        if found[value][2:] != found[picture][2:]:
            return False
    return True


def reads_pixels(net: Net, stage: StagePlan) -> bool:
    """Whether a stage uses the picture's values: Crop's second bottom lends only its size.

    Args:
        net: The net.
        stage: A stage of its plan.

    Returns:
        True where any layer reads them.
    """
    return any(
        b in stage.net_inputs and not (layer.type == "Crop" and position == 1)
        for layer in stage.layers
        for position, b in enumerate(layer.bottoms)
    )


@dataclass(frozen=True)
class StageGraphs:
    """What the graphs of one bundle are made from.

    sizes: at the bundle's reference size. weights: matched to the net. output: what comes out of the head.
    frames: by the net's input, which frame it takes where that is not the one that is played.
    """

    net: Net
    plan: Plan
    sizes: Sizes
    weights: Matched
    preprocessing: Preprocessing
    output: OutputSpec
    frames: Mapping[str, str] = field(default_factory=dict)

    @property
    def picture(self) -> Shape:
        """The shape of the net's input at the reference size."""
        return self.sizes.shapes[picture_input(self.net).name]

    def build(self, stage: StagePlan, *, head: bool) -> tuple[Draft, tuple[str, ...]]:
        """The graph of one stage.

        Args:
            stage: The stage, or the head.
            head: Whether it is the head, which ends in what the bundle gives.

        Returns:
            The graph without its weights, and the names of its inputs.
        """
        g = GraphBuilder(self.net, self.sizes)
        of_input = {name: self.frames.get(name, FRAME) for name in stage.net_inputs}
        sized = head and (self.output.reads_frame or self._unfits)
        frames = list(dict.fromkeys([*of_input.values(), *([FRAME] if sized else [])]))
        for frame in frames:
            g.input(frame, ["height", "width", 3], TensorProto.UINT8)
        for name, frame in of_input.items():
            g.env[name] = emit_preprocessing(g, frame, self.preprocessing)
        for value in stage.inputs:
            g.value_input(value, self.value_dims(value))
        convert_layers(g, stage.layers, self.weights.blobs)
        if head:
            value = g.env[self.plan.scores]
            if self._unfits:
                value = g.env[self.output.name] = self._emit_unfit(g, value)
            emit_output(g, value, self.output, self.preprocessing, FRAME if FRAME in frames else None)
        for value in () if head else stage.outputs:
            g.output(g.env[value], value, self.value_dims(value))
        draft = g.draft(f"{self.net.name} {stage.name}".strip())
        return draft, (*stage.inputs, *frames)

    @property
    def _unfits(self) -> bool:
        """Whether the scores are of a frame that was padded or cropped, and are brought back to it."""
        return self.preprocessing.fit and self.output.kind in MAPS

    def _emit_unfit(self, g: GraphBuilder, value: str) -> str:
        size, shape = self.preprocessing.size, self.sizes.shapes[self.plan.scores]
        assert size is not None  # Preprocessing sees to it
        if shape[2:] != size:
            value = emit_resize(g, value, g.ints(*shape[:2], *size))
        return emit_unfit(g, value, FRAME, size)

    def macs(self, stage: StagePlan) -> int:
        """Multiply-accumulates of one pass of a stage with these weights, at the reference size."""
        shapes = self.sizes.shapes
        saved = sum(
            rule_for(layer, self.net).saved(
                layer,
                self.weights.blobs[layer.key],
                tuple(shapes[b] for b in layer.bottoms),
                tuple(shapes[t] for t in layer.tops),
            )
            for layer in stage.layers
            if layer.key in self.weights.blobs
        )
        return stage.macs - saved

    def whole(self) -> Draft:
        """The un-staged net with the same pre- and post-processing, for comparison."""
        layers = [layer for stage in (*self.plan.stages, self.plan.head) for layer in stage.layers]
        order = {layer.key: i for i, layer in enumerate(self.net.layers)}
        everything = StagePlan(
            name="whole",
            cut="",
            layers=tuple(sorted(layers, key=lambda x: order[x.key])),
            inputs=(),
            net_inputs=(picture_input(self.net).name,),
            outputs=(),
            macs=0,
            parameters=0,
        )
        return self.build(everything, head=True)[0]

    def values(self, carried: Sequence[str]) -> dict[str, ValueSpec]:
        """What the manifest says of the carried values."""
        picture = picture_input(self.net).name
        larger = larger_inputs({picture: self.picture})
        try:
            shapes = dict(measure(self.net, larger, fixed=True).shapes)
        except ClockworkError:  # a net of one size only
            shapes = {}
        extra = tuple(larger[picture][i] - self.picture[i] for i in (2, 3))
        specs = {}
        for value in carried:
            shape = self.sizes.shapes[value]
            gained = (
                [shapes[value][i] - shape[i] for i in (2, 3)] if value in shapes and len(shape) == 4 else []
            )
            known = len(gained) == 2 and min(gained) > 0
            stride = (extra[0] / gained[0], extra[1] / gained[1]) if known else None
            specs[value] = ValueSpec(shape, stride=stride)
        return specs

    def value_dims(self, value: str) -> list[int | str]:
        """A carried value's dimensions in the graphs: a symbol where one follows the frame's size."""
        dims: Dims = self.sizes.dims[value]
        return [d if d is not None else f"{value}_d{i}" for i, d in enumerate(dims)]
