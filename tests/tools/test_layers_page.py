"""docs/layers.md is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_port.registry import all_rules
from tools.layers_page import figures_in, main, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "layers.md"


def test_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(PAGE)]) == 0, capsys.readouterr().out


def test_every_layer_is_listed_once() -> None:
    text = PAGE.read_text("utf-8")
    for rule in all_rules():
        assert text.count(f"| [{rule.type}](") == 1
        assert f"caffe_port/layers/{rule.module.rsplit('.', 1)[-1]}.py" in text


def test_every_layer_of_caffe_is_compared_with_caffe() -> None:
    figures = figures_in(PAGE.read_text("utf-8"))
    missing = {rule.type for rule in all_rules() if rule.fork == "BVLC Caffe"} - set(figures)
    assert not missing
    assert all(float(figure.split()[0]) <= 1e-5 for figure in figures.values())


def test_figures_survive_and_changes_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"ReLU": "1.0e-07", "Pooling": "2.0e-06 (OpenCV)"}
    copy = tmp_path / "layers.md"
    copy.write_text(page(figures), "utf-8")
    assert figures_in(copy.read_text("utf-8")) == figures
    assert main(["--check", str(copy)]) == 0
    copy.write_text(page({}).replace("parity: ", "parity: 1"), "utf-8")
    assert main(["--check", str(copy)]) == 0
    copy.write_text(page(figures).replace("| exact |", "| perfect |", 1), "utf-8")
    assert main(["--check", str(copy)]) == 1
    assert "is not current" in capsys.readouterr().out


def test_every_layer_is_tested() -> None:
    rows = [line for line in page({}).splitlines() if line.startswith("| [")]
    untested = [row for row in rows if row.rstrip("| ").count("|") < 6]
    assert len(rows) == len(list(all_rules()))
    assert not untested
