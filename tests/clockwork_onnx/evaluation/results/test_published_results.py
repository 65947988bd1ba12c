"""The committed results say what docs/results/README.md says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[4] / "docs/results"
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")
ORDER = (
    "frame oracle",
    "alternating",
    "2-stage pipeline",
    "exponential",
    "3-stage pipeline",
    "3-stage baseline",
)
"""The paper's order of these methods on translated pictures, at 16 and at 32 pixels."""


def read(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / folder / "results.json").read_text(encoding="utf-8"))
    return found


def translated(folder: str, shift: int) -> dict[str, dict[str, Any]]:
    """Rows of tables 3 and 5 at one shift, by method."""
    tables = [t for t in read(folder)["tables"] if t["data"].endswith(f"translated {shift} pixels per frame")]
    return {row["method"]: row for table in tables for row in table["rows"]}


@pytest.mark.parametrize("shift", [16, 32])
def test_fresher_is_better_as_in_the_paper(shift: int) -> None:
    rows = translated("shapes", shift)
    accuracy = [rows[name]["mean_iu"] for name in ORDER]
    assert accuracy == sorted(accuracy, reverse=True)
    assert rows["skip frame"]["mean_iu"] < rows["exponential"]["mean_iu"]  # the difference that is explained
    column = {16: 1, 32: 3}[shift]
    for name, row in rows.items():
        (line,) = re.findall(rf"^\| {name}[^|]*\|(.+)\|$", PAGE.partition("**The same.**")[0], re.MULTILINE)
        ours = line.split("|")[column].strip(" *")
        assert ours.split()[0] == f"{100 * row['mean_iu']:.1f}", name


@pytest.mark.parametrize("shift", [1, 2, 4, 8, 16, 32])
def test_skip_frame_loses_by_the_motion(shift: int) -> None:
    folder = "shapes" if shift > 8 else "shapes-shifts"
    rows = translated(folder, shift)
    oracle, skip = rows["frame oracle"]["mean_iu"], rows["skip frame"]["mean_iu"]
    late = next(
        t["one_frame_late_mean_iu"] for t in read(folder)["tables"] if f"translated {shift} " in t["data"]
    )
    place = [1, 2, 4, 8, 16, 32].index(shift)
    table = PAGE.partition("| | ours, 1 px |")[2]
    cells = {line.split("|")[1].strip(): line.split("|")[2:] for line in table.splitlines()[2:7]}
    assert cells["worth of a repeated frame"][place].strip() == f"{100 * (2 * skip - oracle) / oracle:.0f} %"
    assert cells["mean IU of true labels a frame late"][place].strip() == f"{late:.3f}"


def test_espnet_on_camvid() -> None:
    found = read("espnet-camvid")
    accuracy = {row["schedule"]: row["mean_iu"] for row in found["schedules"]}
    assert accuracy["oracle"] == pytest.approx(0.548, abs=0.01)
    gains = {entry["rate"]: entry["mean_iu"] for entry in found["above_skip_at_equal_rate"]}
    assert list(gains) == list(range(2, 9)) and all(gain > 0 for gain in gains.values())
    for name in ("skip:{}", "rates:1,{}"):
        shown = " | ".join(f"{accuracy[name.format(n)]:.3f}" for n in range(2, 9))
        assert f"| {name.format('N')} | {shown} |" in PAGE
    (area,) = (a for a in found["advantages"] if (a["curve"], a["other"]) == ("clockwork", "skip"))
    assert f"by {-area['mean']:.3f} mean IU on average" in PAGE
    assert f"(area between the curves {area['area']:.4f})" in PAGE.replace("\n", " ")


def test_clockwork_is_ahead_of_skipping_on_the_generated_video() -> None:
    (area,) = (
        a for a in read("shapes-video")["advantages"] if (a["curve"], a["other"]) == ("clockwork", "skip")
    )
    assert area["mean"] > 0
    assert f"clockwork lies {area['mean']:.3f} *above* skipping" in PAGE.replace("\n", " ")
    assert f"(area {area['area']:+.4f})" in PAGE
