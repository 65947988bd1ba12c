"""Tables in their three forms."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

from rich.console import Console

from clockwork_onnx.evaluation.results.tables import Table, schedule_table
from clockwork_onnx.evaluation.scoring.metrics import Scores
from clockwork_onnx.evaluation.scoring.played import Played
from clockwork_onnx.evaluation.scoring.scoring import Result

TABLE = Table(
    "Rows | of things", ("name", "value"), (("a", 0.12345), ("b, with comma", None), ("c", math.nan))
)


def test_markdown() -> None:
    assert TABLE.markdown().splitlines() == [
        "**Rows | of things**",
        "",
        "| name | value |",
        "| --- | ---: |",
        "| a | 0.123 |",
        "| b, with comma | - |",
        "| c | - |",
    ]


def test_csv_keeps_all_digits() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows == [["name", "value"], ["a", "0.12345"], ["b, with comma", ""], ["c", ""]]


def test_rich_shows_every_cell() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(TABLE.rich())
    text = console.export_text()
    assert "b, with comma" in text and "0.123" in text


def test_a_row_a_schedule() -> None:
    def result(schedule: str, ms: float) -> Result:
        scores = Scores(0.9, 0.8, 0.7, 0.6, (0.7,), 10)
        return Result(
            Played(schedule), scores, None, 0.1, 4, 4, {"s1": 4, "s2": 2}, {"s1": 0.0, "s2": 0.5}, 5, 0.5, ms
        )

    table = schedule_table("t", [result("oracle", 8.0), result("skip:2", 4.0)], ["s1", "s2"])
    assert table.texts()[1] == [
        "skip:2", "0.700", "0.600", "0.900", "0.100", "4 2", "0.500", "0.500", "4.000", "0.00 0.50",
    ]  # fmt: skip
    assert len(table.columns) == len(table.rows[0])
    assert "cost/oracle" not in table.columns
    moving = replace(result("warp:2", 5.0), moving_ms=1.0)
    table = schedule_table("t", [result("oracle", 8.0), moving], ["s1", "s2"])
    cost = dict(zip(table.columns, table.texts()[1], strict=True))
    assert (cost["MACs/oracle"], cost["cost/oracle"], cost["time/oracle"]) == ("0.500", "0.625", "0.625")
