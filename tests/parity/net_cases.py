"""Small whole nets, the generations of the prototxt format, and the formats of weights files."""

from __future__ import annotations

from tests.parity.cases import Case, given, layer

RGB = given(1, 3, 11, 14)
PIXELS = {"data": ("uniform", -120.0, 135.0)}


def conv(bottom: str, top: str, n: int, setting: str = "kernel_size: 3 pad: 1", *, rest: str = "") -> str:
    """A Convolution of `n` maps."""
    return layer("Convolution", bottom, top, f"num_output: {n} {setting}", rest=rest)


def relu(blob: str) -> str:
    """An in-place ReLU."""
    return layer("ReLU", blob, blob, name=f"{blob}_relu")


def norm(blob: str) -> str:
    """In-place BatchNorm, Scale and ReLU, as after the convolutions of a ResNet."""
    return (
        layer("BatchNorm", blob, blob, name=f"{blob}_bn")
        + layer("Scale", blob, blob, "bias_term: true", name=f"{blob}_scale")
        + relu(blob)
    )


def conv_norm(bottom: str, top: str, n: int, setting: str = "kernel_size: 3 pad: 1") -> str:
    """Convolution without bias, BatchNorm, Scale, ReLU."""
    return conv(bottom, top, n, f"{setting} bias_term: false") + norm(top)


def pool(bottom: str, top: str, setting: str = "pool: MAX kernel_size: 2 stride: 2") -> str:
    """A Pooling layer."""
    return layer("Pooling", bottom, top, setting)


def upsample(bottom: str, top: str, n: int, kernel: int, stride: int) -> str:
    """A grouped Deconvolution without bias, as in FCN."""
    setting = f"num_output: {n} group: {n} kernel_size: {kernel} stride: {stride} bias_term: false"
    return layer("Deconvolution", bottom, top, setting, rest="param { lr_mult: 0 }")


_SHARED = 'param { name: "w" } param { name: "bias" }'
_PERMISSIVE = 'param { name: "w" share_mode: PERMISSIVE }'

STRUCTURE: list[Case] = [
    Case("inplace_chain", RGB + conv_norm("data", "c", 4) + layer("Dropout", "c", "c", name="drop")),
    Case(
        "inplace_then_two_consumers",
        RGB
        + conv("data", "c", 4)
        + relu("c")
        + conv("c", "a", 2)
        + pool("c", "b", "kernel_size: 3 stride: 2"),
        outputs=("a", "b", "c"),
    ),
    Case(
        "consumer_before_inplace",
        RGB + conv("data", "c", 4) + conv("c", "before", 2) + relu("c") + conv("c", "after", 2),
        outputs=("before", "after"),
    ),
    Case(
        "inplace_twice",
        RGB
        + conv("data", "c", 4)
        + layer("Power", "c", "c", "scale: 2 shift: 1", name="p1")
        + conv("data", "seen", 4)
        + layer("Power", "c", "c", "power: 2", name="p2")
        + layer("Eltwise", "c seen", "y"),
        outputs=("y",),
    ),
    Case(
        "blob_with_four_consumers",
        RGB
        + conv("data", "c", 3)
        + relu("c")
        + layer("Eltwise", "c c data", "s")
        + layer("Concat", "c s c", "y")
        + pool("c", "p", "pool: AVE kernel_size: 3 stride: 2"),
    ),
    Case(
        "intermediate_outputs",
        RGB + conv("data", "c1", 4) + relu("c1") + pool("c1", "p1") + conv("p1", "c2", 3) + relu("c2"),
        outputs=("c1", "p1", "c2"),
    ),
    Case("input_is_output_too", RGB + layer("Power", "data", "y", "scale: -1"), outputs=("y",)),
    Case(
        "several_inputs_and_outputs",
        given(1, 3, 11, 14, name="color")
        + given(1, 1, 11, 14, name="depth")
        + given(2, 5, name="vector")
        + conv("color", "a", 2)
        + conv("depth", "b", 2)
        + layer("Eltwise", "a b", "fused", "coeff: 0.5 coeff: 0.5")
        + layer("InnerProduct", "vector", "fc", "num_output: 3")
        + layer("Sigmoid", "fused", "sem")
        + layer("Softmax", "fused", "geo"),
    ),
    Case(
        "one_input_layer_two_tops",
        'layer { name: "in" type: "Input" top: "a" top: "b" '
        "input_param { shape { dim: 1 dim: 2 dim: 5 dim: 6 } shape { dim: 1 dim: 3 dim: 5 dim: 6 } } }\n"
        + layer("Concat", "a b", "y"),
    ),
    Case(
        "one_input_layer_one_shape",
        'layer { name: "in" type: "Input" top: "a" top: "b" '
        "input_param { shape { dim: 1 dim: 2 dim: 5 dim: 6 } } }\n"
        + layer("Eltwise", "a b", "y", "operation: PROD"),
    ),
    Case(
        "shared_weights_siamese",
        given(2, 6, name="a")
        + given(2, 6, name="b")
        + layer("InnerProduct", "a", "fa", "num_output: 4", rest=_SHARED)
        + layer("InnerProduct", "b", "fb", "num_output: 4", rest=_SHARED)
        + layer("Eltwise", "fa fb", "y", "coeff: 1 coeff: -1"),
    ),
    Case(
        "shared_weights_not_bias",
        RGB
        + conv("data", "a", 3, rest='param { name: "w" lr_mult: 1 } param { lr_mult: 2 }')
        + conv("a", "y", 3, rest='param { name: "w" lr_mult: 1 } param { lr_mult: 2 }'),
    ),
    Case(
        "shared_weights_permissive",
        given(2, 12)
        + layer("InnerProduct", "data", "h", "num_output: 6", rest=_PERMISSIVE)
        + layer("Reshape", "data", "r", "shape { dim: 0 dim: 3 dim: 2 dim: 2 }")
        + conv("r", "y", 6, "kernel_size: 2 bias_term: false", rest=_PERMISSIVE),
    ),
    Case(
        "parameter_layer",
        given(2, 3, 4, 5)
        + layer("Parameter", "", "p", "shape { dim: 3 }")
        + layer("Parameter", "", "q", "shape { dim: 2 dim: 3 dim: 4 dim: 5 }")
        + layer("Scale", "data p", "s")
        + layer("Eltwise", "s q", "y", "operation: MAX"),
    ),
    Case(
        "phase_include",
        RGB
        + layer("Power", "data", "t", "scale: 5", rest="include { phase: TRAIN }")
        + layer("Power", "data", "t", "scale: 3", rest="include { phase: TEST }")
        + layer("ReLU", "t", "y"),
    ),
    Case(
        "phase_exclude",
        RGB
        + layer("Power", "data", "y", "scale: 5")
        + layer("Power", "y", "y", "shift: 100", name="train_only", rest="exclude { phase: TEST }")
        + layer("Power", "y", "y", "shift: 1", name="test_only", rest="exclude { phase: TRAIN }"),
    ),
    Case(
        "stage_rules",
        RGB
        + layer("Power", "data", "y", "scale: 2")
        + layer("Power", "y", "y", "shift: 10", name="deploy", rest='include { stage: "deploy" }')
        + layer("Power", "y", "y", "shift: 200", name="val", rest='include { stage: "val" }')
        + layer(
            "Power", "y", "y", "scale: -1", name="both", rest='include { stage: "deploy" not_stage: "val" }'
        )
        + layer("Power", "y", "y", "scale: 7", name="no", rest='exclude { stage: "deploy" }')
        + layer(
            "Power",
            "y",
            "y",
            "scale: 3",
            name="or",
            rest='include { phase: TRAIN } include { stage: "deploy" }',
        ),
        stages=("deploy",),
    ),
    Case(
        "stage_rules_none_given",
        RGB
        + layer("Power", "data", "y", "scale: 2")
        + layer("Power", "y", "y", "shift: 10", name="deploy", rest='include { stage: "deploy" }')
        + layer("Power", "y", "y", "scale: 7", name="not", rest='include { not_stage: "deploy" }')
        + layer("Power", "y", "y", "scale: 3", name="level", rest="include { min_level: 1 }")
        + layer("Power", "y", "y", "shift: 4", name="level0", rest="include { max_level: 0 min_level: 0 }"),
    ),
    Case(
        "state_in_the_file",
        'state { phase: TEST stage: "deploy" level: 2 }\n'
        + RGB
        + layer("Power", "data", "y", "scale: 2")
        + layer("Power", "y", "y", "shift: 10", name="deploy", rest='include { stage: "deploy" }')
        + layer("Power", "y", "y", "scale: 3", name="level", rest="include { min_level: 2 }"),
    ),
    Case(
        "unused_layer_with_weights",
        RGB + conv("data", "y", 3) + conv("data", "other", 2) + layer("Silence", "other", "", name="quiet"),
        outputs=("y",),
    ),
    Case(
        "layer_and_blob_names_odd",
        RGB + conv("data", "conv1/3x3_s2", 3) + relu("conv1/3x3_s2") + conv("conv1/3x3_s2", "out.y-1", 2),
    ),
    Case(
        "names_swapped",
        RGB
        + layer("Power", "data", "second", "scale: 2", name="first")
        + layer("Power", "second", "first", "shift: 1", name="second"),
    ),
    Case(
        "split_written_out",
        RGB
        + layer("Split", "data", "a b", name="data_split")
        + conv("a", "c", 2)
        + layer("Concat", "c b", "y"),
    ),
]

TRAINING: list[Case] = [
    Case(
        "train_val_memory_data",
        layer(
            "MemoryData",
            "",
            "data label",
            "batch_size: 2 channels: 3 height: 8 width: 9",
            name="mnist",
            rest="include { phase: TEST }",
        )
        + 'layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN } '
        'data_param { source: "nowhere/train_lmdb" batch_size: 64 backend: LMDB } }\n'
        + conv("data", "c", 4)
        + relu("c")
        + layer("InnerProduct", "c", "score", "num_output: 5")
        + layer("Accuracy", "score label", "accuracy", rest="include { phase: TEST }")
        + layer("SoftmaxWithLoss", "score label", "loss"),
        outputs=("score",),
    ),
    Case(
        "train_val_losses",
        given(2, 4)
        + given(2, name="label")
        + given(2, 3, name="target")
        + layer("InnerProduct", "data", "score", "num_output: 3")
        + layer("SoftmaxWithLoss", "score label", "loss", rest="loss_weight: 2")
        + layer("EuclideanLoss", "score target", "l2")
        + layer("SigmoidCrossEntropyLoss", "score target", "sce")
        + layer("HingeLoss", "score label", "hinge")
        + layer("Accuracy", "score label", "top1")
        + layer("Softmax", "score", "prob"),
        {"label": ("integers", 0, 3), "target": ("integers", 0, 2)},
        outputs=("score", "prob"),
    ),
]

GENERATIONS: list[Case] = [
    Case(
        "v1_text",
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 15 input_dim: 17
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" relu_param { negative_slope: 0.1 } }
layers { name: "norm1" type: LRN bottom: "conv1" top: "norm1"
  lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 } }
layers { name: "pool1" type: POOLING bottom: "norm1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "conv2" type: CONVOLUTION bottom: "pool1" top: "conv2"
  convolution_param { num_output: 4 kernel_size: 3 group: 2 pad: 1 } }
layers { name: "sig" type: SIGMOID bottom: "conv2" top: "sig" }
layers { name: "tanh" type: TANH bottom: "conv2" top: "tanh" }
layers { name: "abs" type: ABSVAL bottom: "conv2" top: "abs" }
layers { name: "cat" type: CONCAT bottom: "sig" bottom: "tanh" bottom: "abs" top: "cat"
  concat_param { concat_dim: 1 } }
layers { name: "drop" type: DROPOUT bottom: "cat" top: "cat" dropout_param { dropout_ratio: 0.5 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "cat" top: "ip" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
""",
        outputs=("ip", "prob", "cat"),
    ),
    Case(
        "v1_other_types",
        """input: "data" input_dim: 2 input_dim: 4 input_dim: 5 input_dim: 6
layers { name: "slice" type: SLICE bottom: "data" top: "a" top: "b" slice_param { slice_dim: 1 } }
layers { name: "power" type: POWER bottom: "a" top: "p" power_param { power: 2 scale: 0.5 shift: 1 } }
layers { name: "exp" type: EXP bottom: "b" top: "e" exp_param { scale: 0.25 } }
layers { name: "sum" type: ELTWISE bottom: "p" bottom: "e" top: "s"
  eltwise_param { operation: SUM coeff: 1 coeff: -2 } }
layers { name: "mvn" type: MVN bottom: "s" top: "m" mvn_param { across_channels: true } }
layers { name: "bnll" type: BNLL bottom: "m" top: "l" }
layers { name: "split" type: SPLIT bottom: "l" top: "l1" top: "l2" }
layers { name: "thr" type: THRESHOLD bottom: "l1" top: "t" threshold_param { threshold: 0.7 } }
layers { name: "dec" type: DECONVOLUTION bottom: "l2" top: "d"
  convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 } }
layers { name: "flat" type: FLATTEN bottom: "d" top: "f" }
layers { name: "arg" type: ARGMAX bottom: "f" top: "arg" argmax_param { top_k: 2 } }
layers { name: "quiet" type: SILENCE bottom: "t" }
layers { name: "im2col" type: IM2COL bottom: "m" top: "i" convolution_param { kernel_size: 2 stride: 2 } }
""",
        outputs=("f", "arg", "i"),
    ),
    Case(
        "v0_text",
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 15 input_dim: 17
layers { layer { name: "conv1" type: "conv" num_output: 6 kernelsize: 5 stride: 2 biasterm: true
    weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0. }
  bottom: "data" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: MAX kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 5 alpha: 0.5 beta: 0.75 } bottom: "pool1" top: "norm1"
  }
layers { layer { name: "pad2" type: "padding" pad: 2 } bottom: "norm1" top: "pad2" }
layers { layer { name: "conv2" type: "conv" num_output: 4 group: 2 kernelsize: 5 } bottom: "pad2" top: "conv2"
  }
layers { layer { name: "relu2" type: "relu" } bottom: "conv2" top: "conv2" }
layers { layer { name: "pool2" type: "pool" pool: AVE kernelsize: 2 stride: 1 } bottom: "conv2" top: "pool2" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 } bottom: "pool2" top: "fc" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.5 } bottom: "fc" top: "fc" }
layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
""",
        outputs=("fc", "prob", "pool2"),
    ),
    Case(
        "v1_phase_and_sharing",
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 7
layers { name: "train" type: POWER bottom: "data" top: "x"
  power_param { scale: 9 } include: { phase: TRAIN } }
layers { name: "test" type: POWER bottom: "data" top: "x" power_param { scale: 2 } include { phase: TEST } }
layers { name: "not" type: POWER bottom: "x" top: "x" power_param { shift: 50 } exclude { phase: TEST } }
layers { name: "a" type: CONVOLUTION bottom: "x" top: "a" param: "w" param: "b"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layers { name: "y" type: CONVOLUTION bottom: "a" top: "y" param: "w" param: "b"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "y" bottom: "label" top: "loss" include { phase: TRAIN } }
""",
        outputs=("y",),
    ),
    Case(
        "v0_other_types",
        """input: "data" input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 7
layers { layer { name: "split" type: "split" } bottom: "data" top: "a" top: "b" }
layers { layer { name: "sig" type: "sigmoid" } bottom: "a" top: "sig" }
layers { layer { name: "tanh" type: "tanh" } bottom: "b" top: "tanh" }
layers { layer { name: "cat" type: "concat" concat_dim: 1 } bottom: "sig" bottom: "tanh" top: "cat" }
layers { layer { name: "bnll" type: "bnll" } bottom: "cat" top: "bnll" }
layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 3 pad: 1 biasterm: false }
  bottom: "bnll" top: "conv" }
layers { layer { name: "flat" type: "flatten" } bottom: "conv" top: "flat" }
layers { layer { name: "fc" type: "innerproduct" num_output: 3 biasterm: false } bottom: "flat" top: "fc" }
""",
        outputs=("flat", "fc"),
    ),
    Case(
        "v1_and_v2_layers_mixed",
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 7\n'
        'layers { name: "a" type: POWER bottom: "data" top: "a" power_param { scale: 2 } }\n'
        + layer("Power", "a", "y", "shift: 5"),
    ),
    Case(
        "text_format_syntax",
        """# a comment; then single quotes, pieces of one string, escapes, separators, < >, enums as numbers
input: 'da' "ta"  input_shape: < dim: [1, 3], dim: 11; dim: 14 >
layer: { name: "conv\\x31" type: 'Convolution', bottom: "data"; top: "c"
  convolution_param: { num_output: 4 kernel_size: [3, 5] pad: [1,2] stride: 2 bias_term: t
    weight_filler < type: "gaussian" std: 1e-2 > bias_filler { value: -.5f }
    engine: 1 } }
layer { name: 'pool' type: "Pooling" bottom: 'c' top: 'p' pooling_param { pool: 1
  kernel_size: 3 stride: 2 } }
layer{name:"elu"type:"ELU"bottom:"p"top:"e"elu_param{alpha:5.E-1}}
layer {
\tname: "sum"\ttype: "Eltwise"\r
\tbottom: "p" bottom: "e"  # both
\ttop: "y"\teltwise_param { operation: 1 coeff: [ 1 , -2. ] }
}
""",
        outputs=("y", "c"),
    ),
    Case(
        "text_format_numbers",
        'input: "data" input_shape { dim: 1 dim: 0x3 dim: 013 dim: 14 }  # hexadecimal, octal\n'
        + conv("data", "c", 4, "kernel_size: 0x3 stride: 02 pad: 01")
        + layer("Power", "c", "y", "scale: 2.5e-1f shift: 1f power: 2.F"),
    ),
    Case(
        "inputs_two_input_dim",
        'input: "a" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 6\n'
        'input: "b" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 6\n' + layer("Concat", "a b", "y"),
    ),
    Case(
        "inputs_two_input_shape",
        'input: "a" input_shape { dim: 2 dim: 5 }\ninput: "b" input_shape { dim: 2 dim: 3 }\n'
        + layer("Concat", "a b", "y"),
    ),
    Case(
        "bn_v1_era_params",
        RGB
        + layer(
            "BatchNorm", "data", "y", rest="param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }"
        )
        + layer("Scale", "y", "y", "bias_term: true axis: 1", name="scale"),
    ),
]

_FILES = (
    given(1, 3, 6, 7)
    + conv("data", "c", 4, "kernel_size: 3 group: 1")
    + relu("c")
    + layer("InnerProduct", "c", "y", "num_output: 3")
)
_MORE_FILES = (
    given(1, 3, 6, 7)
    + conv_norm("data", "c", 4)
    + layer("PReLU", "c", "p")
    + layer("Deconvolution", "p", "y", "num_output: 2 kernel_size: 4 stride: 2 pad: 1")
)

FILES: list[Case] = [
    Case("weights_v1", _FILES, weights="v1"),
    Case("weights_v0", _FILES, weights="v0"),
    Case("weights_double", _FILES, weights="double"),
    Case("weights_hdf5", _FILES, weights="hdf5"),
    Case("weights_hdf5_bn_prelu", _MORE_FILES, weights="hdf5"),
    Case("weights_legacy_shapes", _MORE_FILES, weights="legacy"),
    Case("weights_double_bn_prelu", _MORE_FILES, weights="double"),
]


def _fcn8s() -> str:
    """FCN-8s: pad 100, three skips, three grouped upsamplings, three Crops."""
    text = given(1, 3, 33, 40) + conv("data", "conv1", 3, "kernel_size: 3 pad: 100") + relu("conv1")
    text += pool("conv1", "pool1") + conv("pool1", "conv2", 4) + relu("conv2") + pool("conv2", "pool2")
    text += conv("pool2", "conv3", 4) + relu("conv3") + pool("conv3", "pool3")
    text += conv("pool3", "conv4", 4) + relu("conv4") + pool("conv4", "pool4")
    text += conv("pool4", "conv5", 4) + relu("conv5") + pool("conv5", "pool5")
    text += (
        conv("pool5", "fc6", 5, "kernel_size: 7") + relu("fc6") + layer("Dropout", "fc6", "fc6", name="drop6")
    )
    text += (
        conv("fc6", "fc7", 5, "kernel_size: 1") + relu("fc7") + layer("Dropout", "fc7", "fc7", name="drop7")
    )
    text += conv("fc7", "score_fr", 3, "kernel_size: 1") + upsample("score_fr", "upscore2", 3, 4, 2)
    text += conv("pool4", "score_pool4", 3, "kernel_size: 1")
    text += layer("Crop", "score_pool4 upscore2", "score_pool4c", "axis: 2 offset: 5")
    text += layer("Eltwise", "upscore2 score_pool4c", "fuse_pool4", "operation: SUM")
    text += upsample("fuse_pool4", "upscore_pool4", 3, 4, 2)
    text += conv("pool3", "score_pool3", 3, "kernel_size: 1")
    text += layer("Crop", "score_pool3 upscore_pool4", "score_pool3c", "axis: 2 offset: 9")
    text += layer("Eltwise", "upscore_pool4 score_pool3c", "fuse_pool3", "operation: SUM")
    text += upsample("fuse_pool3", "upscore8", 3, 16, 8)
    return text + layer("Crop", "upscore8 data", "score", "axis: 2 offset: 31")


def _alexnet() -> str:
    text = given(1, 3, 35, 43) + conv("data", "conv1", 6, "kernel_size: 11 stride: 2") + relu("conv1")
    text += layer("LRN", "conv1", "norm1", "local_size: 5 alpha: 0.0001 beta: 0.75")
    text += pool("norm1", "pool1", "pool: MAX kernel_size: 3 stride: 2")
    text += conv("pool1", "conv2", 8, "kernel_size: 5 pad: 2 group: 2") + relu("conv2")
    text += layer("LRN", "conv2", "norm2", "local_size: 5 alpha: 0.0001 beta: 0.75")
    text += pool("norm2", "pool2", "pool: MAX kernel_size: 3 stride: 2")
    text += conv("pool2", "conv3", 6, "kernel_size: 3 pad: 1 group: 2") + relu("conv3")
    text += layer("InnerProduct", "conv3", "fc6", "num_output: 10") + relu("fc6")
    text += layer("Dropout", "fc6", "fc6", "dropout_ratio: 0.5", name="drop6")
    return text + layer("InnerProduct", "fc6", "fc8", "num_output: 7") + layer("Softmax", "fc8", "prob")


def _fcn_alexnet() -> str:
    text = given(1, 3, 31, 44) + layer("Power", "data", "shifted", "shift: -100")
    text += conv("shifted", "conv1", 4, "kernel_size: 11 stride: 4 pad: 100") + relu("conv1")
    text += layer("LRN", "conv1", "norm1", "local_size: 5 alpha: 0.0001 beta: 0.75")
    text += pool("norm1", "pool1", "pool: MAX kernel_size: 3 stride: 2")
    text += conv("pool1", "conv2", 4, "kernel_size: 5 pad: 2 group: 2") + relu("conv2")
    text += pool("conv2", "pool2", "pool: MAX kernel_size: 3 stride: 2")
    text += (
        conv("pool2", "fc6", 4, "kernel_size: 6") + relu("fc6") + conv("fc6", "score_fr", 2, "kernel_size: 1")
    )
    setting = "num_output: 2 group: 2 kernel_size: 31 stride: 16 bias_term: false"
    text += layer("Deconvolution", "score_fr", "upscore", setting + " weight_filler { type: 'bilinear' }")
    return text + layer("Crop", "upscore data", "score", "axis: 2 offset: 18")


def _resnet() -> str:
    text = given(1, 3, 21, 27) + conv_norm("data", "conv1", 6, "kernel_size: 7 pad: 3 stride: 2")
    text += pool("conv1", "pool1", "pool: MAX kernel_size: 3 stride: 2")
    text += conv("pool1", "branch1", 8, "kernel_size: 1 bias_term: false")
    text += layer("BatchNorm", "branch1", "branch1", name="bn1")
    text += layer("Scale", "branch1", "branch1", "bias_term: true", name="scale1")
    text += conv_norm("pool1", "2a", 4, "kernel_size: 1") + conv_norm("2a", "2b", 4)
    text += conv("2b", "2c", 8, "kernel_size: 1 bias_term: false") + layer(
        "BatchNorm", "2c", "2c", name="bn2c"
    )
    text += layer("Scale", "2c", "2c", "bias_term: true", name="scale2c")
    text += layer("Eltwise", "branch1 2c", "res2a") + relu("res2a")
    text += conv_norm("res2a", "3a", 4, "kernel_size: 1 stride: 2") + conv(
        "3a", "3b", 8, "kernel_size: 3 pad: 1"
    )
    text += conv("res2a", "branch3", 8, "kernel_size: 1 stride: 2")
    text += layer("Eltwise", "branch3 3b", "res3a", "operation: SUM") + relu("res3a")
    text += pool("res3a", "pool5", "pool: AVE global_pooling: true")
    return text + layer("InnerProduct", "pool5", "fc", "num_output: 5") + layer("Softmax", "fc", "prob")


def _inception() -> str:
    text = given(1, 3, 13, 16) + conv("data", "stem", 6, "kernel_size: 3 stride: 1 pad: 1") + relu("stem")
    text += conv("stem", "1x1", 3, "kernel_size: 1") + relu("1x1")
    text += conv("stem", "3x3r", 3, "kernel_size: 1") + relu("3x3r") + conv("3x3r", "3x3", 4) + relu("3x3")
    text += conv("stem", "5x5r", 2, "kernel_size: 1") + relu("5x5r")
    text += conv("5x5r", "5x5", 3, "kernel_size: 5 pad: 2") + relu("5x5")
    text += conv("stem", "1x7", 2, "kernel_h: 1 kernel_w: 7 pad_h: 0 pad_w: 3") + relu("1x7")
    text += conv("1x7", "7x1", 3, "kernel_h: 7 kernel_w: 1 pad_h: 3 pad_w: 0") + relu("7x1")
    text += pool("stem", "p", "pool: MAX kernel_size: 3 stride: 1 pad: 1") + conv(
        "p", "pp", 2, "kernel_size: 1"
    )
    text += pool("stem", "ap", "pool: AVE kernel_size: 3 stride: 1 pad: 1") + relu("pp")
    text += layer("Concat", "1x1 3x3 5x5 7x1 pp ap", "mixed") + pool(
        "mixed", "grid", "kernel_size: 3 stride: 2"
    )
    text += pool("grid", "gap", "pool: AVE global_pooling: true")
    return text + layer("InnerProduct", "gap", "y", "num_output: 4")


def _densenet() -> str:
    text = given(1, 3, 13, 16) + conv("data", "c0", 4, "kernel_size: 3 pad: 1 bias_term: false")
    previous, name = "c0", ""
    for i in (1, 2, 3):
        text += layer("BatchNorm", previous, f"bn{i}", "eps: 1e-5")
        text += layer("Scale", f"bn{i}", f"bn{i}", "bias_term: true", name=f"scale{i}") + relu(f"bn{i}")
        text += conv(f"bn{i}", f"c{i}", 3, "kernel_size: 3 pad: 1 bias_term: false")
        name = f"cat{i}"
        text += layer("Concat", f"{previous} c{i}", name)
        previous = name
    text += layer("BatchNorm", name, "bnt", "eps: 1e-5") + layer(
        "Scale", "bnt", "bnt", "bias_term: true", name="st"
    )
    text += relu("bnt") + conv("bnt", "t", 4, "kernel_size: 1 bias_term: false")
    return text + pool("t", "y", "pool: AVE kernel_size: 2 stride: 2")


def _squeezenet() -> str:
    text = given(1, 3, 19, 22) + conv("data", "conv1", 4, "kernel_size: 3 stride: 2") + relu("conv1")
    text += pool("conv1", "pool1", "pool: MAX kernel_size: 3 stride: 2")
    text += conv("pool1", "squeeze", 3, "kernel_size: 1") + relu("squeeze")
    text += conv("squeeze", "e1", 4, "kernel_size: 1") + relu("e1") + conv("squeeze", "e3", 4) + relu("e3")
    text += layer("Concat", "e1 e3", "fire") + layer("Dropout", "fire", "fire", name="drop9")
    text += conv("fire", "conv10", 5, "kernel_size: 1") + relu("conv10")
    return (
        text + pool("conv10", "pool10", "pool: AVE global_pooling: true") + layer("Softmax", "pool10", "prob")
    )


def _mobilenet() -> str:
    text = given(1, 3, 17, 20) + conv_norm("data", "conv1", 4, "kernel_size: 3 pad: 1 stride: 2")
    text += conv_norm("conv1", "dw1", 4, "kernel_size: 3 pad: 1 group: 4") + conv_norm(
        "dw1", "pw1", 6, "kernel_size: 1"
    )
    text += conv_norm("pw1", "expand", 12, "kernel_size: 1")
    text += conv_norm("expand", "dw2", 12, "kernel_size: 3 pad: 1 group: 12")
    text += conv("dw2", "project", 6, "kernel_size: 1 bias_term: false") + layer(
        "BatchNorm", "project", "project_bn"
    )
    text += layer("Scale", "project_bn", "project_scale", "bias_term: true")
    text += layer("Eltwise", "pw1 project_scale", "sum")
    text += conv_norm("sum", "dw3", 6, "kernel_size: 3 pad: 1 stride: 2 group: 6")
    text += pool("dw3", "pool6", "pool: AVE global_pooling: true")
    return text + conv("pool6", "fc7", 5, "kernel_size: 1") + layer("Flatten", "fc7", "y")


def _segnet() -> str:
    text = given(1, 3, 15, 18) + layer("LRN", "data", "norm", "local_size: 5 alpha: 0.0001 beta: 0.75")
    text += conv_norm("norm", "c1", 4, "kernel_size: 7 pad: 3") + layer(
        "Pooling", "c1", "p1 m1", "kernel_size: 2 stride: 2"
    )
    text += conv_norm("p1", "c2", 4) + layer("Pooling", "c2", "p2 m2", "kernel_size: 2 stride: 2")
    text += conv_norm("p2", "c3", 4)
    text += layer("Deconvolution", "c3", "u2", "num_output: 4 kernel_size: 2 stride: 2") + conv_norm(
        "u2", "d2", 4
    )
    text += layer("Deconvolution", "d2", "u1", "num_output: 4 kernel_size: 4 stride: 2 pad: 1")
    text += layer("Crop", "u1 data", "cropped", "axis: 2 offset: 0") + conv("cropped", "score", 3)
    return text + layer("Softmax", "score", "prob") + layer("ArgMax", "score", "label", "axis: 1")


def _senet() -> str:
    text = given(2, 3, 9, 12) + conv_norm("data", "c", 6) + pool("c", "gap", "pool: AVE global_pooling: true")
    text += conv("gap", "down", 2, "kernel_size: 1") + relu("down") + conv("down", "up", 6, "kernel_size: 1")
    text += layer("Sigmoid", "up", "prob") + layer("Reshape", "prob", "flat", "shape { dim: 0 dim: 0 }")
    return text + layer("Scale", "c flat", "y", "axis: 0")


def _deeplab() -> str:
    text = given(1, 3, 25, 33) + conv("data", "c1", 4) + relu("c1")
    text += pool("c1", "p1", "pool: MAX kernel_size: 3 stride: 2 pad: 1") + conv("p1", "c2", 4) + relu("c2")
    text += pool("c2", "p2", "pool: MAX kernel_size: 3 stride: 2 pad: 1")
    text += pool("p2", "p4", "pool: MAX kernel_size: 3 stride: 1 pad: 1")
    text += conv("p4", "c5", 4, "kernel_size: 3 pad: 2 dilation: 2") + relu("c5")
    text += pool("c5", "p5a", "pool: AVE kernel_size: 3 stride: 1 pad: 1")
    heads = ""
    for d in (1, 2, 3):
        text += conv("p5a", f"fc6_{d}", 4, f"kernel_size: 3 pad: {d} dilation: {d}") + relu(f"fc6_{d}")
        text += layer("Dropout", f"fc6_{d}", f"fc6_{d}", name=f"drop_{d}") + conv(
            f"fc6_{d}", f"s_{d}", 3, "kernel_size: 1"
        )
        heads += f" s_{d}"
    return text + layer("Eltwise", heads, "score", "operation: SUM")


def _shufflenet_by_reshape() -> str:
    text = given(1, 6, 7, 9) + conv("data", "g", 6, "kernel_size: 1 group: 3")
    text += layer("Reshape", "g", "r", "shape { dim: 0 dim: 3 dim: 2 dim: -1 }")
    text += layer("Permute", "r", "t", "order: 0 order: 2 order: 1 order: 3")
    return (
        text
        + layer("Reshape", "t", "s", "shape { dim: 0 dim: 6 dim: 7 dim: 9 }")
        + conv("s", "y", 4, "kernel_size: 1 group: 2")
    )


def _captioning() -> str:
    """LRCN: words embedded, an LSTM that also sees the picture's features at every step, scores a word."""
    text = given(4, 2, name="cont") + given(4, 2, name="words") + given(2, 3, 6, 7, name="image")
    text += (
        conv("image", "c", 4, "kernel_size: 3 stride: 2")
        + relu("c")
        + layer("InnerProduct", "c", "fc", "num_output: 5")
    )
    text += layer("Embed", "words", "embedded", "num_output: 4 input_dim: 9 bias_term: false")
    text += layer("LSTM", "embedded cont fc", "lstm", "num_output: 6")
    text += layer("InnerProduct", "lstm", "predict", "num_output: 9 axis: 2")
    return text + layer("Softmax", "predict", "probs", "axis: 2")


def _crnn() -> str:
    """Text line reader: the columns of a feature map are the steps of two LSTMs."""
    text = given(1, 1, 8, 20) + conv("data", "c1", 4) + relu("c1") + pool("c1", "p1")
    text += conv("p1", "c2", 4, "kernel_h: 4 kernel_w: 1 pad_h: 0 pad_w: 0") + relu("c2")
    text += layer("Permute", "c2", "perm", "order: 3 order: 0 order: 1 order: 2")
    text += layer("Flatten", "perm", "steps", "axis: 2")
    text += layer("ContinuationIndicator", "", "cont", "time_step: 10 batch_size: 1")
    text += layer("LSTM", "steps cont", "fwd", "num_output: 4") + layer(
        "Reverse", "steps", "back_in", "axis: 0"
    )
    text += layer("LSTM", "back_in cont", "back_out", "num_output: 4") + layer(
        "Reverse", "back_out", "bwd", "axis: 0"
    )
    text += layer("Concat", "fwd bwd", "both", "axis: 2")
    return text + layer("InnerProduct", "both", "score", "num_output: 6 axis: 2")


_FCN_BLOBS = ("score", "upscore2", "score_pool4c", "fuse_pool3", "pool3")
WHOLE: list[Case] = [
    Case("net_fcn8s", _fcn8s(), PIXELS, outputs=_FCN_BLOBS, resized={"data": (1, 3, 26, 51)}),
    Case("net_alexnet", _alexnet(), PIXELS, outputs=("fc8", "prob", "pool2")),
    Case(
        "net_fcn_alexnet",
        _fcn_alexnet(),
        PIXELS,
        edits={("upscore", 0): "filler"},
        resized={"data": (1, 3, 40, 37)},
    ),
    Case("net_resnet", _resnet(), PIXELS, outputs=("fc", "prob", "res2a"), resized={"data": (1, 3, 30, 24)}),
    Case("net_inception", _inception(), PIXELS, outputs=("y", "grid"), resized={"data": (1, 3, 16, 12)}),
    Case("net_densenet", _densenet(), PIXELS, resized={"data": (1, 3, 12, 15)}),
    Case(
        "net_squeezenet", _squeezenet(), PIXELS, outputs=("pool10", "prob"), resized={"data": (1, 3, 24, 21)}
    ),
    Case("net_mobilenet", _mobilenet(), PIXELS, resized={"data": (1, 3, 21, 16)}),
    Case("net_segnet", _segnet(), PIXELS, outputs=("score", "m1", "m2"), resized={"data": (1, 3, 18, 14)}),
    Case("net_senet", _senet(), PIXELS, resized={"data": (2, 3, 12, 7)}),
    Case("net_deeplab", _deeplab(), PIXELS, resized={"data": (1, 3, 32, 26)}),
    Case("net_shuffle_by_reshape", _shufflenet_by_reshape()),
    Case(
        "net_captioning",
        _captioning(),
        {
            "cont": ("values", 0, 0, 1, 1, 1, 0, 1, 1),
            "words": ("integers", 0, 9),
            "image": ("uniform", -120.0, 135.0),
        },
        outputs=("predict", "probs"),
    ),
    Case("net_crnn", _crnn(), PIXELS, outputs=("score",)),
]

NETS: list[Case] = STRUCTURE + TRAINING + GENERATIONS + FILES + WHOLE
