"""Older prototxt generations -> `layer { }` blocks (V2), on the text tree.

V1 (`layers { type: CONVOLUTION }`, 2014) and V0 (`layers { layer { type: "conv" } }`, 2013) become what BVLC
Caffe's upgrade_proto.cpp makes of them; files that mix generations are read layer by layer.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from caffe_port.reading.text_format import Block, Entry, Scalar
from weights.errors import PrototxtError, UnsupportedError

__all__ = ["V1_TYPES", "merge_v0_padding", "upgrade_layer"]

V1_TYPES: dict[str, str] = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "SLICE": "Slice",
    "TANH": "TanH",
    "WINDOW_DATA": "WindowData",
    "THRESHOLD": "Threshold",
    # DeepLab v1 and SegNet forks
    "INTERP": "Interp",
    "PADDING": "Padding",
    "IMAGE_SEG_DATA": "ImageSegData",
    "SEG_ACCURACY": "SegAccuracy",
    "MAT_WRITE": "MatWrite",
    "MAT_READ": "MatRead",
    "DENSE_CRF": "DenseCRF",
    "BIAS_CHANNEL": "BiasChannel",
    "ADAPTIVE_BIAS_CHANNEL": "AdaptiveBiasChannel",
    "UNIQUE_LABEL": "UniqueLabel",
    "BN": "BN",
    "UPSAMPLE": "Upsample",
    "DENSE_IMAGE_DATA": "DenseImageData",
    "PRELU": "PReLU",
    # FCN's early branch, CRF-RNN
    "CROP": "AutoCrop",
    "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield",
    # C3D
    "CONVOLUTION3D": "Convolution3D",
    "POOLING3D": "Pooling3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "VIDEO_DATA": "VideoData",
    "VIDEO_WITH_VOXEL_TRUTH_DATA": "VideoWithVoxelTruthData",
}

V0_TYPES: dict[str, str] = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}

# V0 field -> {V2 type: (parameter block, field)}; None means the field has no meaning at TEST time.
_V0_FIELDS: dict[str, dict[str, tuple[str, str]] | None] = {
    "num_output": {
        "Convolution": ("convolution_param", "num_output"),
        "InnerProduct": ("inner_product_param", "num_output"),
    },
    "biasterm": {
        "Convolution": ("convolution_param", "bias_term"),
        "InnerProduct": ("inner_product_param", "bias_term"),
    },
    "weight_filler": {
        "Convolution": ("convolution_param", "weight_filler"),
        "InnerProduct": ("inner_product_param", "weight_filler"),
    },
    "bias_filler": {
        "Convolution": ("convolution_param", "bias_filler"),
        "InnerProduct": ("inner_product_param", "bias_filler"),
    },
    "pad": {"Convolution": ("convolution_param", "pad"), "Pooling": ("pooling_param", "pad")},
    "kernelsize": {
        "Convolution": ("convolution_param", "kernel_size"),
        "Pooling": ("pooling_param", "kernel_size"),
    },
    "group": {"Convolution": ("convolution_param", "group")},
    "stride": {"Convolution": ("convolution_param", "stride"), "Pooling": ("pooling_param", "stride")},
    "pool": {"Pooling": ("pooling_param", "pool")},
    "dropout_ratio": {"Dropout": ("dropout_param", "dropout_ratio")},
    "local_size": {"LRN": ("lrn_param", "local_size")},
    "alpha": {"LRN": ("lrn_param", "alpha")},
    "beta": {"LRN": ("lrn_param", "beta")},
    "k": {"LRN": ("lrn_param", "k")},
    "concat_dim": {"Concat": ("concat_param", "concat_dim")},
    "cropsize": {
        "Data": ("data_param", "crop_size"),
        "ImageData": ("image_data_param", "crop_size"),
        "WindowData": ("window_data_param", "crop_size"),
    },
    "batchsize": {
        "Data": ("data_param", "batch_size"),
        "ImageData": ("image_data_param", "batch_size"),
        "WindowData": ("window_data_param", "batch_size"),
        "HDF5Data": ("hdf5_data_param", "batch_size"),
    },
    "source": None,
    "scale": None,
    "meanfile": None,
    "mirror": None,
    "blobs": None,
    "blobs_lr": None,
    "weight_decay": None,
    "rand_skip": None,
    "det_fg_threshold": None,
    "det_bg_threshold": None,
    "det_fg_fraction": None,
    "det_context_pad": None,
    "det_crop_mode": None,
    "new_num": None,
    "new_channels": None,
    "new_height": None,
    "new_width": None,
    "shuffle_images": None,
    "hdf5_output_param": None,
}


def _string(text: str, line: int) -> Scalar:
    return Scalar(text, True, line)


def _upgrade_v1(block: Block, file: str) -> Block:
    layer = Block(block.line)
    for entry in block.entries:
        if entry.name == "type" and isinstance(entry.value, Scalar):
            # Files in the wild also write the V2 name inside a V1 block, quoted or not.
            name = V1_TYPES.get(entry.value.text, entry.value.text)
            if name.isupper() and entry.value.text not in V1_TYPES:
                raise UnsupportedError(
                    f"line {entry.line}: unknown V1 layer type",
                    file=file,
                    layer=block.text("name"),
                    found=entry.value.text,
                    expected="a V1 type of BVLC Caffe, DeepLab, SegNet or C3D",
                )
            layer.entries.append(Entry("type", _string(name, entry.line)))
        elif entry.name not in ("param", "blobs_lr", "weight_decay", "blob_share_mode"):
            layer.entries.append(entry)
    # One `param { }` a blob: the names under which blobs are shared, and the learning rates.
    names = [Entry("name", e.value) for e in block.all("param") if isinstance(e.value, Scalar)]
    rates = [Entry("lr_mult", e.value) for e in block.all("blobs_lr")]
    for pair in zip_longest(names, rates):
        layer.entries.append(Entry("param", Block(block.line, [e for e in pair if e is not None])))
    layer.entries += [e for e in block.all("param") if isinstance(e.value, Block)]
    return layer


def _upgrade_v0(block: Block, file: str) -> Block:
    inner = block.blocks("layer")[-1]
    where: dict[str, Any] = {"file": file, "layer": inner.text("name")}
    old_type = inner.text("type")
    if old_type not in V0_TYPES:
        raise UnsupportedError(
            f"line {inner.line}: unknown V0 layer type",
            **where,
            found=repr(old_type),
            expected=", ".join(sorted(V0_TYPES)),
        )
    new_type = V0_TYPES[old_type]
    layer = Block(
        block.line,
        [
            Entry("name", _string(inner.text("name"), inner.line)),
            Entry("type", _string(new_type, inner.line)),
        ],
    )
    layer.entries += block.all("bottom", "top")
    params: dict[str, Block] = {}
    for entry in inner.entries:
        if entry.name in ("name", "type"):
            continue
        if entry.name not in _V0_FIELDS:
            raise UnsupportedError(
                f'line {entry.line}: unknown field "{entry.name}" in V0LayerParameter', **where
            )
        target = _V0_FIELDS[entry.name]
        if target is None:
            continue
        if new_type not in target:
            raise PrototxtError(
                f'line {entry.line}: "{entry.name}" has no meaning in a {new_type} layer', **where
            )
        param, name = target[new_type]
        params.setdefault(param, Block(entry.line)).entries.append(Entry(name, entry.value))
    layer.entries += [Entry(name, value) for name, value in params.items()]
    return layer


def merge_v0_padding(entries: list[Entry], file: str) -> list[Entry]:
    """Fold V0's separate padding layers into the layers that read them (UpgradeV0PaddingLayers).

    Args:
        entries: The net's entries, in order.
        file: The prototxt, for messages.

    Returns:
        The entries that stay.

    Raises:
        PrototxtError: A padding layer feeds a layer that is neither a convolution nor a pooling.
    """
    pads: dict[str, tuple[str, Scalar]] = {}
    kept = []
    for entry in entries:
        block = entry.value
        inner = block.blocks("layer") if entry.name == "layers" and isinstance(block, Block) else []
        if not inner or not isinstance(block, Block):
            kept.append(entry)
            continue
        if inner[-1].text("type") == "padding":
            amount = Scalar(inner[-1].text("pad", "0"), False, block.line)
            pads[block.text("top")] = (block.text("bottom"), amount)
            continue
        source = block.text("bottom")
        if source in pads:
            if inner[-1].text("type") not in ("conv", "pool"):
                raise PrototxtError(
                    "a V0 padding layer feeds a layer that takes no padding",
                    file=file,
                    layer=inner[-1].text("name"),
                    expected="a convolution or pooling layer",
                )
            before, amount = pads[source]
            padded = Block(inner[-1].line, [*inner[-1].entries, Entry("pad", amount)])
            bottom = Entry("bottom", _string(before, block.line))
            entry = Entry("layers", Block(block.line, [bottom, *block.all("top"), Entry("layer", padded)]))
        kept.append(entry)
    return kept


def upgrade_layer(entry: Entry, file: str) -> Block:
    """The V2 form of one `layer` or `layers` block of any generation.

    Args:
        entry: The block with its name.
        file: The prototxt, for messages.

    Returns:
        The block of a V2 layer.

    Raises:
        PrototxtError: The entry is not a block.
        UnsupportedError: A type or field that no known generation has.
    """
    block = entry.value
    if not isinstance(block, Block):
        raise PrototxtError(
            f'line {entry.line}: bad value of "{entry.name}"',
            file=file,
            found=block.text,
            expected="a { block }",
        )
    if entry.name == "layer":
        return block
    if block.blocks("layer"):
        return _upgrade_v0(block, file)
    return _upgrade_v1(block, file)
