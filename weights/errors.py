"""The one error hierarchy of clockwork-onnx.

It lives in the lowest package so that every package can raise it. An error is one line that names the
file, the layer or frame, what was found, what would be accepted, and what to do. The command line
prints that line and exits with status 2; a library caller reads the parts as attributes.
"""

from __future__ import annotations

from os import PathLike, fspath

from weights import limits
from weights.shown import shown, without_credentials

__all__ = [
    "BundleError",
    "ClockworkError",
    "DataSetError",
    "DeviceError",
    "FlowError",
    "PrototxtError",
    "ScheduleError",
    "ShapeError",
    "UnsupportedError",
    "UsageError",
    "VideoError",
    "WeightsError",
]


class ClockworkError(Exception):
    """Base of every error this package raises on purpose.

    Those of the parts that are given appear in the message in this order: file, layer (with its type) or
    frame, problem, found, expected, hint.

    Args:
        problem: What is wrong, in a few words.
        file: The file it is about.
        layer: The layer's name.
        layer_type: Its type.
        frame: The frame's number, from 0.
        found: What was found.
        expected: What would be accepted.
        hint: What to do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | PathLike[str] | None = None,
        layer: str | None = None,
        layer_type: str | None = None,
        frame: int | None = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = fspath(file) if file is not None else None
        self.layer = layer
        self.layer_type = layer_type
        self.frame = frame
        self.found = found
        self.expected = expected
        self.hint = hint
        super().__init__(problem)

    def __str__(self) -> str:
        where = []
        if self.file is not None:
            where.append(self.file)
        if self.layer is not None:
            kind = f" ({self.layer_type})" if self.layer_type else ""
            where.append(f'layer "{self.layer}"{kind}')
        if self.frame is not None:
            where.append(f"frame {self.frame}")
        parts = [self.problem]
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.hint is not None:
            parts.append(self.hint)
        # Parts come out of files and addresses: the line must be fit for a terminal and give no password
        # away.
        return shown(without_credentials(": ".join([*where, "; ".join(parts)])), limits.MESSAGE_TEXT)

    def located(
        self,
        *,
        file: str | PathLike[str] | None = None,
        layer: str | None = None,
        layer_type: str | None = None,
    ) -> ClockworkError:
        """This error, with the place filled in where it was not known when it was raised.

        Args:
            file: The file at fault.
            layer: The layer at fault.
            layer_type: The layer's type; only taken together with `layer`.

        Returns:
            The error itself.
        """
        if self.file is None and file is not None:
            self.file = fspath(file)
        if self.layer is None and layer is not None:
            self.layer, self.layer_type = layer, layer_type
        return self


class UsageError(ClockworkError):
    """Options that contradict each other or a value that no option takes."""


class PrototxtError(ClockworkError):
    """A net definition that cannot be read, or that Caffe itself would refuse."""


class UnsupportedError(ClockworkError):
    """A valid Caffe net with a layer or a field that cannot be ported exactly."""


class ShapeError(ClockworkError):
    """Shapes that do not fit together."""


class WeightsError(ClockworkError):
    """A weights file that cannot be read, or weights that do not fit the net."""


class BundleError(ClockworkError):
    """A bundle that cannot be planned, written or read."""


class ScheduleError(ClockworkError):
    """A schedule or clock that is misspelt or does not fit the bundle."""


class DeviceError(ClockworkError):
    """A device that was asked for and cannot be had."""


class VideoError(ClockworkError):
    """Frames that cannot be read or written."""


class FlowError(ClockworkError):
    """An optical flow estimator that is missing or unknown, or a flow that cannot be used."""


class DataSetError(ClockworkError):
    """A data set that is missing or not laid out as expected."""
