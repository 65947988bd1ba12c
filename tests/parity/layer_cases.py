"""The one-feature nets: every setting of every layer that BVLC Caffe 1.0 runs at TEST time.

Inputs are small, of odd sizes, and of a scale at which a wrong formula shows. Several settings of one
layer share a net where they read the same input, so that the files stay few.
"""

from __future__ import annotations

from tests.parity.cases import Case, given, layer, several

D = given(1, 3, 7, 9)  # the usual input
D2 = given(2, 3, 7, 9)
LARGER = {"data": (1, 3, 10, 12)}


POINTWISE: list[Case] = [
    Case("absval_inplace", D + layer("Power", "data", "y") + layer("AbsVal", "y", "y", name="abs")),
    Case("bnll", D + layer("BNLL", "data", "y"), {"data": ("normal", 0.0, 60.0)}),
    Case("bnll_small", D + layer("BNLL", "data", "y")),
    Case("elu", D + several("ELU", "alpha: 0.3", "", "alpha: 2", "alpha: 0")),
    Case("elu_inplace", D + layer("Power", "data", "y") + layer("ELU", "y", "y", "alpha: 0.7", name="elu")),
    Case(
        "exp_settings",
        D
        + several(
            "Exp",
            "base: 2",
            "base: 10 scale: 0.3",
            "base: 2 scale: -0.5 shift: 1.5",
            "shift: -1",
            "scale: 0.5 shift: 2",
            "base: 0.5 shift: 0.25",
        ),
        {"data": ("normal", 0.0, 1.0)},
    ),
    Case(
        "log_settings",
        D
        + several(
            "Log",
            "base: -1",
            "base: 2",
            "base: 10 scale: 0.3",
            "base: 2 scale: 0.5 shift: 1.5",
            "shift: 2",
            "scale: 4",
        ),
        {"data": ("uniform", 0.05, 6.0)},
    ),
    Case(
        "power_settings",
        D
        + several(
            "Power",
            "power: 2",
            "power: 3 scale: -0.5 shift: 0.25",
            "power: 0 scale: 2 shift: 5",
            "scale: 0 shift: 3",
            "power: 2 scale: 0 shift: 3",
            "scale: -2",
            "shift: -7.5",
            "",
        ),
    ),
    Case(
        "power_fractional",
        D
        + several(
            "Power",
            "power: 0.5",
            "power: -0.75 scale: 2 shift: 1",
            "power: -1 shift: 0.5",
            "power: -2",
            "power: 1.7 scale: 0.004",
        ),
        {"data": ("uniform", 0.1, 8.0)},
    ),
    Case("relu_default", D + layer("ReLU", "data", "y")),
    Case(
        "relu_slopes", D + several("ReLU", "negative_slope: 0.1", "negative_slope: 1", "negative_slope: -0.5")
    ),
    Case(
        "relu_slope_inplace",
        D
        + layer("Power", "data", "y", "scale: 3")
        + layer("ReLU", "y", "y", "negative_slope: 0.2", name="relu"),
    ),
    Case(
        "sigmoid_inplace",
        D + layer("Power", "data", "y") + layer("Sigmoid", "y", "y", name="sig"),
        resized=LARGER,
    ),
    Case("swish_settings", D + several("Swish", "", "beta: 0.25", "beta: -2")),
    Case("tanh_inplace", D + layer("Power", "data", "y") + layer("TanH", "y", "y", name="tanh")),
    Case(
        "threshold_settings",
        D + several("Threshold", "", "threshold: 1", "threshold: -2"),
        {"data": ("integers", -4, 5)},  # values at the threshold itself
    ),
    Case(
        "dropout_inplace",
        D
        + layer("Power", "data", "y", "shift: 1")
        + layer("Dropout", "y", "y", "dropout_ratio: 0.9", name="drop"),
    ),
    Case("prelu", D2 + layer("PReLU", "data", "y"), resized={"data": (2, 3, 4, 5)}),
    Case("prelu_2d", given(3, 5) + layer("PReLU", "data", "y")),
    Case("prelu_3d", given(2, 4, 6) + layer("PReLU", "data", "y")),
    Case("prelu_5d", given(1, 3, 2, 4, 5) + layer("PReLU", "data", "y")),
    Case("prelu_shared_2d", given(3, 5) + layer("PReLU", "data", "y", "channel_shared: true")),
    Case("prelu_inplace", D + layer("Power", "data", "y") + layer("PReLU", "y", "y", name="prelu")),
    Case(
        "prelu_filler_only",
        D + layer("PReLU", "data", "y", "filler { type: 'constant' value: 0.3 }"),
        edits={("y", 0): "filler"},
    ),
]

COMBINING: list[Case] = [
    Case(
        "argmax_ties",
        given(2, 5, 4, 6) + layer("ArgMax", "data", "y", "axis: 1"),
        {"data": ("integers", 0, 3)},
    ),
    Case("argmax_no_axis", given(2, 3, 4, 5) + layer("ArgMax", "data", "y")),
    Case(
        "argmax_no_axis_ties",
        given(3, 12) + layer("ArgMax", "data", "y", "top_k: 4"),
        {"data": ("integers", 0, 4)},
    ),
    Case(
        "argmax_no_axis_maxval",
        given(2, 3, 4, 5) + layer("ArgMax", "data", "y", "out_max_val: true top_k: 3"),
    ),
    Case(
        "argmax_axes",
        given(2, 5, 4, 6)
        + several(
            "ArgMax",
            "axis: 0",
            "axis: 2",
            "axis: -1",
            "axis: 1 top_k: 3",
            "axis: 1 out_max_val: true",
            "axis: 2 out_max_val: true top_k: 2",
        ),
    ),
    Case(
        "argmax_topk_ties",
        given(1, 6, 3, 4) + layer("ArgMax", "data", "y", "axis: 1 top_k: 4"),
        {"data": ("integers", 0, 3)},
    ),
    Case("argmax_3d", given(2, 4, 5) + several("ArgMax", "axis: 1", "axis: -1 top_k: 2")),
    Case(
        "batch_reindex",
        given(4, 3, 2, 5) + given(6, name="index") + layer("BatchReindex", "data index", "y"),
        {"index": ("values", 3, 0, 0, 2, 1, 3)},
    ),
    Case(
        "concat_axis0",
        given(1, 3, 4, 5) + given(2, 3, 4, 5, name="b") + layer("Concat", "data b", "y", "axis: 0"),
    ),
    Case(
        "concat_axis2",
        given(1, 3, 4, 5) + given(1, 3, 2, 5, name="b") + layer("Concat", "data b", "y", "axis: 2"),
    ),
    Case(
        "concat_axis3",
        given(1, 3, 4, 5) + given(1, 3, 4, 2, name="b") + layer("Concat", "data b data", "y", "axis: 3"),
        resized={"data": (1, 3, 6, 5), "b": (1, 3, 6, 4)},
    ),
    Case("concat_negative", given(2, 4) + given(2, 3, name="b") + layer("Concat", "data b", "y", "axis: -1")),
    Case(
        "concat_dim_0_2",
        given(1, 3, 4, 5)
        + several("Concat", "concat_dim: 0", "concat_dim: 2", "concat_dim: 3", bottoms="data data"),
    ),
    Case("concat_single", D + layer("Concat", "data", "y")),
    Case(
        "concat_default",
        D + layer("Power", "data", "p", "power: 2") + layer("Concat", "data p data", "y"),
        resized=LARGER,
    ),
    Case(
        "dummy_data",
        layer(
            "DummyData",
            "",
            "ones other",
            "shape { dim: 1 dim: 3 dim: 7 dim: 9 } shape { dim: 1 dim: 3 dim: 7 dim: 9 } "
            "data_filler { type: 'constant' value: 1.5 } data_filler { value: -2 }",
            name="dummy",
        )
        + D
        + layer("Eltwise", "data ones other", "y", "operation: PROD"),
    ),
    Case(
        "dummy_data_one_shape",
        layer("DummyData", "", "a b", "shape { dim: 1 dim: 3 dim: 7 dim: 9 } data_filler { value: 3 }")
        + D
        + layer("Eltwise", "data a b", "y", "coeff: 1 coeff: 2 coeff: -0.5"),
    ),
    Case(
        "dummy_data_legacy",
        layer("DummyData", "", "c", "num: 1 channels: 3 height: 7 width: 9 data_filler { value: 4 }")
        + D
        + layer("Eltwise", "data c", "y"),
    ),
    Case(
        "dummy_data_no_filler",
        layer("DummyData", "", "c", "shape { dim: 1 dim: 2 dim: 7 dim: 9 }")
        + D
        + layer("Concat", "data c", "y"),
    ),
    Case(
        "eltwise_sum3",
        D + given(1, 3, 7, 9, name="b") + given(1, 3, 7, 9, name="c") + layer("Eltwise", "data b c", "y"),
        resized={"data": (1, 3, 4, 6), "b": (1, 3, 4, 6), "c": (1, 3, 4, 6)},
    ),
    Case(
        "eltwise_settings",
        D
        + given(1, 3, 7, 9, name="b")
        + given(1, 3, 7, 9, name="c")
        + several(
            "Eltwise",
            "operation: PROD",
            "operation: MAX",
            "operation: SUM coeff: 0.5 coeff: -2 coeff: 1.25",
            "coeff: 1 coeff: -1 coeff: 0",
            "operation: PROD stable_prod_grad: false",
            bottoms="data b c",
        ),
    ),
    Case(
        "eltwise_subtract",
        D
        + given(1, 3, 7, 9, name="b")
        + layer("Eltwise", "data b", "y", "operation: SUM coeff: 1 coeff: -1"),
    ),
    Case(
        "eltwise_same_bottom",
        D
        + several("Eltwise", "operation: PROD", "coeff: 3 coeff: -1", "operation: MAX", bottoms="data data"),
    ),
    Case(
        "eltwise_2d", given(3, 4) + given(3, 4, name="b") + layer("Eltwise", "data b", "y", "operation: MAX")
    ),
    Case(
        "eltwise_inplace",
        D
        + layer("Power", "data", "y", "scale: 2")
        + layer("Eltwise", "y data", "y", "operation: SUM", name="sum"),
    ),
    Case(
        "embed",
        given(2, 3) + layer("Embed", "data", "y", "num_output: 4 input_dim: 6"),
        {"data": ("integers", 0, 6)},
    ),
    Case(
        "embed_no_bias",
        given(5) + layer("Embed", "data", "y", "num_output: 3 input_dim: 7 bias_term: false"),
        {"data": ("integers", 0, 7)},
    ),
    Case(
        "embed_4d",
        given(1, 2, 2, 3) + layer("Embed", "data", "y", "num_output: 4 input_dim: 5"),
        {"data": ("integers", 0, 5)},
    ),
    Case(
        "filter",
        given(4, 2, 3) + given(4, name="keep") + layer("Filter", "data keep", "y"),
        {"keep": ("values", 1, 0, 1, 1)},
    ),
    Case(
        "flatten_settings",
        given(2, 3, 4, 5)
        + several(
            "Flatten",
            "",
            "axis: 2",
            "axis: 0 end_axis: 1",
            "axis: 1 end_axis: 2",
            "axis: 0",
            "axis: -2 end_axis: -1",
            "axis: 3",
        ),
    ),
    Case("flatten_resized", D + several("Flatten", "", "axis: 2", "axis: 1 end_axis: 2"), resized=LARGER),
    Case("flatten_2d", given(2, 5) + layer("Flatten", "data", "y")),
    Case(
        "permute",
        given(2, 3, 4, 5)
        + several(
            "Permute",
            "order: 0 order: 2 order: 3 order: 1",
            "order: 3 order: 1",
            "order: 1",
            "order: 0 order: 1 order: 2 order: 3",
        ),
    ),
    Case(
        "permute_resized",
        D + layer("Permute", "data", "y", "order: 0 order: 2 order: 3 order: 1") + layer("Flatten", "y", "z"),
        resized=LARGER,
    ),
    Case(
        "reshape_zero_minus1",
        D2
        + several(
            "Reshape",
            "shape { dim: 0 dim: -1 }",
            "shape { dim: 0 dim: 0 dim: -1 dim: 1 }",
            "shape { dim: -1 }",
            "shape { dim: 0 dim: 3 dim: 9 dim: 7 }",
            "shape { dim: 1 dim: -1 dim: 0 dim: 0 }",
        ),
    ),
    Case(
        "reshape_axis_num_axes",
        given(2, 8, 3, 5)
        + several(
            "Reshape",
            "shape { dim: 2 dim: -1 } axis: 1 num_axes: 1",
            "shape { dim: -1 } axis: 2",
            "shape { dim: 1 } axis: 1 num_axes: 0",
            "shape { dim: 1 dim: 1 } axis: -1 num_axes: 0",
            "shape { dim: 15 } axis: -3",
            "shape { dim: 4 dim: 4 } axis: 0 num_axes: 2",
            "shape { } axis: 1 num_axes: 0",
            "shape { dim: 0 dim: 5 dim: -1 } axis: 1",
        ),
    ),
    Case(
        "reshape_resized",
        given(1, 6, 4, 5)
        + several(
            "Reshape",
            "shape { dim: 0 dim: 3 dim: -1 dim: 1 } axis: 0 num_axes: 3",
            "shape { dim: 2 dim: 3 } axis: 1 num_axes: 1",
            "shape { dim: 0 dim: 2 dim: -1 dim: 0 }",
        ),
        resized={"data": (1, 6, 8, 7)},
    ),
    Case(
        "reshape_2d_to_4d",
        given(3, 20) + layer("Reshape", "data", "y", "shape { dim: 0 dim: 5 dim: 2 dim: 2 }"),
    ),
    Case(
        "reduction_sum_axes",
        given(2, 3, 4, 5)
        + several("Reduction", "", "axis: 1", "axis: 2", "axis: -1 coeff: 0.5", "axis: 3 coeff: -2"),
    ),
    Case(
        "reduction_operations",
        given(2, 3, 4, 5)
        + several(
            "Reduction",
            "operation: ASUM axis: 1 coeff: 0.25",
            "operation: SUMSQ axis: 2 coeff: 3",
            "operation: MEAN axis: 1",
            "operation: MEAN axis: -2 coeff: -0.5",
            "operation: ASUM",
            "operation: SUMSQ",
            "operation: MEAN",
        ),
    ),
    Case("reduction_resized", D + several("Reduction", "operation: MEAN axis: 2", "axis: 1"), resized=LARGER),
    Case("reverse", given(3, 2, 4) + several("Reverse", "", "axis: 1", "axis: 2")),
    Case(
        "silence",
        D
        + layer("Split", "data", "a b")
        + layer("Silence", "b", "", name="quiet")
        + layer("Power", "a", "y", "scale: 2"),
        outputs=("y",),
    ),
    Case(
        "slice_points", given(1, 7, 4, 5) + layer("Slice", "data", "a b c", "slice_point: 1 slice_point: 4")
    ),
    Case("slice_equal", given(2, 6, 4, 5) + layer("Slice", "data", "a b c")),
    Case("slice_axis0", given(3, 2, 4, 5) + layer("Slice", "data", "a b", "axis: 0 slice_point: 1")),
    Case(
        "slice_axis3",
        given(1, 2, 4, 6)
        + layer("Slice", "data", "a b", "axis: 3")
        + layer("Slice", "data", "c d", "axis: -1 slice_point: 1"),
    ),
    Case(
        "slice_dim",
        given(2, 4, 6, 5)
        + layer("Slice", "data", "a b", "slice_dim: 2 slice_point: 2")
        + layer("Slice", "data", "c d", "slice_dim: 0"),
    ),
    Case("slice_one", D + layer("Slice", "data", "y")),
    Case("slice_2d", given(2, 9) + layer("Slice", "data", "a b c", "axis: 1 slice_point: 2 slice_point: 3")),
    Case(
        "softmax_axes",
        given(2, 4, 3, 5) + several("Softmax", "", "axis: 2", "axis: -1", "axis: 0"),
        {"data": ("normal", 0.0, 1.5)},
        resized={"data": (2, 4, 6, 4)},
    ),
    Case("softmax_2d", given(3, 10) + layer("Softmax", "data", "y")),
    Case("softmax_3d", given(2, 3, 6) + several("Softmax", "axis: 1", "axis: 2")),
    Case(
        "softmax_large_logits",
        given(1, 5, 3, 4) + layer("Softmax", "data", "y"),
        {"data": ("normal", 300.0, 1.0)},
    ),
    Case(
        "softmax_inplace",
        D + layer("Power", "data", "y", "scale: 0.5") + layer("Softmax", "y", "y", name="prob"),
    ),
    Case(
        "split_three",
        D + layer("Split", "data", "a b c") + layer("Eltwise", "a c", "y", "operation: PROD"),
        outputs=("y", "b"),
    ),
    Case(
        "tile_axes",
        given(2, 3, 2, 4)
        + several(
            "Tile",
            "tiles: 2",
            "axis: 0 tiles: 3",
            "axis: 2 tiles: 2",
            "axis: -1 tiles: 3",
            "axis: 3 tiles: 1",
        ),
    ),
    Case("tile_resized", D + several("Tile", "axis: 2 tiles: 2", "axis: 1 tiles: 2"), resized=LARGER),
]

SCALING: list[Case] = [
    Case("bn_default", D2 + layer("BatchNorm", "data", "y"), resized={"data": (2, 3, 5, 4)}),
    Case("bn_factor0", D + layer("BatchNorm", "data", "y"), edits={("y", 2): 0.0}),
    Case("bn_factor_large", D + layer("BatchNorm", "data", "y"), edits={("y", 2): 999.982}),
    Case("bn_eps", D + layer("BatchNorm", "data", "y", "eps: 0.3")),
    Case(
        "bn_eps_small", D + layer("BatchNorm", "data", "y", "eps: 1e-9"), edits={("y", 1): (1e-4, 3e-3, 0.02)}
    ),
    Case("bn_tiny_variance", D + layer("BatchNorm", "data", "y"), edits={("y", 1): (1e-5, 3e-5, 0.0)}),
    Case("bn_2d", given(3, 5) + layer("BatchNorm", "data", "y")),
    Case("bn_3d", given(2, 3, 6) + layer("BatchNorm", "data", "y")),
    Case("bn_5d", given(1, 3, 2, 4, 5) + layer("BatchNorm", "data", "y", "use_global_stats: true")),
    Case("bn_inplace", D + layer("Power", "data", "y", "scale: 3") + layer("BatchNorm", "y", "y", name="bn")),
    Case(
        "bn_scale_inplace",
        D
        + layer("Power", "data", "y", "scale: 3")
        + layer("BatchNorm", "y", "y", name="bn")
        + layer("Scale", "y", "y", "bias_term: true", name="scale"),
    ),
    Case(
        "bn_lr_params",
        D
        + layer(
            "BatchNorm",
            "data",
            "y",
            "moving_average_fraction: 0.9",
            rest="param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 decay_mult: 0 }",
        ),
    ),
    Case(
        "bias_settings",
        given(2, 3, 4, 5)
        + several(
            "Bias",
            "axis: 0 num_axes: 1",
            "axis: 2 num_axes: 2",
            "axis: -1 num_axes: 1",
            "num_axes: 0",
            "axis: 1 num_axes: -1",
            "axis: 0 num_axes: -1",
        ),
    ),
    Case("bias_two_bottoms", D + given(3, name="b") + layer("Bias", "data b", "y")),
    Case(
        "bias_two_bottoms_axis0",
        given(2, 3, 4, 5) + given(2, 3, name="b") + layer("Bias", "data b", "y", "axis: 0"),
    ),
    Case(
        "bias_two_bottoms_axis2",
        given(2, 3, 4, 5) + given(4, 5, name="b") + layer("Bias", "data b", "y", "axis: 2"),
    ),
    Case(
        "bias_two_bottoms_scalar",
        given(2, 3, 4) + given(name="b") + layer("Bias", "data b", "y"),
    ),
    Case("bias_inplace", D + layer("Power", "data", "y") + layer("Bias", "y", "y", name="bias")),
    Case(
        "scale_settings",
        given(2, 3, 4, 5)
        + several(
            "Scale",
            "bias_term: true",
            "axis: 0 num_axes: 1 bias_term: true",
            "axis: 0 num_axes: 2 bias_term: true",
            "axis: 1 num_axes: 2",
            "axis: -1 num_axes: 1 bias_term: true",
            "num_axes: 0 bias_term: true",
            "axis: 1 num_axes: -1 bias_term: true",
            "axis: 2 num_axes: -1",
            "axis: 0 num_axes: 0",
        ),
    ),
    Case("scale_two_bottoms", D + given(3, name="b") + layer("Scale", "data b", "y")),
    Case("scale_two_bottoms_bias", D + given(3, name="b") + layer("Scale", "data b", "y", "bias_term: true")),
    Case(
        "scale_channel_attention",
        given(2, 4, 5, 6) + given(2, 4, name="b") + layer("Scale", "data b", "y", "axis: 0"),
        resized={"data": (2, 4, 7, 3)},
    ),
    Case(
        "scale_spatial_attention",
        given(1, 3, 4, 5) + given(4, 5, name="b") + layer("Scale", "data b", "y", "axis: 2"),
    ),
    Case("scale_full", given(2, 3, 4) + given(2, 3, 4, name="b") + layer("Scale", "data b", "y", "axis: 0")),
    Case(
        "scale_two_bottoms_scalar",
        given(2, 3, 4) + given(name="b") + layer("Scale", "data b", "y"),
    ),
    Case(
        "scale_inplace",
        D + layer("Power", "data", "y") + layer("Scale", "y", "y", "bias_term: true", name="scale"),
        resized=LARGER,
    ),
    Case("scale_2d", given(3, 5) + layer("Scale", "data", "y", "bias_term: true")),
    Case("scale_same_bottom_twice", given(2, 3, 4) + layer("Scale", "data data", "y", "axis: 0")),
    Case(
        "scale_filler_only",
        D + layer("Scale", "data", "y", "filler { value: 0.5 } bias_term: true bias_filler { value: -3 }"),
        edits={("y", 0): "filler", ("y", 1): "filler"},
    ),
    Case(
        "mvn_settings",
        given(2, 3, 5, 6)
        + several(
            "MVN",
            "normalize_variance: false",
            "across_channels: true",
            "across_channels: true normalize_variance: false",
            "eps: 0.5",
            "across_channels: true eps: 2",
        ),
        {"data": ("normal", 4.0, 3.0)},
        resized={"data": (2, 3, 8, 7)},
    ),
    Case(
        "mvn_flat_channel",
        given(1, 2, 3, 4) + layer("MVN", "data", "y"),
        {"data": ("values", *([2.5] * 12), *range(12))},
    ),
    Case("mvn_2d", given(3, 8) + several("MVN", "across_channels: true", "")),
    Case(
        "lrn_settings",
        given(1, 9, 4, 5)
        + several(
            "LRN",
            "local_size: 3 alpha: 0.5 beta: 0.75 k: 2",
            "local_size: 5 alpha: 1 beta: 0.75",
            "local_size: 5 alpha: 0.0001 beta: 0.75 k: 1",
            "local_size: 1 alpha: 2 beta: 0.5 k: 0.25",
            "local_size: 7 alpha: 0.3 beta: 1.5 k: 3",
            "",
        ),
        {"data": ("normal", 0.0, 20.0)},
    ),
    Case("mvn_inplace", D + layer("Power", "data", "y", "shift: 9") + layer("MVN", "y", "y", name="mvn")),
    Case(
        "pointwise_inplace",
        D
        + layer("Power", "data", "a")
        + layer("BNLL", "a", "a", name="bnll")
        + layer("Exp", "a", "a", "scale: -0.5", name="exp")
        + layer("Log", "a", "a", "base: 2 shift: 1", name="log")
        + layer("Power", "a", "a", "power: 2 scale: 3", name="power")
        + layer("Swish", "a", "a", name="swish")
        + layer("Power", "data", "b")
        + layer("Threshold", "b", "b", "threshold: 0.5", name="threshold"),
    ),
    Case(
        "lrn_wider_than_channels",
        given(1, 3, 4, 5) + layer("LRN", "data", "y", "local_size: 9 alpha: 0.7 k: 1.5"),
        {"data": ("normal", 0.0, 5.0)},
        resized={"data": (1, 3, 7, 4)},
    ),
    Case(
        "lrn_within",
        given(1, 4, 7, 8)
        + several(
            "LRN",
            "norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.5 beta: 0.75",
            "norm_region: WITHIN_CHANNEL local_size: 5 alpha: 1 beta: 0.5",
            "norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.7 beta: 0.75 k: 2",
            "norm_region: WITHIN_CHANNEL local_size: 3 alpha: 5e-5 beta: 0.75",
        ),
        {"data": ("normal", 0.0, 20.0)},
        resized={"data": (1, 4, 10, 5)},
    ),
]

_BILINEAR = "bias_term: false weight_filler { type: 'bilinear' }"

CONVOLUTION: list[Case] = [
    Case("conv_1x1", D + layer("Convolution", "data", "y", "num_output: 4 kernel_size: 1"), resized=LARGER),
    Case(
        "conv_settings",
        given(1, 4, 11, 14)
        + several(
            "Convolution",
            "num_output: 3 kernel_h: 3 kernel_w: 5",
            "num_output: 3 kernel_h: 1 kernel_w: 7 pad_h: 0 pad_w: 3",
            "num_output: 3 kernel_size: 3 pad_h: 2 pad_w: 1 stride_h: 2 stride_w: 3",
            "num_output: 3 kernel_size: 3 kernel_size: 2 pad: 1 pad: 0 stride: 2 stride: 1",
            "num_output: 2 kernel_size: 3 dilation: 2 dilation: 3 pad: 2 pad: 3",
            "num_output: 2 kernel_size: 3 kernel_size: 5 dilation: 2 dilation: 1 stride: 2",
            "num_output: 2 kernel_size: 2 pad: 3",
            "num_output: 2 kernel_size: 1 stride: 2",
            "num_output: 2 kernel_size: 2 stride: 4 pad: 1",
            "num_output: 2 kernel_size: 3 bias_term: false",
        ),
        resized={"data": (1, 4, 12, 9)},
    ),
    Case(
        "conv_group2",
        given(2, 4, 7, 8) + layer("Convolution", "data", "y", "num_output: 6 kernel_size: 3 group: 2 pad: 1"),
    ),
    Case(
        "conv_depthwise",
        given(1, 4, 7, 8)
        + layer(
            "Convolution",
            "data",
            "y",
            "num_output: 4 kernel_size: 3 group: 4 pad: 1 stride: 2 bias_term: false",
        ),
        resized={"data": (1, 4, 10, 5)},
    ),
    Case(
        "conv_depthwise_multiplier",
        given(1, 3, 7, 8)
        + layer("Convolution", "data", "y", "num_output: 6 kernel_size: 3 group: 3 dilation: 2 pad: 2"),
    ),
    Case(
        "conv_shared_group",
        given(1, 4, 6, 7)
        + given(1, 4, 6, 7, name="b")
        + layer("Convolution", "data b", "y z", "num_output: 2 kernel_size: 3 group: 2"),
    ),
    Case(
        "conv_1d",
        given(2, 3, 17)
        + several(
            "Convolution",
            "num_output: 4 kernel_size: 3 pad: 1 stride: 2",
            "num_output: 4 kernel_size: 5 dilation: 2",
        ),
    ),
    Case(
        "conv_3d",
        given(1, 2, 4, 6, 7)
        + several(
            "Convolution",
            "num_output: 3 kernel_size: 3 pad: 1 stride: 1 stride: 2 stride: 2",
            "num_output: 2 kernel_size: 2 kernel_size: 3 kernel_size: 1 "
            "dilation: 1 dilation: 2 dilation: 1 group: 2",
        ),
    ),
    Case(
        "conv_force_nd",
        given(1, 3, 7, 9)
        + layer("Convolution", "data", "y", "num_output: 4 kernel_size: 3 pad: 1 force_nd_im2col: true"),
    ),
    Case(
        "conv_axis2",
        given(2, 2, 3, 6, 7) + layer("Convolution", "data", "y", "num_output: 4 kernel_size: 3 axis: 2"),
    ),
    Case(
        "conv_axis_negative",
        given(2, 3, 6, 7) + layer("Convolution", "data", "y", "num_output: 4 kernel_size: 3 axis: -3 pad: 1"),
    ),
    Case(
        "conv_axis3_1d",
        given(2, 2, 3, 9) + layer("Convolution", "data", "y", "num_output: 4 kernel_size: 3 axis: 2"),
    ),
    Case("conv_no_spatial", given(3, 5) + layer("Convolution", "data", "y", "num_output: 4")),
    Case(
        "conv_batch3",
        given(3, 2, 5, 6) + layer("Convolution", "data", "y", "num_output: 3 kernel_size: 3 pad: 1"),
    ),
    Case(
        "conv_large_kernel",
        given(1, 2, 6, 7) + layer("Convolution", "data", "y", "num_output: 5 kernel_h: 6 kernel_w: 7"),
    ),
    Case(
        "conv_inputs_pixel_scale",
        given(1, 3, 9, 8)
        + layer("Convolution", "data", "y", "num_output: 8 kernel_size: 7 pad: 3 stride: 2"),
        {"data": ("uniform", -128.0, 128.0)},
    ),
    Case(
        "im2col",
        given(2, 3, 6, 7)
        + several(
            "Im2col",
            "kernel_size: 3",
            "kernel_size: 3 pad: 1 stride: 2",
            "kernel_h: 2 kernel_w: 3 pad_h: 0 pad_w: 1 dilation: 2",
            "kernel_size: 1",
        ),
        resized={"data": (2, 3, 8, 5)},
    ),
    Case("im2col_1d", given(1, 3, 9) + layer("Im2col", "data", "y", "kernel_size: 3 stride: 2")),
    Case(
        "deconv_settings",
        given(1, 4, 5, 6)
        + several(
            "Deconvolution",
            "num_output: 3 kernel_size: 4 stride: 2 pad: 1",
            "num_output: 3 kernel_size: 3 dilation: 2",
            "num_output: 3 kernel_size: 3 stride: 2 dilation: 2 pad: 1",
            "num_output: 3 kernel_h: 2 kernel_w: 5 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 2",
            "num_output: 2 kernel_size: 3 kernel_size: 1 stride: 1 stride: 2 pad: 1 pad: 0",
            "num_output: 2 kernel_size: 2 stride: 4",
            "num_output: 2 kernel_size: 3 dilation: 1 dilation: 3 stride: 3 stride: 2 bias_term: false",
            "num_output: 4 kernel_size: 1",
        ),
        resized={"data": (1, 4, 3, 8)},
    ),
    Case(
        "deconv_group2_multiplier",
        given(2, 4, 4, 5)
        + several(
            "Deconvolution",
            "num_output: 6 kernel_size: 3 stride: 2 group: 2",
            "num_output: 8 kernel_size: 3 group: 4 pad: 1",
            "num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 dilation: 2 bias_term: false",
        ),
    ),
    Case(
        "deconv_bilinear_filler",
        given(1, 3, 5, 6)
        + several(
            "Deconvolution",
            "num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 " + _BILINEAR,
            "num_output: 3 group: 3 kernel_size: 7 stride: 4 " + _BILINEAR,
            "num_output: 3 kernel_size: 4 stride: 2 " + _BILINEAR,
        ),
        edits={("y0", 0): "filler", ("y1", 0): "filler", ("y2", 0): "filler"},
        resized={"data": (1, 3, 4, 9)},
    ),
    Case(
        "deconv_1d",
        given(2, 3, 7) + layer("Deconvolution", "data", "y", "num_output: 2 kernel_size: 4 stride: 2 pad: 1"),
    ),
    Case(
        "deconv_3d",
        given(1, 2, 3, 4, 5)
        + layer(
            "Deconvolution",
            "data",
            "y",
            "num_output: 3 kernel_size: 3 kernel_size: 2 kernel_size: 4 "
            "stride: 1 stride: 2 stride: 2 pad: 1 pad: 0 pad: 1",
        ),
    ),
    Case(
        "deconv_two_tops",
        given(1, 3, 4, 5)
        + given(1, 3, 4, 5, name="b")
        + layer("Deconvolution", "data b", "y z", "num_output: 2 kernel_size: 3 stride: 2"),
    ),
    Case(
        "deconv_axis2",
        given(2, 2, 3, 4, 5)
        + layer("Deconvolution", "data", "y", "num_output: 2 kernel_size: 3 stride: 2 axis: 2"),
    ),
    Case(
        "deconv_no_bias_batch2",
        given(2, 3, 4, 5)
        + layer("Deconvolution", "data", "y", "num_output: 5 kernel_size: 2 stride: 2 bias_term: false"),
    ),
    Case(
        "crop_default",
        given(1, 4, 9, 8) + given(1, 2, 5, 6, name="ref") + layer("Crop", "data ref", "y"),
        resized={"data": (1, 4, 12, 13), "ref": (1, 2, 7, 4)},
    ),
    Case(
        "crop_offset",
        given(2, 4, 9, 10)
        + given(1, 5, 4, 6, name="ref")
        + several(
            "Crop",
            "offset: 3",
            "axis: 2 offset: 5 offset: 1",
            "axis: 3 offset: 2",
            "axis: -1 offset: 4",
            "axis: -2 offset: 0 offset: 3",
            bottoms="data ref",
        ),
        resized={"data": (2, 4, 12, 15), "ref": (1, 5, 7, 9)},
    ),
    Case(
        "crop_axis0",
        given(4, 5, 6, 7)
        + given(2, 3, 4, 5, name="ref")
        + several(
            "Crop",
            "axis: 0 offset: 1",
            "axis: 0 offset: 2 offset: 0 offset: 1 offset: 2",
            "axis: 0",
            bottoms="data ref",
        ),
    ),
    Case(
        "crop_channels",
        given(1, 6, 7, 8)
        + given(1, 3, 4, 5, name="ref")
        + several(
            "Crop",
            "axis: 1 offset: 2",
            "axis: 1 offset: 3 offset: 1 offset: 0",
            "axis: -3 offset: 1",
            bottoms="data ref",
        ),
    ),
    Case(
        "crop_2d",
        given(5, 7)
        + given(3, 4, name="ref")
        + several("Crop", "axis: 0 offset: 1 offset: 2", "axis: 1 offset: 3", bottoms="data ref"),
    ),
    Case(
        "crop_5d",
        given(1, 2, 4, 5, 6)
        + given(1, 2, 2, 3, 4, name="ref")
        + layer("Crop", "data ref", "y", "axis: 2 offset: 1 offset: 2 offset: 0"),
    ),
    Case(
        "crop_to_input",
        given(1, 2, 6, 7)
        + layer("Convolution", "data", "c", "num_output: 3 kernel_size: 1 pad: 4")
        + layer("Crop", "c data", "y", "axis: 2 offset: 3"),
        resized={"data": (1, 2, 9, 5)},
    ),
    Case(
        "ip_settings",
        given(2, 3, 4, 5)
        + several(
            "InnerProduct",
            "num_output: 4",
            "num_output: 4 bias_term: false",
            "num_output: 4 transpose: true",
            "num_output: 6 axis: 2",
            "num_output: 6 axis: -1",
            "num_output: 3 axis: 2 transpose: true bias_term: false",
            "num_output: 3 axis: 0",
        ),
    ),
    Case(
        "ip_2d",
        given(3, 7)
        + several(
            "InnerProduct",
            "num_output: 4",
            "num_output: 4 axis: 1 transpose: true",
            "num_output: 5 axis: -1 bias_term: false",
        ),
    ),
    Case("ip_1d", given(7) + layer("InnerProduct", "data", "y", "num_output: 4 axis: 0")),
    Case(
        "ip_chain",
        given(2, 3, 4, 4)
        + layer("InnerProduct", "data", "h", "num_output: 6")
        + layer("ReLU", "h", "h", name="relu")
        + layer("InnerProduct", "h", "y", "num_output: 3"),
    ),
    Case(
        "ip_to_conv",
        given(1, 3, 2, 2)
        + layer("InnerProduct", "data", "h", "num_output: 24")
        + layer("Reshape", "h", "r", "shape { dim: 0 dim: 6 dim: 2 dim: 2 }")
        + layer("Deconvolution", "r", "y", "num_output: 3 kernel_size: 4 stride: 2 pad: 1"),
    ),
]


def _pooling_grid(pool: str, *, gaps: bool) -> str:
    """Every kernel 1..3 x stride 1..3 x pad 0..1 (smaller than the kernel) on 5 x 6 and 7 x 8 inputs.

    `gaps`: those with a kernel smaller than the stride, else the others. With gaps a window may begin
    beyond the input: Caffe then leaves -FLT_MAX (MAX) or divides by zero (AVE).
    """
    text = given(1, 2, 5, 6, name="small") + given(1, 2, 7, 8, name="large")
    for source in ("small", "large"):
        for k in (1, 2, 3):
            for s in (1, 2, 3):
                for p in range(min(k, 2)) if (k < s) == gaps else ():
                    setting = f"pool: {pool} kernel_size: {k} stride: {s} pad: {p}"
                    text += layer("Pooling", source, f"{source}_k{k}s{s}p{p}", setting)
    return text


_POOL_SHAPES = (
    "kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1",
    "kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0",
    "kernel_h: 1 kernel_w: 4 stride_h: 1 stride_w: 3 pad_h: 0 pad_w: 2",
    "kernel_size: 5 stride: 2 pad: 2",
    "kernel_size: 5 stride: 3 pad: 4",
    "kernel_size: 4 stride: 4 pad: 1",
    "kernel_size: 3 stride: 2 round_mode: FLOOR",
    "kernel_size: 2 stride: 2 pad: 1 round_mode: FLOOR",
)
_POOL_GAPS = (
    "kernel_size: 2 stride: 3",
    "kernel_size: 3 stride: 5",
    "kernel_h: 3 kernel_w: 1 stride: 2 pad_h: 1 pad_w: 0",
)
_POOL_MASKS = (
    "kernel_size: 2 stride: 2",
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 3 stride: 1",
    "kernel_size: 2 stride: 2 pad: 1",
    "kernel_h: 1 kernel_w: 3 stride: 3",
)

POOLING: list[Case] = [
    *(
        Case(
            f"pool_grid_{pool.lower()}{'_gaps' if gaps else ''}",
            _pooling_grid(pool, gaps=gaps),
            {"small": ("normal", 2.0, 1.0), "large": ("normal", 2.0, 1.0)},
            resized={"small": (1, 2, 6, 7), "large": (1, 2, 8, 5)},
        )
        for pool in ("MAX", "AVE")
        for gaps in (False, True)
    ),
    Case(
        "pool_max_negative_padded",
        given(1, 2, 5, 6)
        + several(
            "Pooling",
            "pool: MAX kernel_size: 3 stride: 2 pad: 1",
            "pool: MAX kernel_size: 2 stride: 1 pad: 1",
        ),
        {"data": ("uniform", -9.0, -1.0)},
    ),
    *(
        Case(
            f"pool_{name}_{pool.lower()}",
            given(1, 2, 11, 14) + several("Pooling", *(f"pool: {pool} {shape}" for shape in shapes)),
            {"data": ("normal", 2.0, 1.0)},
            resized={"data": (1, 2, 10, 13)},
        )
        for pool in ("MAX", "AVE")
        for name, shapes in (("shapes", _POOL_SHAPES), ("gaps", _POOL_GAPS))
    ),
    Case(
        "pool_global",
        given(2, 3, 5, 7)
        + several(
            "Pooling",
            "pool: MAX global_pooling: true",
            "pool: AVE global_pooling: true",
            "pool: AVE kernel_h: 5 kernel_w: 7",
            "pool: AVE global_pooling: true stride: 1",
        ),
    ),
    Case(
        "pool_global_resized",
        given(2, 3, 5, 7)
        + several("Pooling", "pool: MAX global_pooling: true", "pool: AVE global_pooling: true"),
        resized={"data": (2, 3, 8, 4)},
    ),
    Case(
        "pool_ave_kernel_over_input",
        given(1, 2, 3, 4)
        + several(
            "Pooling",
            "pool: AVE kernel_size: 5 stride: 2 pad: 2",
            "pool: MAX kernel_size: 5 stride: 2 pad: 2",
            "pool: AVE kernel_size: 4 stride: 3 pad: 3",
        ),
        {"data": ("normal", 2.0, 1.0)},
    ),
    Case("pool_default_is_max", D + layer("Pooling", "data", "y", "kernel_size: 2")),
    Case(
        "pool_mask_settings",
        given(2, 2, 7, 8)
        + "".join(
            layer("Pooling", "data", f"y{i} mask{i}", f"pool: MAX {p}") for i, p in enumerate(_POOL_MASKS)
        ),
        resized={"data": (2, 2, 9, 6)},
    ),
    Case(
        "pool_mask_ties",
        given(1, 1, 6, 8) + layer("Pooling", "data", "y mask", "pool: MAX kernel_size: 3 stride: 2 pad: 1"),
        {"data": ("integers", 0, 3)},
    ),
    Case(
        "pool_mask_unused",
        D
        + layer("Pooling", "data", "p mask", "kernel_size: 2 stride: 2")
        + layer("Silence", "mask", "", name="quiet")
        + layer("ReLU", "p", "y"),
        outputs=("y",),
    ),
    Case(
        "pool_stochastic",
        D + layer("Pooling", "data", "y", "pool: STOCHASTIC kernel_size: 3 stride: 2"),
        {"data": ("uniform", 0.0, 3.0)},
    ),
    Case(
        "pool_then_lrn_alexnet",
        given(1, 6, 9, 10)
        + layer("Pooling", "data", "p", "pool: MAX kernel_size: 3 stride: 2")
        + layer("LRN", "p", "y", "local_size: 5 alpha: 0.01 beta: 0.75"),
        {"data": ("normal", 0.0, 40.0)},
    ),
    Case(
        "spp_max",
        given(1, 3, 13, 10)
        + several("SPP", "pyramid_height: 1", "pyramid_height: 2 pool: MAX", "pyramid_height: 3"),
    ),
    Case(
        "spp_ave",
        given(2, 2, 11, 14)
        + several(
            "SPP", "pyramid_height: 1 pool: AVE", "pyramid_height: 2 pool: AVE", "pyramid_height: 3 pool: AVE"
        ),
        {"data": ("normal", 2.0, 1.0)},
    ),
    Case("spp_max_4", given(1, 2, 16, 23) + layer("SPP", "data", "y", "pyramid_height: 4")),
    Case(
        "spp_then_ip",
        given(2, 3, 13, 10)
        + layer("SPP", "data", "s", "pyramid_height: 3")
        + layer("InnerProduct", "s", "y", "num_output: 4"),
    ),
    Case(
        "pool_clip_then_ip",
        given(2, 3, 5, 8)
        + layer("Pooling", "data", "a", "pool: MAX kernel_size: 2 stride: 2 pad: 1")
        + layer("Pooling", "data", "b", "pool: AVE kernel_size: 2 stride: 2 pad: 1")
        + layer("Pooling", "data", "c mask", "pool: MAX kernel_size: 2 stride: 3 pad: 1")
        + layer("InnerProduct", "a", "ya", "num_output: 4")
        + layer("InnerProduct", "b", "yb", "num_output: 4")
        + layer("InnerProduct", "c", "yc", "num_output: 4")
        + layer("Eltwise", "a b", "sum"),
        outputs=("ya", "yb", "yc", "sum", "mask"),
    ),
    Case(
        "spp_resized",
        given(1, 2, 12, 14) + several("SPP", "pyramid_height: 3", "pyramid_height: 2 pool: AVE"),
        {"data": ("normal", 2.0, 1.0)},
        resized={"data": (1, 2, 9, 16)},
    ),
]

_SEQUENCE = given(5, 2, 4, name="x") + given(5, 2, name="cont")
_CONT = ("values", 0, 0, 1, 1, 1, 0, 0, 1, 1, 1)
_HIDDEN = given(1, 2, 3, name="h0")

RECURRENT: list[Case] = [
    Case("lstm", _SEQUENCE + layer("LSTM", "x cont", "y", "num_output: 3"), {"cont": _CONT}),
    Case(
        "lstm_static",
        _SEQUENCE + given(2, 3, name="s") + layer("LSTM", "x cont s", "y", "num_output: 3"),
        {"cont": _CONT},
    ),
    Case(
        "lstm_4d",
        given(3, 2, 2, 3, name="x")
        + given(3, 2, name="cont")
        + layer("LSTM", "x cont", "y", "num_output: 4"),
        {"cont": ("values", 0, 1, 1, 0, 1, 1)},
    ),
    Case(
        "lstm_long",
        given(20, 1, 3, name="x") + given(20, 1, name="cont") + layer("LSTM", "x cont", "y", "num_output: 5"),
        {"cont": ("values", 0, *([1] * 19))},
    ),
    Case(
        "lstm_fractional_cont",
        _SEQUENCE + layer("LSTM", "x cont", "y", "num_output: 3"),
        {"cont": ("uniform", 0.0, 1.0)},
    ),
    Case(
        "lstm_expose_hidden",
        _SEQUENCE
        + _HIDDEN
        + given(1, 2, 3, name="c0")
        + layer("LSTM", "x cont h0 c0", "y hT cT", "num_output: 3 expose_hidden: true"),
        {"cont": ("values", 1, 0, 1, 1, 1, 0, 0, 1, 1, 1)},
    ),
    Case(
        "lstm_stacked",
        _SEQUENCE
        + layer("LSTM", "x cont", "l1", "num_output: 3")
        + layer("LSTM", "l1 cont", "l2", "num_output: 4")
        + layer("InnerProduct", "l2", "y", "num_output: 5 axis: 2"),
        {"cont": _CONT},
    ),
    Case(
        "lstm_bidirectional",
        given(5, 1, 4, name="x")
        + given(5, 1, name="cont")
        + layer("LSTM", "x cont", "fwd", "num_output: 3")
        + layer("Reverse", "x", "rx")
        + layer("LSTM", "rx cont", "rb", "num_output: 3")
        + layer("Reverse", "rb", "bwd")
        + layer("Concat", "fwd bwd", "y", "axis: 2"),
        {"cont": ("values", 0, 1, 1, 1, 1)},
    ),
    Case(
        "lstm_unit",
        given(1, 2, 3, name="c0")
        + given(1, 2, 12, name="gates")
        + given(1, 2, name="cont")
        + layer("LSTMUnit", "c0 gates cont", "c h"),
        {"cont": ("values", 1, 0)},
    ),
    Case("rnn", _SEQUENCE + layer("RNN", "x cont", "y", "num_output: 3"), {"cont": _CONT}),
    Case(
        "rnn_static",
        _SEQUENCE + given(2, 3, name="s") + layer("RNN", "x cont s", "y", "num_output: 3"),
        {"cont": _CONT},
    ),
    Case(
        "rnn_expose_hidden",
        _SEQUENCE + _HIDDEN + layer("RNN", "x cont h0", "y hT", "num_output: 3 expose_hidden: true"),
        {"cont": ("values", 1, 0, 1, 1, 1, 0, 0, 1, 1, 1)},
    ),
    Case(
        "continuation_indicator",
        layer("ContinuationIndicator", "", "cont", "time_step: 5 batch_size: 2")
        + given(5, 2, 4, name="x")
        + layer("LSTM", "x cont", "y", "num_output: 3"),
        outputs=("y",),
    ),
]

# What Caffe itself ends the process at (the reasons stand in make_fixtures.REFUSED).
REFUSED: list[Case] = [
    Case("bn_1d", given(7) + layer("BatchNorm", "data", "y")),
    Case(
        "conv_two_shapes",
        given(1, 4, 6, 7)
        + given(1, 4, 8, 5, name="b")
        + layer("Convolution", "data b", "y z", "num_output: 2 kernel_size: 3"),
    ),
    Case("spp_pad_over_kernel", given(1, 2, 17, 23) + layer("SPP", "data", "y", "pyramid_height: 4")),
]

LAYERS: list[Case] = POINTWISE + COMBINING + SCALING + CONVOLUTION + POOLING + RECURRENT + REFUSED
