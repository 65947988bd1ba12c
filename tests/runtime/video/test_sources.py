"""Several videos named at once."""

from pathlib import Path

import pytest

from runtime.video.sources import list_sources
from weights.errors import VideoError


def names(found: object) -> list[str]:
    return [each.name for each in found]  # type: ignore[attr-defined]


def touch(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()


def test_folders_globs_and_lists_become_sources_of_their_own_names(tmp_path: Path) -> None:
    touch(tmp_path / "a", "v10.mp4", "v2.MKV", "readme.md", "sub")
    touch(tmp_path / "b", "v2.mp4")
    touch(tmp_path / "pictures", "1.png", "2.png", "x.mp4")
    (tmp_path / "list.txt").write_text("# two\na/v10.mp4\n\nrtsp://user:secret@host/stream\npictures\n0\n-\n")
    found = list_sources([str(tmp_path / "a"), str(tmp_path / "b/*.mp4"), str(tmp_path / "list.txt")])
    assert names(found) == ["v2", "v10", "v2-2", "stream", "pictures", "camera-video0", "stdin"]
    assert found[0].source == str(tmp_path / "a/v2.MKV") and found[5].source == "0"
    assert found[4].source == str(tmp_path / "pictures")


def test_one_source_stays_as_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "frames", "1.png")
    for source in (
        "-",
        "camera:1",
        "http://host/a.mjpg",
        str(tmp_path / "frames"),
        "frames/*.png",
        "none.mp4",
    ):
        assert [each.source for each in list_sources([source])] == [source]


def test_names_do_no_harm(tmp_path: Path) -> None:
    found = list_sources(["../../\x1b[31m evil/..mp4", "rtsp://host/", "http://host/../x?token=1", "a\n.mp4"])
    assert all("/" not in each.name and "\x1b" not in each.name and each.name[0] != "." for each in found)


def test_a_list_that_names_nothing_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"# nothing\n", b"\xff\xfe\x00"):
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(VideoError, match=r"list\.txt"):
            list_sources([str(tmp_path / "list.txt")])
    with pytest.raises(VideoError, match="none"):
        list_sources([str(tmp_path / "none.txt")])
