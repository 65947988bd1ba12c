from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.report.page import difference_from, write_report
from runtime.report.run_record import RunRecord
from runtime.report.samples import Sample
from staged_onnx.palettes import classes
from tests.support.browser import overflow_at
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
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB"))


CLASSES = classes("camvid")


def sample(step: FakeStep, size: tuple[int, int] = (30, 40), oracle: bool = True) -> Sample:
    """A frame whose labels differ from the oracle's in the first row."""
    image = np.full((*size, 3), 90, np.uint8)
    labels = np.full(size, 3, np.uint8)
    truth = labels.copy()
    truth[0] = 5
    return Sample(step, image, labels, truth if oracle else None)


def test_the_page_tells_the_run(tmp_path: Path) -> None:
    steps = adaptive_run(60, shots=(20,))
    fires = sum("stage3" in step.fired for step in steps)
    shown = sample(steps[7])
    summary = {**SUMMARY, "oracle_samples": {"frames": 1, "seconds": 0.25}}
    write_report(tmp_path / "report.html", RunRecord.of(steps), summary, [shown], classes=CLASSES, theta=0.25)
    page = Page(tmp_path / "report.html")

    assert page.addresses == []  # nothing comes from elsewhere
    played, oracle, difference = (decoded(source) for source in page.pictures)
    assert played.shape == oracle.shape == difference.shape == (30, 40, 3)
    road, tree = (np.array(CLASSES.palette[k]) / 2 + 45 for k in (3, 5))
    assert np.abs(played[15, 20] - road).max() < 12 and np.abs(oracle[0, 20] - tree).max() < 40
    assert difference[0].mean(axis=0)[0] > difference[15].mean(axis=0)[0] + 20  # orange against grey

    rows = {row[0]: row[1:] for row in page.rows if row}
    ages = [step.ages["stage3"] for step in steps]
    assert rows["stage3"][:6] == [
        str(fires), f"{fires / 60:.0%}", f"{np.mean(ages):.2f}", str(max(ages)), "8.00", "8.00",
    ]  # fmt: skip
    assert rows["head"][:2] == ["60", "100%"]
    assert rows["source"] == ["street <1> & 2.mp4"]
    assert rows["interrupted"] == ["no"]
    assert rows["fires · stage3"] == ["12"]
    assert "mean signal" not in rows
    for text in (
        "frames in 2 shots",
        "43.2",
        "83%",
        "frame 7 · 0.28 s",
        "frame 7 (a<b>) is left out",
        "θ = 0.25",
        f"{1 / 30:.1%} of the labels differ",
        "in 0.2 s",
    ):
        assert text in page.text


def test_one_legend_names_the_classes_that_are_seen(tmp_path: Path) -> None:
    steps = adaptive_run(4)
    write_report(
        tmp_path / "r.html", RunRecord.of(steps), {}, [sample(step) for step in steps], classes=CLASSES
    )
    page = Page(tmp_path / "r.html")
    assert [page.text.count(name) for name in ("road", "tree", "bicyclist")] == [1, 1, 0]


def test_fresh_and_stale_frames_are_told_apart(tmp_path: Path) -> None:
    fresh, stale = FakeStep(0, ages={"a": 0, "b": 0}), FakeStep(1, ages={"a": 0, "b": 4})
    write_report(
        tmp_path / "r.html", RunRecord.of([fresh, stale]), {}, [sample(fresh), sample(stale)], classes=CLASSES
    )
    text = Page(tmp_path / "r.html").text
    assert "every stage ran" in text and "b 4 frames old" in text
    assert "1 of 2 frames shown are the stalest" in text


def test_differences_are_shown_over_the_faint_frame() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    picture, share = difference_from(image, np.array([[0, 1], [2, 3]]), np.array([[0, 1], [2, 4]]))
    assert share == 0.25
    assert picture[1, 1].tolist() == [213, 94, 0]
    assert picture[0, 0].tolist() == picture[1, 0].tolist() == [96, 96, 96]


def test_shares_of_the_time_add_up(tmp_path: Path) -> None:
    steps = [FakeStep(i, fired=("a", "head"), ms={"a": 3.0, "head": 1.0, "total": 4.2}) for i in range(4)]
    write_report(tmp_path / "r.html", RunRecord.of(steps), {})
    rows = {row[0]: row for row in Page(tmp_path / "r.html").rows if row}
    assert (rows["a"][7], rows["head"][7]) == ("75%", "25%")


def test_flow_has_its_share_of_the_time(tmp_path: Path) -> None:
    steps = [FakeStep(0, fired=("a", "head"), ms={"a": 3.0, "head": 1.0, "total": 4.2})]
    steps += [FakeStep(i, fired=(), ms={"flow": 2.0, "total": 2.1}) for i in (1, 2)]
    write_report(tmp_path / "r.html", RunRecord.of(steps), {})
    rows = {row[0]: row for row in Page(tmp_path / "r.html").rows if row}
    assert (rows["a"][7], rows["head"][7], rows["flow"][7]) == ("38%", "12%", "50%")
    assert rows["flow"][1] == "2"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"&$title\x1b[2J{{ 7 * 7 }}\ud800$\\frac{$'
    told = evil.replace("\x1b", "\\x1b").replace("\ud800", "\\ud800")
    steps = [FakeStep(0, name=evil, time=Fraction(1), fired=(evil, "head"), ms={evil: 1.0, "total": 1.0})]
    summary = {"source": evil, "schedule": evil, evil: {evil: evil}, "problems": [evil]}
    write_report(
        tmp_path / "r.html",
        RunRecord.of(steps),
        summary,
        [sample(steps[0])],
        classes=replace(CLASSES, names=(evil,) * len(CLASSES)),
    )
    raw = (tmp_path / "r.html").read_text()
    assert "<script" not in raw and "\x1b" not in raw
    assert Page(tmp_path / "r.html").text.count(told) >= 6


def test_wide_pictures_are_made_smaller_and_their_number_is_limited(tmp_path: Path) -> None:
    steps = adaptive_run(30)
    write_report(
        tmp_path / "r.html",
        RunRecord.of(steps),
        {},
        [sample(step, (100, 2048), oracle=False) for step in steps],
        classes=CLASSES,
    )
    samples = [decoded(source) for source in Page(tmp_path / "r.html").pictures]
    assert len(samples) == 12
    assert {sample.shape for sample in samples} == {(25, 520, 3)}


def test_a_page_with_all_its_pictures_is_small(tmp_path: Path) -> None:
    """Noise, which no picture format makes small, in the largest pictures that are shown."""
    rng = np.random.default_rng(0)
    steps = adaptive_run(2000)
    image = rng.integers(0, 256, (540, 960, 3), np.uint8)
    labels = np.zeros((540, 960), np.uint8)
    shown = [Sample(step, image, labels, labels) for step in steps[:12]]
    write_report(tmp_path / "r.html", RunRecord.of(steps), {}, shown, classes=CLASSES)
    assert (tmp_path / "r.html").stat().st_size < 4_000_000
    natural = np.indices((540, 960)).sum(axis=0)[:, :, None] // 6 % 256
    shown = [replace(s, image=natural.astype(np.uint8).repeat(3, axis=2)) for s in shown]
    write_report(tmp_path / "r.html", RunRecord.of(steps), {}, shown, classes=CLASSES)
    assert (tmp_path / "r.html").stat().st_size < 1_000_000


def test_many_problems_are_counted(tmp_path: Path) -> None:
    write_report(
        tmp_path / "r.html", RunRecord.of(adaptive_run(3)), {"problems": [f"problem {i}" for i in range(80)]}
    )
    text = Page(tmp_path / "r.html").text
    assert "problem 49" in text and "problem 50" not in text and "and 30 more" in text


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_beyond_the_edge_of_a_phone(tmp_path: Path, width: int) -> None:
    """With long names, which a browser would rather not break."""
    long = "a_very_long_name_of_a_stage_that_somebody_gave_to_it_and_that_nothing_divides_" * 2
    steps = adaptive_run(200, shots=(90,))
    for step in steps:
        step.fired, step.ages = (*step.fired, long), {**step.ages, long: 3}
    summary = {**SUMMARY, "source": f"/{long}.mp4", "problems": [long] * 3, long: {long: long}}
    write_report(
        tmp_path / "r.html",
        RunRecord.of(steps),
        summary,
        [sample(step, (300, 400)) for step in steps[:4]],
        classes=replace(CLASSES, names=(long, *CLASSES.names[1:])),
        theta=0.25,
    )
    assert overflow_at(tmp_path / "r.html", width) == (width, "")


def test_the_browser_sees_what_lies_beyond(tmp_path: Path) -> None:
    page = tmp_path / "wide.html"
    page.write_text('<!doctype html><body style="margin: 0"><p class="wide" style="width: 500px">wide</p>')
    assert overflow_at(page, 390) == (500, "P.wide")


def test_parts_without_content_are_left_out(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", RunRecord.of([FakeStep(0)]), {})
    raw = (tmp_path / "r.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", raw)
    assert headings == ["Which stage ran when", "Stages", "The run in full"]
    assert "median time" not in raw


def test_no_step_or_no_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no step"):
        write_report(tmp_path / "r.html", RunRecord(), {})
    with pytest.raises(VideoError, match="cannot be written"):
        write_report(tmp_path / "no" / "r.html", RunRecord.of([FakeStep(0)]), {})
    assert list(tmp_path.iterdir()) == []
