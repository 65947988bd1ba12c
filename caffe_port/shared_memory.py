"""Blobs that lie in the same memory in Caffe, and what becomes of them when a layer works in place.

Split, Reshape and Flatten hand on their bottom's memory (ShareData), and so do a Concat of one bottom, a
Slice into one top and SSD's Permute where it changes nothing. A layer that works in place on one of these
blobs changes the others too: whatever reads them later reads the new numbers. Here every value is written
once, so such a read would get the old numbers; it is found and refused.

Caffe does not check which layers may work in place. Those of IN_PLACE read a number before they write over
it; others, such as Convolution, InnerProduct and Pooling, read what they have just written, so that what they
give follows no formula. They are refused in place. (LRN across channels is one of these on the CPU, but not
on the GPU, for which nets were made.)
"""

from __future__ import annotations

from collections.abc import Mapping

from caffe_port.net import Layer, Net
from weights.errors import UnsupportedError

__all__ = ["IN_PLACE", "check_shared_memory", "overwritten"]

_VIEWS = frozenset({"Split", "Reshape", "Flatten"})
IN_PLACE = frozenset({
    "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "Log", "LRN", "MVN", "Power",
    "PReLU", "ReLU", "Scale", "Sigmoid", "Softmax", "Swish", "TanH", "Threshold",
    # forks
    "Atan", "BN", "BReLU", "Ceil", "ChannelScale", "Cos", "Floor", "GRN", "GroupNorm", "HardSigmoid",
    "HardSwish", "MaskPooling", "Mish", "NegReLU", "Python", "ReLU6", "RReLU", "SeLU", "SeLuDropout", "Sin",
    "Softplus", "Softsign", "SpatialDropout", "Sqrt", "SReLU",
})  # fmt: skip
"""Layers that may write over their first bottom."""

_KEEPS = frozenset({"Dropout", "Split"})
"""Layers that leave their bottom as it is even in place."""


def _hands_on(layer: Layer) -> bool:
    """Whether the tops of the layer are its bottom's memory."""
    if layer.type == "Permute":
        order = list(layer.spec.permute_param.order)
        return order == list(range(len(order)))
    one = len(layer.bottoms) == len(layer.tops) == 1
    return layer.type in _VIEWS or (layer.type in ("Concat", "Slice") and one)


def overwritten(net: Net) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """What no longer holds its numbers, by the name of the layer that changed them in place.

    First the values that have others at the end of a pass, then reads of such values as (layer key, value).
    An old value of a blob that a layer wrote over by its own name is meant to change and is not listed.
    """
    memory = {i.name: i.name for i in net.inputs}
    version = dict.fromkeys(memory, 0)
    made = dict.fromkeys(memory, 0)
    changed_by: dict[str, str] = {}
    replaced: set[str] = set()
    reads: dict[tuple[str, str], str] = {}

    def stale(value: str) -> bool:
        return made[value] != version[memory[value]]

    for layer in net.layers:
        for value in layer.bottoms:
            if stale(value):
                reads[layer.key, value] = changed_by[memory[value]]
        blobs = list(layer.spec.bottom)
        for top, blob in zip(layer.tops, layer.spec.top, strict=True):
            if blob in blobs:
                before = layer.bottoms[blobs.index(blob)]
                memory[top] = memory[before]
                replaced.add(before)
                if layer.type not in _KEEPS:
                    version[memory[top]] += 1
                    changed_by[memory[top]] = layer.name
                made[top] = version[memory[top]]
            elif layer.bottoms and _hands_on(layer):
                memory[top], made[top] = memory[layer.bottoms[0]], made[layer.bottoms[0]]
            else:
                memory[top], version[top], made[top] = top, 0, 0
    ends = {v: changed_by[memory[v]] for v in memory if stale(v) and v not in replaced}
    return ends, reads


def check_shared_memory(net: Net) -> Mapping[str, UnsupportedError]:
    """The refusals, by layer key: layers that cannot work in place but do, and those that read or give out
    what another has changed in place."""
    ends, reads = overwritten(net)
    makers = {top: layer for layer in net.layers for top in layer.tops}
    found: dict[str, UnsupportedError] = {}
    for layer in net.layers:
        over = [blob for blob in layer.spec.top if blob in layer.spec.bottom]
        if over and (layer.type not in IN_PLACE or over != [layer.spec.bottom[0]]):
            found[layer.key] = UnsupportedError(
                "a layer that writes over what it still reads",
                **net.where(layer),
                found=f'"{over[0]}" as bottom and top',
                expected="a top of its own",
            )
        for (key, value), by in reads.items():
            if key == layer.key:
                found.setdefault(key, _refusal(net, layer, value, by))
    for value in net.outputs:
        if value in ends and value in makers:
            found.setdefault(makers[value].key, _refusal(net, makers[value], value, ends[value]))
    return found


def _refusal(net: Net, layer: Layer, value: str, by: str) -> UnsupportedError:
    return UnsupportedError(
        "a blob whose memory another layer changes in place",
        **net.where(layer),
        found=f'"{value}" shares its memory with what layer "{by}" works on in place',
        expected="a top of its own for that layer",
    )
