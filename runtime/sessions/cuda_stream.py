"""One CUDA stream for everything that a player does on a GPU: runs, uploads, downloads, captured graphs.

ONNX Runtime gives every session a stream of its own and waits for it after every run. On a stream that all
sessions share, work is done in the order in which it is handed over, so that nobody waits until a result is
wanted on the host: one wait per frame, for its labels.

The CUDA runtime that ONNX Runtime has loaded is called by `ctypes`. Host memory is pinned, so that copies are
asynchronous; a buffer of it is used again only when the copy that reads it is done. The stream does not
synchronise with CUDA's default stream, and nothing here uses that.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock

import numpy as np
import onnxruntime as ort

from weights.errors import DeviceError

__all__ = ["CudaGraph", "CudaStream", "Stopwatch", "open_stream"]

_NON_BLOCKING = 1
_TO_DEVICE, _TO_HOST = 1, 2
_THREAD_LOCAL = 1
"""Capture mode: what other threads do meanwhile on other streams is no part of the capture and is allowed."""

SIZES_KEPT = 8
"""Sizes of pinned buffers that are kept; the one used longest ago is given back."""
SLOTS = 2
"""Pinned buffers per size: one is filled while the other is copied."""

_pointer = ctypes.c_void_p
_FUNCTIONS = {
    "cudaSetDevice": [ctypes.c_int],
    "cudaStreamCreateWithFlags": [ctypes.POINTER(_pointer), ctypes.c_uint],
    "cudaStreamDestroy": [_pointer],
    "cudaStreamSynchronize": [_pointer],
    "cudaEventCreateWithFlags": [ctypes.POINTER(_pointer), ctypes.c_uint],
    "cudaEventDestroy": [_pointer],
    "cudaEventRecord": [_pointer, _pointer],
    "cudaEventSynchronize": [_pointer],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), _pointer, _pointer],
    "cudaHostAlloc": [ctypes.POINTER(_pointer), ctypes.c_size_t, ctypes.c_uint],
    "cudaFreeHost": [_pointer],
    "cudaMemcpyAsync": [_pointer, _pointer, ctypes.c_size_t, ctypes.c_int, _pointer],
    "cudaMemsetAsync": [_pointer, ctypes.c_int, ctypes.c_size_t, _pointer],
    "cudaStreamBeginCapture": [_pointer, ctypes.c_int],
    "cudaStreamEndCapture": [_pointer, ctypes.POINTER(_pointer)],
    "cudaGraphInstantiate": [ctypes.POINTER(_pointer), _pointer, ctypes.c_ulonglong],
    "cudaGraphDestroy": [_pointer],
    "cudaGraphExecDestroy": [_pointer],
    "cudaGraphLaunch": [_pointer, _pointer],
}


def open_stream(index: int) -> CudaStream | None:
    """A stream on a GPU; None where the CUDA runtime of this ONNX Runtime cannot be called from here.

    Args:
        index: Which GPU.
    """
    major = str(getattr(ort, "cuda_version", "") or "13").split(".")[0]
    name = f"cudart64_{major}.dll" if os.name == "nt" else f"libcudart.so.{major}"
    try:
        library = ctypes.CDLL(name)
        for function, arguments in _FUNCTIONS.items():
            getattr(library, function).argtypes = arguments
    except (OSError, AttributeError):
        return None
    return CudaStream(library, index)


@dataclass(frozen=True, eq=False)
class _Pinned:
    """A buffer of pinned host memory, and the event after which it is free again."""

    address: int
    array: np.ndarray
    event: int


class CudaStream:
    """A stream of one GPU, used by any number of threads.

    address: the stream's, as ONNX Runtime's option `user_compute_stream` takes it. lock: is held while work
    is handed over, so that a capture holds the work of its own thread alone.
    """

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        self._library = library
        self.index = index
        self.lock = RLock()
        self.address = self._new("cudaStreamCreateWithFlags", _NON_BLOCKING)
        self._pinned: OrderedDict[int, deque[_Pinned]] = OrderedDict()
        self._lent: dict[int, int] = {}
        # not at Python's end, when sessions may still use it: the driver clears up then
        weakref.finalize(self, _destroy, library, self.address, self._pinned).atexit = False

    def call(self, function: str, *arguments: object) -> None:
        """Call a function of the CUDA runtime on this stream's GPU; raises DeviceError where it fails."""
        status = self._library.cudaSetDevice(self.index) or getattr(self._library, function)(*arguments)
        if status:
            raise DeviceError(
                f"cuda:{self.index} failed",
                found=f"{function} gives CUDA error {status}",
                hint="`nvidia-smi` shows whether the GPU is well and has memory left",
            )

    def _new(self, function: str, *arguments: object) -> int:
        """What a function that makes something writes to its first argument."""
        made = _pointer()
        self.call(function, ctypes.byref(made), *arguments)
        return made.value or 0

    def wait(self) -> None:
        """Return when all that was handed over is done."""
        self.call("cudaStreamSynchronize", self.address)

    def upload(self, array: np.ndarray, address: int) -> None:
        """Copy an array to the GPU's memory at `address`; it may be changed as soon as this returns."""
        if not array.nbytes:
            return
        with self.lock:
            slot = self._take(array.nbytes)
            slot.array[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self.call("cudaMemcpyAsync", address, slot.address, array.nbytes, _TO_DEVICE, self.address)
            self._give(slot)

    def download(self, address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A new array with what the GPU's memory at `address` holds when all work so far is done."""
        result = np.empty(shape, dtype)
        if not result.nbytes:
            return result
        with self.lock:
            slot = self._take(result.nbytes)
            self.call("cudaMemcpyAsync", slot.address, address, result.nbytes, _TO_HOST, self.address)
            self.call("cudaEventRecord", slot.event, self.address)
        self.call("cudaEventSynchronize", slot.event)
        result.reshape(-1).view(np.uint8)[:] = slot.array
        with self.lock:
            self._give(slot)
        return result

    def clear(self, address: int, size: int) -> None:
        """Fill `size` bytes of the GPU's memory with zeros."""
        if size:
            with self.lock:
                self.call("cudaMemsetAsync", address, 0, size, self.address)

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """What `work` hands over to this stream, as a graph that can be launched again and again.

        The work itself is not done. It must have run before, so that it allocates nothing, and must not wait.

        Raises:
            DeviceError: It did something that cannot be captured.
        """
        with self.lock:
            self.call("cudaStreamBeginCapture", self.address, _THREAD_LOCAL)
            graph = _pointer()
            try:
                work()
            finally:
                status = self._library.cudaStreamEndCapture(self.address, ctypes.byref(graph))
            if status or not graph.value:
                raise DeviceError(f"cuda:{self.index} cannot capture", found=f"CUDA error {status}")
            try:
                return CudaGraph(self, self._new("cudaGraphInstantiate", graph, 0))
            finally:
                self.call("cudaGraphDestroy", graph)

    def event(self, *, timed: bool = False) -> int:
        """A new event; `timed` ones can be subtracted."""
        return self._new("cudaEventCreateWithFlags", 0 if timed else 2)

    def _take(self, size: int) -> _Pinned:
        """A pinned buffer of so many bytes that nobody uses."""
        slots = self._pinned.setdefault(size, deque())
        self._pinned.move_to_end(size)
        if slots and len(slots) + self._lent.get(size, 0) >= SLOTS:
            slot = slots.popleft()
            self.call("cudaEventSynchronize", slot.event)
        else:
            address = self._new("cudaHostAlloc", size, 0)
            memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
            slot = _Pinned(address, memory, self.event())
        self._lent[size] = self._lent.get(size, 0) + 1
        return slot

    def _give(self, slot: _Pinned) -> None:
        """The buffer is free when the work handed over so far is done."""
        self.call("cudaEventRecord", slot.event, self.address)
        size = slot.array.nbytes
        self._lent[size] -= 1
        self._pinned.setdefault(size, deque()).append(slot)
        while len(self._pinned) > SIZES_KEPT:
            old, slots = self._pinned.popitem(last=False)
            self._lent.pop(old, None)
            for each in slots:
                self.call("cudaEventSynchronize", each.event)
                _free(self._library, each)


class CudaGraph:
    """Work captured on a stream; it reads and writes the buffers that it was captured with."""

    def __init__(self, stream: CudaStream, address: int) -> None:
        self._stream, self._address = stream, address
        weakref.finalize(self, stream._library.cudaGraphExecDestroy, address).atexit = False

    def launch(self) -> None:
        """Hand the work over once more."""
        with self._stream.lock:
            self._stream.call("cudaGraphLaunch", self._address, self._stream.address)


class Stopwatch:
    """How long the GPU takes for what is handed over between `start` and `stop`."""

    def __init__(self, stream: CudaStream) -> None:
        self._stream = stream
        self._events = stream.event(timed=True), stream.event(timed=True)
        for event in self._events:
            weakref.finalize(self, stream._library.cudaEventDestroy, event).atexit = False

    def start(self) -> None:
        """Time from here."""
        self._stream.call("cudaEventRecord", self._events[0], self._stream.address)

    def stop(self) -> None:
        """Time to here."""
        self._stream.call("cudaEventRecord", self._events[1], self._stream.address)

    @property
    def ms(self) -> float:
        """Milliseconds; returns when the work is done."""
        elapsed = ctypes.c_float()
        self._stream.call("cudaEventSynchronize", self._events[1])
        self._stream.call("cudaEventElapsedTime", ctypes.byref(elapsed), *self._events)
        return elapsed.value


def _free(library: ctypes.CDLL, slot: _Pinned) -> None:
    library.cudaEventDestroy(slot.event)
    library.cudaFreeHost(slot.address)


def _destroy(library: ctypes.CDLL, address: int, pinned: OrderedDict[int, deque[_Pinned]]) -> None:
    library.cudaStreamSynchronize(address)
    for slots in pinned.values():
        for slot in slots:
            _free(library, slot)
    library.cudaStreamDestroy(address)
