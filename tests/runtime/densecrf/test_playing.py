"""The CRF behind a player: the labels are those of the CRF on the head's own scores."""

from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from scipy.ndimage import map_coordinates

import runtime
import staged_onnx
from caffe_port import random_weights
from caffe_port.onnx_graph import OnnxGraph
from runtime.densecrf import CrfParameters, DenseCrf
from runtime.densecrf.playing import moved_along, open_refined, resized
from staged_onnx import Preprocessing
from staged_onnx.export import export
from staged_onnx.frame_graphs import emit_resize
from tests.support.ported import noise, read_text
from weights.errors import ScheduleError, UsageError

NET = """input: "data" input_dim: 1 input_dim: 3 input_dim: 24 input_dim: 32
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2
    weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "score" type: "Convolution" bottom: "c1" top: "score"
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }"""
PARAMETERS = CrfParameters.of(4, 20, 8, iterations=5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("playing")
    net = read_text(NET, folder)
    plan = staged_onnx.plan(net, cuts=["c1"])
    how = Preprocessing((24, 32), mean=(120.0,))
    return export(net, random_weights(net, seed=2), plan, folder / "x.staged", preprocessing=how).path


def frames(count: int, size: tuple[int, int] = (31, 45)) -> list[np.ndarray]:
    """Blocks of colour that move to the right, with a little noise."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 256, (4, 12, 3)), np.ones((10, 8, 1)))[: size[0]]
    found = [wide[:, 2 * i : 2 * i + size[1]] + rng.normal(0, 2, (*size, 3)) for i in range(count)]
    return [frame.clip(0, 255).astype(np.uint8) for frame in found]


def scores_of(bundle: Path, images: list[np.ndarray], schedule: str) -> list[np.ndarray]:
    with open_refined(bundle, PARAMETERS, device="cpu", schedule=schedule) as refined:
        size = images[0].shape[0], images[0].shape[1]
        return [refined.scores(size) for _ in refined.player.play(images)]


@pytest.mark.parametrize("schedule", ["oracle", "alternating"])
def test_labels_are_the_crf_s_on_the_head_s_scores(bundle: Path, schedule: str) -> None:
    images = frames(4)
    with runtime.open(bundle, device="cpu", schedule=schedule) as player:
        plain = [step.labels for step in player.play(images)]
    scores = scores_of(bundle, images, schedule)
    assert all(np.mean(s.argmax(axis=0) == p) > 0.999 for s, p in zip(scores, plain, strict=True))
    with open_refined(bundle, PARAMETERS, device="cpu", schedule=schedule) as refined:
        steps = list(refined.play(images))
    for image, values, step, before in zip(images, scores, steps, plain, strict=True):
        assert np.array_equal(step.labels, DenseCrf(image, PARAMETERS).infer(values).argmax(axis=0))
        assert not np.array_equal(step.labels, before)
        assert 0 < step.ms["densecrf"] < step.ms["total"]


def test_repeated_output_keeps_its_labels(bundle: Path) -> None:
    with open_refined(bundle, PARAMETERS, device="cpu", schedule="skip:2") as refined:
        steps = list(refined.play(frames(4)))
    assert np.array_equal(steps[0].labels, steps[1].labels)
    assert not np.array_equal(steps[1].labels, steps[2].labels)


def test_a_moved_start_is_q_of_the_frame_before_along_the_flow(bundle: Path) -> None:
    images = frames(3)
    flow = np.full((31, 45, 2), 0.0, np.float32)
    flow[..., 0] = 2  # what is here was two pixels further to the right
    scores = scores_of(bundle, images, "oracle")
    with open_refined(
        bundle, PARAMETERS, device="cpu", schedule="oracle", moved_iterations=2, flow=lambda a, b: flow
    ) as refined:
        steps = list(refined.play(images))
    q = DenseCrf(images[0], PARAMETERS).infer(scores[0])
    assert np.array_equal(steps[0].labels, q.argmax(axis=0))
    for image, values, step in islice(zip(images, scores, steps, strict=True), 1, None):
        q = next(islice(DenseCrf(image, PARAMETERS).steps(values, moved_along(q, flow)), 2, None))
        assert np.array_equal(step.labels, q.argmax(axis=0))


def test_moved_along_is_bilinear_with_the_border_beyond() -> None:
    q, flow = noise(3, 9, 11), 4 * noise(9, 11, 2, seed=1)
    down, across = np.mgrid[:9, :11]
    at = [down + flow[..., 1], across + flow[..., 0]]
    expected = [map_coordinates(plane, at, order=1, mode="nearest") for plane in q]
    np.testing.assert_allclose(moved_along(q, flow), expected, atol=1e-5)
    assert moved_along(noise(2, 1, 1), np.zeros((1, 1, 2), np.float32)).shape == (2, 1, 1)


@pytest.mark.parametrize("size", [(24, 40), (5, 7), (12, 20), (1, 3)])
def test_resized_as_the_head_does_it(size: tuple[int, int]) -> None:
    scores = noise(3, 12, 20)
    g = OnnxGraph()
    g.input("x", [1, 3, 12, 20])
    g.output(emit_resize(g, "x", g.ints(1, 3, *size)), "y", [1, 3, *size])
    session = ort.InferenceSession(g.model("r").SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["y"], {"x": scores[None]})
    np.testing.assert_allclose(resized(scores, size), expected[0], atol=1e-5)


def test_what_does_not_go_together_is_refused(bundle: Path) -> None:
    with pytest.raises(ScheduleError, match="moves values"):
        open_refined(bundle, PARAMETERS, device="cpu", schedule="warp:4")
    with pytest.raises(UsageError, match="iterations"):
        open_refined(bundle, PARAMETERS, device="cpu", moved_iterations=-1)
