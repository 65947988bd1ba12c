"""Prototxts of 2013 (V0), 2014 (V1), today's, and mixtures: one net whichever way it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_port.net import Net
from caffe_port.shapes import infer_shapes
from tests.support.ported import read_text
from weights.errors import PrototxtError, UnsupportedError

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 12 input_dim: 14\n'
V0 = (
    INPUT
    + """
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "padded" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 stride: 2 biasterm: false
                 weight_filler { type: "xavier" } blobs_lr: 1. weight_decay: 1. }
         bottom: "padded" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }
         bottom: "pool" top: "norm" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "norm" top: "norm" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 } bottom: "norm" top: "fc" }
layers { layer { name: "both" type: "concat" concat_dim: 1 } bottom: "fc" bottom: "fc" top: "both" }
layers { layer { name: "prob" type: "softmax" } bottom: "both" top: "prob" }
"""
)
V1 = (
    INPUT
    + """
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 weight_decay: 0
         convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 2 bias_term: false
                             weight_filler { type: "xavier" } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "norm" type: LRN bottom: "pool" top: "norm"
        lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 } }
layers { name: "drop" type: DROPOUT bottom: "norm" top: "norm" dropout_param { dropout_ratio: 0.3 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "norm" top: "fc" inner_product_param { num_output: 5 } }
layers { name: "both" type: CONCAT bottom: "fc" bottom: "fc" top: "both" concat_param { concat_dim: 1 } }
layers { name: "prob" type: SOFTMAX bottom: "both" top: "prob" }
"""
)
V2 = (
    INPUT
    + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 1 }
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 2 bias_term: false
                            weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm"
        lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 } }
layer { name: "drop" type: "Dropout" bottom: "norm" top: "norm" dropout_param { dropout_ratio: 0.3 } }
layer { name: "fc" type: "InnerProduct" bottom: "norm" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "both" type: "Concat" bottom: "fc" bottom: "fc" top: "both" concat_param { concat_dim: 1 } }
layer { name: "prob" type: "Softmax" bottom: "both" top: "prob" }
"""
)


def described(net: Net) -> list[tuple[object, ...]]:
    """Everything about the layers but the learning rates, which change nothing."""
    found = []
    for layer in net.layers:
        spec = type(layer.spec)()
        spec.CopyFrom(layer.spec)
        spec.ClearField("param")
        found.append(
            (layer.name, layer.type, layer.bottoms, layer.tops, spec.SerializeToString(deterministic=True))
        )
    return found


@pytest.mark.parametrize("text", [V0, V1], ids=["V0", "V1"])
def test_old_generations_are_the_same_net(tmp_path: Path, text: str) -> None:
    new, old = read_text(V2, tmp_path), read_text(text, tmp_path)
    assert described(old) == described(new)
    assert infer_shapes(old) == infer_shapes(new)
    assert old.inputs == new.inputs and old.outputs == new.outputs == ("prob",)


def test_one_file_of_all_generations(tmp_path: Path) -> None:
    v0, v1, v2 = (text[len(INPUT) :].strip().split("\nlayer") for text in (V0, V1, V2))
    mixed = INPUT + v0[0] + "\nlayer" + v0[1] + "\nlayer" + v1[1] + "\nlayer" + "\nlayer".join(v2[2:])
    assert described(read_text(mixed, tmp_path)) == described(read_text(V2, tmp_path))


def test_v1_sharing_and_rates(tmp_path: Path) -> None:
    text = (
        INPUT
        + """
    layers { name: "a" type: CONVOLUTION bottom: "data" top: "a" param: "w" param: "b" blobs_lr: 0 blobs_lr: 2
             blobs_lr: 3 convolution_param { num_output: 3 kernel_size: 1 } }
    layers { name: "b" type: RELU bottom: "a" top: "b" blobs_lr: 0.5 }
    """
    )
    a, b = read_text(text, tmp_path).layers
    assert [(p.name, p.lr_mult) for p in a.spec.param] == [("w", 0.0), ("b", 2.0), ("", 3.0)]
    assert [(p.name, p.lr_mult) for p in b.spec.param] == [("", 0.5)]


def test_input_shapes(tmp_path: Path) -> None:
    layer = 'layer { name: "y" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }'
    for head in (
        'input: "a" input: "b" ' + "input_shape { dim: 1 dim: 2 dim: 3 dim: 4 } " * 2,
        'input: "a" input: "b" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }',
        'input: "a" input: "b" ' + "input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 " * 2,
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: [1, 2, 3, 4] } } }',
    ):
        net = read_text(head + layer, tmp_path)
        assert [(i.name, i.shape) for i in net.inputs] == [("a", (1, 2, 3, 4)), ("b", (1, 2, 3, 4))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layers { name: "x" type: TELEPORT bottom: "data" top: "x" }', 'layer "x": line .* found TELEPORT'),
        (
            'layers { layer { name: "x" type: "teleport" } bottom: "data" }',
            "unknown V0 layer type; found 'teleport'",
        ),
        (
            'layers { layer { name: "x" type: "conv" speed: 3 } bottom: "data" }',
            '"speed" in V0LayerParameter',
        ),
        (
            'layers { layer { name: "x" type: "relu" kernelsize: 3 } bottom: "data" }',
            '"kernelsize" has no meaning',
        ),
    ],
)
def test_unknown_words_of_old_generations(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((UnsupportedError, PrototxtError), match=message):
        read_text(INPUT + text, tmp_path)


def test_v0_padding_feeds_only_what_pads(tmp_path: Path) -> None:
    text = (
        INPUT
        + """
    layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "p" }
    layers { layer { name: "relu" type: "relu" } bottom: "p" top: "y" }"""
    )
    with pytest.raises(
        PrototxtError, match='layer "relu": a V0 padding layer feeds a layer that takes no padding'
    ):
        read_text(text, tmp_path)
