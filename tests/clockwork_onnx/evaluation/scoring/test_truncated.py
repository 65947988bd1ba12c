"""Stages run by hand give what the player gives, and a cut-off net what its first stages give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import caffe_port
import runtime
import staged_onnx
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.demo.demo import CUTS, NET, PREPROCESSING, demo_classes
from clockwork_onnx.evaluation.scoring.truncated import StageRunner, TruncatedPlayer, has_scores_of
from runtime.video.frames import Frame
from staged_onnx import Bundle
from tests.support.toy_bundles import toy_frame
from weights.errors import UsageError


def test_all_stages_equal_the_oracle_at_any_size(shapes_bundle: Bundle) -> None:
    runner = StageRunner(shapes_bundle, "cpu")
    images = [shapes_data.read(frames=1, size=size, kinds=["slow"]) for size in ((64, 80), (72, 64))]
    with runtime.open(shapes_bundle.path, device="cpu", schedule="oracle") as player:
        for data in (*images, images[0]):
            image = data.shots[0].samples[0].read_image()
            labels, ms = runner.run(image)
            (step,) = player.play([image])
            assert np.array_equal(labels, step.labels)
            assert ms.keys() == {"stage1", "stage2", "stage3", "head", "total"}


def test_values_can_be_looked_at(toy: Bundle) -> None:
    runner = StageRunner(toy, "cpu")
    runner.run(toy_frame(2))
    assert runner.value("s2").shape == (1, 3, 8, 8)
    assert runner.value("s2")[0, :, 0, 0].tolist() == [0.0, 0.0, 400.0]


def test_what_is_deeper_is_zero(toy: Bundle) -> None:
    runner = StageRunner(toy, "cpu", stages=1)
    labels, ms = runner.run(toy_frame(1))
    assert (labels == 1).all()
    assert not runner.value("s3").any() and runner.value("s1").any()
    assert set(ms) == {"stage1", "head", "total"}


@pytest.mark.parametrize("stages", [0, 4])
def test_a_net_is_cut_after_one_of_its_stages(toy: Bundle, stages: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to 3"):
        StageRunner(toy, "cpu", stages)


def test_a_truncated_player_makes_steps(toy: Bundle) -> None:
    frames = [Frame(i, None, toy_frame(i), f"f{i}", shot_start=i != 1) for i in range(3)]
    steps = list(TruncatedPlayer(toy, 2, "cpu").play(frames))
    assert [step.fired for step in steps] == [("stage1", "stage2", "head")] * 3
    assert [step.shot for step in steps] == [0, 0, 1]
    assert [int(step.labels[0, 0]) for step in steps] == [0, 1, 2]


def test_a_net_without_skip_connections_cannot_be_cut_off_early(toy: Bundle) -> None:
    head = replace(toy.manifest.head, inputs=("s3", "frame"))
    deep = replace(toy, manifest=replace(toy.manifest, head=head))
    assert [has_scores_of(toy, n) for n in (1, 2, 3)] == [True] * 3
    assert [has_scores_of(deep, n) for n in (1, 2, 3)] == [False, False, True]
    with pytest.raises(UsageError, match="of the first 2 stages; found a head that reads s3 only"):
        TruncatedPlayer(deep, 2, "cpu")


def test_a_cut_off_fcn8s_is_the_net_with_the_deeper_scores_left_out(
    tmp_path: Path,
) -> None:
    # The shapes net's topology with random weights: all scores are sums, and the deeper ones become zero.
    prototxt = NET / "deploy.prototxt"
    net = caffe_port.read_net(prototxt)
    blobs = dict(caffe_port.random_weights(net, seed=3))
    options = {"preprocessing": PREPROCESSING, "classes": demo_classes()}
    plan = staged_onnx.plan(net, cuts=list(CUTS))
    bundle = staged_onnx.export(net, blobs, plan, tmp_path / "random.staged", **options)
    image = shapes_data.read(frames=1, size=(64, 80), kinds=["slow"]).shots[0].samples[0].read_image()
    for stages, silent in ((1, ("score_fr", "score_pool4")), (2, ("score_fr",))):
        without = {
            name: tuple(np.zeros_like(a) for a in arrays) if name in silent else arrays
            for name, arrays in blobs.items()
        }
        whole = staged_onnx.export(net, without, plan, tmp_path / f"without{stages}.staged", **options)
        expected, _ = StageRunner(whole, "cpu").run(image)
        (step,) = TruncatedPlayer(bundle, stages, "cpu").play([Frame(0, None, image, "f", shot_start=True)])
        assert np.array_equal(step.labels, expected)
        assert len(np.unique(expected)) > 1
