"""Many videos in one run: a folder for each, one summary, parts for several machines."""

import json
from pathlib import Path

import pytest
from PIL import Image

from clockwork_onnx.cli import run
from clockwork_onnx.commands.run_folder import read_state
from tests.support.toy_bundles import toy_bundle, toy_frame


@pytest.fixture
def videos(tmp_path: Path) -> list[str]:
    """Three folders of frames."""
    folders = []
    for name, count in (("one", 3), ("two", 2), ("three", 4)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(toy_frame(i % 2, (16, 16))).save(tmp_path / name / f"{i}.png")
        folders.append(str(tmp_path / name))
    return folders


def play(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict:
    assert run(["run", *arguments, "--device", "cpu", "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_each_video_has_a_folder_and_all_one_summary(
    tmp_path: Path, videos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = str(toy_bundle(tmp_path).path), tmp_path / "out"
    found = play(capsys, bundle, *videos, "-o", str(out), "--labels", "--log")
    assert (found["done"], found["skipped"], found["failed"], found["frames"]) == (3, 0, 0, 9)
    assert [entry["name"] for entry in found["videos"]] == ["one", "two", "three"]
    for name, count in (("one", 3), ("two", 2), ("three", 4)):
        assert len(list((out / name / "labels").glob("*.png"))) == count
        assert len((out / name / "steps.jsonl").read_text().splitlines()) >= count
    alone = play(capsys, bundle, videos[2], "-o", str(tmp_path / "alone"), "--labels")
    assert alone["frames"] == 4
    for file in (tmp_path / "alone/labels").iterdir():
        assert file.read_bytes() == (out / "three/labels" / file.name).read_bytes()


def test_done_ones_are_skipped_and_unfinished_ones_done_again(
    tmp_path: Path, videos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = str(toy_bundle(tmp_path).path), tmp_path / "out"
    play(capsys, bundle, videos[0], videos[1], "-o", str(out), "--labels")
    state = out / "two/run.json"
    state.write_text(state.read_text().replace('"complete"', '"interrupted"'))
    found = play(capsys, bundle, *videos, "-o", str(out), "--labels", "--skip-done")
    assert [entry["status"] for entry in found["videos"]] == ["skipped", "done", "done"]
    after = read_state(out / "two")
    assert after is not None and after.state == "complete"


def test_one_that_fails_does_not_end_the_others(
    tmp_path: Path, videos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("one\nmissing.mp4\nthree\n")
    bundle = str(toy_bundle(tmp_path).path)
    found = play(capsys, bundle, str(tmp_path / "list.txt"), "-o", str(tmp_path / "out"), status=2)
    assert [entry["status"] for entry in found["videos"]] == ["done", "failed", "done"]
    assert "no such file" in found["videos"][1]["error"]
    assert run(["run", bundle, str(tmp_path / "list.txt"), "--device", "cpu"]) == 2
    shown = capsys.readouterr()
    assert "videos   2 done, 0 skipped, 1 failed; 7 frames in" in shown.out and "[1/3] one" in shown.err


def test_shards_are_disjoint_and_cover_all(
    tmp_path: Path, videos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(toy_bundle(tmp_path).path)
    parts = [play(capsys, bundle, *videos, "--shard", f"{i}/2")["videos"] for i in (1, 2)]
    assert [[entry["name"] for entry in part] for part in parts] == [["one", "three"], ["two"]]
    for bad in ("0/2", "3/2", "1", "a/b"):
        assert run(["run", bundle, *videos, "--shard", bad]) == 2
        assert "is no part of a whole" in capsys.readouterr().err
    assert run(["run", bundle, *videos, "--skip-done"]) == 2
    assert "-o FOLDER with it" in capsys.readouterr().err
