"""The graph of each stage, of the head and of the whole net, from the net's own layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffe_port.convert import convert_layers
from caffe_port.graph import GraphBuilder
from caffe_port.match import Matched
from caffe_port.net import Dims, Input, Net, Shape, Sizes
from caffe_port.onnx_graph import Draft
from caffe_port.registry import rule_for
from caffe_port.shapes import infer_shapes, measure
from staged_onnx.fit import emit_unfit, emit_unpad
from staged_onnx.frame_graphs import (
    FRAME,
    FrameSpec,
    Preprocessing,
    emit_preprocessing,
    emit_resize,
    frame_input,
)
from staged_onnx.manifest import ValueSpec
from staged_onnx.outputs import MAPS, OutputSpec, emit_output
from staged_onnx.planning import Plan, StagePlan
from weights.errors import BundleError, ClockworkError

__all__ = [
    "StageGraphs",
    "frame_sized",
    "input_shapes",
    "larger_inputs",
    "picture_input",
    "picture_inputs",
    "reads_pixels",
]


def picture_inputs(net: Net) -> tuple[Input, ...]:
    """The inputs that take the pictures of a frame, the one that is labelled and shown first.

    Args:
        net: The net.

    Returns:
        The inputs in the net's order, but the one that is labelled and shown is moved to the front: the first
        with three channels, else the first.

    Raises:
        BundleError: The net cannot be fed from pictures alone, or they differ in height or width.
    """
    pictures = [i for i in net.inputs if len(i.shape) == 4 and i.shape[1] in (1, 3)]
    if not pictures or len(pictures) != len(net.inputs) or len({i.shape[2:] for i in pictures}) != 1:
        found = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in net.inputs) or "no input"
        raise BundleError(
            "this net cannot be fed from video frames",
            file=net.file,
            found=found,
            expected="inputs N x 3 x H x W or N x 1 x H x W of one height and width",
            hint="convert it to one plain model instead: -o NAME.onnx",
        )
    first = next((i for i in pictures if i.shape[1] == 3), pictures[0])
    return (first, *(i for i in pictures if i is not first))


def picture_input(net: Net) -> Input:
    """The input that takes the picture which is labelled and shown."""
    return picture_inputs(net)[0]


def input_shapes(net: Net, size: tuple[int, int] | None) -> dict[str, Shape]:
    """The inputs' shapes for one frame.

    Args:
        net: The net.
        size: Height and width of the frame, by default the prototxt's.

    Returns:
        Each input's name -> (1, C, H, W).
    """
    height, width = size or (picture_input(net).shape[2], picture_input(net).shape[3])
    return {i.name: (1, i.shape[1], height, width) for i in picture_inputs(net)}


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
        picture: The input of the frame's size, by default the one that is shown.

    Returns:
        False where one size shows another height or width.
    """
    picture = picture or picture_input(net).name
    steps = [by for n in range(33) for by in ((n, 2 * n + 1 if n else 0), (2 * n, 4 * n))]
    for by in steps:  # the second of a pair is for nets that take even sizes only
        tried = larger_inputs(shapes, by)
        try:
            found = infer_shapes(net, tried)
        except ClockworkError:
            continue  # a size that the net does not take at all
        if found[value][2:] != found[picture][2:]:
            return False
    return True


def reads_pixels(net: Net, stage: StagePlan) -> bool:
    """Whether a stage uses a picture's values: Crop's second bottom lends only its size.

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

    sizes: at the bundle's reference size. weights: matched to the net. frames: by the net's input, the
    picture that it takes. output: what comes out of the head. input_sized: the scores have the height and
    width of the net's input.
    """

    net: Net
    plan: Plan
    sizes: Sizes
    weights: Matched
    frames: Mapping[str, FrameSpec]
    output: OutputSpec
    input_sized: bool = False

    @property
    def preprocessing(self) -> Preprocessing:
        """What becomes of the picture that is shown."""
        return next(frame.preprocessing for frame in self.frames.values() if frame.name == FRAME)

    @property
    def picture(self) -> Shape:
        """The shape at the reference size of the net's input that takes the picture which is shown."""
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
        of_input = {name: self.frames[name] for name in stage.net_inputs}
        sized = head and (self.output.reads_frame or (self.preprocessing.pads and self.output.kind in MAPS))
        read = [*of_input.values(), *([FrameSpec(FRAME, self.preprocessing)] if sized else [])]
        frames = {frame.name: frame for frame in read}
        for frame in frames.values():
            frame_input(g, frame)
        for name, frame in of_input.items():
            g.env[name] = emit_preprocessing(g, frame.name, frame.preprocessing)
        for value in stage.inputs:
            g.value_input(value, self.value_dims(value))
        convert_layers(g, stage.layers, self.weights.blobs)
        if head:
            value = self._on_frame(g) if self.preprocessing.pads else g.env[self.plan.scores]
            emit_output(g, value, self.output, self.preprocessing, FRAME if FRAME in frames else None)
        for value in () if head else stage.outputs:
            g.output(g.env[value], value, self.value_dims(value))
        draft = g.draft(f"{self.net.name} {stage.name}".strip())
        return draft, (*stage.inputs, *frames)

    def _on_frame(self, g: GraphBuilder) -> str:
        """The scores of a padded or cropped frame, brought back on the frame."""
        found, output, how = g.env[self.plan.scores], self.output, self.preprocessing
        if output.kind not in MAPS:
            return found
        size = how.emit_size(g, FRAME)
        if not output.resized:
            return emit_unpad(g, found, FRAME, size)
        if not self.input_sized:
            found = emit_resize(g, found, g.node("Concat", g.ints(1, output.channels), size, axis=0))
        g.env[output.name] = emit_unfit(g, found, FRAME, size)
        return g.env[output.name]

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
            net_inputs=tuple(i.name for i in picture_inputs(self.net)),
            outputs=(),
            macs=0,
            parameters=0,
        )
        return self.build(everything, head=True)[0]

    def values(self, carried: Sequence[str]) -> dict[str, ValueSpec]:
        """What the manifest says of the carried values."""
        picture = picture_input(self.net).name
        larger = larger_inputs({i.name: self.sizes.shapes[i.name] for i in picture_inputs(self.net)})
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
