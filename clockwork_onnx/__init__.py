"""The front door: port a Caffe net, cut it into stages, run the stages over video on a clock.

    import clockwork_onnx as cw

    cw.convert("deploy.prototxt", "net.caffemodel", "net.staged")
    with cw.open("net.staged", schedule="warp:4") as player:
        for step in player.play(cw.open_video("street.mp4")):
            step.labels  # uint8, height x width

Each name is imported when it is first used, so that `import clockwork_onnx` itself is quick and loads neither
NumPy nor ONNX Runtime. `__init__.pyi` lists the same names for editors and type checkers.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from clockwork_onnx.shadowing import check_packages

__all__ = [
    "ClockworkError",
    "Player",
    "Preprocessing",
    "Schedule",
    "Step",
    "__version__",
    "convert",
    "export",
    "open",
    "open_video",
    "parse_schedule",
    "plan",
    "play_async",
    "read_bundle",
    "read_net",
    "read_weights",
    "to_onnx",
]

_HOME = {
    "ClockworkError": ("weights.errors", "ClockworkError"),
    "Player": ("runtime", "Player"),
    "Preprocessing": ("staged_onnx", "Preprocessing"),
    "Schedule": ("runtime", "Schedule"),
    "Step": ("runtime", "Step"),
    "__version__": ("weights._version", "__version__"),
    "convert": ("clockwork_onnx.api", "convert"),
    "export": ("staged_onnx", "export"),
    "open": ("runtime", "open"),
    "open_video": ("runtime.video.reader", "open_video"),
    "parse_schedule": ("runtime", "parse_schedule"),
    "plan": ("staged_onnx", "plan"),
    "play_async": ("runtime.async_play", "play_async"),
    "read_bundle": ("staged_onnx", "read_bundle"),
    "read_net": ("caffe_port", "read_net"),
    "read_weights": ("weights", "read"),
    "to_onnx": ("caffe_port", "to_onnx"),
}
"""Module and name that each name stands for."""

check_packages()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
