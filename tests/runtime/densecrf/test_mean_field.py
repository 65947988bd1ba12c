from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from runtime.densecrf import (
    PUBLISHED,
    CrfParameters,
    DenseCrf,
    KernelSet,
    log_softmax,
    parse_parameters,
    published,
)
from tests.runtime.densecrf.exact import exact_mean_field
from tests.runtime.densecrf.make_fixture import FIXTURE, by_pydensecrf, synthetic
from weights.errors import UsageError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["deeplab", "deeplab-largefov", "refine-pascal"])
def test_labels_are_those_of_the_exact_sum_over_all_pairs(name: str, seed: int) -> None:
    picture, log_p = synthetic(22, 26, 4, seed, noise=1)
    exact = exact_mean_field(picture, log_p, PUBLISHED[name])
    q = DenseCrf(picture, PUBLISHED[name]).infer(log_p)
    assert (q.argmax(axis=0) != exact.argmax(axis=0)).sum() == 0
    assert (q.argmax(axis=0) != log_p.argmax(axis=0)).mean() > 0.1
    assert np.abs(q - exact).mean() < 3e-4


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_labels_are_those_of_pydensecrf_at_all_published_parameters(name: str) -> None:
    fixture = np.load(FIXTURE)
    log_p = log_softmax(fixture["log_p"].astype(np.float32))
    q = DenseCrf(fixture["picture"], PUBLISHED[name]).infer(log_p)
    assert (q.argmax(axis=0) != fixture[f"labels {name}"]).sum() == 0
    assert np.abs(q[1] - fixture[f"q {name}"]).max() < 1e-3  # the fixture's own rounding to float16


def test_the_crf_changes_labels_at_all() -> None:
    fixture = np.load(FIXTURE)
    assert (fixture["log_p"].argmax(axis=0) != fixture["labels deeplab"]).mean() > 0.1


def test_a_larger_picture_against_pydensecrf() -> None:
    pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf has no wheels; the fixture covers it")
    picture, log_p = synthetic(120, 161, 21, 7)
    for parameters in PUBLISHED.values():
        expected = by_pydensecrf(picture, log_p, parameters)
        q = DenseCrf(picture, parameters).infer(log_p)
        assert (q.argmax(axis=0) != expected.argmax(axis=0)).sum() == 0


def test_the_seven_variants_of_deeplab_have_their_published_parameters() -> None:
    table = {name: (p.bi_w, p.bi_x_std, p.bi_r_std) for name, p in PUBLISHED.items() if "deeplab" in name}
    assert table == {
        "deeplab": (5, 50, 10),
        "deeplab-msc": (3, 95, 3),
        "deeplab-coco": (5, 67, 3),
        "deeplab-largefov": (4, 121, 5),
        "deeplab-msc-largefov": (4, 83, 5),
        "deeplab-coco-largefov": (5, 69, 5),
        "deeplab-msc-coco-largefov": (4, 59, 5),
    }
    assert all((p.iterations, p.pos_w, p.pos_x_std, p.pos_y_std) == (10, 3, 3, 3) for p in PUBLISHED.values())
    with pytest.raises(UsageError, match="deeplab-largefov"):
        published("largefov")


@pytest.mark.parametrize("weights", [(3.0, 5.0), (0.0, 5.0), (3.0, 0.0), (60.0, 60.0)])
def test_q_is_a_probability_and_steps_give_every_iteration(weights: tuple[float, float]) -> None:
    picture, log_p = synthetic(15, 11, 3)
    parameters = replace(CrfParameters(), pos_w=weights[0], bi_w=weights[1], iterations=3)
    crf = DenseCrf(picture, parameters)
    steps = list(islice(crf.steps(log_p), 4))
    assert np.allclose(steps[0], np.exp(log_p), atol=1e-6)
    assert all(np.allclose(q.sum(axis=0), 1, atol=1e-5) for q in steps)
    assert np.array_equal(steps[3], crf.infer(log_p))
    assert not np.array_equal(steps[1], steps[2])  # each is an array of its own


def test_weights_of_zero_leave_the_net_s_own_probabilities() -> None:
    picture, log_p = synthetic(9, 9, 3)
    q = DenseCrf(picture, replace(CrfParameters(), pos_w=0, bi_w=0)).infer(log_p)
    assert np.allclose(q, np.exp(log_p), atol=1e-6)


def test_a_constant_per_pixel_changes_nothing_and_a_start_is_where_it_begins() -> None:
    picture, log_p = synthetic(14, 13, 3)
    crf = DenseCrf(picture, CrfParameters(iterations=2))
    shifted = log_p + np.linspace(-5, 5, 14 * 13, dtype=np.float32).reshape(14, 13)
    assert np.allclose(crf.infer(shifted), crf.infer(log_p), atol=1e-5)
    after_two = crf.infer(log_p)
    assert np.allclose(crf.infer(log_p, after_two), list(islice(crf.steps(log_p), 5))[4], atol=1e-5)


def test_a_layer_s_kernels_and_shared_lattices_give_the_same() -> None:
    picture, log_p = synthetic(14, 13, 3)
    layer = {
        "max_iter": 4,
        "pos_w": [3],
        "pos_xy_std": [2],
        "bi_w": [5],
        "bi_xy_std": [30],
        "bi_rgb_std": [9],
    }
    parameters = CrfParameters.of(5, 30, 9, 3, 2, 4)
    q = DenseCrf(picture, parameters).infer(log_p)
    assert np.array_equal(DenseCrf(picture, KernelSet.of_layer(layer)).infer(log_p), q)
    split = {**layer, "bi_w": [2, 3], "bi_xy_std": [30, 30], "bi_rgb_std": [9, 9]}
    assert np.allclose(DenseCrf(picture, KernelSet.of_layer(split)).infer(log_p), q, atol=1e-4)
    lattices: dict = {}
    DenseCrf(picture, replace(parameters, bi_w=1), lattices)
    assert len(lattices) == 2
    assert np.array_equal(DenseCrf(picture, parameters, lattices).infer(log_p), q)
    assert len(lattices) == 2


def test_an_impossible_class_stays_impossible() -> None:
    picture, log_p = synthetic(12, 12, 3)
    log_p[2] = -np.inf
    q = DenseCrf(picture, CrfParameters()).infer(log_p)
    assert q[2].max() == 0 and np.isfinite(q).all()


def test_what_does_not_fit_is_refused_with_the_shape_that_would() -> None:
    picture, log_p = synthetic(8, 10, 3)
    crf = DenseCrf(picture, CrfParameters())
    with pytest.raises(UsageError, match=r"3 x 8 x 9.*classes x 8 x 10"):
        crf.infer(log_p[:, :, :9])
    with pytest.raises(UsageError, match=r"2 x 8 x 10.*3 x 8 x 10"):
        crf.infer(log_p, np.exp(log_p[:2]))
    with pytest.raises(UsageError, match="NaN"):
        crf.infer(np.where(log_p > log_p.mean(), np.nan, log_p).astype(np.float32))
    with pytest.raises(UsageError, match="uint8"):
        DenseCrf(picture.astype(np.float32), CrfParameters())


def test_parameters_as_text_and_back() -> None:
    assert parse_parameters("deeplab-largefov") == PUBLISHED["deeplab-largefov"]
    assert parse_parameters("bi_w=4,bi_xy_std=121,bi_rgb_std=5") == PUBLISHED["deeplab-largefov"]
    one_way = replace(CrfParameters(), bi_y_std=7, iterations=3)
    for parameters in (*PUBLISHED.values(), one_way):
        assert parse_parameters(parameters.text()) == parameters
    assert "bi_y_std=7" in one_way.text() and "pos_xy_std=3" in one_way.text()
    for bad in ("bi_w=x", "bi=4", "largefov", "bi_w=-1"):
        with pytest.raises(UsageError, match="CRF"):
            parse_parameters(bad)


@pytest.mark.parametrize(
    "change", [{"bi_r_std": 0}, {"pos_w": -1}, {"bi_w": np.inf}, {"iterations": 2.5}, {"iterations": 10**6}]
)
def test_parameters_out_of_range_are_named(change: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(change)).split("_")[0]):
        CrfParameters(**change)
