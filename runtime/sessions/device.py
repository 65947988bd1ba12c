"""Which device runs the stages, and the provider options that make it exact, fast and never a surprise."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import onnxruntime as ort
from onnx import TensorProto, helper

from staged_onnx.passes import parse_passes
from weights.errors import DeviceError, UsageError

__all__ = ["PRECISIONS", "Device", "choose_device", "cores"]

PRECISIONS = ("fp32", "tf32", "fp16")
_CUDA_SETUP = "install the CUDA libraries: pip install 'clockwork-onnx[cuda]'"


@dataclass(frozen=True)
class Device:
    """A chosen device. `reason` says in one line what was chosen and why.

    kind: "cpu" or "cuda"; index: which GPU. precision: "fp32" (Caffe's numbers), "tf32" or "fp16".
    options: the CUDA provider's options. threads: threads of one operator on the CPU, 0 for ONNX Runtime's
    own choice. spin: whether they wait for the next operator by turning in circles. passes: what is done to
    the graphs of stages before they are opened, names of `staged_onnx.passes`.
    """

    kind: str
    index: int
    reason: str
    precision: str = "fp32"
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    spin: bool = False
    passes: tuple[str, ...] = ()

    @property
    def providers(self) -> list[tuple[str, dict[str, str]]]:
        """The one execution provider, as InferenceSession takes it."""
        if self.kind == "cpu":
            return [("CPUExecutionProvider", {})]
        return [("CUDAExecutionProvider", {"device_id": str(self.index), **self.options})]

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
    missing = _missing_for_cuda(index, tuple(sorted(options.items())))
    if missing is None:
        reason = "asked for" if named[1] == "cuda" else "chosen because a session on it opens"
        chosen = _passes(passes, "cuda", precision)
        return Device("cuda", index, f"cuda:{index}: {reason}", precision, options, 1, passes=chosen)
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


def _gpu_count() -> tuple[int, str]:
    """GPUs that the driver reports, and what is wrong where there are none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0, "no NVIDIA driver"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value, f"the NVIDIA driver answers with error {status}" if status else "no GPU"


@cache
def _missing_for_cuda(index: int, options: tuple[tuple[str, str], ...]) -> str | None:
    """Why no session opens on this GPU; None where one does."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime is built without CUDA"
    count, why = _gpu_count()
    if index >= count:
        return f"cuda:{index} of {count} GPUs" if count else why
    with contextlib.redirect_stdout(io.StringIO()):  # it prints one line for each library it cannot find
        ort.preload_dlls()
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", value[:1], value[1:])
    probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    provider = ("CUDAExecutionProvider", {"device_id": str(index), **dict(options)})
    try:
        session = ort.InferenceSession(
            probe.SerializeToString(), settings, providers=[provider], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime raises many types; each means that this device is not usable
        return f"ONNX Runtime cannot open a session: {' '.join(str(error).split())[:200]}"
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return "ONNX Runtime cannot load its CUDA provider (CUDA 13 and cuDNN 9 libraries)"
    return None
