"""A run that is ended in the middle: what is finished is there and readable, and --resume does the rest."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clockwork_onnx import cli
from clockwork_onnx.commands.run_folder import read_state
from tests.attacks.processes import clockwork, content, finished, wait_until
from tests.support.toy_bundles import toy_bundle
from tests.support.video_files import moving_bar, write_video

COUNT = 360
ASKED = ("--labels", "--overlay", "--log", "--timeline", "--device", "cpu", "--shots", "0,100,230")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundle")).path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", moving_bar(COUNT), fps=Fraction(25))


@pytest.fixture(scope="module")
def whole(bundle: Path, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results of a run that nobody ended."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    finished(clockwork("run", bundle, video, "-o", folder, *ASKED, "--schedule", "rates:1,2,8"))
    yield folder


def logged(folder: Path, name: str = "steps.jsonl") -> list[dict[str, object]]:
    """The lines of a log but for their milliseconds, which no two runs share."""
    lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "ms"} for line in lines]


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def run_until(bundle: Path, video: Path, out: Path, frames: int) -> subprocess.Popen[str]:
    """A run that has written at least so many label maps."""
    process = clockwork("run", bundle, video, "-o", out, *ASKED, "--schedule", "rates:1,2,8")
    wait_until(lambda: (out / "labels" / f"{frames:06d}.png").exists(), process)
    return process


def check_equal(out: Path, whole: Path) -> None:
    """The folders are equal byte for byte, but for the overlay and for the milliseconds in the log."""
    aside = ("overlay.mp4", "steps.jsonl")
    assert content(out, aside) == content(whole, aside)
    assert logged(out) == logged(whole)
    assert frames_of(out / "overlay.mp4") == frames_of(whole / "overlay.mp4") == COUNT


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_run_in_order(
    bundle: Path, video: Path, whole: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out = tmp_path / "out"
    process = run_until(bundle, video, out, 120)
    process.send_signal(number)
    printed, said = finished(process, status)
    steps = logged(out)
    assert 120 < len(steps) < COUNT and "Traceback" not in said
    assert f"{len(steps)} frames in" in printed and f"wrote {out / 'labels'}" in printed
    labels = content(out / "labels")
    assert labels == {name: content(whole / "labels")[name] for name in sorted(labels)}
    assert len(labels) == len(steps) == frames_of(out / "overlay.mp4")
    assert steps == logged(whole)[: len(steps)]
    state = read_state(out)
    assert state is not None and (state.state, state.frames) == ("interrupted", len(steps))
    assert not [path for path in out.iterdir() if ".part" in path.name or path.name.startswith(".")]

    again = ["run", str(bundle), str(video), "-o", str(out), *ASKED, "--schedule", "rates:1,2,8"]
    assert cli.run(again) == 2
    assert content(out / "labels") == labels
    printed, said = finished(clockwork(*again, "--resume"))
    begun = int(said.split("going on at frame ")[1].split()[0])
    assert len(steps) - 8 <= begun < len(steps)
    check_equal(out, whole)


def test_a_killed_run_is_readable_and_goes_on(bundle: Path, video: Path, whole: Path, tmp_path: Path) -> None:
    out, frames = tmp_path / "out", 150
    process = run_until(bundle, video, out, frames)
    process.kill()
    finished(process, -signal.SIGKILL)
    for name, label in content(out / "labels").items():
        if not name.startswith("."):
            assert label == (whole / "labels" / name).read_bytes()
    assert not (out / "steps.jsonl").exists() and not (out / "overlay.mp4").exists()
    text = (out / "steps.part.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    assert len(lines) >= frames - 8
    assert frames_of(out / "overlay.part.mp4") > 25
    state = read_state(out)
    assert state is not None and state.state == "running"

    resume = ["run", bundle, video, "-o", out, *ASKED, "--schedule", "rates:1,2,8", "--resume"]
    process = clockwork(*resume)  # killed once more, while it takes over what there is or soon after
    wait_until(lambda: (out / "overlay.part.mp4").exists(), process)
    process.kill()
    finished(process, -signal.SIGKILL)
    finished(clockwork(*resume))
    assert {name for name in content(out) if "/." not in name} == set(content(whole))
    for hidden in (out / "labels").glob(".*"):
        hidden.unlink()
    check_equal(out, whole)


def test_a_complete_run_is_left_as_it_is(bundle: Path, video: Path, whole: Path) -> None:
    before = content(whole)
    again = ["run", bundle, video, "-o", whole, *ASKED, "--schedule", "rates:1,2,8", "--resume"]
    printed, _ = finished(clockwork(*again))
    assert f"complete already, {COUNT} frames" in printed
    assert content(whole) == before


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.full((8, 8, 3), 40 * index, np.uint8)).save(folder / f"{index}.png")
    return folder


def test_results_of_two_runs_never_mix(
    bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", str(bundle), str(pictures), "-o", str(out), "--device", "cpu", "--quiet"]
    assert cli.run([*run, "--labels", "--log"]) == 0
    (out / "mine.txt").write_text("kept")
    before = content(out)
    for more, words in (
        (["--labels"], "5 frames, complete"),
        (["--labels", "--resume"], "its outputs differs"),
        (["--labels", "--log", "--stride", "2", "--resume"], "its stride differs; found 1; expected 2"),
        (["--labels", "--force", "--resume"], "--force begins anew"),
        (["--labels", "--force", "--schedule", "nonsense"], "nonsense"),
    ):
        assert cli.run([*run, *more]) == 2
        assert words in capsys.readouterr().err
        assert content(out) == before
    assert cli.run([*run, "--labels", "--max-frames", "2", "--force"]) == 0
    assert set(content(out)) == {"labels/0.png", "labels/1.png", "run.json", "mine.txt"}


def test_files_that_no_run_wrote_are_not_touched(
    bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "labels").mkdir(parents=True)
    (out / "labels" / "truth.png").write_bytes(b"mine")
    run = ["run", str(bundle), str(pictures), "-o", str(out), "--device", "cpu", "--quiet", "--labels"]
    for more in ([], ["--force"], ["--resume"]):
        assert cli.run([*run, *more]) == 2
        assert "files in this folder that no run has listed" in capsys.readouterr().err
    assert set(content(out)) == {"labels/truth.png"}


def test_bad_input_leaves_no_folder(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.run(["run", str(bundle), str(tmp_path / "absent.mp4"), "-o", str(out)]) == 2
    assert not out.exists()


def test_two_runs_at_once(bundle: Path, video: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = ["run", bundle, video, "-o", out, *ASKED, "--schedule", "rates:1,2,8"]
    both = [clockwork(*run), clockwork(*run)]
    ended = [process.communicate(timeout=300) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2]
    said = ended[codes.index(2)][1]
    assert "another run is writing into this folder" in said or "results of an earlier run" in said
    check_equal(out, whole)
