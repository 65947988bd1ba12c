"""clockwork convert on a net of two graphs: from MXNet's .params files to a bundle that plays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import weights
from caffe_port import read_net
from caffe_port.nets import accel
from clockwork_onnx.cli import run
from staged_onnx import read_bundle
from tests.parity.mxnet_weights import parameter
from tests.parity.test_mxnet import parameter_names
from tests.support.feature_flow_nets import frames
from tests.weights.test_mxnet import saved_arrays

FLOW = ("flow_conv", "conv2_", "conv3_", "conv4_", "conv5_", "conv6_", "Convolution", "deconv", "upsample")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A thin Accel-18 as its users have it: prototxt, FlowNet's .params with leftovers, and its own."""
    prototxt = tmp_path / "accel-18.prototxt"
    prototxt.write_text(accel(18, 19, size=(64, 96), thin=8))
    shapes = parameter_names(read_net(prototxt)) | parameter_names(read_net(prototxt, stages=["key"]))
    arrays = {name: parameter(name, shape) for name, shape in shapes.items()}
    named = {
        f"{'aux' if name.endswith(('_mean', '_var')) else 'arg'}:{name}": array
        for name, array in arrays.items()
    }
    of_flow = {name: array for name, array in named.items() if name.partition(":")[2].startswith(FLOW)}
    rest = {name: array for name, array in named.items() if name not in of_flow}
    first, second = tmp_path / "flow-0000.params", tmp_path / "accel-18-0000.params"
    leftovers = {
        "arg:rfcn_cls_weight": np.ones((4, 3, 1, 1), np.float32),
        "arg:fc6_weight": arrays["fc6_weight"],
        "arg:fc6_bias": np.ones(128, np.float32),
    }
    first.write_bytes(saved_arrays({**of_flow, **leftovers}))
    second.write_bytes(saved_arrays(rest))
    return prototxt, first, second


def test_two_files_become_a_bundle_that_plays(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prototxt, first, second = files
    target = tmp_path / "accel18.staged"
    assert run(["convert", str(prototxt), f"{first},{second}", "-o", str(target), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in found["stages"]] == [
        "reference",
        "flow",
        "correction",
        "features",
        "key head",
        "head",
    ]
    assert found["schedule"] == "accel:5"
    assert found["preprocessing"]["channels"] == "rgb"
    assert found["classes"][:2] == ["road", "sidewalk"]
    assert "weights that no layer takes: rfcn_cls" in found["notes"]
    assert not any("that the net has not" in note for note in found["notes"]), "each net has its own layers"
    assert [file["name"] for file in found["source"]["weights"]] == [first.name, second.name]
    # the second file's fc6 counts
    blobs = weights.read(f"{first},{second}")
    assert not np.array_equal(blobs["fc6"][1], np.ones(128, np.float32))

    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames(3)):
        Image.fromarray(frame).save(folder / f"{number}.png")
    out = tmp_path / "out"
    assert run(["run", str(target), str(folder), "-o", str(out), "--labels", "--log", "--device", "cpu"]) == 0
    assert len(list((out / "labels").glob("*.png"))) == 3


def test_a_missing_layer_is_named(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prototxt, first, _ = files
    assert run(["convert", str(prototxt), str(first), "-o", str(tmp_path / "a.staged")]) == 2
    assert 'layer "conv1" (Convolution): no weights for this layer' in capsys.readouterr().err
    assert not (tmp_path / "a.staged").exists()


def test_options_that_do_not_go_with_it(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prototxt = str(files[0])
    target = str(tmp_path / "a.staged")
    common = ["convert", prototxt, "--random-weights", "0", "-o", target]
    for option in (["--cut", "conv_feat"], ["--stages", "2"], ["--signal", "flow"]):
        assert run([*common, *option]) == 2
        assert "follow from its two graphs" in capsys.readouterr().err
    assert run([*common, "--schedule", "alternating"]) == 2
    assert "accel:K, dff:K, oracle or skip:K" in capsys.readouterr().err
    assert run([*common, "--schedule", "dff:3"]) == 0
    assert read_bundle(target).manifest.schedule == "dff:3"
    assert run(["bench", target, "--schedule", "dff:3", "--count", "4", "--rounds", "1", "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out[out.index("{") :])
    times = {one["schedule"]: one["key_frames"] for one in found["schedules"]}
    assert times["oracle"] is None
    key = times["dff:3"]
    assert key["interval"] == 3 and key["key"]["count"] == key["between"]["count"] == 2
    assert key["amortised"] == pytest.approx((key["key"]["median"] + 2 * key["between"]["median"]) / 3)
