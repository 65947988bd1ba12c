"""Other names of known layers."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_port
from caffe_port.reading.aliases import ALIASES
from caffe_port.registry import is_known
from tests.support.ported import one_layer, read_text
from weights.errors import UnsupportedError


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_stands_for_a_known_type_and_is_none_itself(alias: str) -> None:
    assert is_known(ALIASES[alias][0])
    assert not is_known(alias)


def test_layer_is_read_by_its_known_name(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "data" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }\n'
        'layer { name: "a" type: "LeakyReLU" bottom: "data" top: "a" relu_param { negative_slope: 0.5 } }\n'
    )

    net = caffe_port.read_net(path)

    assert net.layers[0].type == "ReLU"
    assert net.layers[0].spec.relu_param.negative_slope == 0.5


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("ConvolutionRistretto", "a fixed-point layer"),
        ("FcIVS", "a fixed-point layer"),
        ("BinaryConvolution", "a binary layer"),
        ("ConvolutionXNORIVS", "a binary layer"),
        ("Im2seq", "no source of a Caffe layer of this name was found"),
        ("Teleport", "docs/layers.md"),
    ],
)
def test_an_unknown_type_says_what_to_do(tmp_path: Path, kind: str, hint: str) -> None:
    with pytest.raises(UnsupportedError, match=f'found type "{kind}".*{hint}'):
        read_text(one_layer(kind, {"x": (1, 2, 3, 3)}), tmp_path)
