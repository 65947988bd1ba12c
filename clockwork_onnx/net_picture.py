"""A network as one SVG: a row per layer, coloured by stage, with the bytes of the values that are carried.

Rows follow the stages, and within one the order of the net. A value keeps a lane, as branches do in a drawing
of commits, from the row that makes it to the last one that reads it. Layers that only go on with what one
other layer makes (ReLU, BatchNorm, ...) share its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from caffe_port.net import Layer, Net
from caffe_port.registry import rule_for
from staged_onnx import Manifest, Plan
from staged_onnx.drawn import COLOURS, byte_size
from weights.notebook import html_text

__all__ = ["Row", "bundle_rows", "draw", "net_rows"]

GOES_ON = frozenset({
    "AbsVal", "BN", "BatchNorm", "Bias", "Dropout", "ELU", "Exp", "Log", "PReLU", "Power", "ReLU", "ReLU6",
    "Scale", "Sigmoid", "Softmax", "TanH",
})  # fmt: skip
LINE, LANE, LEFT, CHARACTER = 22, 14, 16, 6.7
"""Pixels: height of a row, distance of lanes, margin, mean width of a letter."""
STYLE = (
    "text{font:12px sans-serif;fill:#222}.faint{fill:#666}.head{font-weight:bold}"
    "path{fill:none;stroke-width:2}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.faint{fill:#aaa}.page{fill:#181a1f}}"
)


@dataclass(frozen=True)
class Row:
    """A line of the picture.

    kind: "layer", "stage" (a heading), or "carried" (a value that goes on to later stages). stage: its
    number, -1 for the head. reads, makes: values, which are drawn as lanes.
    """

    kind: str
    text: str
    faint: str = ""
    stage: int = 0
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


def _work(macs: int) -> str:
    return f"{macs / 1e9:.3g} GMAC" if macs >= 10**7 else f"{macs / 1e6:.3g} MMAC" if macs else ""


def _heading(name: str, macs: int, total: int, stage: int) -> Row:
    share = f"{macs / max(1, total):.1%} of the work" if total else ""
    return Row("stage", name, ", ".join(part for part in (share, _work(macs)) if part), stage)


def net_rows(net: Net, plan: Plan | None, shapes: Mapping[str, tuple[int, ...]]) -> list[Row]:
    """The rows of a net; with headings and carried values where there is a plan.

    Args:
        net: The net.
        plan: How it is cut, None for one colour.
        shapes: Of the values.
    """
    rows = [
        Row("layer", i.name, f"input {' x '.join(map(str, i.shape))}", 0, (), (i.name,)) for i in net.inputs
    ]
    if plan is None:
        return rows + _layer_rows(net, net.layers, shapes, 0)
    order = {layer.key: place for place, layer in enumerate(net.layers)}
    total = plan.head.macs + sum(stage.macs for stage in plan.stages)
    for number, stage in enumerate((*plan.stages, plan.head)):
        number = number if stage is not plan.head else -1
        layers = sorted(stage.layers, key=lambda layer: order[layer.key])
        rows += [_heading(stage.name, stage.macs, total, number), *_layer_rows(net, layers, shapes, number)]
        rows += [
            Row("carried", value, byte_size(4 * prod(shapes[value])), number, (value,), (value,))
            for value in stage.outputs
        ]
    return rows


def _layer_rows(
    net: Net, layers: Sequence[Layer], shapes: Mapping[str, tuple[int, ...]], stage: int
) -> list[Row]:
    """A row per layer, those that only go on joined to the one before."""
    readers: dict[str, int] = {}
    for layer in net.layers:
        for value in layer.bottoms:
            readers[value] = readers.get(value, 0) + 1
    rows: list[Row] = []
    makers: dict[str, int] = {}
    for layer in layers:
        found = [shapes[value] for value in (*layer.bottoms, *layer.tops) if value in shapes]
        known = len(found) == len(layer.bottoms) + len(layer.tops)
        bottoms, tops = tuple(found[: len(layer.bottoms)]), tuple(found[len(layer.bottoms) :])
        macs = rule_for(layer, net).macs(layer, bottoms, tops) if known and layer.refusal is None else 0
        maker = makers.get(layer.bottoms[0]) if len(layer.bottoms) == 1 else None
        if maker is not None and layer.type in GOES_ON and readers[layer.bottoms[0]] == 1:
            one = rows[maker]
            rows[maker] = replace(one, faint=f"{one.faint} · {layer.type}", makes=layer.tops)
            makers |= dict.fromkeys(layer.tops, maker)
            continue
        size = " x ".join(map(str, tops[0][1:])) if known and tops else ""
        faint = ", ".join(part for part in (layer.type, size, _work(macs)) if part)
        makers |= dict.fromkeys(layer.tops, len(rows))
        rows.append(Row("layer", layer.name, faint, stage, tuple(dict.fromkeys(layer.bottoms)), layer.tops))
    return rows


def bundle_rows(manifest: Manifest) -> list[Row]:
    """The rows of a bundle: its stages and what they carry. The edges between layers are in its prototxt."""
    rows = [Row("layer", name, "the frame", 0, (), (name,)) for name in manifest.frame_names]
    for number, stage in enumerate((*manifest.stages, manifest.head)):
        number = number if stage is not manifest.head else -1
        count = f"{len(stage.layers)} layer{'s' * (len(stage.layers) != 1)}"
        rows += [
            _heading(stage.name, stage.macs, manifest.macs, number),
            Row("layer", stage.cut or stage.name, count, number, stage.inputs, stage.outputs),
        ]
        for value in stage.outputs:
            spec = manifest.values.get(value)
            if spec is not None:
                size = 2 if spec.dtype == "float16" else 1 if spec.dtype == "uint8" else 4
                faint = byte_size(size * prod(spec.shape))
                rows.append(Row("carried", value, faint, number, (value,), (value,)))
    return rows


@dataclass
class _Lanes:
    """Which lane each value has, and the lines drawn so far."""

    last: dict[str, int]
    taken: dict[str, int] = field(default_factory=dict)
    made_at: dict[str, tuple[int, str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    widest: int = 1

    def free(self) -> int:
        used = set(self.taken.values())
        return next(lane for lane in range(len(used) + 1) if lane not in used)

    def place(self, position: int, row: Row, colour: str) -> int:
        """The lane of a row, its lines drawn and its values given theirs."""
        reads = [value for value in row.reads if value in self.taken]
        ending = sorted(self.taken[value] for value in reads if self.last[value] == position)
        own = self.taken[reads[0]] if row.kind == "carried" and reads else None
        lane = own if own is not None else ending[0] if ending else self.free()
        for value in reads:
            self._line(value, position, lane)
        if row.kind == "carried":
            return lane
        for value in [value for value in reads if self.last[value] == position]:
            del self.taken[value]
        for number, value in enumerate(row.makes):
            if self.last.get(value, -1) > position:
                self.taken[value] = lane if number == 0 and lane not in self.taken.values() else self.free()
                self.made_at[value] = (position + (self.taken[value] != lane), colour)
                if self.taken[value] != lane:
                    self.lines.append(_curve(lane, position, self.taken[value], position + 1, colour))
        self.widest = max([self.widest, lane + 1, *(taken + 1 for taken in self.taken.values())])
        return lane

    def _line(self, value: str, position: int, lane: int) -> None:
        from_row, colour = self.made_at[value]
        at = self.taken[value]
        self.lines.append(_curve(at, from_row, at, position - (at != lane), colour))
        if at != lane:
            self.lines.append(_curve(at, position - 1, lane, position, colour))


def _curve(from_lane: int, from_row: int, to_lane: int, to_row: int, colour: str) -> str:
    x, y, to_x, to_y = _x(from_lane), _y(from_row), _x(to_lane), _y(to_row)
    if x == to_x:
        return f'<path d="M{x} {y}V{to_y}" stroke="{colour}"/>'
    middle = (y + to_y) / 2
    return f'<path d="M{x} {y}C{x} {middle} {to_x} {middle} {to_x} {to_y}" stroke="{colour}"/>'


def _x(lane: int) -> int:
    return LEFT + LANE * lane


def _y(row: int) -> int:
    return LEFT + LINE * row


def _colour(stage: int) -> str:
    return "#999999" if stage < 0 else COLOURS[stage % len(COLOURS)]


def draw(title: str, rows: Sequence[Row]) -> str:
    """The SVG of rows in order.

    Args:
        title: What the picture is called.
        rows: As `net_rows` and `bundle_rows` make them; each value is made before it is read.
    """
    lanes = _Lanes({value: place for place, row in enumerate(rows) for value in row.reads})
    marks, texts = [], []
    for place, row in enumerate(rows):
        colour, y = _colour(row.stage), _y(place)
        if row.kind == "stage":
            texts.append((place, row, colour))
            continue
        x = _x(lanes.place(place, row, colour))
        shape = f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}"/>'
        if row.kind == "carried":
            shape = f'<path d="M{x} {y - 6}l6 6l-6 6l-6 -6z" style="fill:{colour}" stroke="none"/>'
        marks.append(shape)
        texts.append((place, row, colour))
    left = _x(lanes.widest) + LANE
    width = round(left + 2 * LEFT + CHARACTER * max(len(r.text) + len(r.faint) + 4 for r in rows))
    height = _y(len(rows))
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img"><title>{html_text(title, 200)}</title>'
        f'<style>{STYLE}</style><rect class="page" width="100%" height="100%"/>'
    ]
    body += [_band(place, row, colour, width) for place, row, colour in texts if row.kind == "stage"]
    body += [*lanes.lines, *marks, *(_text(place, row, left) for place, row, _ in texts)]
    return "\n".join([*body, "</svg>\n"])


def _band(place: int, row: Row, colour: str, width: int) -> str:
    y = _y(place) - LINE // 2
    return f'<rect y="{y}" width="{width}" height="{LINE}" fill="{colour}" fill-opacity=".25"/>'


def _text(place: int, row: Row, left: int) -> str:
    what = ("gives " if row.stage < 0 else "carries ") * (row.kind == "carried")
    kind = ' class="head"' if row.kind == "stage" else ""
    return (
        f'<text x="{left}" y="{_y(place) + 4}"{kind}>{what}{html_text(row.text)}'
        f'<tspan class="faint" dx="10" font-weight="normal">{html_text(row.faint, 200)}</tspan></text>'
    )
