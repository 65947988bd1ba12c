"""The paper's numbers and their misprints."""

from __future__ import annotations

from clockwork_onnx.evaluation.paper.numbers import TABLE_1, PaperRow, paper_row, paper_thresholds
from clockwork_onnx.evaluation.paper.protocols import METHODS


def test_rows_are_shares() -> None:
    assert paper_row("pascal-16", "alternating") == PaperRow(0.647, 0.826, 0.548, 0.537)
    assert paper_row("youtube", "2-stage pipeline") == PaperRow(0.64, 0.892)
    assert paper_row("youtube", "exponential") is None
    assert paper_row("my video", "frame oracle") is None


def test_misprints_are_corrected_unless_asked_for() -> None:
    found = {
        ("pascal-16", "3-stage baseline", "fw_iu"): (0.548, 0.526),
        ("pascal-16", "skip frame", "boundary_mean_iu"): (None, 0.602),
        ("youtube", "2-stage baseline", "fw_iu"): (None, 0.078),
        ("cityscapes", "frame oracle", "mean_iu"): (0.664, 0.659),
        ("cityscapes", "frame oracle", "fw_iu"): (0.895, 0.836),
    }
    for (data, method, name), (corrected, printed) in found.items():
        assert getattr(paper_row(data, method), name) == corrected
        assert getattr(paper_row(data, method, "printed"), name) == printed


def test_translated_tables_have_every_method() -> None:
    for data in ("pascal-16", "pascal-32"):
        rows = [paper_row(data, method) for method in METHODS]
        assert all(row is not None for row in rows)
        oracle = rows[0]
        assert all(row.mean_iu <= oracle.mean_iu for row in rows)


def test_deep_layers_change_least() -> None:
    means = [TABLE_1[name][0] for name in ("pixels", "pool3", "pool4", "fc7")]
    assert means == sorted(means, reverse=True)


def test_thresholds_with_numbers() -> None:
    assert paper_thresholds("youtube") == (0.1, 0.25, 0.2545, 0.35)
    assert paper_thresholds("cityscapes") == (0.25, 0.375, 0.47, 0.5)
    assert paper_thresholds("nyudv2") == paper_thresholds("") == ()
