"""Which layers a NetState keeps: `include` and `exclude` rules (Caffe: Net::FilterNet, StateMeetsRule).

A layer's own field `phase` is not a rule: it is the layer's mode (see `modes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from caffe_port.reading.text_format import Block, whole_number
from weights.errors import PrototxtError

__all__ = ["NetState", "keeps"]


@dataclass(frozen=True)
class NetState:
    """The state a net is built for: phase, level and stages."""

    phase: str = "TEST"
    level: int = 0
    stages: frozenset[str] = frozenset()


PHASES = {"TRAIN": "TRAIN", "TEST": "TEST", "0": "TRAIN", "1": "TEST"}


def _meets(state: NetState, rule: Block, where: dict[str, Any]) -> bool:
    for entry in rule.entries:
        if entry.name not in ("phase", "min_level", "max_level", "stage", "not_stage"):
            raise PrototxtError(
                f'line {entry.line}: unknown field "{entry.name}" in NetStateRule',
                **where,
                expected="phase, min_level, max_level, stage or not_stage",
            )
    phase = PHASES.get(rule.text("phase", state.phase))
    least = whole_number(rule.text("min_level", str(state.level)))
    most = whole_number(rule.text("max_level", str(state.level)))
    if phase is None or least is None or most is None:
        raise PrototxtError(
            f"line {rule.line}: bad value in a NetStateRule",
            **where,
            expected="phase: TRAIN or TEST, levels as whole numbers",
        )
    if phase != state.phase or not least <= state.level <= most:
        return False
    return state.stages.issuperset(rule.texts("stage")) and state.stages.isdisjoint(rule.texts("not_stage"))


def keeps(state: NetState, layer: Block, *, file: str) -> bool:
    """Whether the net for a state holds a layer (Caffe: Net::FilterNet).

    Args:
        state: Phase, level and stages.
        layer: The layer.
        file: The prototxt, for messages.

    Returns:
        True without rules; with `include` rules, whether any holds; with `exclude` rules, whether none holds.

    Raises:
        PrototxtError: The layer has both kinds of rules, which Caffe refuses too.
    """
    where: dict[str, Any] = {"file": file, "layer": layer.text("name"), "layer_type": layer.text("type")}
    include, exclude = layer.blocks("include"), layer.blocks("exclude")
    if include and exclude:
        raise PrototxtError(
            f"line {layer.line}: include and exclude rules in one layer", **where, expected="one kind of rule"
        )
    if include:
        return any(_meets(state, rule, where) for rule in include)
    return not any(_meets(state, rule, where) for rule in exclude)
