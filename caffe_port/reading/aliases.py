"""Names that forks and their tools give to layers that are known by another: alias -> the name used here.

A name stands here only where the layer has the same formula, weights and fields; a layer that differs in any
of them has a rule of its own.
"""

from __future__ import annotations

from dataclasses import replace

from caffe_port.reading.text_format import Block, Scalar

__all__ = ["ALIASES", "by_known_name"]

ALIASES: dict[str, tuple[str, str]] = {
    "CuDNNConvolution": ("Convolution", "cuDNN's name of the engine"),
    "CuDNNGroupedConvolutionForward": ("Convolution", "Rockchip"),
    "CuDNNLRN": ("LRN", "cuDNN's name of the engine"),
    "CuDNNLRNCrossChannel": ("LRN", "Rockchip"),
    "CuDNNPooling": ("Pooling", "cuDNN's name of the engine"),
    "CuDNNReLU": ("ReLU", "cuDNN's name of the engine"),
    "CuDNNSigmoid": ("Sigmoid", "cuDNN's name of the engine"),
    "CuDNNSoftmax": ("Softmax", "cuDNN's name of the engine"),
    "CuDNNTanH": ("TanH", "cuDNN's name of the engine"),
    "DeconvolutionV1": ("Deconvolution", "Ascend"),
    "DepthwiseConv": ("DepthwiseConvolution", "Rockchip"),
    "FlownetResample": ("Resample", "Ascend"),
    "LeakyReLU": ("ReLU", "Rockchip"),
    "ReorgYolo": ("Reorg", "Rockchip"),
    "SELU": ("SeLU", "MNN"),
    "SeLu": ("SeLU", "caffe_latte"),
    "SpatialProduct": ("MaskPooling", "DeepLab v2, PSPNet"),
}
"""Alias -> the type it is, and whose name it is."""


def by_known_name(layer: Block) -> Block:
    """The layer with the name of its type that is used here."""
    known = ALIASES.get(layer.text("type"))
    if known is None:
        return layer
    entries = [
        replace(entry, value=Scalar(known[0], True, entry.value.line)) if entry.name == "type" else entry
        for entry in layer.entries
    ]
    return Block(layer.line, entries)
