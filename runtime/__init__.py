"""Run a bundle's stages over video on a clock."""

from __future__ import annotations

from runtime.engine.cache import EntryState, FeatureCache
from runtime.open_player import open_player as open
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Edge, Schedule
from runtime.sessions.device import Device, choose_device
from runtime.step import Step
from runtime.transform import Feed, Moment, Read, Transform

__all__ = [
    "Device",
    "Edge",
    "EntryState",
    "FeatureCache",
    "Feed",
    "Moment",
    "Player",
    "Read",
    "Schedule",
    "Step",
    "Transform",
    "choose_device",
    "open",
    "parse_schedule",
]
