"""Findings D8 and D14: prototxts that took minutes, or ended in something else than one typed line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from caffe_port import random_weights, read_net
from caffe_port.convert import draft_onnx
from caffe_port.inspection import inspect_net
from weights.errors import ClockworkError, PrototxtError, ShapeError
from weights.identify import identify

INPUT = 'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
RELU = 'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n'


def _read(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(text, "utf-8", "surrogatepass")
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("\n" * 60_000 + INPUT + RELU, 3),
        (INPUT + "\n# x\n" * 60_000 + RELU, 3),
        (INPUT + RELU * 6000, 8),
        (INPUT + RELU.replace('"r"', '"r#2"') + RELU * 3000, 6),
    ],
    ids=["empty lines", "comments", "one name", "names with a number"],
)
def test_reading_takes_time_in_proportion_to_length(tmp_path: Path, text: str, seconds: float) -> None:
    started = time.process_time()
    read_net(_read(tmp_path, text))
    assert time.process_time() - started < seconds


def test_a_head_of_empty_lines_is_identified_at_once() -> None:
    started = time.process_time()
    for _ in range(20):
        identify(b"\n" * 4096)
    assert time.process_time() - started < 1


def test_limits_on_layers_and_bytes(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="too many layers; found 20001; expected at most 20,000 layers"):
        read_net(_read(tmp_path, INPUT + "layer{}" * 20_001))
    with open(tmp_path / "large.prototxt", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PrototxtError, match="too large; found 1099511627776 bytes; expected at most 16 MiB"):
        read_net(tmp_path / "large.prototxt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(PrototxtError, match="a pipe or a device; expected a prototxt file"):
            read_net(path)
    with pytest.raises(PrototxtError, match="found a folder"):
        read_net(tmp_path)


def _conv(filler: str, output: str = "2") -> str:
    return (
        INPUT + 'layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param '
        f"{{ num_output: {output} kernel_size: 1 weight_filler {{ {filler} }} }} }}"
    )


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (_conv('type: "gaussian" std: -1'), PrototxtError, "std -1"),
        (_conv('type: "gaussian" std: inf'), PrototxtError, "std is not finite"),
        (_conv('type: "uniform" max: inf'), PrototxtError, "max is not finite"),
        (_conv('type: "uniform" min: 2 max: 1'), PrototxtError, "min 2.0, max 1.0"),
        (_conv('type: "constant" value: nan'), PrototxtError, "value is not finite"),
        (_conv('type: "msra"', "700000000"), ShapeError, "too many weights to make up|impossible shape"),
        (
            'layer { name: "s" type: "Split" top: "a" top: "b" }' + INPUT + RELU,
            ClockworkError,
            "Split",
        ),
        (
            INPUT + 'layer { name: "z" type: "Resize" bottom: "x" top: "y" '
            "resize_param { height_fac: -inf width_fac: 1 } }",
            PrototxtError,
            "bad height_fac",
        ),
        (
            INPUT + 'layer { name: "z" type: "Resize" bottom: "x" top: "y" '
            "resize_param { height_fac: nan width_fac: 1 } }",
            PrototxtError,
            "bad height_fac",
        ),
        *(
            (
                INPUT + 'layer { name: "p" type: "PriorBox" bottom: "x" bottom: "x" top: "y" '
                f"prior_box_param {{ {sizes} }} }}",
                PrototxtError,
                "expected finite numbers",
            )
            for sizes in (
                "min_size: inf",
                "min_size: 1 max_size: inf",
                "min_size: 1 aspect_ratio: inf",
                "min_size: 1 step: inf",
                "min_size: 1 offset: nan",
                "min_size: 1 variance: inf",
            )
        ),
    ],
)
def test_typed_errors(tmp_path: Path, text: str, kind: type[ClockworkError], words: str) -> None:
    path = _read(tmp_path, text)
    with pytest.raises(kind, match=words) as caught:
        net = read_net(path)
        draft_onnx(net, random_weights(net))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        INPUT + 'layer { name: "\x1b[2J\u202e" type: "ReLU" bottom: "x" top: "y" }',
        INPUT + 'layer { name: "r" type: "Re\x1b[31mLU" bottom: "x" top: "y" }',
        INPUT + 'layer { name: "r" type: "ReLU" bottom: "\x07" top: "y" }',
    ],
)
def test_escape_sequences_do_not_reach_a_terminal(tmp_path: Path, text: str) -> None:
    try:
        inspect_net(read_net(_read(tmp_path, text), tolerant=True))
    except ClockworkError as error:
        assert str(error).isprintable() and "\\x" in str(error)


def test_counts_of_other_digits(tmp_path: Path) -> None:
    for count in ("²", "1" * 5000, "१"):
        text = INPUT + (
            'layer { name: "p" type: "Proposal" bottom: "x" top: "rois" '
            f'proposal_param {{ post_nms_topn: "{count}" }} }}' + RELU
        )
        try:
            read_net(_read(tmp_path, text), tolerant=True)
        except ClockworkError as error:
            assert "\n" not in str(error)
