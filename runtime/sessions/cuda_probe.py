"""Whether a GPU can really be used: a small graph is run on it, and its numbers are checked."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from weights.shown import shown

__all__ = ["missing_for_cuda", "right_numbers"]

_SIZE = 4
_PICTURE = np.arange(_SIZE * _SIZE, dtype=np.float32).reshape(1, 1, _SIZE, _SIZE)
_KERNEL = np.array([[[[1, 2, 1], [0, 3, 0], [-1, 0, 1]]]], np.float32)
_MATRIX = np.array([[1, -1], [2, 0], [0, 3], [1, 1]], np.float32)


def right_numbers(found: np.ndarray) -> bool:
    """Whether the probe's convolution and matrix product came out exactly, as small whole numbers do."""
    windows = np.lib.stride_tricks.sliding_window_view(_PICTURE[0, 0], (3, 3))
    expected = np.einsum("hwij,ij->hw", windows, _KERNEL[0, 0]).reshape(1, -1) @ _MATRIX
    return bool(np.array_equal(found, expected))


@cache
def missing_for_cuda(index: int, options: tuple[tuple[str, str], ...]) -> str | None:
    """Why a GPU cannot be used; None where a convolution (cuDNN) and a matrix product (cuBLAS) run rightly.

    Args:
        index: Which GPU.
        options: Of the CUDA provider, as they will be used.
    """
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime is built without CUDA"
    count, why = _gpu_count()
    if index >= count:
        return f"cuda:{index} of {count} GPUs" if count else why
    ort.set_default_logger_severity(3)  # every session warns that there is no plug-in for CUDA: it needs none
    with contextlib.redirect_stdout(io.StringIO()):  # it prints one line for each library it cannot find
        ort.preload_dlls()
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = ("CUDAExecutionProvider", {"device_id": str(index), **dict(options)})
    try:
        session = ort.InferenceSession(
            _probe().SerializeToString(), settings, providers=[provider], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime raises many types; each means that this device is not usable
        return f"ONNX Runtime cannot open a session: {shown(error, 200)}"
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return "ONNX Runtime cannot load its CUDA provider (CUDA 13 and cuDNN 9 libraries)"
    try:
        found = session.run(None, {"x": _PICTURE})[0]
    except Exception as error:  # likewise
        return f"a convolution and a matrix product do not run: {shown(error, 200)}"
    return None if right_numbers(found) else "a convolution and a matrix product give wrong numbers there"


def _probe() -> onnx.ModelProto:
    """The picture, a 3 x 3 convolution, and a product of the four numbers that are left with a matrix."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _PICTURE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(_KERNEL, "kernel"), numpy_helper.from_array(_MATRIX, "matrix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _gpu_count() -> tuple[int, str]:
    """GPUs that the driver reports, and what is wrong where there are none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0, "no NVIDIA driver"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value, f"the NVIDIA driver answers with error {status}" if status else "no GPU"
