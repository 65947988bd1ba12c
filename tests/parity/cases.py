"""What a parity case is, and the small helpers that write its prototxt text.

A case is data: a name, the text of a net, what to feed it, and which blobs to keep. The lists are in
`layer_cases.py` (one feature a net) and `net_cases.py` (small whole nets); `make_fixtures.py` runs
them. These files run on the Python 3.9 of the Caffe environment too.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One net to run.

    `feeds`: how an input is drawn, by blob: ("normal", mean, std), ("uniform", low, high), ("integers",
    low, high) with `high` excluded, or ("values", ...) in the blob's order; normal(0, 2) where not named.
    `edits`: weights by (layer, index) that are not drawn: a number fills the blob, a tuple is its
    contents, "filler" keeps what Caffe's own filler wrote.
    `outputs`: the blobs to keep; by default the net's outputs.
    `resized`: input shapes for a second run (`reference_resized.h5`) of the same net and weights.
    `weights`: how the weights are stored: "v2" (as Caffe writes them), "v1", "v0", "legacy" (shapes as
    num, channels, height, width), "double" or "hdf5".
    `stages`: the NetState's stages.
    """

    name: str
    text: str
    feeds: dict[str, tuple[object, ...]] = field(default_factory=dict)
    edits: dict[tuple[str, int], str | float | tuple[float, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    resized: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weights: str = "v2"
    stages: tuple[str, ...] = ()


PARAM_OF = {
    "ArgMax": "argmax_param",
    "BatchNorm": "batch_norm_param",
    "Bias": "bias_param",
    "Concat": "concat_param",
    "ContinuationIndicator": "continuation_indicator_param",
    "Convolution": "convolution_param",
    "Crop": "crop_param",
    "Deconvolution": "convolution_param",
    "Dropout": "dropout_param",
    "DummyData": "dummy_data_param",
    "ELU": "elu_param",
    "Eltwise": "eltwise_param",
    "Embed": "embed_param",
    "Exp": "exp_param",
    "Flatten": "flatten_param",
    "Im2col": "convolution_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "LSTM": "recurrent_param",
    "Log": "log_param",
    "MVN": "mvn_param",
    "MemoryData": "memory_data_param",
    "PReLU": "prelu_param",
    "Parameter": "parameter_param",
    "Permute": "permute_param",
    "Pooling": "pooling_param",
    "Power": "power_param",
    "RNN": "recurrent_param",
    "ReLU": "relu_param",
    "Reduction": "reduction_param",
    "Reshape": "reshape_param",
    "Reverse": "reverse_param",
    "SPP": "spp_param",
    "Scale": "scale_param",
    "Slice": "slice_param",
    "Softmax": "softmax_param",
    "Swish": "swish_param",
    "Threshold": "threshold_param",
    "Tile": "tile_param",
}


def given(*dims: int, name: str = "data") -> str:
    """An Input layer."""
    shape = " ".join(["shape {", *(f"dim: {d}" for d in dims), "}"])
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ {shape} }} }}\n'


def layer(kind: str, bottoms: str, tops: str, setting: str = "", *, name: str = "", rest: str = "") -> str:
    """A layer. `bottoms` and `tops` are blob names with blanks between; the name is the first top's.

    `setting` is the text inside the kind's own parameter message, `rest` what stands outside of it.
    """
    words = [f'layer {{ name: "{name or tops.split()[0]}" type: "{kind}"']
    words += [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    if setting:
        words.append(f"{PARAM_OF[kind]} {{ {setting} }}")
    return " ".join([*words, rest, "}"] if rest else [*words, "}"]) + "\n"


def several(kind: str, *settings: str, bottoms: str = "data") -> str:
    """A layer for each setting, all on the same bottoms; the tops are y0, y1, ..."""
    return "".join(layer(kind, bottoms, f"y{i}", setting) for i, setting in enumerate(settings))
