"""Which device runs the stages, and the provider options that make it exact, fast and never a surprise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runtime.sessions.cuda_probe import missing_for_cuda
from runtime.sessions.cuda_stream import CudaStream, open_stream
from staged_onnx.passes import parse_passes
from weights.errors import DeviceError, UsageError

__all__ = ["PRECISIONS", "Device", "choose_device", "cores"]

PRECISIONS = ("fp32", "tf32", "fp16")
_GRAPHS = "enable_cuda_graph"
_CUDA_SETUP = "install the CUDA libraries: pip install 'clockwork-onnx[cuda]'"


@dataclass(frozen=True)
class Device:
    """A chosen device. `reason` says in one line what was chosen and why.

    kind: "cpu" or "cuda"; index: which GPU. precision: "fp32" (Caffe's numbers), "tf32" or "fp16".
    options: the CUDA provider's options. threads: threads of one operator on the CPU, 0 for ONNX Runtime's
    own choice. spin: whether they wait for the next operator by turning in circles. passes: what is done to
    the graphs of stages before they are opened, names of `staged_onnx.passes`. stream: what all work on a GPU
    is handed over to; without one, every run waits until it is done. graphs: whether what a stage does
    between the same buffers is captured once and then launched as a CUDA graph.
    """

    kind: str
    index: int
    reason: str
    precision: str = "fp32"
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    spin: bool = False
    passes: tuple[str, ...] = ()
    stream: CudaStream | None = field(default=None, compare=False, repr=False)
    graphs: bool = False

    @property
    def providers(self) -> list[tuple[str, dict[str, str]]]:
        """The one execution provider, as InferenceSession takes it."""
        if self.kind == "cpu":
            return [("CPUExecutionProvider", {})]
        options = {"device_id": str(self.index), **self.options}
        if self.stream is not None:
            options["user_compute_stream"] = str(self.stream.address)
        return [("CUDAExecutionProvider", options)]

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.kind == "cuda" else self.kind


def choose_device(
    text: str = "auto",
    *,
    precision: str = "fp32",
    provider_options: Mapping[str, object] | None = None,
    threads: int = 0,
    spin: bool = False,
    passes: str = "auto",
) -> Device:
    """The device that a text names.

    "auto" takes the first GPU where ONNX Runtime can really open a session on it, else the CPU, and
    `Device.reason` says which and why. "cuda" is never replaced.

    Args:
        text: "auto", "cpu", "cuda" or "cuda:N".
        precision: "fp32", "tf32" or "fp16".
        provider_options: Options of the CUDA provider; they override the defaults.
        threads: Threads of one operator on the CPU, 0 for automatic.
        spin: Let these threads wait by spinning, which saves microseconds per operator on an idle machine and
            costs the other sessions, the video decoder and the writer their cores on a busy one.
        passes: "auto" for those that pay on the device, "none", or names with commas between them
            (`staged_onnx.passes`).

    Returns:
        The device, with what ONNX Runtime is told and why it was chosen.

    Raises:
        DeviceError: CUDA was asked for and cannot be used; the message says what is missing.
        UsageError: An unknown device or precision, a bad number of threads, or options that do not fit.
    """
    named = re.fullmatch(r"(auto|cpu|cuda)(?::(\d{1,3}))?", text)
    if named is None or (named[2] is not None and named[1] != "cuda"):
        raise UsageError("unknown device", found=f'"{text}"', expected="auto, cpu, cuda or cuda:N")
    if precision not in PRECISIONS:
        raise UsageError("unknown precision", found=f'"{precision}"', expected=", ".join(PRECISIONS))
    if not 0 <= threads <= 1024:
        raise UsageError("bad number of threads", found=threads, expected="0 (automatic) to 1024")
    index = int(named[2] or 0)
    if named[1] == "cpu":
        if provider_options:
            raise UsageError("provider options are for CUDA", found="device cpu")
        return Device(
            "cpu", 0, "cpu: asked for", precision, {}, threads, spin, _passes(passes, "cpu", precision)
        )
    options = _cuda_options(precision, provider_options or {})
    missing = missing_for_cuda(index, tuple(sorted(options.items())))
    if missing is None:
        reason = "asked for" if named[1] == "cuda" else "chosen because it computes rightly"
        chosen = _passes(passes, "cuda", precision)
        return _on_stream(
            Device("cuda", index, f"cuda:{index}: {reason}", precision, options, 1, passes=chosen)
        )
    if named[1] == "cuda":
        raise DeviceError(
            f"cuda:{index} cannot be used", found=missing, hint=f"{_CUDA_SETUP}, or use device cpu"
        )
    reason = f"cpu: chosen because cuda is not usable ({missing})"
    return Device("cpu", 0, reason, precision, {}, threads, spin, _passes(passes, "cpu", precision))


def cores(device: Device) -> int:
    """Threads that one operator has on a CPU: those asked for, else one for each core of this process."""
    if device.threads:
        return device.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _passes(text: str, kind: str, precision: str) -> tuple[str, ...]:
    """The passes that a text names; they are made for Caffe's numbers, so that half precision takes none."""
    names = parse_passes(text, kind)
    if precision == "fp32" or not names:
        return names
    if text != "auto":
        raise UsageError("passes are for fp32", found=f"{precision} and {text}", expected="--passes none")
    return ()


def _on_stream(device: Device) -> Device:
    """The device with a stream, on which captured graphs are our own and not ONNX Runtime's."""
    stream = open_stream(device.index)
    if stream is None:
        return device
    options = dict(device.options)
    graphs = options.pop(_GRAPHS, "0").lower() in ("1", "true")
    return replace(device, options=options, stream=stream, graphs=graphs)


def _cuda_options(precision: str, given: Mapping[str, object]) -> dict[str, str]:
    """Defaults: heuristic plans (the exhaustive search only picks another heuristic since 1.20), arenas no
    larger than asked for since several sessions share the GPU, and TF32 only where it was asked for. TF32 off
    also switches off fp16's tensor-core plans, so fp16 keeps it on.
    """
    defaults = {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0" if precision == "fp32" else "1",
    }
    return defaults | {str(k): str(v) for k, v in given.items()}
