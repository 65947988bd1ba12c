"""Which frames Accel's demo plays and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.accel.snippets import offset_of, window
from clockwork_onnx.cli import run
from tests.clockwork_onnx.evaluation.datasets.test_datasets import make_cityscapes
from tests.support.feature_flow_nets import thin_bundle
from weights.errors import UsageError


def test_interval_5_plays_15_to_19_and_scores_the_last() -> None:
    assert [list(window(i, 5, average=False)) for i in range(3)] == [[15, 16, 17, 18, 19]] * 3
    assert offset_of(3, 5, average=False) == 4


def test_averaged_every_distance_from_the_key_frame_is_scored() -> None:
    starts = [window(i, 5, average=True).start for i in range(7)]
    assert starts == [19, 18, 17, 16, 15, 19, 18]
    assert [19 - start for start in starts] == [0, 1, 2, 3, 4, 0, 1]
    assert list(window(0, 5, average=True)) == [19, 20, 21, 22, 23]


@pytest.mark.parametrize(("interval", "average"), [(0, False), (21, False), (12, True)])
def test_an_interval_that_leaves_the_snippet_is_refused(interval: int, average: bool) -> None:
    with pytest.raises(UsageError, match="does not fit a snippet"):
        window(0, interval, average=average)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thin Accel-18 that the command takes instead of making the whole one."""
    return thin_bundle("accel-18", tmp_path_factory.mktemp("accel"), classes=19)[0].path


def test_the_command_on_cityscapes(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_cityscapes(tmp_path / "data", size=(64, 96))
    out = tmp_path / "out"
    common = ["accel", str(root), "--interval", "3", "--keep", str(bundle), "--device", "cpu", "--json"]
    assert run([*common, "-o", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    frames = [f"lindau_000000_0000{n}" for n in (28, 29, 30)] + [
        f"munster_000000_0000{n}" for n in (17, 18, 19)
    ]
    assert found["frames"] == frames
    assert found["key_frames"] == [frames[0], frames[3]]
    assert found["scored"] == [frames[2], frames[5]]
    assert 0 <= found["mean_iu"] <= 1
    assert found["weights"] == "random, seed 0"
    image = Image.open(out / f"seg_{frames[0]}.png")
    assert image.mode == "P"
    assert image.getpalette()[:6] == [128, 64, 128, 244, 35, 232]

    assert run([*common, "--avg", "--num-ex", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"][0] == "lindau_000000_000030" and found["frames"][3] == "munster_000000_000018"
    assert found["scored"] == ["lindau_000000_000030", "munster_000000_000019"]


def test_the_command_on_a_folder(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(31):
        pixels = np.full((64, 96, 3), 8 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    assert run(["accel", str(folder), "--interval", "2", "--keep", str(bundle), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("key  018") and lines[1].startswith("     019")
    assert lines[-1] == "weights: random, seed 0"
    for number in range(20):
        (folder / f"{number:03d}.png").unlink()
    assert run(["accel", str(folder), "--keep", str(bundle)]) == 2
    assert "fewer frames than a snippet has" in capsys.readouterr().err
