"""clockwork crop-offsets and the commands that write nets whose offsets it computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clockwork_onnx.cli import run
from tests.support.shared_data import shared


def offsets(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert run(["crop-offsets", *arguments, "--json"]) == 0
    crops = json.loads(capsys.readouterr().out)["crops"]
    assert isinstance(crops, list)
    return crops


def test_generate_change_a_stride_and_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, fixed = tmp_path / "net.prototxt", tmp_path / "fixed.prototxt"
    assert run(["net", "fcn", "voc-fcn8s", "--classes", "3", "-o", str(net)]) == 0
    capsys.readouterr()
    assert offsets(capsys, str(net)) == [
        {"layer": "score_pool4c", "stated": 5, "computed": 5},
        {"layer": "score_pool3c", "stated": 9, "computed": 9},
        {"layer": "score", "stated": 31, "computed": 31},
    ]
    changed = net.read_text("utf-8").replace("pad: 100", "pad: 84")
    net.write_text("# a comment\n" + changed, "utf-8")
    found = offsets(capsys, str(net), "-o", str(fixed))
    assert [row["computed"] for row in found] != [row["stated"] for row in found]
    assert [row["stated"] for row in offsets(capsys, str(fixed))] == [row["computed"] for row in found]
    assert fixed.read_text("utf-8").startswith("# a comment\n")
    assert run(["crop-offsets", str(net), "-o", str(fixed)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["crop-offsets", str(net)]) == 0
    shown = capsys.readouterr().out
    assert "differs" in shown and "score_pool3c" in shown


def test_a_crop_that_cannot_align_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "net.prototxt"
    assert run(["net", "digits-fcn-alexnet", "-o", str(net)]) == 0
    net.write_text(net.read_text("utf-8").replace("stride: 32", "stride: 16"), "utf-8")
    assert run(["crop-offsets", str(net)]) == 2
    assert 'layer "score" (Crop): the scales of the two bottoms differ' in capsys.readouterr().err


@pytest.mark.parametrize("name", ["voc-fcn32s/val", "nyud-fcn32s-color-hha/trainval", "siftflow-fcn16s/test"])
def test_published_files_need_no_shape(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = shared(f"prototxts/shelhamer+fcn.berkeleyvision.org/{name}.prototxt")
    assert all(row["stated"] == row["computed"] for row in offsets(capsys, str(file)))


def test_nets_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = str(tmp_path / "net.prototxt")
    assert run(["net", "fcn", "siftflow-fcn8s", "-o", net, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": net}
    assert run(["net", "fcn", "siftflow-fcn8s", "-o", net]) == 2
    assert run(["net", "fcn", "siftflow-fcn8s", "-o", net, "--force", "--size", "64x80"]) == 0
    assert run(["net", "fcn", "no-such-net", "-o", str(tmp_path / "x")]) == 2
    assert "voc-fcn-alexnet" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
