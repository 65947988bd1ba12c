"""Cutting a net into stages: which layer belongs where, and what is carried between them.

Stage i holds the ancestors of cut i that no earlier stage holds. A layer that leads to no cut goes to the
stage that its inputs come from, and into the head when they come from several; net inputs belong to every
stage. So the plain FCN-8s cut at pool3, pool4, upscore2 gives the same stages as the hand-ordered stage net,
and a net without skip connections has a head of nothing but post-processing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from caffe_port.convert import ancestors, check_values
from caffe_port.match import wanted_blobs
from caffe_port.net import Layer, Net, Shape
from caffe_port.reading.detached import OUTSIDE
from caffe_port.registry import rule_for
from caffe_port.shapes import count, infer_shapes
from staged_onnx.drawn import Box, byte_size, draw_stages
from weights.errors import BundleError
from weights.shown import shown

__all__ = ["Plan", "StagePlan", "plan_cuts"]


@dataclass(frozen=True)
class StagePlan:
    """One stage: its layers, the carried values and net inputs it takes, and the values it hands out.

    macs and parameters are those of one pass at the plan's input shapes.
    """

    name: str
    cut: str
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    net_inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    parameters: int


@dataclass(frozen=True, repr=False)
class Plan:
    """Stages in order, then the head.

    scores: the value that the head makes the bundle's output of. asked: the net's output; it differs from
    `scores` where a final Softmax or ArgMax is left out. kind: what is to come out (see `outputs`), None
    where that follows from the net. why: explains cuts that were chosen automatically, one line per cut.
    """

    stages: tuple[StagePlan, ...]
    head: StagePlan
    scores: str
    shapes: Mapping[str, Shape]
    why: tuple[str, ...] = ()
    asked: str = ""
    kind: str | None = None

    def __repr__(self) -> str:
        return shown(f"Plan({', '.join(f'{s.name} to {s.cut}' for s in self.stages)}, head to {self.scores})")

    def _repr_html_(self) -> str:
        def box(stage: StagePlan) -> Box:
            sizes = [f"{v}, {byte_size(4 * prod(self.shapes[v]))}" for v in stage.outputs]
            return Box(stage.name, stage.macs, f"{len(stage.layers)} layers", tuple(sizes))

        boxes = [*map(box, self.stages), replace(box(self.head), hands_on=(self.scores,))]
        return draw_stages(repr(self), boxes)


def score_value(net: Net, output: str, shapes: Mapping[str, Shape], kind: str | None = None) -> str:
    """The value that the bundle's output is made of.

    For labels a final Softmax or ArgMax over the classes is left out: Softmax keeps the order of the classes,
    so the label map is the same without it. What is not a map, or is not to become labels, keeps it.
    """
    if kind not in (None, "labels") or len(shapes[output]) != 4 or shapes[output][2:] == (1, 1):
        return output
    makers = {top: layer for layer in net.layers for top in layer.tops}
    maker = makers.get(output)
    while maker is not None and _keeps_the_largest(maker):
        output = maker.bottoms[0]
        maker = makers.get(output)
    return output


def _keeps_the_largest(layer: Layer) -> bool:
    """Whether the largest channel of what the layer reads can be told from what it makes, and that is all."""
    argmax = layer.spec.argmax_param
    if layer.type == "Softmax":
        return layer.spec.softmax_param.axis in (1, -3)
    if layer.type == "ArgMax":
        return argmax.HasField("axis") and argmax.axis == 1 and argmax.top_k == 1
    return layer.type == "PixelArgMax" and argmax.top_k == 1


def _depths(net: Net) -> dict[str, int]:
    """How many layers lie on the longest way to each value, its own included; 0 for the net's inputs."""
    depth = {i.name: 0 for i in net.inputs}
    for layer in net.layers:
        here = 1 + max((depth.get(b, 0) for b in layer.bottoms), default=0)
        depth.update(dict.fromkeys(layer.tops, here))
    return depth


def misplaced(net: Net, cuts: Sequence[str]) -> list[tuple[str, str, str]]:
    """Pairs of an earlier and a later cut that stand in the wrong order, and how that shows.

    The later one is shallower and does not read the earlier one, but most of it is computed on the way there:
    it lies within that stage, or is a side branch of which its own stage would hold the last layers alone.
    """
    depth = _depths(net)
    seen: list[tuple[str, set[str]]] = []
    wrong = []
    for cut in cuts:
        layers = ancestors(net, [cut])
        keys = {layer.key for layer in layers}
        read = {b for layer in layers for b in layer.bottoms}
        for earlier, inside in seen:
            shared = len(keys & inside)
            if earlier not in read and depth[cut] < depth[earlier] and 2 * shared > len(keys):
                wrong.append((earlier, cut, f"whose stage computes {shared} of its {len(keys)} layers"))
        seen.append((cut, keys))
    return wrong


def _check_order(net: Net, cuts: Sequence[str]) -> None:
    depth = _depths(net)
    right = " ".join(f"--cut {cut}" for cut in sorted(dict.fromkeys(cuts), key=lambda cut: depth[cut]))
    for earlier, cut, why in misplaced(net, cuts):
        raise BundleError(
            "cuts in the wrong order",
            file=net.file,
            found=f'"{cut}" after "{earlier}", {why}',
            expected=f"shallow to deep: {right}",
        )
    seen: set[str] = set()
    for cut in cuts:
        keys = {layer.key for layer in ancestors(net, [cut])}
        if keys <= seen:
            raise BundleError(
                "cuts in the wrong order",
                file=net.file,
                found=f'"{cut}" adds no layer to the stages before it',
                expected=f"shallow to deep, each cut once: {right}",
            )
        seen |= keys


def index_values(layers: Collection[Layer]) -> frozenset[str]:
    """Values that are places or labels, not measures: the masks of Pooling and what ArgMax makes."""
    masks = {top for layer in layers if layer.type == "Pooling" for top in layer.tops[1:]}
    indices = {top for layer in layers if layer.type in ("ArgMax", "PixelArgMax") for top in layer.tops}
    return frozenset(masks | indices)


def assign_stages(net: Net, cuts: Sequence[str], layers: Sequence[Layer]) -> dict[str, int]:
    """Stage number of each layer, by key: 0 for the first stage, len(cuts) for the head."""
    place: dict[str, int] = {}
    for number, cut in enumerate(cuts):
        for layer in ancestors(net, [cut]):
            place.setdefault(layer.key, number)
    head = len(cuts)
    of_value: dict[str, int] = {}
    for layer in layers:
        if layer.key not in place:
            sources = {of_value[b] for b in layer.bottoms if b in of_value}
            place[layer.key] = sources.pop() if len(sources) == 1 else head
            if place[layer.key] != head and not _only_from(layer, of_value):
                place[layer.key] = head
        for top in layer.tops:
            of_value[top] = place[layer.key]
    return place


def _only_from(layer: Layer, of_value: Mapping[str, int]) -> bool:
    """Whether the layer reads some stage's values; one that reads the net's input alone is the head's."""
    return any(b in of_value for b in layer.bottoms)


def stage_plan(
    net: Net,
    name: str,
    cut: str,
    layers: Sequence[Layer],
    outputs: Sequence[str],
    shapes: Mapping[str, Shape],
    extra_inputs: Sequence[str] = (),
) -> StagePlan:
    made = {top for layer in layers for top in layer.tops}
    net_inputs = {i.name for i in net.inputs}
    read = [b for layer in layers for b in layer.bottoms] + list(extra_inputs)
    needs = list(dict.fromkeys(b for b in read if b not in made))
    wanted = wanted_blobs(net, shapes)
    macs = sum(
        rule_for(layer, net).macs(
            layer, tuple(shapes[b] for b in layer.bottoms), tuple(shapes[t] for t in layer.tops)
        )
        for layer in layers
    )
    parameters = sum(count(blob.shape) for layer in layers for blob in wanted.get(layer.key, ()))
    return StagePlan(
        name=name,
        cut=cut,
        layers=tuple(layers),
        inputs=tuple(n for n in needs if n not in net_inputs),
        net_inputs=tuple(n for n in needs if n in net_inputs),
        outputs=tuple(outputs),
        macs=macs,
        parameters=parameters,
    )


def asked_output(net: Net, output: str | None) -> str:
    """The blob that holds the output, by default the net's only one.

    Raises:
        BundleError: The net has several outputs and none was named.
        UsageError: There is no such blob.
    """
    if output is None:
        if len(net.outputs) != 1:
            raise BundleError(
                "which output is the bundle's?",
                file=net.file,
                found=f"{len(net.outputs)} outputs: {', '.join(net.outputs)}",
                expected="one",
                hint="name it: --blob BLOB (output=BLOB)",
            )
        output = net.outputs[0]
    check_values(net, [output], "output")
    maker = next((layer for layer in net.layers if output in layer.tops), None)
    if maker is not None and maker.type in OUTSIDE and maker.type != "Python":
        raise BundleError(
            "boxes are no scores",
            **net.where(maker),
            found=f'"{output}", rows of boxes',
            expected="a blob of scores or a picture",
            hint="write a plain model (-o NAME.onnx), or leave --postprocess out",
        )
    return output


def _check_cuts(net: Net, cuts: Sequence[str], scores: str) -> None:
    """Raise BundleError where the cuts cannot divide the net on its way to the scores."""
    leads = {layer.key for layer in ancestors(net, [scores])}
    for cut in cuts:
        if cut in {i.name for i in net.inputs}:
            raise BundleError(
                "a cut at the net's input",
                file=net.file,
                found=f'"{cut}"',
                expected="a blob that a layer makes",
            )
        keys = {layer.key for layer in ancestors(net, [cut])}
        if not keys & leads:
            raise BundleError(
                "a cut that the scores do not depend on",
                file=net.file,
                found=f'"{cut}"',
                expected=f'a blob on the way to "{scores}"',
            )
    _check_order(net, cuts)


def plan_cuts(
    net: Net,
    cuts: Sequence[str],
    *,
    output: str | None = None,
    inputs: Mapping[str, Shape] | None = None,
    why: Sequence[str] = (),
    kind: str | None = None,
) -> Plan:
    """Divide the net at the blobs `cuts`.

    Args:
        net: The net.
        cuts: Blobs, shallow to deep.
        output: The blob that holds the output, by default the net's only one.
        inputs: Shapes (N, C, H, W) that replace the prototxt's, for the cost figures.
        why: Lines that explain the cuts.
        kind: What is to come out, one of `outputs.KINDS`; by default it follows from the net.

    Returns:
        The stages, each with what it reads, hands out and costs.

    Raises:
        BundleError: The cuts do not divide the net: one lies within an earlier cut's stage, is there twice,
            or there is none at all.
        UsageError: An unknown blob.
    """
    if not cuts:
        raise BundleError("no cuts", file=net.file, expected="at least one blob", hint="e.g. --cut pool4")
    check_values(net, cuts, "cut")
    asked = asked_output(net, output)
    shapes = infer_shapes(net, inputs)
    scores = score_value(net, asked, shapes, kind)
    _check_cuts(net, cuts, scores)
    needed = {layer.key for layer in ancestors(net, [scores, *cuts])}
    layers = [layer for layer in net.layers if layer.key in needed]
    stages, head = _divided(net, cuts, layers, scores, shapes)
    used = {value for stage in (*stages, head) for value in stage.inputs}
    for stage in stages:
        if not used.intersection(stage.outputs):
            raise BundleError(
                f"nothing reads what {stage.name} makes",
                file=net.file,
                found=f'cut "{stage.cut}"',
                expected="a blob on the way to the scores",
            )
    return Plan(
        stages=stages, head=head, scores=scores, shapes=shapes, why=tuple(why), asked=asked, kind=kind
    )


def _divided(
    net: Net, cuts: Sequence[str], layers: Sequence[Layer], scores: str, shapes: Mapping[str, Shape]
) -> tuple[tuple[StagePlan, ...], StagePlan]:
    """The stages and the head."""
    place = assign_stages(net, cuts, layers)
    groups: list[list[Layer]] = [[] for _ in range(len(cuts) + 1)]
    for layer in layers:
        groups[place[layer.key]].append(layer)
    stages = []
    for number, cut in enumerate(cuts):
        later = {b for group in groups[number + 1 :] for layer in group for b in layer.bottoms} | {scores}
        outputs = [top for layer in groups[number] for top in layer.tops if top in later]
        stages.append(stage_plan(net, f"stage{number + 1}", cut, groups[number], outputs, shapes))
    head = stage_plan(net, "head", "", groups[-1], (scores,), shapes, extra_inputs=(scores,))
    return tuple(stages), head
