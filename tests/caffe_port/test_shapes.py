"""Shape formulas against brute force, and what follows the frame size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from caffe_port.shapes import canonical_axis, infer_shapes, measure
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import ShapeError

PATIENT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
sizes = st.integers(1, 12)


def shape_of(folder: Path, kind: str, bottom: tuple[int, ...], param: str) -> tuple[int, ...]:
    return infer_shapes(read_text(one_layer(kind, {"x": bottom}, param), folder))["y"]


@PATIENT
@given(n=sizes, k=st.integers(1, 5), s=st.integers(1, 4), p=st.integers(0, 3), d=st.integers(1, 3))
def test_convolution_is_every_place_the_kernel_fits(
    tmp_path: Path, n: int, k: int, s: int, p: int, d: int
) -> None:
    reach = d * (k - 1)
    places = [start for start in range(-p, n + p, s) if start + reach <= n + p - 1]
    assume(places)
    param = f"convolution_param {{ num_output: 1 kernel_size: {k} stride: {s} pad: {p} dilation: {d} }}"
    assert shape_of(tmp_path, "Convolution", (1, 1, n, n), param) == (1, 1, len(places), len(places))


@PATIENT
@given(n=sizes, k=st.integers(1, 5), s=st.integers(1, 4), p=st.integers(0, 2), d=st.integers(1, 3))
def test_deconvolution_turns_convolution_round(
    tmp_path: Path, n: int, k: int, s: int, p: int, d: int
) -> None:
    """The largest picture that a convolution of the same geometry maps to n is n's deconvolution + s - 1."""
    param = f"convolution_param {{ num_output: 1 kernel_size: {k} stride: {s} pad: {p} dilation: {d} }}"
    larger = s * (n - 1) + d * (k - 1) + 1 - 2 * p
    assume(larger >= 1)
    assert shape_of(tmp_path, "Deconvolution", (1, 1, n, n), param) == (1, 1, larger, larger)
    assert shape_of(tmp_path, "Convolution", (1, 1, larger, larger), param) == (1, 1, n, n)


@PATIENT
@given(
    n=st.integers(2, 14), k=st.integers(1, 5), s=st.integers(1, 4), p=st.integers(0, 4),
    ceil=st.booleans(), method=st.sampled_from(["MAX", "AVE"]),
)  # fmt: skip
def test_pooling_runs_at_the_size_the_formula_says(
    tmp_path: Path, n: int, k: int, s: int, p: int, ceil: bool, method: str
) -> None:
    """Also compares with windows counted one by one (pooling_layer.cpp)."""
    assume(p < k <= n + 2 * p)
    param = f"pool: {method} kernel_size: {k} stride: {s} pad: {p}" + ("" if ceil else " round_mode: FLOOR")
    net = read_text(one_layer("Pooling", {"x": (1, 1, n, n)}, f"pooling_param {{ {param} }}"), tmp_path)
    x = noise(1, 1, n, n)
    with np.errstate(all="ignore"):
        y = run(net, {"x": x})["y"][0, 0]
    count = (-(-(n + 2 * p - k) // s) if ceil else (n + 2 * p - k) // s) + 1
    if p and (count - 1) * s >= n + p:
        count -= 1
    assert y.shape == (count, count)
    for i in range(count):
        for j in range(count):
            tops = [max(a * s - p, 0) for a in (i, j)]
            ends = [min(a * s - p + k, n + p) for a in (i, j)]
            window = x[0, 0, tops[0] : min(ends[0], n), tops[1] : min(ends[1], n)]
            if not window.size:
                assert not np.isfinite(y[i, j]) or y[i, j] == 0 or y[i, j] < -3e38
            elif method == "MAX":
                assert y[i, j] == window.max()
            else:
                area = (ends[0] - (i * s - p)) * (ends[1] - (j * s - p))
                assert y[i, j] == pytest.approx(window.sum() / area, rel=1e-4, abs=1e-5)


@given(axis=st.integers(-9, 9), rank=st.integers(1, 6))
def test_canonical_axis(axis: int, rank: int) -> None:
    if -rank <= axis < rank:
        assert list(range(rank))[axis] == canonical_axis(axis, rank)
    else:
        with pytest.raises(ShapeError, match=f"axis out of range; found {axis}"):
            canonical_axis(axis, rank)


@PATIENT
@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=5), data=st.data())
def test_reshape_is_numpys(tmp_path: Path, dims: list[int], data: st.DataObject) -> None:
    """Random splits of the elements, some dimensions written as 0 (copied) or -1 (inferred)."""
    total = int(np.prod(dims))
    wanted = []
    while total > 1:
        wanted.append(data.draw(st.sampled_from([f for f in range(2, total + 1) if total % f == 0])))
        total //= wanted[-1]
    wanted = wanted or [1]
    text = list(wanted)
    if data.draw(st.booleans()):
        text[data.draw(st.integers(0, len(text) - 1))] = -1
    for i, d in enumerate(text):
        if i < len(dims) and d == dims[i] and data.draw(st.booleans()):
            text[i] = 0
    param = "reshape_param { shape { " + " ".join(f"dim: {d}" for d in text) + " } }"
    net = read_text(one_layer("Reshape", {"x": tuple(dims)}, param), tmp_path)
    x = noise(*dims)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], x.reshape(wanted))


@pytest.mark.parametrize(
    ("kind", "bottom", "param", "message"),
    [
        (
            "Convolution",
            (1, 1, 2, 2),
            "convolution_param { num_output: 1 kernel_size: 5 }",
            "impossible shape",
        ),
        (
            "Convolution",
            (1, 3, 9, 9),
            "convolution_param { num_output: 4 kernel_size: 3 group: 2 }",
            "group does not divide",
        ),
        ("Convolution", (1, 3, 9, 9), "convolution_param { num_output: 4 }", "no kernel size"),
        ("Convolution", (1, 3, 9, 9), "convolution_param { num_output: 4 kernel_size: 0 }", "is 0"),
        (
            "Pooling",
            (1, 3, 9, 9),
            "pooling_param { kernel_size: 2 pad: 2 }",
            "pad is not smaller than the kernel",
        ),
        ("Pooling", (3, 9), "pooling_param { kernel_size: 2 }", "pooling needs four axes"),
        ("Pooling", (1, 3, 9, 9), "", "no kernel size"),
        ("Reshape", (2, 6), "reshape_param { shape { dim: 5 dim: -1 } }", "cannot be cut into this shape"),
        ("Reshape", (2, 6), "reshape_param { shape { dim: 5 } }", "changes the number of elements"),
        ("Reshape", (2, 6), "reshape_param { shape { dim: -1 dim: -1 } }", "at most one -1"),
        ("Reshape", (2,), "reshape_param { shape { dim: 2 dim: 0 } }", "dim: 0 copies axis 1"),
        (
            "Reshape",
            (2, 6),
            "reshape_param { shape { dim: 6 } axis: 1 num_axes: 2 }",
            "axis and num_axes do not fit",
        ),
        ("Flatten", (2, 6, 3), "flatten_param { axis: 2 end_axis: 1 }", "end_axis lies before axis"),
        ("Flatten", (2, 6, 3), "flatten_param { axis: 3 }", "axis out of range"),
        ("Tile", (2, 6), "", "bad number of tiles"),
        (
            "ArgMax",
            (2, 6),
            "argmax_param { top_k: 7 axis: 1 }",
            "top_k does not fit; found 7; expected 1 to 6",
        ),
        ("InnerProduct", (2, 6), "", "no num_output"),
        ("Permute", (2, 6), "permute_param { order: 2 }", "bad order"),
        ("Permute", (2, 6), "permute_param { order: 1 order: 1 }", "bad order"),
        (
            "LRN",
            (1, 3, 4, 4),
            "lrn_param { local_size: 4 }",
            "bad local_size; found 4; expected an odd number",
        ),
        ("LRN", (1, 3), "", "LRN needs four axes"),
        ("MVN", (1, 2, 3, 4, 5), "", "at most four axes"),
        ("SPP", (1, 2, 3, 3), "spp_param { pyramid_height: 3 }", "too small for this pyramid"),
        ("SPP", (1, 2, 3, 3), "", "bad pyramid_height"),
        ("Slice", (1, 5), "slice_param { slice_point: 3 slice_point: 2 }", "slice_point does not fit"),
        ("Embed", (3,), "embed_param { num_output: 2 }", "input_dim is missing"),
        ("Clip", (3, 2), "clip_param { min: 1 }", "clip_param is not complete"),
        (
            "LSTM",
            (3, 2, 4),
            "recurrent_param { num_output: 2 }",
            "wrong number of bottoms; found 1; expected 2 to 5",
        ),
        ("Crop", (1, 1, 3, 3), "", "wrong number of bottoms; found 1; expected 2"),
    ],
)
def test_what_caffe_refuses_is_refused(
    tmp_path: Path, kind: str, bottom: tuple[int, ...], param: str, message: str
) -> None:
    net = read_text(one_layer(kind, {"x": bottom}, param), tmp_path)
    with pytest.raises(Exception, match=message) as error:
        infer_shapes(net)
    assert str(error.value).startswith(f'{tmp_path / "net.prototxt"}: layer "l" ({kind}): ')


def test_what_follows_the_frame_size(tmp_path: Path) -> None:
    text = """
    input: "data" input_shape { dim: 2 dim: 3 dim: 16 dim: 24 }
    layer { name: "c" type: "Convolution" bottom: "data" top: "c"
            convolution_param { num_output: 4 kernel_size: 3 stride: 2 } }
    layer { name: "g" type: "Pooling" bottom: "c" top: "g" pooling_param { pool: AVE global_pooling: true } }
    layer { name: "f" type: "Flatten" bottom: "c" top: "f" }
    """
    sizes = measure(read_text(text, tmp_path))
    assert not sizes.fixed and sizes.shapes["c"] == (2, 4, 7, 11)
    assert sizes.dims == {
        "data": (2, 3, None, None),
        "c": (2, 4, None, None),
        "g": (2, 4, 1, 1),
        "f": (2, None),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (one_layer("InnerProduct", {"x": (1, 2, 8, 8)}, "inner_product_param { num_output: 3 }"),
         'the weights of layer "l" (InnerProduct) fit one input size only'),
        (one_layer("Reshape", {"x": (1, 2, 8, 8)}, "reshape_param { shape { dim: 2 dim: 64 } }"),
         "reshape changes the number of elements"),
        (one_layer("ReLU", {"x": (5, 8)}), "no input is a picture"),
    ],
)  # fmt: skip
def test_nets_of_one_size_say_why(tmp_path: Path, text: str, reason: str) -> None:
    sizes = measure(read_text(text, tmp_path))
    assert sizes.fixed and reason in sizes.reason
    assert all(None not in dims for dims in sizes.dims.values())
