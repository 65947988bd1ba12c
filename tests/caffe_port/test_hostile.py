"""Damaged and hostile prototxts: one line that says what is wrong, or a net; never anything else."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from caffe_port import random_weights, read_net
from caffe_port.convert import draft_onnx
from caffe_port.inspection import inspect_net
from caffe_port.shapes import count, infer_shapes
from tests.support.ported import one_layer, read_text
from weights.errors import ClockworkError, PrototxtError, ShapeError, UnsupportedError

PARITY = sorted((Path(__file__).resolve().parents[1] / "parity").glob("*/*/deploy.prototxt"))
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1000",
    "99999999999",
    "4294967295",
    "-2147483648",
    "1e999",
    "0x7fffffff",
]
TOKEN = re.compile(r'"[^"\n]*"|[\w.+-]+|\S')


def damaged(text: str, others: list[str], rng: random.Random) -> str:
    """One to three words of a prototxt dropped, doubled, exchanged, or replaced by a word or number."""
    words = TOKEN.findall(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(words))
        numbers = [i for i, word in enumerate(words) if re.fullmatch(r"-?\d+", word)]
        match rng.randrange(5):
            case 0:
                words[at] = rng.choice(others)
            case 1 if len(words) > 1:
                del words[at]
            case 2:
                words.insert(at, rng.choice(others))
            case 3 if numbers:
                words[rng.choice(numbers)] = rng.choice(NUMBERS)
            case _:
                other = rng.randrange(len(words))
                words[at], words[other] = words[other], words[at]
    return " ".join(words)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_prototxts(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    texts = [path.read_text("utf-8", "replace") for path in PARITY]
    others = TOKEN.findall(" ".join(texts))
    path = tmp_path / "net.prototxt"
    outcomes = {"read": 0, "refused": 0}
    for _ in range(250):
        path.write_text(damaged(rng.choice(texts), others, rng), "utf-8")
        try:
            net = read_net(path, tolerant=True)
            inspect_net(net)
            if sum(count(shape) for shape in infer_shapes(net).values()) < 1 << 20:
                draft_onnx(net, random_weights(net))
            outcomes["read"] += 1
        except ClockworkError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert all(outcomes.values())


def test_truncated_prototxts(tmp_path: Path) -> None:
    (whole,) = (path.read_text("utf-8") for path in PARITY if path.parent.name == "lstm_stacked")
    path = tmp_path / "net.prototxt"
    cuts = [text for text in (whole[:end] for end in range(len(whole))) if text.count("{") > text.count("}")]
    assert len(cuts) > 300
    for text in cuts:
        path.write_text(text, "utf-8")
        with pytest.raises(ClockworkError) as error:
            read_net(path)
        assert str(error.value).startswith(f"{path}: line ")


CONV = "convolution_param {{ num_output: {} kernel_size: {} }}"
INDICATOR = "continuation_indicator_param { time_step: 4294967295 batch_size: 9 }"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            one_layer("Tile", {"x": (1, 2)}, "tile_param { tiles: 2147483647 }"),
            ShapeError,
            "impossible shape",
        ),
        (one_layer("Convolution", {"x": (1, 1, 9, 9)}, CONV.format(2**32 - 1, 1)), ShapeError, "impossible"),
        (
            one_layer("Im2col", {"x": (1, 9, 99, 99)}, CONV.format(1, 80)),
            UnsupportedError,
            "too large a kernel",
        ),
        (
            one_layer("RNN", {"x": (20000, 1, 1), "c": (20000, 1)}, "recurrent_param { num_output: 1 }"),
            UnsupportedError,
            "too long a sequence",
        ),
        (
            one_layer("SPP", {"x": (1, 1, 9, 9)}, "spp_param { pyramid_height: 4000000000 }"),
            PrototxtError,
            "bad",
        ),
        (
            one_layer("Slice", {"x": (1, 9)}, "slice_param { slice_point: 4294967295 }", "y z"),
            PrototxtError,
            "fit",
        ),
        (one_layer("ContinuationIndicator", {}, INDICATOR), ShapeError, "impossible shape"),
    ],
)
def test_sizes_that_nothing_can_hold(
    tmp_path: Path, text: str, kind: type[ClockworkError], message: str
) -> None:
    net = read_text(text, tmp_path)
    with pytest.raises(kind, match=message):
        draft_onnx(net, random_weights(net))
