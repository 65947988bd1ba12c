"""Sources in step: which picture comes with which frame, and what happens where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.video.bundle_frames import open_frames
from runtime.video.frames import Frame
from runtime.video.images import read_depth
from runtime.video.in_step import in_step
from runtime.video.reader import open_video
from tests.support.several_pictures import thin_bundle
from weights.errors import UsageError, VideoError


def source(*indices: int) -> Iterator[Frame]:
    return (Frame(i, None, np.full((2, 2, 3), i, np.uint8), f"{i}") for i in indices)


def paired(first: list[int], **others: list[int]) -> tuple[list[tuple[int, ...]], list[str]]:
    problems: list[str] = []
    frames = in_step(
        source(*first), {name: source(*at) for name, at in others.items()}, lambda p: problems.append(p.text)
    )
    found = [(f.index, *(int(f.more[name][0, 0, 0]) for name in others)) for f in frames]
    return found, problems


def test_pictures_of_the_same_index_come_together() -> None:
    assert paired([0, 1, 2], hha=[0, 1, 2], depth=[0, 1, 2]) == ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], [])


def test_a_frame_of_which_one_is_missing_is_left_out() -> None:
    found, problems = paired([0, 1, 2, 4], hha=[0, 2, 3, 4])
    assert found == [(0, 0), (2, 2), (4, 4)] and problems == ['its picture "hha" is missing']


def test_all_end_where_one_ends() -> None:
    found, problems = paired([0, 1, 2, 3], hha=[0, 1, 2, 3], depth=[0, 1])
    assert found == [(0, 0, 0), (1, 1, 1)] and problems == ['"depth" ends before frame 2; so does the run']


def folder(path: Path, count: int, *, depth: bool = False) -> Path:
    path.mkdir()
    for i in range(count):
        picture = np.full((4, 6), 300 + i, np.uint16) if depth else np.full((4, 6, 3), i, np.uint8)
        Image.fromarray(picture).save(path / f"f{i}.png")
    return path


def test_folders_in_step(tmp_path: Path) -> None:
    colour, depth = folder(tmp_path / "colour", 12), folder(tmp_path / "depth", 12, depth=True)
    with open_video(colour, start=1, stride=5, more={"depth": depth}, depth={"depth"}) as reader:
        found = [(f.index, int(f.image[0, 0, 0]), f.more["depth"]) for f in reader]
    assert [(i, c, int(d[0, 0, 0])) for i, c, d in found] == [(1, 1, 301), (6, 6, 306), (11, 11, 311)]
    assert found[0][2].dtype == np.uint16 and found[0][2].shape == (4, 6, 1)


def test_a_damaged_picture_leaves_its_frame_out(tmp_path: Path) -> None:
    colour, depth = folder(tmp_path / "colour", 3), folder(tmp_path / "depth", 3, depth=True)
    (depth / "f1.png").write_bytes(b"damaged")
    with open_video(colour, more={"depth": depth}, depth={"depth"}) as reader:
        assert [f.index for f in reader] == [0, 2]
        assert reader.left_out == 2 and "missing" in str(reader.problems[1])


def test_what_cannot_be_in_step(tmp_path: Path) -> None:
    colour, fewer = folder(tmp_path / "colour", 3), folder(tmp_path / "fewer", 2)
    with pytest.raises(VideoError, match=r"another number of images.*2 images.*expected 3"):
        open_video(colour, more={"hha": fewer})
    with pytest.raises(VideoError, match=r"not a depth image|no frame of this source"):
        list(open_video(colour, more={"depth": colour}, depth={"depth"}))
    with pytest.raises(UsageError, match="in step with others"):
        open_video(colour, more={"hha": colour}, live="queue")


def test_depth_is_one_channel(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "eight.png")
    assert read_depth(tmp_path / "eight.png").tolist() == [[[7]] * 3] * 2
    Image.fromarray(np.full((2, 3), 65535, np.uint16)).save(tmp_path / "sixteen.tif")
    assert read_depth(tmp_path / "sixteen.tif").max() == 65535
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(VideoError, match="one channel"):
        read_depth(tmp_path / "colour.png")


def test_a_bundle_says_which_sources_it_takes(tmp_path: Path) -> None:
    _, _, bundle = thin_bundle(tmp_path, "depth")
    colour = folder(tmp_path / "colour", 2)
    for more in ({}, {"hha": colour}, {"depth": colour, "hha": colour}):
        with pytest.raises(UsageError, match=r"takes 2 pictures per frame.*--input depth=SOURCE"):
            open_frames(bundle.manifest, colour, more)
