"""Defaults out of the environment and a file, how much is said, and the heartbeat of long jobs."""

import logging
from pathlib import Path

import pytest

from clockwork_onnx import console
from clockwork_onnx.cli import run
from clockwork_onnx.console import progress
from tests.support.toy_bundles import toy_bundle


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = str(toy_bundle(tmp_path).path)
    config.write_text('[run]\nschedule = "skip:0"\nmax-frames = 3\nlabels = false\n')
    arguments = ["--config", str(config), "run", bundle, str(tmp_path / "none")]
    assert run([*arguments]) == 2
    assert "skip:0" in capsys.readouterr().err  # a schedule that is refused: the file was read
    monkeypatch.setenv("CLOCKWORK_RUN_SCHEDULE", "skip:00")
    assert run([*arguments]) == 2
    assert "skip:00" in capsys.readouterr().err
    assert run([*arguments, "--schedule", "oracle"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    monkeypatch.setenv("CLOCKWORK_CONFIG", str(tmp_path / "gone.toml"))
    assert run(["run", bundle, "x"]) == 2
    assert "gone.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run", "not a file of settings"),
        ("[walk]\n", "a section of no command"),
        ("run = 3\n", "a section is needed"),
        ("[run]\nspeed = 3\n", 'unknown option of run; found "speed"'),
        ("[run]\nlabels = 3\n", 'bad value of "labels"'),
        ("[run]\nschedule = true\n", 'bad value of "schedule"'),
        ("[run]\nmax-frames = -3\n", "-3 is not in the range"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(
    config: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(text)
    assert run(["--config", str(config), "run", "x.staged", "y"]) == 2
    assert said in capsys.readouterr().err


def test_sub_commands_have_sections_of_their_own(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[eval.bundle]\nmax-frames = -1\n")
    assert run(["--config", str(config), "eval", "bundle", "x.staged"]) == 2
    assert "-1 is not in the range" in capsys.readouterr().err
    config.write_text("[eval.nothing]\n")
    assert run(["--config", str(config), "eval", "bundle"]) == 2
    assert "unknown part of eval" in capsys.readouterr().err


def test_verbose_says_more_and_quiet_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    bundle = str(toy_bundle(tmp_path).path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    arguments = ["run", bundle, str(tmp_path / "a.png"), "--device", "cpu"]
    said = {}
    for option in ("-v", "-q", "-vv"):
        assert run([option, *arguments]) == 0
        said[option] = capsys.readouterr().err
    assert f"clockwork: info: opening {bundle} for frames of 8 x 8 on cpu" in said["-v"]
    assert said["-q"] == "" and "schedule" in said["-vv"]
    logging.getLogger("clockwork").warning("a \x1b[31mname")
    assert capsys.readouterr().err == "clockwork: warning: a \\x1b[31mname\n"


def test_a_long_job_without_a_terminal_gives_signs_of_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console, "monotonic", lambda: float(next(clock)))
    assert list(progress(range(7), total=14, description="street")) == list(range(7))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "clockwork: street: 3 of 14 frames, 0.1 frames/s, 1.8 min left"
    assert len(lines) == 2
    assert list(progress(range(7), quiet=True)) == list(range(7))
    assert capsys.readouterr().err == ""
