"""One HTML page about a run, complete in itself: figures, timeline, stages and sample pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from os import PathLike
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from runtime.report.step_log import StepLike
from runtime.report.timeline import draw_timeline, stage_names
from weights.errors import UsageError, VideoError
from weights.whole_file import whole_file

__all__ = ["write_report"]

_PICTURE_WIDTH = 720  # pixels; wider samples are made smaller
_MAX_PICTURES = 12
_MAX_PROBLEMS = 50

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #66707d; --line: #dfe3e8; --ground: #f6f7f9;
  --card: #fff; --bar: #1d4f91; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebef; --soft: #9aa4b0; --line: #343b45;
  --ground: #15181d; --card: #1e2229; --bar: #6fa0e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 36px 0 12px; }
.soft { color: var(--soft); }
.figures, .samples { display: flex; flex-wrap: wrap; gap: 14px; }
.figures { margin-top: 22px; }
.figures .card { flex: 1 1 150px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.figures b { display: block; font-size: 24px; line-height: 1.25; font-weight: 650; }
.paper { background: #fff; padding: 8px; }
.paper img, figure img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; padding: 4px 16px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
td.wide { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.share { display: inline-block; height: 10px; border-radius: 3px; background: var(--bar); min-width: 1px; }
figure.card { flex: 1 1 31%; max-width: 33%; min-width: 300px; margin: 0; padding: 0; overflow: hidden; }
figcaption { padding: 8px 14px 10px; }
footer { margin-top: 40px; font-size: 13px; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header><h1>$title</h1><div class="soft">$subtitle</div></header>
<section class="figures">$figures</section>
<h2>Which stage ran when</h2>
<div class="card paper">
<img alt="A row for each stage, dark on the frames where it ran" src="$timeline"></div>
<h2>Stages</h2>
<div class="card scroll"><table>
<thead><tr><th>stage</th><th>fires</th><th>share</th><th>mean age</th><th>oldest</th><th>median ms</th>
<th>95 % ms</th><th>share of the time</th><th style="width: 170px"></th></tr></thead>
<tbody>$stages</tbody></table></div>
$samples
$problems
<h2>The run in full</h2>
<div class="card scroll"><table><tbody>$details</tbody></table></div>
<footer class="soft">Age: how many frames before the shown one a stage's output was computed.
Milliseconds of a stage count the frames on which it ran. Written by clockwork-onnx.</footer>
</main>
</body>
</html>
""")


def write_report(
    path: str | PathLike[str],
    steps: Sequence[StepLike],
    summary: Mapping[str, Any],
    samples: Sequence[tuple[StepLike, np.ndarray]] = (),
    *,
    title: str | None = None,
    stages: Sequence[str] | None = None,
    theta: float | None = None,
) -> None:
    """Writes the page of a run; pictures are inside it, nothing is loaded from elsewhere.

    `steps`: all steps of the run. `summary`: JSON-like values, shown in full at the end; `source`,
    `schedule`, `device`, `frames_per_second`, `macs_of_oracle` and `problems` are also shown in their
    places. `samples`: steps with the pictures to show of them (uint8 RGB, such as `Overlay.draw`
    gives), at most twelve. `stages` and `theta`: as for `draw_timeline`. Raises UsageError where
    there is no step, VideoError where the page cannot be written.
    """
    if not steps:
        raise UsageError("no step to report", file=path)
    names = tuple(stages) if stages is not None else stage_names(steps)
    timeline = io.BytesIO()
    draw_timeline(steps, timeline, stages=names, theta=theta)
    subtitle = [str(summary[key]) for key in ("schedule", "device") if summary.get(key)]
    page = _PAGE.substitute(
        title=escape(title or str(summary.get("source") or "A run")),
        subtitle=escape(" · ".join(subtitle)),
        figures=_figures(steps, summary),
        timeline=_inline(timeline.getvalue()),
        stages=_stage_rows(steps, names),
        samples=_samples(samples[:_MAX_PICTURES]),
        problems=_problems(summary.get("problems") or ()),
        details="".join(
            f'<tr><td>{escape(key)}</td><td class="wide">{escape(text)}</td></tr>'
            for key, text in _flat({k: v for k, v in summary.items() if k != "problems"})
        ),
    )
    try:
        with whole_file(path) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise VideoError("cannot be written", file=path, found=error.strerror) from error


def _figures(steps: Sequence[StepLike], summary: Mapping[str, Any]) -> str:
    shots = len({step.shot for step in steps})
    figures = [(f"{len(steps)}", f"frames in {shots} shot{'s' if shots != 1 else ''}")]
    rate = summary.get("frames_per_second")
    if isinstance(rate, int | float):
        figures.append((f"{rate:.1f}", "frames a second"))
    totals = [step.ms["total"] for step in steps if "total" in step.ms]
    if totals:
        figures.append((f"{np.median(totals):.1f} ms", "median time of a frame"))
        figures.append((f"{np.percentile(totals, 95):.1f} ms", "at most, for 95 % of frames"))
    macs = summary.get("macs_of_oracle")
    if isinstance(macs, int | float):
        figures.append((f"{macs:.0%}", "of the multiply-accumulates of running everything"))
    return "".join(
        f'<div class="card"><b>{escape(value)}</b><span class="soft">{escape(what)}</span></div>'
        for value, what in figures
    )


def _stage_rows(steps: Sequence[StepLike], names: Sequence[str]) -> str:
    # optical flow, warps and the like are no stages, but take their time
    others = sorted({name for step in steps for name in step.ms} - {*names, "total"})
    times = {name: [s.ms[name] for s in steps if name in s.ms] for name in (*names, *others)}
    spent = sum(sum(values) for values in times.values())
    rows = []
    for name in times:
        fires = sum(name in step.ms for step in steps)
        ages = [step.ages[name] for step in steps if name in step.ages]
        ms = times[name]
        share = sum(ms) / spent if spent > 0 else 0.0
        cells = [
            escape(name),
            f"{fires}",
            f"{fires / len(steps):.0%}",
            f"{np.mean(ages):.2f}" if ages else "",
            f"{max(ages)}" if ages else "",
            f"{np.median(ms):.2f}" if ms else "",
            f"{np.percentile(ms, 95):.2f}" if ms else "",
            f"{share:.0%}" if ms else "",
        ]
        bar = f'<td style="text-align: left"><span class="share" style="width: {share:.1%}"></span></td>'
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + bar + "</tr>")
    return "".join(rows)


def _samples(samples: Sequence[tuple[StepLike, np.ndarray]]) -> str:
    if not samples:
        return ""
    figures = []
    for step, picture in samples:
        image = Image.fromarray(picture)
        if image.width > _PICTURE_WIDTH:
            height = max(1, round(image.height * _PICTURE_WIDTH / image.width))
            image = image.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, format="PNG", optimize=False)
        moment = "" if step.time is None else f" · {float(step.time):.2f} s"
        fired = "ran: " + ", ".join(step.fired) if step.fired else "nothing ran"
        figures.append(
            f'<figure class="card"><img alt="frame {step.index}" src="{_inline(file.getvalue())}">'
            f"<figcaption>frame {step.index}{moment}<br>"
            f'<span class="soft">{escape(fired)}</span></figcaption></figure>'
        )
    return f'<h2>Frames</h2><div class="samples">{"".join(figures)}</div>'


def _problems(problems: Sequence[object]) -> str:
    if not problems:
        return ""
    lines = [str(problem) for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        lines.append(f"and {len(problems) - _MAX_PROBLEMS} more")
    rows = "".join(f'<tr><td class="wide">{escape(line)}</td></tr>' for line in lines)
    return f'<h2>Problems</h2><div class="card scroll"><table><tbody>{rows}</tbody></table></div>'


def _flat(summary: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The summary's values as text, those of mappings in it named "outer · inner"."""
    rows: list[tuple[str, str]] = []
    for key, value in summary.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} · ")
        elif isinstance(value, bool):
            rows.append((name, "yes" if value else "no"))
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}"))
        elif value is not None:
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)))
    return rows


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
