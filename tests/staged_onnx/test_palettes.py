from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from staged_onnx.palettes import Classes, classes, file_palette, voc_palette
from tests.support.shared_data import shared
from weights.errors import UsageError


def test_voc_palette_follows_the_bit_formula() -> None:
    palette = voc_palette()
    assert len(palette) == 256
    assert palette[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert palette[15] == (192, 128, 128)  # person
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("cityscapes", 19, "road", "bicycle"),
        ("camvid", 11, "sky", "bicyclist"),
        ("voc", 21, "background", "tvmonitor"),
        ("nyud", 40, "wall", "other prop"),
    ],
)
def test_known_tables(name: str, count: int, first: str, last: str) -> None:
    table = classes(name)
    assert len(table) == count
    assert (table.names[0], table.names[-1]) == (first, last)
    assert len(set(table.names)) == count
    assert len(set(table.palette)) == count


def test_only_a_background_is_black() -> None:
    black = {name: classes(name).palette.count((0, 0, 0)) for name in ("cityscapes", "camvid", "voc", "nyud")}
    assert black == {"cityscapes": 0, "camvid": 0, "voc": 1, "nyud": 0}
    assert classes("voc").palette[0] == (0, 0, 0)


def test_cityscapes_colours_are_those_of_the_published_palette() -> None:
    with Image.open(shared("models/cityscapes19.png")) as picture:
        strip = np.asarray(picture)[0, :19]
    assert [tuple(row[::-1]) for row in strip.tolist()] == list(classes("cityscapes").palette)  # stored BGR


def test_a_number_makes_numbered_names() -> None:
    assert classes(3) == classes("3")
    assert classes(3).names == ("class 0", "class 1", "class 2")
    assert classes(3).palette == voc_palette(3)


def test_names_file_with_and_without_colours(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("background\nred car 255 0 0\n\n  tree, 1, 2, 3  \nroute 66\n")
    table = classes(path)
    assert table.names == ("background", "red car", "tree", "route 66")
    assert table.palette == ((0, 0, 0), (255, 0, 0), (1, 2, 3), voc_palette(4)[3])


def test_trailing_prose_is_cut_off_when_the_count_is_known(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("a\nb\nc\nThese are the names.\n" + "x" * 500)
    assert classes(path, count=3).names == ("a", "b", "c")
    with pytest.raises(UsageError, match="class 4 has no usable name"):
        classes(path)


@pytest.mark.parametrize("count", [0, 257, 10**8])
def test_impossible_numbers_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="out of range"):
        classes(count)


def test_wrong_count_says_both_numbers() -> None:
    with pytest.raises(UsageError, match="the net has 21 classes; found 19 in cityscapes"):
        classes("cityscapes", count=21)


def test_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(UsageError, match="found pascal; expected cityscapes, camvid, voc, nyud"):
        classes("pascal")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not UTF-8"),
        (b"\n\n", "number of class names out of range"),
        (b"a\n" * 300, "found 300"),
        (b"car 300 0 0\n", 'colour of "car" out of range'),
        (b"a\x1bb\n", "no usable name"),
        (b"a" * (1 << 20) + b"\n", "too large"),
    ],
)
def test_unusable_names_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        classes(path)
    assert str(caught.value).startswith(str(path))


def test_colours_cover_every_label() -> None:
    table = classes("camvid").colours()
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert tuple(table[8]) == (64, 0, 128)
    assert not table[11:].any()


def test_classes_refuse_a_palette_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="do not match"):
        Classes(("a", "b"), ((0, 0, 0),))
    with pytest.raises(UsageError, match="not a colour"):
        Classes(("a",), ((0, 0, 256),))


def test_label_files_with_vocs_colours_have_its_whole_palette() -> None:
    """As the label images of PASCAL VOC have it: void, 255, is (224, 224, 192)."""
    whole = np.array(voc_palette(), np.uint8)
    assert file_palette(classes("voc").palette).tobytes() == whole.tobytes()
    assert whole[255].tolist() == [224, 224, 192]
    other = file_palette(classes("camvid").palette)
    assert other[:11].tolist() == [list(c) for c in classes("camvid").palette] and not other[11:].any()
