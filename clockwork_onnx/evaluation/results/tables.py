"""Tables as data: printed with rich, or written as markdown or CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable

from clockwork_onnx.evaluation.results.curves import cost_of
from clockwork_onnx.evaluation.scoring.scoring import Result

__all__ = ["TIMES", "Cell", "Table", "schedule_table"]

TIMES = ("cost/oracle", "time/oracle", "ms/frame")
"""Columns that are not the same in every run."""

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns. A float is shown to three decimals, None and NaN as a dash."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def texts(self) -> list[list[str]]:
        """The rows as they are shown."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def without(self, columns: Sequence[str]) -> Table:
        """The table without these columns; names that it does not have are ignored."""
        kept = [i for i, column in enumerate(self.columns) if column not in columns]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return Table(self.title, tuple(self.columns[i] for i in kept), rows)

    def markdown(self) -> str:
        """A markdown table under its title."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(self.columns) - 1)]) + "|")
        for row in self.texts():
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Comma-separated values with all digits; what was not measured is empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow(["" if _missing(cell) else cell for cell in row])
        return out.getvalue()

    def rich(self) -> RichTable:
        """The table for a terminal."""
        table = RichTable(title=self.title, title_justify="left", header_style="bold")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
        for row in self.texts():
            table.add_row(*row)
        return table


def schedule_table(title: str, results: Sequence[Result], stages: Sequence[str]) -> Table:
    """One row per schedule: what it earned, what fired, what it cost of the oracle, how old the labels were.

    Time is the share of the first oracle's. Where some schedule moves values, cost is what `curves.cost_of`
    says: flow and warp count by their time.

    Args:
        title: The table's title.
        results: One per schedule.
        stages: The stages' names; fires and ages are given per stage in this order.

    Returns:
        The table.
    """
    oracle = next((r for r in results if r.schedule == "oracle"), None)
    rows: list[tuple[Cell, ...]] = []
    for result in results:
        fires = " ".join(str(result.fires.get(stage, 0)) for stage in stages)
        ages = " ".join(f"{result.mean_age[s]:.2f}" if s in result.mean_age else "-" for s in stages)
        time = result.ms_per_frame / oracle.ms_per_frame if oracle and oracle.ms_per_frame else math.nan
        rows.append(
            (
                result.schedule,
                result.scores.mean_iu,
                result.scores.fw_iu,
                result.scores.pixel_accuracy,
                result.label_changes,
                fires,
                result.macs_of_oracle,
                time,
                result.ms_per_frame,
                ages,
            )
        )
    columns = (
        "schedule",
        "mean IU",
        "fwIU",
        "pixel acc.",
        "changes",
        f"fires of {len(stages)} stages",
        "MACs/oracle",
        "time/oracle",
        "ms/frame",
        "mean ages",
    )
    table = Table(title, columns, tuple(rows))
    if oracle is None or not any(result.moving_ms for result in results):
        return table
    at = columns.index("time/oracle")
    costs = [cost_of(result, oracle) for result in results]
    return Table(
        title,
        (*columns[:at], "cost/oracle", *columns[at:]),
        tuple((*row[:at], cost, *row[at:]) for row, cost in zip(rows, costs, strict=True)),
    )


def _missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _text(cell: Cell) -> str:
    if _missing(cell):
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
