"""Layers that stay outside the graph: post-processing is cut off, proposals in the middle become inputs.

Sorting and suppressing boxes depends on the order of equal scores and gives as many results as there happen
to be; ONNX has no operator that does exactly what each fork's code does, and `Python` layers are never run.
Such a layer is taken out of the net. What it read becomes an output of the net; what it made becomes an
input, with a stated shape, where the net goes on with it (the regions of a two-stage detector). The net's
notes say so, layer by layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caffe_port.net import Input, Shape
from caffe_port.reading.text_format import Block, whole_number
from weights import limits
from weights.errors import PrototxtError

__all__ = ["OUTSIDE", "Cut", "Outside", "cut", "is_outside"]

REGIONS = 300
"""Regions after suppression where the prototxt does not say: py-faster-rcnn's RPN_POST_NMS_TOP_N at TEST."""

_Shapes = Callable[[Block, Sequence[Input]], tuple[Shape, ...]]


def _unstated(layer: Block, inputs: Sequence[Input]) -> tuple[Shape, ...]:
    return ()


def _stated(layer: Block, param: str, field: str) -> int:
    """A count that the layer's parameters give, REGIONS where they give none."""
    found = [block.text(field) for block in layer.blocks(param) if block.has(field)]
    count = whole_number(found[-1]) if found else None
    return count if count is not None and 0 < count <= limits.ELEMENTS else REGIONS


def _proposals(param: str, field: str, tail: Shape = ()) -> _Shapes:
    """Regions (image, x1, y1, x2, y2) and, as a second top, the same with a score."""

    def shapes(layer: Block, inputs: Sequence[Input]) -> tuple[Shape, ...]:
        count = _stated(layer, param, field)
        return ((count, 5, *tail), (count, 6, *tail) if tail else (count, 1))

    return shapes


def _roi_gen(layer: Block, inputs: Sequence[Input]) -> tuple[Shape, ...]:
    count = _stated(layer, "roi_gen_param", "prop_num")
    return ((count, 5), (count,))


def _routed(layer: Block, inputs: Sequence[Input]) -> tuple[Shape, ...]:
    return ((REGIONS, 5, 1, 1),)


def _picture_mask(layer: Block, inputs: Sequence[Input]) -> tuple[Shape, ...]:
    pictures = [i.shape for i in inputs if len(i.shape) == 4 and min(i.shape[2:]) > 1]
    return ((pictures[0][0], 1, *pictures[0][2:]),) if pictures else ()


@dataclass(frozen=True)
class Outside:
    """A layer type that is taken out of the net: whose it is, what it does, the shapes it makes if known."""

    fork: str
    does: str
    shapes: _Shapes = _unstated


OUTSIDE: dict[str, Outside] = {
    "DetectionOutput": Outside("SSD", "decodes boxes, suppresses overlapping ones"),
    "DetectionOutputExtended": Outside("OpenVINO", "decodes boxes, suppresses overlapping ones"),
    "Yolov3DetectionOutput": Outside("MobileNet-YOLO", "decodes boxes, suppresses overlapping ones"),
    "YoloDetectionOutput": Outside("MobileNet-YOLO", "decodes boxes, suppresses overlapping ones"),
    "Yolov3Detection": Outside("yuqj1991", "decodes boxes, suppresses overlapping ones"),
    "CenterGridOutput": Outside("yuqj1991", "decodes boxes, suppresses overlapping ones"),
    "CenternetDetectionOutput": Outside("yuqj1991", "decodes boxes, suppresses overlapping ones"),
    "DetectionCcpdOutput": Outside("yuqj1991", "picks the characters of a number plate"),
    "RegionOutput": Outside("YOLO v2", "decodes boxes, suppresses overlapping ones"),
    "Region": Outside("caffe_yolo_v2", "decodes boxes"),
    "RegionYolo": Outside("OpenVINO", "decodes boxes"),
    "RegionDetection": Outside("Ascend", "decodes boxes"),
    "Detection": Outside("YOLO v1", "decodes boxes, suppresses overlapping ones"),
    "DetectionOut": Outside("YOLO v1", "decodes boxes, suppresses overlapping ones"),
    "YoloDetection": Outside("caffe_yolo_v2", "decodes boxes, suppresses overlapping ones"),
    "YoloV2DetectionOutput": Outside("Ascend", "decodes boxes, suppresses overlapping ones"),
    "YoloV3DetectionOutput": Outside("Ascend", "decodes boxes, suppresses overlapping ones"),
    "YoloV3DetectionOutputV2": Outside("Ascend", "decodes boxes, suppresses overlapping ones"),
    "SSDDetectionOutput": Outside("Ascend", "decodes boxes, suppresses overlapping ones"),
    "SsdDetection": Outside("SSD forks", "decodes boxes, suppresses overlapping ones"),
    "FSRDetectionOutput": Outside("Ascend", "decodes boxes, suppresses overlapping ones"),
    "RetinaFaceDetection": Outside("sophgo", "decodes boxes, suppresses overlapping ones"),
    "FrcnDetection": Outside("sophgo", "decodes boxes, suppresses overlapping ones"),
    "MaskRCNNDetection": Outside("synopsys", "decodes boxes, suppresses overlapping ones"),
    "DetectionOutputPbox": Outside("SSD forks", "decodes boxes, suppresses overlapping ones"),
    "DetectionOrientedOutput": Outside("SSD forks", "decodes turned boxes"),
    "DetectionPoseOutput": Outside("SSD forks", "decodes boxes and poses"),
    "NonMaxSuppression": Outside("synopsys", "suppresses overlapping boxes"),
    "NMS": Outside("OpenPose", "finds the peaks of heat maps"),
    "MultiStageMeanfield": Outside("CRF-RNN", "runs a conditional random field on a permutohedral lattice"),
    "RotateROIPooling": Outside("RRPN, CRPN", "pools turned regions"),
    "RPN": Outside("caffe_latte", "proposes regions"),
    "RCNNProposal": Outside("Apollo", "proposes regions"),
    "RPNProposalSSD": Outside("Apollo", "proposes regions"),
    "FrcnnProposal": Outside("D-X-Y/caffe-faster-rcnn", "proposes regions", _proposals("", "")),
    "TextProposal": Outside("CTPN", "proposes lines of text"),
    "MaskRCNNProposal": Outside("synopsys", "proposes regions"),
    "FrcnnOutput": Outside("Cascade R-CNN", "suppresses overlapping boxes"),
    "CTCGreedyDecoder": Outside("CTC", "joins repeated labels into a sequence"),
    "CTCDecoder": Outside("CTC", "joins repeated labels into a sequence"),
    "CoordsFromHeatMaps": Outside("pose_action_caffe", "finds the peaks of heat maps"),
    "RescaledPoseCoords": Outside("pose_action_caffe", "scales coordinates back to the picture"),
    "CoordsToBboxesMasks": Outside("pose_action_caffe", "draws a mask, at random between two", _picture_mask),
    "MatWrite": Outside("DeepLab", "writes MATLAB files"),
    "DenseCRF": Outside("DeepLab", "runs a dense conditional random field"),
    "HDF5Output": Outside("BVLC Caffe", "writes an HDF5 file"),
    "Proposal": Outside("R-FCN", "proposes regions", _proposals("proposal_param", "post_nms_topn")),
    "BoxOutput": Outside(
        "MS-CNN", "proposes regions", _proposals("box_output_param", "max_post_nms_num", (1, 1))
    ),
    "BoxGroupOutput": Outside(
        "Cascade R-CNN", "proposes regions", _proposals("box_group_output_param", "max_post_nms_num", (1, 1))
    ),
    "ScaleRoute": Outside("Cascade R-CNN", "picks the regions of one size", _routed),
    "RoiGen": Outside("MaskYolo", "proposes regions", _roi_gen),
    "DecodeRois": Outside("MaskYolo", "proposes regions for training"),
    "ProposalTarget": Outside("Cascade R-CNN", "samples regions for training"),
    "Python": Outside("any", "runs Python code, which is never imported here"),
}

PYTHON: dict[str, _Shapes] = {"ProposalLayer": _proposals("", "")}
"""Python layers whose result is known by the name of their class."""

INSIDE_PYTHON = frozenset(
    {("spatial_dropout", "SpatialDropoutLayer"), ("triplet.l2norm_layer", "L2NormLayer")}
)
"""(module, class) of published Python layers that have a rule of their own (layers/python_layers.py)."""

_TRAINING_PYTHON = re.compile(r"Loss|Target|Accuracy")


def python_class(layer: Block) -> tuple[str, str]:
    """Module and class of a Python layer, as the prototxt names them."""
    params = layer.blocks("python_param")
    return (params[-1].text("module"), params[-1].text("layer")) if params else ("", "")


def is_outside(layer: Block, inside: Collection[str] = ()) -> bool:
    """Whether a layer is taken out of the net.

    Args:
        layer: The layer.
        inside: Types that stay in the net this time.

    Returns:
        True for the types of OUTSIDE that are not in `inside`, but for known Python layers.
    """
    kind = layer.text("type")
    return (
        kind in OUTSIDE
        and kind not in inside
        and not (kind == "Python" and python_class(layer) in INSIDE_PYTHON)
    )


@dataclass(frozen=True)
class Cut:
    """The layers that stay, the inputs that take the place of others, what was read where, and the notes.

    `reads` maps a position in `kept` (its length for the end) to the blobs that layers taken out just before
    that position read: they become outputs.
    """

    kept: tuple[Block, ...]
    inputs: tuple[Input, ...]
    reads: Mapping[int, tuple[tuple[Block, str], ...]]
    notes: tuple[str, ...]


def _called(layer: Block) -> str:
    kind = layer.text("type")
    if kind == "Python":
        kind = f"Python ({'.'.join(python_class(layer))})"
    return f'{kind} layer "{layer.text("name")}"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _new_inputs(
    layer: Block, wanted: Sequence[str], inputs: Sequence[Input], given: Mapping[str, Shape], file: str
) -> list[Input]:
    tops = layer.texts("top")
    if layer.text("type") == "Python":
        rule = PYTHON.get(python_class(layer)[1], _unstated)
    else:
        rule = OUTSIDE[layer.text("type")].shapes
    known = dict(zip(tops, rule(layer, inputs), strict=False))
    made = []
    for top in wanted:
        shape = given.get(top, known.get(top))
        where: dict[str, Any] = {"file": file, "layer": layer.text("name"), "layer_type": layer.text("type")}
        if shape is None:
            raise PrototxtError(
                "a layer in the middle of the net that cannot be part of a graph",
                **where,
                found=f'"{top}" of unknown shape',
                hint=f"state it and the blob becomes an input: --shape {top}=N,C,H,W",
            )
        if top in layer.texts("bottom"):
            raise PrototxtError("a layer outside the graph that works in place", **where, found=f'"{top}"')
        made.append(Input(top, shape))
    return made


def cut(
    layers: Sequence[Block],
    training: Sequence[Block],
    inputs: Sequence[Input],
    given: Mapping[str, Shape],
    *,
    file: str,
    inside: Collection[str] = (),
) -> Cut:
    """Take the layers of OUTSIDE out of a net.

    A layer whose tops only training layers read goes without a trace in the outputs.

    Args:
        layers: The layers that are left of the net, in order.
        training: The layers left out already.
        inputs: The net's inputs.
        given: Shapes (N, C, H, W) by blob.
        file: The prototxt, for messages.
        inside: Types that stay in the net.

    Returns:
        The layers that stay, and the inputs and outputs that take the place of the others.

    Raises:
        PrototxtError: The net goes on with a result of unknown shape.
    """
    for_training = {blob for layer in training for blob in layer.texts("bottom")}
    read: set[str] = set()
    kept: list[Block] = []
    new_inputs: list[Input] = []
    notes: list[str] = []
    found: list[tuple[int, Block, str]] = []
    own = {i.name for i in inputs} | {top for b in layers if is_outside(b, inside) for top in b.texts("top")}
    made = {top for b in layers if not is_outside(b, inside) for top in b.texts("top")}
    for layer in reversed(layers):
        bottoms, tops = layer.texts("bottom"), layer.texts("top")
        if not is_outside(layer, inside):
            read.update(bottoms)
            kept.append(layer)
            continue
        wanted = [top for top in tops if top in read]
        if not wanted and (
            for_training.intersection(tops)
            or (layer.text("type") == "Python" and _TRAINING_PYTHON.search(python_class(layer)[1]))
        ):
            for_training.update(bottoms)
            notes.append(f"{_called(layer)} left out: training only")
            continue
        replaced = _new_inputs(layer, wanted, inputs, given, file)
        new_inputs += reversed(replaced)
        # A blob that nothing makes and only such a layer reads is of no use to the net.
        outputs = [blob for blob in bottoms if blob not in own and blob in made]
        found += [(len(kept), layer, blob) for blob in reversed(outputs)]
        said = []
        if outputs:
            what = "its input {} is an output" if len(outputs) == 1 else "its inputs {} are outputs"
            said.append(what.format(_listed(outputs)))
        if replaced:
            shapes = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in replaced)
            said.append(f"its result became input {shapes}")
        notes.append(f"{_called(layer)} cut off" + (": " + "; ".join(said) if said else ""))
    reads: dict[int, list[tuple[Block, str]]] = {}
    for behind, layer, blob in reversed(found):
        reads.setdefault(len(kept) - behind, []).append((layer, blob))
    return Cut(
        tuple(reversed(kept)),
        tuple(reversed(new_inputs)),
        {position: tuple(blobs) for position, blobs in reads.items()},
        tuple(reversed(notes)),
    )
