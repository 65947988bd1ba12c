"""DIGITS' views: distances, lines, legends, colour maps, palettes, and the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from clockwork_onnx.cli import run
from clockwork_onnx.digits.distance import signed_distance
from clockwork_onnx.digits.view_writer import ViewWriter
from clockwork_onnx.digits.views import colour_map, display, display_table, draw_views
from clockwork_onnx.evaluation.demo import net as demo_net
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from staged_onnx.palettes import classes
from tests.support.browser import overflow_at
from weights.errors import UsageError

VOC = classes("voc")


def disc(size: tuple[int, int] = (40, 50), radius: float = 12) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    return np.asarray((y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < radius**2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (25, 1), (30, 41), (300, 8)])
def test_distances_are_euclidean(shape: tuple[int, int]) -> None:
    for seed, share in ((0, 0.5), (1, 0.03), (2, 0.97)):
        region = np.random.default_rng(seed).random(shape) < share
        if region.all() or not region.any():
            continue
        wanted = np.where(
            region, distance_transform_edt(region).clip(max=128) - 0.5,
            0.5 - distance_transform_edt(~region).clip(max=128),
        )  # fmt: skip
        np.testing.assert_allclose(signed_distance(region), wanted, atol=1e-9)


def test_far_from_everything_distances_end() -> None:
    region = np.zeros((400, 300), bool)
    region[0, 0] = True
    found = signed_distance(region)
    assert found.min() == -127.5 and found[0, 0] == 0.5


def test_fill_line_mask_and_seg() -> None:
    labels = np.where(disc(), 15, 0).astype(np.uint8)
    views = draw_views(labels, VOC)
    inside = labels > 0
    assert (views.fill[inside] == (192, 128, 128, 255)).all() and not views.fill[~inside].any()
    assert (views.mask[~inside] == (0, 0, 0, 255)).all() and not views.mask[inside].any()
    line = views.line[..., 3] > 0
    distance = signed_distance(inside)
    np.testing.assert_array_equal(line, inside & (distance < 3))
    np.testing.assert_array_equal(views.seg[..., 3], np.maximum(1, distance + 128).astype(np.uint8))
    assert (views.seg[inside][:, 3] >= 128).all() and (views.seg[~inside][:, 3] < 128).all()
    wider = draw_views(labels, VOC, line_width=5)
    assert (wider.line[..., 3] > 0).sum() > line.sum()


def test_classes_that_touch_each_have_a_line() -> None:
    labels = np.zeros((20, 40), np.uint8)
    labels[4:16, 5:20], labels[4:16, 20:35] = 1, 2
    line = draw_views(labels, VOC).line
    assert (line[10, 17:20, 3] == 255).all() and (line[10, 20:23, 3] == 255).all()
    assert tuple(line[10, 19, :3]) == VOC.palette[1] and tuple(line[10, 20, :3]) == VOC.palette[2]
    assert not line[10, 10:16, 3].any()


def test_one_class_only_is_shown_whole() -> None:
    views = draw_views(np.full((6, 6), 3, np.uint8), VOC)
    assert (views.line[..., 3] == 255).all() and (views.seg[..., 3] == 255).all()
    empty = draw_views(np.zeros((6, 6), np.uint8), VOC)
    assert not empty.seg[..., 3].any() and empty.legend == ()


def test_legends() -> None:
    labels = np.array([[0, 15, 20, 7]], np.uint8)
    found = draw_views(labels, VOC).legend
    assert [(e.index, e.text, e.hex_color) for e in found] == [
        (7, "car", "#808080"),
        (15, "person", "#c08080"),
        (20, "tvmonitor", "#004080"),
    ]
    assert [e.text for e in draw_views(labels, VOC, named=False).legend] == [
        "Class #7",
        "Class #15",
        "Class #20",
    ]
    assert [e.hex_color for e in draw_views(labels, VOC, colours="none").legend] == [
        "#070707",
        "#0f0f0f",
        "#141414",
    ]


def test_colour_maps() -> None:
    table = colour_map("dataset", VOC)
    assert table[255].tolist() == [224, 224, 192] and table[1].tolist() == [128, 0, 0]
    paired = colour_map("paired", VOC)
    assert paired[0].tolist() == [166, 206, 227] and paired[20].tolist() == [177, 89, 40]
    assert len({tuple(row) for row in paired[:21].tolist()}) == 12
    with pytest.raises(UsageError, match="no such colour map"):
        colour_map("rainbow", VOC)


def test_what_is_shown_first() -> None:
    table = display_table()
    assert table[0] == 0 and not table[1:128].any()
    assert (table[128:131] == 1).all() and (table[131:] == 0.3).all()
    assert (display_table(threshold=-20)[108:111] == 1).all()
    labels = np.where(disc(), 15, 0).astype(np.uint8)
    image = np.full((*labels.shape, 3), 100, np.uint8)
    shown = display(image, draw_views(labels, VOC))
    assert (shown[0, 0] == 100).all()
    assert shown[20, 25].tolist() == [round(100 * 0.7 + c * 0.3) for c in (192, 128, 128)]
    assert tuple(shown[20, 14]) == (192, 128, 128)


def test_binary_segmentations_are_black_and_white_with_a_threshold() -> None:
    labels = np.where(disc(), 1, 0).astype(np.uint8)
    views = draw_views(labels, classes(2))
    assert views.is_binary and not draw_views(labels, VOC).is_binary
    image = np.zeros((*labels.shape, 3), np.uint8)
    shown = display(image, views, opacity=1.0)
    np.testing.assert_array_equal(shown[..., 0] == 255, disc())
    assert (display(image, views, opacity=1.0, threshold=4)[..., 0] > 0).sum() < disc().sum()
    assert (display(image, views, opacity=1.0, threshold=-4)[..., 0] > 0).sum() > disc().sum()


def test_files_of_many_frames(tmp_path: Path) -> None:
    writer = ViewWriter(tmp_path / "views", VOC)
    image = np.zeros((8, 9, 3), np.uint8)
    for index in range(40):
        writer.write(image, np.full((8, 9), index % 3, np.uint8), f"a/b {index}")
    writer.finish("<title>")
    assert len(list((tmp_path / "views").glob("*.png"))) == 200
    page = (tmp_path / "views/views.html").read_text("utf-8")
    assert page.count("<label hidden>") == 1 and page.count("<label") == 5
    assert 6 <= page.count("<figure") <= 12 and "&lt;title&gt;" in page
    legends = json.loads((tmp_path / "views/views.json").read_text("utf-8"))["frames"]
    assert len(legends) == 40 and legends[1]["frame"] == "a_b_1"
    assert legends[2]["legend"] == [{"index": 2, "text": "bicycle", "hex_color": "#008000"}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundle") / "shapes.staged"
    folder = Path(demo_net.__file__).parent
    files = [str(folder / name) for name in ("deploy.prototxt", "shapes-fcn8s.caffemodel")]
    assert run(["convert", *files, "-o", str(made), "--cut", "pool4"]) == 0
    return made


@pytest.mark.parametrize("size", [(60, 90), (61, 75), (100, 64), (145, 176), (73, 131)])
def test_one_picture_of_any_size_in_labels_and_overlay_out(
    bundle: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "one.png")
    out = tmp_path / "out"
    assert run(["run", str(bundle), str(tmp_path / "one.png"), "-o", str(out), "--quiet"]) == 0
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.*")) == [
        "labels/one.png",
        "overlay.png",
        "run.json",
    ]
    with Image.open(out / "labels/one.png") as labels, Image.open(out / "overlay.png") as overlay:
        assert labels.mode == "P" and labels.size == overlay.size == (size[1], size[0])
        assert overlay.mode == "RGB"


def test_run_views(bundle: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(2):
        Image.fromarray(np.full((60, 80, 3), 90 * index, np.uint8)).save(frames / f"f{index}.png")
    command = ["run", str(bundle), str(frames), "-o", str(tmp_path / "out"), "--views", "--quiet"]
    assert run([*command, "--colours", "paired", "--line-width", "2"]) == 0
    found = sorted(p.name for p in (tmp_path / "out/views").iterdir())
    kinds = ("fill", "line", "mask", "seg", "view")
    assert found == sorted(
        [*(f"f{i}-{kind}.png" for i in range(2) for kind in kinds), "views.html", "views.json"]
    )
    with Image.open(tmp_path / "out/views/f0-fill.png") as fill:
        assert fill.mode == "RGBA" and fill.size == (80, 60)


def test_accuracy_includes_the_background_and_leaves_255_out() -> None:
    """Caffe's Accuracy with ignore_label 255, as in DIGITS' net: 3 of 5 scored pixels are right."""
    confusion = Confusion(21)
    truth = np.array([[0, 0, 255, 15], [255, 15, 7, 255]], np.uint8)
    confusion.add(truth, np.array([[0, 15, 7, 15], [0, 0, 7, 3]], np.uint8))
    assert confusion.scores().pixel_accuracy == pytest.approx(3 / 5)


def test_the_report_has_the_views_that_are_written(bundle: Path, tmp_path: Path) -> None:
    """The same display as views.html, with its controls; without --views the page is as ever."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(3):
        Image.fromarray(np.full((60, 80, 3), 90 * index, np.uint8)).save(frames / f"f{index}.png")
    pages = {}
    for option in ("--views", "--log"):
        out = tmp_path / option.strip("-")
        assert run(["run", str(bundle), str(frames), "-o", str(out), "--report", option, "--quiet"]) == 0
        pages[option] = (out / "report.html").read_text("utf-8")
    assert "As DIGITS shows it" not in pages["--log"] and "filter: url(#segment)" not in pages["--log"]
    page, own = pages["--views"], (tmp_path / "views/views/views.html").read_text("utf-8")
    for text in (page, own):
        assert text.count('class="over') == 3 and 'id="lineWidth"' in text
        assert text.index("filter: url(#segment)") < text.index("</style>") < text.index("<form")
    assert page.index("Frames, fresh and stale") < page.index("As DIGITS shows it") < page.index("in full")
    assert overflow_at(tmp_path / "views/report.html", 390)[0] <= 390
