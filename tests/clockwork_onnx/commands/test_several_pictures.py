"""A net of colour and depth from prototxt to labels, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from clockwork_onnx.cli import run
from tests.support.several_pictures import pictures, thin_text

COUNT = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the prototxt, the bundle, and the frames as two folders of images."""
    folder = tmp_path_factory.mktemp("nyud")
    (folder / "net.prototxt").write_text(thin_text("nyud-fcn32s-color-d"), "utf-8")
    words = ["convert", folder / "net.prototxt", "--random-weights", "3", "--stages", "2", "-o"]
    words += [folder / "net.staged", "--mean", "116.19,97.203,92.318", "--input", "depth=log-depth:7.844"]
    assert run([str(word) for word in words]) == 0
    for kind in ("frame", "depth"):
        (folder / kind).mkdir()
    for i, frame in enumerate(pictures("depth", COUNT)):
        Image.fromarray(frame["frame"]).save(folder / f"frame/{i}.png")
        Image.fromarray(frame["depth"][:, :, 0]).save(folder / f"depth/{i}.png")
    return folder


def test_run_gives_what_the_player_gives(made: Path, tmp_path: Path) -> None:
    words = ["run", made / "net.staged", made / "frame", "--input", f"depth={made / 'depth'}", "-o", tmp_path]
    words += ["--labels", "--report", "--log", "--schedule", "skip:2", "--quiet"]
    assert run([str(word) for word in words]) == 0
    with runtime.open(made / "net.staged", device="cpu", schedule="skip:2") as player:
        for i, step in enumerate(player.play(pictures("depth", COUNT))):
            with Image.open(tmp_path / f"labels/{i}.png") as labels:
                np.testing.assert_array_equal(np.asarray(labels), step.labels)
    assert "oracle" in (tmp_path / "report.html").read_text("utf-8")


def test_bench_and_calibrate(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, frames, more = str(made / "net.staged"), str(made / "frame"), f"depth={made / 'depth'}"
    words = ["bench", bundle, "--frames", frames, "--input", more, "--count", "2", "--rounds", "1"]
    assert run([*words, "--schedule", "skip:2", "--end-to-end", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["end_to_end"]) == 2
    assert run(["calibrate", bundle, frames, "--input", more, "--clock", "pixels:0", "--quiet"]) == 0


def test_inspect_says_what_comes_with_a_frame(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(made / "net.staged")]) == 0
    assert "depth    with each frame, channels log-depth, mean 7.844" in capsys.readouterr().out


def test_what_is_wrong_is_said(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert = [
        "convert",
        str(made / "net.prototxt"),
        "--random-weights",
        "3",
        "-o",
        str(tmp_path / "x.staged"),
    ]
    for words, said in (
        (["run", str(made / "net.staged"), str(made / "frame")], "--input depth=SOURCE"),
        (convert, "several pictures per frame"),
        ([*convert, "--input", "depth"], "unknown channel order"),
        ([*convert, "--input", "depth=log-depth:x"], "is no picture"),
        ([*convert, "--input", "hha=rgb"], "expected depth (1 channel)"),
    ):
        assert run(words) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.staged").exists()
