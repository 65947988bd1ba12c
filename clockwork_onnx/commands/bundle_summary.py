"""What a bundle is, for people and for programs: its stages and what each costs, reads and hands out."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from staged_onnx import Bundle

COLUMNS = {
    "stage": "left", "cut": "left", "layers": "right", "GMAC": "right", "share": "right",
    "parameters": "right", "reads": "left", "hands out": "left",
}  # fmt: skip


def bundle_summary(bundle: Bundle) -> dict[str, Any]:
    """The bundle as JSON data; "values" are what the feature cache holds at the reference size."""
    manifest = bundle.manifest
    how = manifest.preprocessing
    return {
        "bundle": str(bundle.path), "name": manifest.name,
        "size": list(how.size) if how.size else "native",
        "reference_size": list(manifest.reference_size),
        "stages": [
            {"name": s.name, "cut": s.cut, "layers": len(s.layers), "inputs": list(s.inputs),
             "outputs": list(s.outputs), "macs": s.macs, "share": s.macs / max(1, manifest.macs),
             "parameters": s.parameters}
            for s in manifest.parts
        ],
        "macs": manifest.macs,
        "values": {name: {"shape": list(v.shape), "dtype": v.dtype} for name, v in manifest.values.items()},
        "output": manifest.output.kind,
        "classes": list(manifest.class_names), "preprocessing": how.to_json(),
        "more_frames": {frame.name: frame.preprocessing.to_json() for frame in manifest.more_frames},
        "signal": manifest.signal, "schedule": manifest.schedule, "why": list(manifest.why),
        "notes": list(manifest.notes), "source": dict(manifest.source), "created_by": manifest.created_by,
    }  # fmt: skip


def print_stages(console: Console, summary: dict[str, Any]) -> None:
    """The table of stages."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head, justify in COLUMNS.items():
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for s in summary["stages"]:
        table.add_row(
            s["name"],
            s["cut"],
            str(s["layers"]),
            f"{s['macs'] / 1e9:.3f}",
            f"{s['share']:.1%}",
            f"{s['parameters']:,}",
            ", ".join(s["inputs"]),
            ", ".join(s["outputs"]),
        )
    console.print(table)


def _picture(how: dict[str, Any]) -> str:
    return f"channels {how['channels']}, mean {', '.join(map(str, how['mean']))}, scale {how['scale']}"


def print_bundle(console: Console, summary: dict[str, Any]) -> None:
    """The whole bundle: stages, carried values, and how frames go in and labels come out."""
    height, width = summary["reference_size"]
    console.print(
        f"bundle   {summary['name']}, stages: {len(summary['stages']) - 1} and the head; by "
        f"{summary['created_by'] or 'an unnamed writer'}",
    )
    print_stages(console, summary)
    how, classes = summary["preprocessing"], summary["classes"]
    carried = ", ".join(f"{n} {'x'.join(map(str, v['shape']))}" for n, v in summary["values"].items())
    size = sum(prod(v["shape"]) * (2 if v["dtype"] == "float16" else 4) for v in summary["values"].values())
    shown = ", ".join(classes[:6]) + (", ..." if len(classes) > 6 else "")
    sources = [summary["source"].get("prototxt"), *summary["source"].get("weights", ())]
    lines = [
        f"totals   {summary['macs'] / 1e9:,.3f} GMAC a full pass at {height} x {width}",
        f"carried  {carried}: {size / 2**20:,.1f} MiB",
        *(f"{name:8} {text}" for name, text in described(how, {})),
        *(f"{name:8} with each frame, {_picture(more)}" for name, more in summary["more_frames"].items()),
        f"gives    {summary['output']}" + (f", {len(classes)} classes: {shown}" if classes else ""),
        f"schedule {summary['schedule']}; adaptive clocks watch {summary['signal'] or 'nothing'}",
    ]
    lines += [f"source   {s['name']} (sha256 {s['sha256'][:12]}...)" for s in sources if s]
    lines += [f"note     {note}" for note in (*summary["why"], *summary["notes"])]
    for line in lines:
        console.print(line)


def described(how: Mapping[str, Any], origins: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each fact with its value and, in brackets, its origin, for a user.

    Args:
        how: The pre-processing as it stands in the manifest.
        origins: By fact; none where they are not known.
    """
    size, multiple = how["size"], how.get("multiple", [1, 1])
    pads = how.get("fit") == "pad"
    kept = "the frame's own"
    if size is not None:
        kept = f"{size[0]} x {size[1]}, frames are {'padded or cropped' if pads else 'resized'}"
    elif multiple != [1, 1]:
        also = " and {} x {} more".format(*how["remainder"]) if "remainder" in how else ""
        kept += f", {'padded' if pads else 'resized'} to multiples of {multiple[0]} x {multiple[1]}{also}"
    values = {
        "size": kept,
        "channels": how["channels"],
        "mean": ", ".join(f"{number:g}" for number in how["mean"]),
        "scale": f"{how['scale']:g}",
    }
    return [(k, f"{v} ({origins[k]})" if origins.get(k) else v) for k, v in values.items()]
