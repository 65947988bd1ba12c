"""The HTML page: complete, self-contained, and safe with any text."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.evaluation.results import plots
from clockwork_onnx.evaluation.results.page import Page, ShownFrame, difference_picture, write_page
from clockwork_onnx.evaluation.results.tables import Table
from staged_onnx.palettes import classes
from tests.support.browser import overflow_at


class Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        assert tag not in ("script", "link", "iframe")
        assert not {"href", "xlink:href"} & values.keys() or (values.get("xlink:href") or "").startswith("#")

    def handle_data(self, data: str) -> None:
        self.text += data


def make_page(name: str = "street") -> Page:
    image = np.zeros((6, 8, 3), np.uint8)
    truth = np.zeros((6, 8), np.uint8)
    moved = truth.copy()
    moved[0, :4] = 1
    return Page(
        title=f"Evaluation of {name}",
        facts={"bundle": name},
        findings=["skip loses."],
        tables=[Table("Schedules", ("schedule", "mean IU"), ((name, 0.5),))],
        plots=[("Sweep", plots.threshold_sweep([0.1], [0.5], [0.6]))],
        frames=[ShownFrame("frame 1", image, truth, {"oracle": truth, "skip:2": moved})],
        classes=classes("camvid"),
    )


def parse(path: Path) -> Collector:
    collector = Collector()
    collector.feed(path.read_text(encoding="utf-8"))
    return collector


def test_the_page_holds_everything_itself(tmp_path: Path) -> None:
    write_page(tmp_path / "report" / "index.html", make_page())
    assert [p.name for p in (tmp_path / "report").iterdir()] == ["index.html"]
    page = parse(tmp_path / "report" / "index.html")
    # frame, label, oracle, skip:2, difference; the plot is SVG
    assert len(page.images) == 5 and page.tags.count("svg") == 1
    for source in page.images:
        match = re.fullmatch(r"data:image/(png|webp);base64,(.+)", source)
        assert match is not None
        Image.open(io.BytesIO(base64.b64decode(match[2]))).verify()
    for words in (
        "intersection",
        "8.3% other than the oracle: lost 8.3%, won 0.0%",
        "bicyclist",
        "0.500",
        "skip loses.",
    ):
        assert words.lower() in page.text.lower()


def test_large_pictures_are_made_smaller_and_labels_stay_labels(tmp_path: Path) -> None:
    image = np.zeros((300, 2000, 3), np.uint8)
    truth = np.zeros((300, 2000), np.uint8)
    truth[:, ::2] = 1
    page = make_page()
    frame = ShownFrame("wide", image, truth, {"oracle": truth, "skip:2": truth})
    write_page(tmp_path / "r.html", replace(page, frames=[frame]))
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        for source in parse(tmp_path / "r.html").images
    ]
    assert [picture.size for picture in pictures] == [(480, 72)] * 5
    colours = {tuple(colour) for colour in np.asarray(pictures[1].convert("RGB")).reshape(-1, 3).tolist()}
    assert colours <= set(classes("camvid").palette[:2])


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_beyond_the_edge_of_a_phone(tmp_path: Path, width: int) -> None:
    """With a long name and as many schedules as a page shows."""
    name = "warp-feature:adaptive:0.123@flow=dis:ultrafast@scale=1/4@min=2@max=16_and_what_else_there_is" * 2
    page = make_page(name)
    frame = page.frames[0]
    outputs = {**frame.outputs, **{f"{name} {i}": frame.outputs["skip:2"] for i in range(6)}}
    table = Table(name, tuple(f"column {i}" for i in range(14)), ((name, *[0.5] * 13),))
    page = replace(
        page, frames=[replace(frame, name=name, outputs=outputs)], tables=[table], findings=[name] * 9
    )
    write_page(tmp_path / "r.html", page)
    assert overflow_at(tmp_path / "r.html", width) == (width, "")


def test_text_is_escaped(tmp_path: Path) -> None:
    write_page(tmp_path / "r.html", make_page("<script>alert(1)</script>"))
    assert "<script>alert(1)</script>" in parse(tmp_path / "r.html").text


def test_the_same_page_twice_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_page(tmp_path / name, make_page())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_difference_colours() -> None:
    truth = np.array([[0, 0, 0, 0, 0, 255]], np.uint8)
    oracle = np.array([[0, 0, 1, 1, 1, 0]], np.uint8)
    output = np.array([[0, 1, 0, 2, 1, 1]], np.uint8)
    picture = difference_picture(truth, oracle, output)[0].tolist()
    agree, lost, won, other, both_wrong, void = picture
    assert agree[0] > 230 and lost[0] > 200 > lost[1] + 100 and won[1] > won[0] + 50
    assert other == void  # both wrong in different ways; void counts for neither
    assert both_wrong != agree and len({tuple(c) for c in picture}) == 5
    unlabelled = difference_picture(None, oracle, output)[0].tolist()
    assert unlabelled[0] == agree and unlabelled[1] == other
