"""What was played: the name under which it is scored, and what results are grouped and sorted by."""

from __future__ import annotations

from dataclasses import dataclass, fields

from runtime.flow.options import FlowOptions
from runtime.schedule.clocks import Drift, Every, Watch
from runtime.schedule.flow_schedules import FUSE, Movement
from runtime.schedule.schedule import Schedule

__all__ = ["TRUNCATED", "Played", "family_of", "played_schedule"]

TRUNCATED = "truncated"
"""The family of nets that are cut off early."""

_SPELT = {"start": "from"}
"""Fields of FlowOptions that a schedule's text calls otherwise."""


@dataclass(frozen=True)
class Played:
    """A schedule, or a net cut off early, as it is scored.

    name: as tables show it. family: what is compared as one curve (see `family_of`). interval: frames from
    one firing of the deepest stage to the next, None where that varies. theta: the threshold of its deepest
    clock, None where it has none. waits: frames wait for later ones, so that the time from a frame's arrival
    to its labels is not what it costs.
    """

    name: str
    family: str = ""
    interval: int | None = None
    theta: float | None = None
    waits: bool = False


def played_schedule(schedule: Schedule, name: str) -> Played:
    """A schedule as it is scored under a name.

    Args:
        schedule: The schedule.
        name: The name.

    Returns:
        The name with what results are grouped and sorted by.
    """
    return Played(name, family_of(schedule), schedule.interval, schedule.theta, schedule.waits)


def family_of(schedule: Schedule) -> str:
    """The family that a schedule belongs to.

    "skip" where all stages fire at one rate, "clockwork" for other fixed rates, and else the name that the
    schedule's text begins with. Schedules that move values are told apart by what decides and by how they
    move, the rate aside: "warp", "warp adaptive", "warp @flow=dis:fast".
    """
    if schedule.movement is not None:
        return _moving_family(schedule.movement)
    if schedule.transforms or schedule.family in ("oracle", "pipeline"):
        return schedule.family
    if schedule.rates is not None:
        return "skip" if len(set(schedule.rates)) == 1 else "clockwork"
    return schedule.family


def _moving_family(movement: Movement) -> str:
    key, how = movement.key, []
    if isinstance(key, Watch) and isinstance(key.sensor, Drift):
        how = ["adaptive" if key.sensor.measure == "residual" else key.sensor.measure]
    elif not isinstance(key, Every):
        how = [type(key).__name__.lower()]
    return " ".join([movement.kind, *how, *_options(movement.options)])


def _options(options: FlowOptions) -> list[str]:
    """The options that differ from the usual ones, as a schedule's text has them."""
    given = []
    for field in fields(FlowOptions):
        value = getattr(options, field.name)
        if value == field.default:
            continue
        name = _SPELT.get(field.name, field.name)
        is_flag = value is True or (name == "fuse" and value == FUSE)
        given.append(f"@{name}" if is_flag else f"@{name}={value}")
    return given
