"""Upsampling kernels, group standardisation of Deconvolution and net surgery."""

from __future__ import annotations

import numpy as np
import pytest

import weights
from weights.errors import ShapeError, WeightsError


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("k", [1, 4, 5, 16, 32, 64])
def test_filler_equals_surgery_where_it_should(k: int) -> None:
    np.testing.assert_allclose(weights.bilinear_filler(k), weights.upsample_filt(k), atol=1e-6)


def test_filler_of_caffe_1_0_is_off_centre() -> None:
    line = np.array([0.25, 0.75, 0.75])
    np.testing.assert_array_equal(weights.bilinear_filler(3), np.outer(line, line))
    np.testing.assert_array_equal(
        weights.upsample_filt(3), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]).astype(np.float32)
    )
    # Along one axis k = 63 sums to 31.984 instead of 32.
    assert np.sqrt(weights.bilinear_filler(63).sum()) == pytest.approx(31.984375)
    assert np.sqrt(weights.upsample_filt(63).sum()) == pytest.approx(32)


@pytest.mark.parametrize("k", range(1, 70))
def test_corrected_filler_equals_surgery(k: int) -> None:
    np.testing.assert_allclose(
        weights.bilinear_filler(k, corrected=True), weights.upsample_filt(k), atol=1e-6
    )


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_a_ramp_gives_a_ramp(factor: int) -> None:
    kernel = weights.upsample_filt(2 * factor)
    out = np.zeros(factor * 11)
    for x in range(10):
        out[x * factor : x * factor + 2 * factor] += x * kernel.sum(0) / factor
    inner = out[2 * factor : -2 * factor]
    np.testing.assert_allclose(np.diff(inner), 1 / factor, rtol=1e-5)


def test_kernel_sizes() -> None:
    with pytest.raises(WeightsError, match="size 0"):
        weights.bilinear_filler(0)
    with pytest.raises(WeightsError, match="size -1"):
        weights.upsample_filt(-1)


def test_is_bilinear() -> None:
    kernel = weights.upsample_filt(4)
    grouped = np.broadcast_to(kernel, (3, 1, 4, 4))
    dense = np.zeros((3, 3, 4, 4), np.float32)
    dense[range(3), range(3)] = kernel
    assert weights.is_bilinear(grouped) and weights.is_bilinear(dense)
    assert weights.is_bilinear(np.broadcast_to(weights.bilinear_filler(63), (2, 1, 63, 63)))
    assert not weights.is_bilinear(grouped * 2)
    assert not weights.is_bilinear(np.zeros((3, 1, 4, 4), np.float32))
    assert not weights.is_bilinear(np.full((3, 1, 4, 4), np.nan, np.float32))
    missing = dense.copy()
    missing[1, 1] = 0
    assert not weights.is_bilinear(missing)
    changed = grouped.copy()
    changed[2, 0, 1, 1] += 1e-3
    assert not weights.is_bilinear(changed)
    assert not weights.is_bilinear(np.ones((3, 1, 2, 3), np.float32))
    assert not weights.is_bilinear(np.ones(4, np.float32))


def _deconvolve(x: np.ndarray, weight: np.ndarray, group: int) -> np.ndarray:
    """Stride 1, no padding, one image: the definition, one product at a time."""
    inside, per_group = weight.shape[0] // group, weight.shape[1]
    height, width = weight.shape[2:]
    out = np.zeros((per_group * group, x.shape[1] + height - 1, x.shape[2] + width - 1))
    for i in range(weight.shape[0]):
        for o in range(per_group):
            for u in range(height):
                for v in range(width):
                    target = out[i // inside * per_group + o]
                    target[u : u + x.shape[1], v : v + x.shape[2]] += x[i] * weight[i, o, u, v]
    return out


def _diagonal(weight: np.ndarray) -> np.ndarray:
    full = np.zeros((len(weight), len(weight), *weight.shape[2:]), np.float32)
    full[range(len(weight)), range(len(weight))] = weight[:, 0]
    return full


def test_a_grouped_as_it_is() -> None:
    weight = _random(3, 1, 4, 4)
    done = weights.standardise(weight, group=3, channels_in=3, num_output=3)
    assert done.weight is weight and done.group == 3 and done.warning is None
    assert "grouped as in the prototxt" in done.rule


def test_b_dense_diagonal_runs_in_groups() -> None:
    weight = _random(3, 1, 4, 4)
    done = weights.standardise(_diagonal(weight), group=1, channels_in=3, num_output=3)
    np.testing.assert_array_equal(done.weight, weight, strict=True)
    assert done.group == 3 and done.warning is None and "run as 3 groups" in done.rule
    x = _random(3, 5, 6)
    np.testing.assert_allclose(
        _deconvolve(x, done.weight, 3), _deconvolve(x, _diagonal(weight), 1), rtol=1e-6, atol=1e-6
    )


def test_b_dense_stays_dense() -> None:
    for weight in (_random(3, 3, 4, 4), _random(3, 5, 2, 2), _random(1, 1, 4, 4)):
        done = weights.standardise(weight, group=1, channels_in=weight.shape[0], num_output=weight.shape[1])
        assert done.weight is weight and done.group == 1 and done.rule == "dense as in the prototxt"
    almost = _diagonal(_random(3, 1, 2, 2))
    for value in (1e-30, np.nan):
        almost[2, 0, 1, 1] = value
        assert weights.standardise(almost, group=1, channels_in=3, num_output=3).group == 1


def test_c_dense_weight_of_a_grouped_layer() -> None:
    weight = _random(3, 1, 4, 4)
    done = weights.standardise(_diagonal(weight), group=3, channels_in=3, num_output=3)
    np.testing.assert_array_equal(done.weight, weight, strict=True)
    assert done.group == 3 and "diagonal taken" in done.rule and "diagonal was taken" in str(done.warning)


def test_c_blocks_of_several_channels() -> None:
    grouped = _random(4, 3, 2, 2)
    dense = np.zeros((4, 6, 2, 2), np.float32)
    dense[:2, :3], dense[2:, 3:] = grouped[:2], grouped[2:]
    done = weights.standardise(dense, group=2, channels_in=4, num_output=6)
    np.testing.assert_array_equal(done.weight, grouped, strict=True)
    x = _random(4, 3, 3)
    np.testing.assert_allclose(_deconvolve(x, done.weight, 2), _deconvolve(x, dense, 1), rtol=1e-6, atol=1e-6)


def test_c_numbers_beside_the_diagonal_are_an_error() -> None:
    weight = _diagonal(_random(3, 1, 4, 4))
    weight[0, 2, 3, 3] = 1e-20
    with pytest.raises(WeightsError, match=r"beside the diagonal; found shape 3x3x4x4; expected zeros there"):
        weights.standardise(weight, group=3, channels_in=3, num_output=3)


def test_d_grouped_weight_of_a_dense_layer() -> None:
    weight = _random(3, 1, 4, 4)
    done = weights.standardise(weight, group=1, channels_in=3, num_output=3)
    np.testing.assert_array_equal(done.weight, _diagonal(weight), strict=True)
    assert done.group == 1 and "put on the diagonal" in done.rule and "without groups" in str(done.warning)


@pytest.mark.parametrize(
    ("shape", "group"), [((3, 2, 4, 4), 1), ((2, 1, 4, 4), 3), ((3, 2, 4, 4), 3), ((9,), 3)]
)
def test_other_shapes_are_an_error(shape: tuple[int, ...], group: int) -> None:
    with pytest.raises(WeightsError, match="wrong shape; found shape"):
        weights.standardise(_random(*shape), group=group, channels_in=3, num_output=3)


def test_group_must_divide() -> None:
    for group in (0, 2):
        with pytest.raises(ShapeError, match=f"group {group}"):
            weights.standardise(_random(3, 3, 1, 1), group=group, channels_in=3, num_output=3)


def test_transplant_fully_connected_to_convolution() -> None:
    full, bias = _random(8, 12), _random(8)
    old = {"fc6": (full, bias), "fc8": (_random(2, 8),), "conv1": (_random(3, 3, 2, 2), _random(3))}
    new = {
        "fc6": (np.zeros((8, 3, 2, 2), np.float32), np.zeros(8, np.float32)),
        "conv1": (np.zeros((3, 3, 2, 2), np.float32),),
        "score": (_random(5, 8, 1, 1),),
    }
    made, report = weights.transplant(new, old)
    x = _random(3, 2, 2)
    np.testing.assert_allclose(
        (made["fc6"][0] * x).sum((1, 2, 3)), full @ x.reshape(-1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(made["fc6"][1], bias)
    assert made["score"] is new["score"] and not new["fc6"][0].any()
    assert [(move.source, move.index) for move in report.copied] == [("fc6", 1), ("conv1", 0)]
    assert [str(move) for move in report.coerced] == ["fc6[0] 8x12 -> fc6 8x3x2x2"]
    assert [str(move) for move in report.dropped] == ["fc8[0] 2x8 dropped", "conv1[1] 3 dropped"]


def test_transplant_with_a_suffix() -> None:
    old = {"conv1": (_random(2, 2),)}
    made, report = weights.transplant({"conv1_d": (np.zeros((2, 2), np.float32),)}, old, "_d")
    np.testing.assert_array_equal(made["conv1_d"][0], old["conv1"][0])
    assert report.copied[0].target == "conv1_d"


def test_transplant_counts_must_agree() -> None:
    with pytest.raises(WeightsError, match=r'found 2x3; expected 2x2 in layer "a"'):
        weights.transplant({"a": (_random(2, 2),)}, {"a": (_random(2, 3),)})


def test_interp() -> None:
    kernel = weights.upsample_filt(4)
    blobs = {
        "g": (_random(3, 1, 4, 4),),
        "d": (np.zeros((3, 3, 4, 4), np.float32), _random(3)),
        "x": (_random(2),),
    }
    made = weights.interp(blobs, ["g", "d"])
    assert all((made["g"][0][i, 0] == kernel).all() for i in range(3))
    for i in range(3):
        for j in range(3):
            np.testing.assert_array_equal(made["d"][0][i, j], kernel if i == j else 0)
    assert made["d"][1] is blobs["d"][1] and made["x"] is blobs["x"]
    assert not blobs["d"][0].any()
    for wrong in (_random(3, 2, 4, 4), _random(3, 3, 4, 5), _random(3, 3)):
        with pytest.raises(WeightsError, match="no weight for upsampling"):
            weights.interp({"w": (wrong,)}, ["w"])
    with pytest.raises(WeightsError, match="no weights for it"):
        weights.interp({}, ["w"])


def test_expand_score() -> None:
    old = {"score": (_random(3, 4, 1, 1), _random(3))}
    new = {"score_x": (_random(5, 4, 1, 1), _random(5)), "other": (_random(1),)}
    made, report = weights.expand_score(new, "score_x", old, "score")
    for index in (0, 1):
        np.testing.assert_array_equal(made["score_x"][index][:3], old["score"][index])
        np.testing.assert_array_equal(made["score_x"][index][3:], new["score_x"][index][3:])
    assert made["other"] is new["other"] and len(report.copied) == 2


def test_expand_score_with_an_old_bias() -> None:
    old = {"score": (_random(3, 4, 1, 1), _random(1, 1, 1, 3))}
    made, _ = weights.expand_score({"s": (_random(5, 4, 1, 1), _random(5))}, "s", old, "score")
    np.testing.assert_array_equal(made["s"][1][:3], old["score"][1].reshape(-1))
    with pytest.raises(WeightsError, match="does not fit"):
        weights.expand_score({"s": (_random(2, 4, 1, 1), _random(2))}, "s", old, "score")
    with pytest.raises(WeightsError, match="does not fit"):
        weights.expand_score({"s": (_random(5, 6, 1, 1), _random(5))}, "s", old, "score")
