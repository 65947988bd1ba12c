from __future__ import annotations

import base64
import io
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.report.page import write_report
from tests.support.steps import FakeStep, adaptive_run
from weights.errors import UsageError, VideoError

SUMMARY = {
    "source": "street <1> & 2.mp4",
    "schedule": "adaptive:0.25",
    "device": "cpu",
    "frames_per_second": 43.21,
    "macs_of_oracle": 0.834,
    "interrupted": False,
    "mean_signal": None,
    "fires": {"stage1": 60, "stage3": 12},
    "problems": ["frame 7 (a<b>) is left out"],
}


class Page(HTMLParser):
    """Collects table rows, pictures and text, and insists that every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("src", "href"):
            if name in given:
                (self.pictures if tag == "img" else self.addresses).append(given[name] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def decoded(source: str) -> np.ndarray:
    kind, _, data = source.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB"))


def test_the_page_tells_the_run(tmp_path: Path) -> None:
    steps = adaptive_run(60, shots=(20,))
    fires = sum("stage3" in step.fired for step in steps)
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    write_report(tmp_path / "report.html", steps, SUMMARY, [(steps[7], picture)], theta=0.25)
    page = Page(tmp_path / "report.html")

    assert page.addresses == []  # nothing comes from elsewhere
    timeline, sample = (decoded(source) for source in page.pictures)
    assert timeline.shape[1] > 1000
    np.testing.assert_array_equal(sample, picture)

    rows = {row[0]: row[1:] for row in page.rows if row}
    ages = [step.ages["stage3"] for step in steps]
    assert rows["stage3"][:6] == [
        str(fires), f"{fires / 60:.0%}", f"{np.mean(ages):.2f}", str(max(ages)), "8.00", "8.00",
    ]  # fmt: skip
    assert rows["head"][:2] == ["60", "100%"]
    assert rows["source"] == ["street <1> & 2.mp4"]
    assert rows["interrupted"] == ["no"]
    assert rows["fires · stage3"] == ["12"]
    assert "mean_signal" not in rows
    for text in ("frames in 2 shots", "43.2", "83%", "frame 7 · 0.28 s", "frame 7 (a<b>) is left out"):
        assert text in page.text


def test_shares_of_the_time_add_up(tmp_path: Path) -> None:
    steps = [FakeStep(i, fired=("a", "head"), ms={"a": 3.0, "head": 1.0, "total": 4.2}) for i in range(4)]
    write_report(tmp_path / "r.html", steps, {})
    rows = {row[0]: row for row in Page(tmp_path / "r.html").rows if row}
    assert (rows["a"][7], rows["head"][7]) == ("75%", "25%")


def test_flow_has_its_share_of_the_time(tmp_path: Path) -> None:
    steps = [FakeStep(0, fired=("a", "head"), ms={"a": 3.0, "head": 1.0, "total": 4.2})]
    steps += [FakeStep(i, fired=(), ms={"flow": 2.0, "total": 2.1}) for i in (1, 2)]
    write_report(tmp_path / "r.html", steps, {})
    rows = {row[0]: row for row in Page(tmp_path / "r.html").rows if row}
    assert (rows["a"][7], rows["head"][7], rows["flow"][7]) == ("38%", "12%", "50%")
    assert rows["flow"][1] == "2"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"&$title'
    steps = [FakeStep(0, name=evil, time=Fraction(1), fired=(evil, "head"), ms={evil: 1.0, "total": 1.0})]
    picture = np.zeros((4, 4, 3), np.uint8)
    summary = {"source": evil, "schedule": evil, evil: {evil: evil}, "problems": [evil]}
    write_report(tmp_path / "r.html", steps, summary, [(steps[0], picture)])
    raw = (tmp_path / "r.html").read_text()
    assert "<script" not in raw
    page = Page(tmp_path / "r.html")
    assert page.text.count(evil) >= 6


def test_wide_pictures_are_made_smaller_and_their_number_is_limited(tmp_path: Path) -> None:
    steps = adaptive_run(30)
    picture = np.full((100, 2048, 3), 90, np.uint8)
    write_report(tmp_path / "r.html", steps, {}, [(step, picture) for step in steps])
    samples = [decoded(source) for source in Page(tmp_path / "r.html").pictures[1:]]
    assert len(samples) == 12
    assert {sample.shape for sample in samples} == {(35, 720, 3)}


def test_many_problems_are_counted(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", adaptive_run(3), {"problems": [f"problem {i}" for i in range(80)]})
    text = Page(tmp_path / "r.html").text
    assert "problem 49" in text and "problem 50" not in text and "and 30 more" in text


def test_parts_without_content_are_left_out(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", [FakeStep(0)], {})
    raw = (tmp_path / "r.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", raw)
    assert headings == ["Which stage ran when", "Stages", "The run in full"]
    assert "median time" not in raw


def test_no_step_or_no_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no step"):
        write_report(tmp_path / "r.html", [], {})
    with pytest.raises(VideoError, match="cannot be written"):
        write_report(tmp_path / "no" / "r.html", [FakeStep(0)], {})
    assert list(tmp_path.iterdir()) == []
