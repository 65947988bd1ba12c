"""Choosing cuts: stages of balanced cost that carry few bytes.

A clock can only save what lies in the stages it holds back, so no stage should hold nearly everything; and
what is carried between stages has to be kept and read, so cuts belong where the net is narrow. Each set of
cuts is judged by the stages it really gives (see `planning`):

    sum over stages of share^2  +  share of the head

share being a stage's part of all multiply-accumulates; the head counts in full, because it runs on every
frame. Of the sets whose balance is within SLACK of the best there is, the one that carries least is chosen;
among sets that give the same stages, the deepest blobs name them. Where a single layer does most of the work
no cuts can balance it, and the reason given with them says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from caffe_port.convert import ancestors
from caffe_port.net import Layer, Net, Shape
from caffe_port.registry import rule_for
from caffe_port.shapes import count, infer_shapes
from staged_onnx.planning import asked_output, assign_stages, index_values, misplaced, score_value
from weights.errors import BundleError

__all__ = ["Chosen", "choose_cuts"]

SLACK = 0.06
"""How much balance may be given up to carry less."""

UNBALANCED = 1.4
"""A stage of more than so many times its even share is worth a word."""

CANDIDATES = 20
"""Blobs that are tried: with 4 stages 4845 sets, about two seconds for a net of 200 layers."""
LEAST_SHARE = 0.02


@dataclass(frozen=True)
class Chosen:
    """The cuts, shallow to deep, and one line a cut that says why."""

    cuts: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True)
class _Costs:
    """What judging a set of cuts needs to know of the net."""

    net: Net
    layers: tuple[Layer, ...]
    macs: Mapping[str, int]
    shapes: Mapping[str, Shape]
    scores: str

    @property
    def total(self) -> int:
        return max(1, sum(self.macs[layer.key] for layer in self.layers))

    def width(self, inside: Sequence[Layer], cut: str) -> int:
        """Elements that cross a single cut: what the layers inside make and the others read."""
        keys = {layer.key for layer in inside}
        read = {b for layer in self.layers if layer.key not in keys for b in layer.bottoms} | {cut}
        return sum(count(self.shapes[top]) for layer in inside for top in layer.tops if top in read)

    def judge(self, cuts: Sequence[str]) -> tuple[float, list[float], list[int]]:
        """Balance (less is better), share of each stage and the head, and elements each stage hands out."""
        place = assign_stages(self.net, cuts, self.layers)
        shares = [0.0] * (len(cuts) + 1)
        carried = [0] * len(cuts)
        maker: dict[str, int] = {}
        crossing: set[str] = set()
        for layer in self.layers:
            here = place[layer.key]
            shares[here] += self.macs[layer.key] / self.total
            for bottom in layer.bottoms:
                if maker.get(bottom, here) != here:
                    crossing.add(bottom)
            for top in layer.tops:
                maker[top] = here
        if maker[self.scores] != len(cuts):
            crossing.add(self.scores)
        for value in crossing:
            carried[maker[value]] += count(self.shapes[value])
        return sum(s * s for s in shares[:-1]) + shares[-1], shares, carried


def _candidates(costs: _Costs) -> list[str]:
    """The narrowest place of each band of equal work, then the narrowest of the rest, in the net's order."""
    indices = index_values(costs.layers)
    places: list[tuple[int, int, int, str]] = []
    for position, layer in enumerate(costs.layers):
        for top in layer.tops:
            if len(costs.shapes[top]) != 4 or "@" in top or not top:  # a blob the user can name
                continue
            if top in indices:  # the blob beside a mask gives the same stages, and a signal besides
                continue
            inside = ancestors(costs.net, [top])
            before = sum(costs.macs[a.key] for a in inside) / costs.total
            if before >= LEAST_SHARE:
                band = min(CANDIDATES - 1, int(before * CANDIDATES))
                places.append((band, costs.width(inside, top), -position, top))
    best = {band: top for band, _, _, top in sorted(places, reverse=True)}
    others = sorted((width, position, top) for _, width, position, top in places if top not in best.values())
    chosen = {*best.values(), *(top for _, _, top in others[: CANDIDATES - len(best)])}
    return [top for _, _, _, top in sorted(places, key=lambda p: -p[2]) if top in chosen]


def _best(costs: _Costs, stages: int) -> tuple[tuple[str, ...], float] | None:
    """The set of cuts that the rule above chooses, and the largest share of the best balanced one.

    None where no set gives so many stages.
    """
    places = _candidates(costs)
    found: list[tuple[float, int, tuple[str, ...], float]] = []
    wrong = {(a, b) for a, b, _ in misplaced(costs.net, places)}
    for cuts in combinations(places, stages):
        if wrong.intersection(combinations(cuts, 2)):
            continue
        balance, shares, carried = costs.judge(cuts)
        if min(shares[:-1]) >= LEAST_SHARE and min(carried) > 0:
            found.append((balance, sum(carried), cuts, max(shares)))
    if not found:
        return None
    best = min(found)
    near = [entry for entry in found if entry[0] <= best[0] + SLACK]
    return min(reversed(near), key=lambda entry: entry[1])[2], best[3]


def choose_cuts(
    net: Net,
    stages: int,
    *,
    output: str | None = None,
    inputs: Mapping[str, Shape] | None = None,
    kind: str | None = None,
) -> Chosen:
    """Cuts for a number of stages.

    Args:
        net: The net.
        stages: How many there should be, the head not counted.
        output: The blob that holds the output, by default the net's only one.
        inputs: Shapes (N, C, H, W) by name that replace the prototxt's, for the cost figures.
        kind: What is to come out, one of `outputs.KINDS`; by default it follows from the net.

    Returns:
        The blobs to cut at, and lines that say why.

    Raises:
        BundleError: The net has too few places to cut.
    """
    shapes = infer_shapes(net, inputs)
    scores = score_value(net, asked_output(net, output), shapes, kind)
    layers = tuple(ancestors(net, [scores]))
    macs = {
        layer.key: rule_for(layer, net).macs(
            layer, tuple(shapes[b] for b in layer.bottoms), tuple(shapes[t] for t in layer.tops)
        )
        for layer in layers
    }
    costs = _Costs(net, layers, macs, shapes, scores)
    best = _best(costs, stages)
    if best is None:
        raise BundleError(
            "too few places to cut",
            file=net.file,
            found=f"{stages} stages asked for",
            expected="fewer stages, or cuts of your own: --cut BLOB",
        )
    chosen, largest_share = best
    _, shares, carried = costs.judge(chosen)
    why = [
        f"cut {cut}: stage{i + 1} does {shares[i]:.1%} of the work, hands out {carried[i] * 4 / 1e6:.2f} MB"
        for i, cut in enumerate(chosen)
    ]
    why.append(f"head: {shares[-1]:.1%} of the work, on every frame")
    largest = max(layers, key=lambda layer: macs[layer.key])
    share = macs[largest.key] / costs.total
    if largest_share * stages > UNBALANCED:
        alone = f': layer "{largest.name}" alone does {share:.0%} of the work' if share * stages > 1 else ""
        why.append(f"no cuts give a better balance{alone}")
    return Chosen(chosen, tuple(why))
