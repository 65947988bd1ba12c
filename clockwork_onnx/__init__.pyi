from caffe_port import read_net as read_net
from caffe_port import to_onnx as to_onnx
from clockwork_onnx.api import convert as convert
from runtime import Player as Player
from runtime import Schedule as Schedule
from runtime import Step as Step
from runtime import open as open
from runtime import parse_schedule as parse_schedule
from runtime.async_play import play_async as play_async
from runtime.video.reader import open_video as open_video
from staged_onnx import Preprocessing as Preprocessing
from staged_onnx import export as export
from staged_onnx import plan as plan
from staged_onnx import read_bundle as read_bundle
from weights import read as read_weights
from weights._version import __version__ as __version__
from weights.errors import ClockworkError as ClockworkError

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
