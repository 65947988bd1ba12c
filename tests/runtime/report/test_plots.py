from __future__ import annotations

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from runtime.report import plots


def figure(title: str = "a title") -> Figure:
    with plots.style():
        drawn = Figure(figsize=(4, 3), layout="constrained")
        axes = drawn.add_subplot()
        for number, colour in enumerate(plots.SERIES):
            axes.plot([0, 1], [number, number + 1], "o-", color=colour, label=colour)
        axes.set_title(title)
        axes.grid()
        axes.legend()
    return drawn


def test_colours_are_left_to_the_page() -> None:
    drawn = plots.svg(figure(), "lines")
    for name in ("ink", "soft", "line", "blue", "orange", "green", "vermillion", "purple", "sky"):
        assert f"var(--{name})" in drawn
    kept = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn))
    assert kept == set()


def test_the_element_is_well_formed_and_its_letters_are_letters() -> None:
    element = ElementTree.fromstring(
        str(plots.svg(figure(), "lines")).replace("<svg", '<svg xmlns:xlink="x"', 1)
    )
    texts = ["".join(text.itertext()) for text in element.iter("{http://www.w3.org/2000/svg}text")]
    assert "a title" in texts
    assert element.get("aria-label") == "lines" and element.get("viewBox") == "0 0 288 216"


def test_no_name_gets_out_of_its_text() -> None:
    evil = "</text></svg><script>alert(1)</script><!-- $\\frac{$"
    drawn = plots.svg(figure(evil), f'"><script>{evil}')
    assert "<script" not in drawn and "&lt;script&gt;alert(1)" in drawn


def test_two_pictures_on_a_page_share_no_ids_and_each_is_the_same_twice() -> None:
    first, second = plots.svg(figure(), "one"), plots.svg(figure(), "two")
    assert not set(re.findall(r'id="([^"]+)"', first)) & set(re.findall(r'id="([^"]+)"', second))
    assert first == plots.svg(figure(), "one")
    assert plots.png(figure()) == plots.png(figure())
