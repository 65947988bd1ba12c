"""What stays outside the graph: cut off at the end, an input in the middle, gone with the training layers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caffe_port import infer_shapes, read_net
from caffe_port.reading.detached import OUTSIDE
from tests.support.ported import noise, read_text, run
from weights.errors import PrototxtError, UnsupportedError

INPUT = 'input: "data" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 }\n'


def layer(name: str, kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    ends = " ".join([*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())])
    return f'layer {{ name: "{name}" type: "{kind}" {ends} {rest} }}\n'


def python(name: str, bottoms: str, tops: str, of: str, rest: str = "") -> str:
    module, cls = of.rsplit(".", 1)
    param = f'python_param {{ module: "{module}" layer: "{cls}" }} {rest}'
    return layer(name, "Python", bottoms, tops, param)


def test_a_detector_ends_where_boxes_are_sorted(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("loc", "ReLU", "data", "loc")
        + layer("conf", "Sigmoid", "data", "conf")
        + layer("detection_out", "DetectionOutput", "loc conf", "detection_out", "detection_output_param { }")
    )
    net = read_text(text, tmp_path)
    assert net.outputs == ("loc", "conf")
    assert net.notes == (
        'DetectionOutput layer "detection_out" cut off: its inputs "loc", "conf" are outputs',
    )
    assert set(run(net, {"data": noise(1, 4, 8, 8)})) == {"loc", "conf"}


def test_a_field_of_a_layer_that_is_cut_off_is_not_looked_at(tmp_path: Path) -> None:
    rest = "detection_output_param { of_no_fork: 1 }"
    net = read_text(
        INPUT + layer("a", "ReLU", "data", "a") + layer("d", "DetectionOutput", "a", "d", rest), tmp_path
    )
    assert net.outputs == ("a",)


def test_what_is_cut_off_reads_the_value_of_its_place(tmp_path: Path) -> None:
    """A later layer works on "a" in place; the output is what the cut layer would have read before it."""
    text = (
        INPUT
        + layer("a", "Power", "data", "a", "power_param { shift: -1 }")
        + python("look", "a", "seen", "m.Looks")
        + layer("relu", "ReLU", "a", "a")
        + layer("b", "Power", "a", "b", "power_param { scale: 2 }")
    )
    net = read_text(text, tmp_path)
    assert net.outputs == ("a@a", "b")
    x = noise(1, 4, 8, 8)
    outputs = run(net, {"data": x})
    assert (outputs["a@a"] == x - 1).all() and (outputs["b"] == 2 * (x - 1).clip(0)).all()


RCNN = (
    INPUT
    + 'input: "im_info" input_shape { dim: 1 dim: 3 }\n'
    + layer("score", "ReLU", "data", "score")
    + "{proposal}"
    + layer("pool", "ROIPooling", "data rois", "pool", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }")
)


@pytest.mark.parametrize(
    ("proposal", "count"),
    [
        (python("proposal", "score im_info", "rois", "rpn.proposal_layer.ProposalLayer"), 300),
        (layer("proposal", "Proposal", "score im_info", "rois"), 300),
        (layer("p", "Proposal", "score im_info", "rois", "proposal_param { post_nms_topn: 40 }"), 40),
        (layer("p", "RoiGen", "score", "rois", "roi_gen_param { prop_num: 7 }"), 7),
    ],
)
def test_regions_become_an_input(tmp_path: Path, proposal: str, count: int) -> None:
    net = read_text(RCNN.replace("{proposal}", proposal), tmp_path)
    assert {i.name: i.shape for i in net.inputs}["rois"] == (count, 5)
    assert net.outputs == ("score", "pool")
    assert infer_shapes(net)["pool"] == (count, 4, 2, 2)
    assert re.fullmatch(
        r'.* layer ".*" cut off: its input "score" is an output; its result became input rois \d+x5',
        net.notes[0],
    )


def test_a_given_shape_comes_before_the_known_one(tmp_path: Path) -> None:
    text = RCNN.replace("{proposal}", layer("p", "Proposal", "score im_info", "rois"))
    net = read_text(text, tmp_path, inputs={"rois": (9, 5)})
    assert infer_shapes(net)["pool"] == (9, 4, 2, 2)
    feeds = {"data": noise(1, 4, 8, 8), "rois": noise(9, 5).clip(0, 0), "im_info": noise(1, 3)}
    assert run(net, feeds)["pool"].shape == (9, 4, 2, 2)


def test_a_result_of_unknown_shape_has_to_be_stated(tmp_path: Path) -> None:
    text = INPUT + python("warp", "data", "warped", "own.Warp") + layer("relu", "ReLU", "warped", "y")
    with pytest.raises(PrototxtError) as error:
        read_text(text, tmp_path)
    message = str(error.value)
    assert 'layer "warp" (Python): a layer in the middle of the net' in message
    assert "--shape warped=" in message and "\n" not in message
    net = read_text(text, tmp_path, inputs={"warped": (1, 2, 3, 3)})
    assert [i.name for i in net.inputs] == ["warped"] and net.outputs == ("y",)
    assert 'input "data" left out: only layers that are left out read it' in net.notes


def test_layers_that_feed_each_other_go_together(tmp_path: Path) -> None:
    """Only what the graph makes is an output, not what one cut layer gives to the next."""
    text = (
        INPUT
        + layer("score", "ReLU", "data", "score")
        + layer("p", "Proposal", "score", "rois scores")
        + python("pick", "rois scores", "picked", "own.Pick")
        + layer("out", "DetectionOutput", "picked score", "detections")
    )
    net = read_text(text, tmp_path)
    assert net.outputs == ("score",) and [i.name for i in net.inputs] == ["data"]
    assert [note.split(" cut off")[0] for note in net.notes] == [
        'Proposal layer "p"',
        'Python (own.Pick) layer "pick"',
        'DetectionOutput layer "out"',
    ]
    assert net.notes[1].endswith("cut off")


def test_training_layers_take_their_helpers_with_them(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("score", "ReLU", "data", "score")
        + python("targets", "score", "labels", "rpn.AnchorTargetLayer")
        + layer("loss", "SoftmaxWithLoss", "score labels", "loss")
        + python("mine", "score", "mined", "own.Miner")
        + layer("loss2", "SmoothL1Loss", "score mined", "loss2")
        + python("eval", "score", "", "own.AccuracyLayer")
    )
    net = read_text(text, tmp_path)
    assert net.outputs == ("score",)
    assert {note for note in net.notes if "Python" in note} == {
        'Python (rpn.AnchorTargetLayer) layer "targets" left out: training only',
        'Python (own.Miner) layer "mine" left out: training only',
        'Python (own.AccuracyLayer) layer "eval" left out: training only',
    }


def test_a_python_loss_is_a_loss(tmp_path: Path) -> None:
    text = INPUT + layer("a", "ReLU", "data", "a") + python("l", "a", "l", "own.Any", "loss_weight: 1")
    net = read_text(text, tmp_path)
    assert net.outputs == ("a",) and net.notes == ('Python layer "l" left out: training only',)


def test_no_python_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_layer_module.py").write_text("raise SystemExit('it ran')", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    rest = "python_param { module: 'evil_layer_module' layer: 'L' param_str: '__import__(\"os\").abort()' }"
    net = read_text(INPUT + layer("a", "ReLU", "data", "a") + layer("p", "Python", "a", "b", rest), tmp_path)
    assert net.outputs == ("a",)


def test_silenced_blobs_are_no_outputs(tmp_path: Path) -> None:
    text = INPUT + layer("a", "ReLU", "data", "a") + layer("b", "TanH", "data", "b")
    assert read_text(text + layer("s", "Silence", "b", ""), tmp_path).outputs == ("a",)
    both = layer("s", "Silence", "a b", "")
    assert read_text(text + both, tmp_path).outputs == ("a", "b"), "a net without any other output"


def test_a_net_without_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="a net without outputs"):
        read_text(INPUT + layer("loss", "EuclideanLoss", "data data", "loss"), tmp_path)


def test_a_blob_that_nothing_makes_can_be_an_input(tmp_path: Path) -> None:
    """Training nets have data layers for TRAIN only."""
    text = (
        layer("data", "Data", "", "data label", "include { phase: TRAIN } data_param { batch_size: 4 }")
        + layer("a", "ReLU", "data", "a")
        + layer("loss", "SoftmaxWithLoss", "a label", "loss")
    )
    with pytest.raises(PrototxtError, match=r'missing bottom; found "data".*--shape data=N,C,H,W'):
        read_text(text, tmp_path)
    net = read_text(text, tmp_path, inputs={"data": (1, 3, 5, 6)})
    assert infer_shapes(net)["a"] == (1, 3, 5, 6) and net.outputs == ("a",)
    with pytest.raises(PrototxtError, match="a shape is given for a blob that is no input; found nothing"):
        read_text(text, tmp_path, inputs={"data": (1, 3, 5, 6), "nothing": (1,)})


@pytest.mark.parametrize("kind", ["VideoData", "VolumeData", "SequenceData"])
def test_the_shape_of_a_clip_is_not_guessed(tmp_path: Path, kind: str) -> None:
    text = layer("data", kind, "", "data label", "transform_param { crop_size: 8 }")
    text += layer("a", "ReLU", "data", "a")
    with pytest.raises(PrototxtError, match="a data layer that does not state its shape"):
        read_text(text, tmp_path)
    assert read_text(text, tmp_path, inputs={"data": (1, 3, 4, 8, 8)}).inputs[0].shape == (1, 3, 4, 8, 8)


def test_an_unknown_type_is_named_before_its_fields(tmp_path: Path) -> None:
    text = INPUT + layer("mystery", "Oracle", "data", "y", "oracle_param { answer: 42 }")
    with pytest.raises(UnsupportedError) as error:
        read_text(text, tmp_path)
    message = str(error.value)
    refused = 'layer "mystery" (Oracle): unsupported layer type'
    assert message.startswith(f"{tmp_path / 'net.prototxt'}: {refused}")
    assert "oracle_param" not in message and "\n" not in message


@pytest.mark.parametrize("kind", sorted(OUTSIDE))
def test_every_outside_type_can_end_a_net(tmp_path: Path, kind: str) -> None:
    net = read_text(INPUT + layer("a", "ReLU", "data", "a") + layer("end", kind, "a", "end"), tmp_path)
    assert net.outputs == ("a",)
    assert net.notes[0].endswith('layer "end" cut off: its input "a" is an output')


def test_a_tail_that_reads_an_input_makes_it_no_output(tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(
        INPUT + layer("a", "ReLU", "data", "a") + layer("d", "DetectionOutput", "a data", "d"), "utf-8"
    )
    assert read_net(file).outputs == ("a",)
