"""What the passes at opening save in each stage of a bundle, for people and for programs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from staged_onnx import Bundle


def pass_summary(bundle: Bundle) -> list[dict[str, Any]]:
    """Per stage and pass: multiply-accumulates and nodes before and after, at the reference size."""
    from runtime.sessions.device import choose_device
    from runtime.sessions.stage_sessions import StageSessions

    device = choose_device("cpu")
    with closing(StageSessions(bundle, device, bundle.manifest.reference_size)) as sessions:
        return [
            {"stage": part.spec.name, "pass": one.name, "macs": list(one.macs), "nodes": list(one.nodes)}
            for part in (*sessions.stages, sessions.head)
            for one in (part.session.prepared.savings if part.session.prepared is not None else ())
        ]


def print_passes(console: Console, found: list[dict[str, Any]]) -> None:
    """The table of stages and passes."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("stage", "pass", "GMAC before", "after", "left", "nodes before", "after"):
        table.add_column(head, justify="left" if head in ("stage", "pass") else "right")
    for one in found:
        before, after = one["macs"]
        table.add_row(
            Text(one["stage"]),
            one["pass"],
            f"{before / 1e9:.3f}",
            f"{after / 1e9:.3f}",
            f"{after / max(1, before):.0%}",
            *map(str, one["nodes"]),
        )
    console.print(table)
