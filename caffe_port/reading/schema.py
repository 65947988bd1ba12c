"""The text tree of one layer -> a `LayerParameter` message, every field checked by name.

A field that the schema does not know is refused, because a fork's field usually changes the result
(`ceil_mode`, `hole`, ...), unless it is written with the value that it has unwritten (`fork_facts`); the
exceptions, known to change nothing at TEST time, are listed here with the reason.
"""

from __future__ import annotations

import math
from typing import Any

from caffe_port.proto import caffe_pb2
from caffe_port.reading.fork_facts import is_neutral
from caffe_port.reading.template import word_hint
from caffe_port.reading.text_format import Block, Entry, Scalar, real_number, whole_number
from weights.errors import PrototxtError, UnsupportedError

__all__ = ["HARMLESS", "bare_message", "layer_message"]

HARMLESS: dict[tuple[str, str], str] = {
    ("LayerParameter", "quantization_param"): "Intel: int8 hints; the float weights are what is stored",
    ("LayerParameter", "is_disp_info"): "pose_action_caffe: console output only",
    ("LayerParameter", "copy_postfix_name"): "pose_action_caffe: names of training snapshots",
    ("LayerParameter", "evaluation_method"): "netscope: a hint to a drawing program",
    ("LayerParameter", "debug_info"): "console output only",
    ("LayerParameter", "use_ctc_loss"): "training only",
    ("LayerParameter", "forward_type"): "NVIDIA: storage precision",
    ("LayerParameter", "backward_type"): "NVIDIA: storage precision of gradients",
    ("LayerParameter", "forward_math"): "NVIDIA: arithmetic precision",
    ("LayerParameter", "backward_math"): "NVIDIA: arithmetic precision of gradients",
    ("LayerParameter", "blobs_lr"): "V1 learning rates, left in a V2 layer",
    ("LayerParameter", "weight_decay"): "V1 weight decay, left in a V2 layer",
    ("LayerParameter", "need_backward"): "training only",
    ("LayerParameter", "engine"): "Intel: chooses an implementation",
    ("FillerParameter", "file"): "initial values for training from a file, which is not opened",
    ("BatchNormParameter", "filler"): "Intel: initial values for training",
    ("BatchNormParameter", "engine"): "chooses an implementation",
    ("ConvolutionParameter", "cudnn_convolution_algo_seeker"): "NVIDIA: chooses an implementation",
    ("ConvolutionParameter", "conv_algos_override"): "NVIDIA: chooses an implementation",
    ("DetectionOutputParameter", "save_output_param"): "SSD: files that the layer writes",
    ("DetectionOutputParameter", "save_file"): "SSD: files that the layer writes",
    ("DetectionOutputParameter", "visualize"): "SSD: pictures that the layer shows",
    ("DetectionOutputParameter", "visualize_threshold"): "SSD: pictures that the layer shows",
    ("YoloDetectionOutputParameter", "label_map_file"): "MobileNet-YOLO: names for files that it writes",
    ("PoolingParameter", "is_int8"): "Intel: int8 hint",
    ("InnerProductParameter", "engine"): "chooses an implementation",
    ("BNParameter", "icnet"): "ICNet: chooses an implementation",
}

_C3D = frozenset({"Convolution3D", "Deconvolution3D", "Pooling3D"})
_ND = frozenset({"NdConvolution", "NdPooling"})

ONLY_FOR: dict[tuple[str, str], frozenset[str]] = {
    ("ConvolutionParameter", "kernel_depth"): _C3D,
    ("ConvolutionParameter", "temporal_stride"): _C3D,
    ("ConvolutionParameter", "temporal_pad"): _C3D,
    ("ConvolutionParameter", "filter_group"): _C3D,
    ("ConvolutionParameter", "deformable_group"): frozenset({"DeformableConvolution"}),
    ("PoolingParameter", "kernel_depth"): _C3D,
    ("PoolingParameter", "temporal_stride"): _C3D,
    ("PoolingParameter", "kernel_l"): frozenset({"Pooling3D"}),
    ("PoolingParameter", "stride_l"): frozenset({"Pooling3D"}),
    ("PoolingParameter", "pad_l"): frozenset({"Pooling3D"}),
    ("PriorBoxParameter", "width"): frozenset({"PriorBoxClustered"}),
    ("PriorBoxParameter", "height"): frozenset({"PriorBoxClustered"}),
    **{("ConvolutionParameter", f"{what}_shape"): _ND for what in ("kernel", "stride", "pad")},
    **{("PoolingParameter", f"{what}_shape"): _ND for what in ("kernel", "stride", "pad")},
    ("ConvolutionParameter", "hole"): frozenset({"Convolution"}),
    ("ConvolutionParameter", "hole_h"): frozenset({"Convolution"}),
    ("ConvolutionParameter", "hole_w"): frozenset({"Convolution"}),
}
"""Fields that only the fork's own layer types read; in another layer they are as unknown as in Caffe."""

HARMLESS_ENUMS = {"engine"}
"""Enumerations whose unknown values choose an implementation, never a result (engine: MKL2017)."""


def _unknown(kind: str, entry: Entry, where: dict[str, Any]) -> UnsupportedError:
    return UnsupportedError(
        f'line {entry.line}: unknown field "{entry.name}" in {kind}',
        **where,
        expected="a field of BVLC Caffe 1.0 or of a fork listed in docs/layers.md",
        hint="if it changes nothing at test time, delete it from the prototxt",
    )


def _number(scalar: Scalar, cast: Any, name: str, where: dict[str, Any]) -> Any:
    value = real_number(scalar.text) if cast is float else whole_number(scalar.text)
    if value is None:
        kind = "a number" if cast is float else "a whole number"
        raise PrototxtError(
            f'line {scalar.line}: bad value of "{name}"',
            **where,
            found=repr(scalar.text),
            expected=kind,
            hint=word_hint(scalar.text),
        )
    return value


def _scalar(fd: Any, scalar: Scalar, where: dict[str, Any]) -> Any:
    name = fd.name
    if fd.cpp_type == fd.CPPTYPE_STRING:
        if not scalar.quoted:
            raise PrototxtError(
                f'line {scalar.line}: bad value of "{name}"',
                **where,
                found=scalar.text,
                expected="a quoted string",
            )
        return scalar.text
    if scalar.quoted:
        raise PrototxtError(
            f'line {scalar.line}: bad value of "{name}"',
            **where,
            found=f'"{scalar.text}"',
            expected="a value without quotes",
        )
    if fd.cpp_type == fd.CPPTYPE_BOOL:
        if scalar.text in ("true", "True", "t", "1"):
            return True
        if scalar.text in ("false", "False", "f", "0"):
            return False
        raise PrototxtError(
            f'line {scalar.line}: bad value of "{name}"', **where, found=scalar.text, expected="true or false"
        )
    if fd.cpp_type == fd.CPPTYPE_ENUM:
        values = fd.enum_type.values_by_name
        if scalar.text in values:
            return values[scalar.text].number
        if whole_number(scalar.text) in fd.enum_type.values_by_number:
            return whole_number(scalar.text)
        if name in HARMLESS_ENUMS:
            return fd.default_value
        raise UnsupportedError(
            f'line {scalar.line}: unknown value of "{name}"',
            **where,
            found=scalar.text,
            expected=", ".join(values),
        )
    if fd.cpp_type in (fd.CPPTYPE_FLOAT, fd.CPPTYPE_DOUBLE):
        return _number(scalar, float, name, where)
    value = _number(scalar, int, name, where)
    low, high = {fd.CPPTYPE_UINT32: (0, 2**32 - 1), fd.CPPTYPE_INT32: (-(2**31), 2**31 - 1)}.get(
        fd.cpp_type, (-(2**63), 2**63 - 1)
    )
    if not low <= value <= high:
        raise PrototxtError(
            f'line {scalar.line}: bad value of "{name}"', **where, found=value, expected=f"{low} to {high}"
        )
    return value


def _fill(message: Any, block: Block, where: dict[str, Any], skip: frozenset[str]) -> None:
    kind = message.DESCRIPTOR.name
    fields = message.DESCRIPTOR.fields_by_name
    seen: dict[str, Any] = {}
    for entry in block.entries:
        name = entry.name
        if name in skip:
            continue
        fd = fields.get(name)
        if fd is None and (kind, name) in HARMLESS:
            continue
        if fd is None or where["layer_type"] not in ONLY_FOR.get((kind, name), (where["layer_type"],)):
            if isinstance(entry.value, Scalar) and is_neutral(f"{kind}.{name}", entry.value.text):
                continue
            raise _unknown(kind, entry, where)
        if fd.message_type is not None:
            if not isinstance(entry.value, Block):
                raise PrototxtError(
                    f'line {entry.line}: bad value of "{name}"',
                    **where,
                    found=entry.value.text,
                    expected="a { block }",
                )
            into = getattr(message, name)
            _fill(into.add() if fd.is_repeated else into, entry.value, where, frozenset())
            if not fd.is_repeated:
                into.SetInParent()
            continue
        if not isinstance(entry.value, Scalar):
            raise PrototxtError(
                f'line {entry.line}: bad value of "{name}"',
                **where,
                found="a { block }",
                expected="a single value",
            )
        value = _scalar(fd, entry.value, where)
        if fd.is_repeated:
            getattr(message, name).append(value)
            continue
        # Forks that made a field repeated write it once per axis; the same value twice means the same.
        if (
            name in seen
            and seen[name] != value
            and not (isinstance(value, float) and math.isnan(value) and math.isnan(seen[name]))
        ):
            raise UnsupportedError(
                f'line {entry.line}: "{name}" is given twice in {kind}',
                **where,
                found=f"{seen[name]} and {value}",
                expected="one value",
                hint="write the _h and _w forms where they exist",
            )
        seen[name] = value
        setattr(message, name, value)


def layer_message(block: Block, *, file: str) -> caffe_pb2.LayerParameter:
    """The LayerParameter message of one V2 layer.

    Args:
        block: The layer's text tree.
        file: The prototxt, for messages.

    Returns:
        The message, without weights and rules.

    Raises:
        PrototxtError: A field does not take its value; the message names the file, the layer and the line.
        UnsupportedError: A field or enumeration value is not known; the message names the same.
    """
    message = caffe_pb2.LayerParameter()
    where: dict[str, Any] = {"file": file, "layer": block.text("name"), "layer_type": block.text("type")}
    # Weights inside a prototxt and rules that have been applied already are of no further use.
    _fill(message, block, where, frozenset({"blobs", "include", "exclude", "loss_weight", "propagate_down"}))
    return message


def bare_message(block: Block) -> caffe_pb2.LayerParameter:
    """The message of a layer whose fields cannot be read: name, type, bottoms and tops."""
    return caffe_pb2.LayerParameter(
        name=block.text("name"),
        type=block.text("type"),
        bottom=block.texts("bottom"),
        top=block.texts("top"),
    )
