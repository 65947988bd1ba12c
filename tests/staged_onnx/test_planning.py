"""Cuts: the stages of the plain net are those of the hand-ordered one, and wrong cuts are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import staged_onnx
from caffe_port import Net, read_net
from caffe_port.nets import fcn8s
from tests.support.small_nets import chain, thin_fcn8s
from weights.errors import BundleError, UsageError

CUTS = ["pool3", "pool4", "upscore2"]


@pytest.mark.parametrize("in_stage_order", [False, True])
def test_fcn8s_has_the_papers_stages(tmp_path: Path, in_stage_order: bool) -> None:
    plan = staged_onnx.plan(thin_fcn8s(tmp_path, in_stage_order=in_stage_order), CUTS)
    assert [s.name for s in plan.stages] == ["stage1", "stage2", "stage3"]
    assert [set(s.outputs) for s in plan.stages] == [
        {"pool3", "score_pool3"},
        {"pool4", "score_pool4"},
        {"upscore2"},
    ]
    assert [s.inputs for s in plan.stages] == [(), ("pool3",), ("pool4",)]
    assert set(plan.head.inputs) == {"score_pool3", "score_pool4", "upscore2"}
    assert plan.head.net_inputs == ("data",)
    assert plan.scores == "score"


def test_full_size_fcn8s_has_the_papers_shares(tmp_path: Path) -> None:
    file = tmp_path / "fcn8s.prototxt"
    file.write_text(fcn8s(21), "utf-8")
    plan = staged_onnx.plan(read_net(file), CUTS)
    macs = [s.macs for s in (*plan.stages, plan.head)]
    assert sum(macs) == pytest.approx(181.0e9, rel=1e-3)
    assert [round(100 * m / sum(macs), 1) for m in macs[:3]] == [50.2, 25.2, 24.5]


def test_every_layer_is_in_exactly_one_stage(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    plan = staged_onnx.plan(net, CUTS)
    placed = [layer.key for s in (*plan.stages, plan.head) for layer in s.layers]
    assert sorted(placed) == sorted(layer.key for layer in net.layers)


def test_a_net_without_skips_has_an_empty_head(tmp_path: Path) -> None:
    plan = staged_onnx.plan(chain(tmp_path), ["a", "b"])
    assert plan.head.layers == () and plan.head.macs == 0
    assert plan.scores == "up"  # the softmax keeps the order of the classes
    assert plan.stages[1].outputs == ("up",)


def test_a_cut_means_the_last_value_of_its_blob(tmp_path: Path) -> None:
    plan = staged_onnx.plan(chain(tmp_path), ["a", "b"])
    assert [layer.name for layer in plan.stages[0].layers] == ["a", "a_relu"]


@pytest.mark.parametrize(
    ("cuts", "error", "words"),
    [
        ([], BundleError, "no cuts"),
        (["nope"], UsageError, "is no blob"),
        (["pool4", "pool3"], BundleError, "wrong order"),
        (["pool3", "pool3"], BundleError, "wrong order"),
        (["data"], BundleError, "net's input"),
    ],
)
def test_cuts_that_do_not_divide_the_net(
    tmp_path: Path, cuts: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        staged_onnx.plan(thin_fcn8s(tmp_path), cuts)


SIDE_BRANCH = "".join(
    f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
    "convolution_param { num_output: 4 kernel_size: 1 } }\n"
    for bottom, top in [("data", "a"), ("a", "b"), ("b", "side"), ("b", "c"), ("c", "d"), ("d", "e")]
) + ('layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "e" top: "sum" }\n')


def side_branch(folder: Path) -> Net:
    """a b c d e, and from b a side branch of one layer that the sum reads besides."""
    file = folder / "branch.prototxt"
    file.write_text('input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n' + SIDE_BRANCH)
    return read_net(file)


@pytest.mark.parametrize(
    ("cuts", "found", "right"),
    [
        (["e", "side"], '"side" after "e", whose stage computes 2 of its 3 layers', "--cut side --cut e"),
        (["d", "side", "e"], '"side" after "d"', "--cut side --cut d --cut e"),
        (["e", "b"], '"b" after "e"', "--cut b --cut e"),
        (["b", "b"], '"b" adds no layer', "--cut b"),
    ],
)
def test_the_right_order_of_cuts_is_told(tmp_path: Path, cuts: list[str], found: str, right: str) -> None:
    with pytest.raises(BundleError, match="wrong order") as caught:
        staged_onnx.plan(side_branch(tmp_path), cuts)
    assert found in str(caught.value)
    assert str(caught.value).endswith(f": {right}")


@pytest.mark.parametrize("cuts", [["side", "e"], ["b", "side", "e"], ["a", "d", "e"], ["c", "side"]])
def test_branches_may_be_cut_in_order(tmp_path: Path, cuts: list[str]) -> None:
    assert [stage.cut for stage in staged_onnx.plan(side_branch(tmp_path), cuts).stages] == cuts


def test_cuts_or_stages_but_not_both(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    for arguments in ({}, {"cuts": CUTS, "stages": 3}):
        with pytest.raises(UsageError, match="how should the net be cut"):
            staged_onnx.plan(net, **arguments)  # type: ignore[arg-type]


def vgg7(folder: Path) -> Net:
    """waifu2x's chain: its sixth layer does half of the work, its inputs have one channel."""
    file = folder / "vgg7.prototxt"
    text, bottom = 'input: "data" input_shape { dim: 1 dim: 1 dim: 40 dim: 40 }\n', "data"
    for number, outputs in enumerate((32, 32, 64, 64, 128, 128, 1), 1):
        text += (
            f'layer {{ name: "c{number}" type: "Convolution" bottom: "{bottom}" top: "c{number}" '
            f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }} }}\n"
        )
        bottom = f"c{number}"
    file.write_text(text)
    return read_net(file)


def test_automatic_cuts_give_the_best_balance_and_say_where_there_is_none(tmp_path: Path) -> None:
    from itertools import combinations

    net = vgg7(tmp_path)
    plan = staged_onnx.plan(net, stages=3)

    def balance(plan: staged_onnx.Plan) -> float:
        total = sum(part.macs for part in (*plan.stages, plan.head))
        return sum((stage.macs / total) ** 2 for stage in plan.stages) + plan.head.macs / total

    every = [
        balance(staged_onnx.plan(net, list(cuts))) for cuts in combinations([f"c{i}" for i in range(1, 8)], 3)
    ]
    assert balance(plan) <= min(every) + 0.06
    assert plan.why[-1].startswith('no cuts give a better balance: layer "c6" alone does 5')


def test_automatic_cuts_of_fcn8s(tmp_path: Path) -> None:
    """The full-size net is cut where it is narrow, into stages none of which holds nearly everything."""
    file = tmp_path / "fcn8s.prototxt"
    file.write_text(fcn8s(21), "utf-8")
    plan = staged_onnx.plan(read_net(file), stages=3)
    total = sum(s.macs for s in (*plan.stages, plan.head))
    assert [s.cut for s in plan.stages] == ["pool3", "pool5", "upscore2"]
    assert max(s.macs for s in plan.stages) / total < 0.51
    assert len(plan.why) == 4 and "50.2%" in plan.why[0]


def test_too_many_stages(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="too few places"):
        staged_onnx.plan(chain(tmp_path), stages=5)
