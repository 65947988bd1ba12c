"""Buffers on a device, and what goes there and comes back."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from runtime.sessions.device import Device
from weights.errors import DeviceError
from weights.shown import shown

__all__ = ["allocate", "download", "upload"]


def allocate(shape: tuple[int, ...], dtype: type[np.generic], device: Device) -> ort.OrtValue:
    """A buffer of zeros.

    Args:
        shape: Its shape.
        dtype: The type of its elements.
        device: Where it lies.

    Returns:
        The buffer.

    Raises:
        DeviceError: The device has no memory for it.
    """
    try:
        buffer = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, device.kind, device.index)
        if device.stream is not None:
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            device.stream.clear(buffer.data_ptr(), size)
        else:
            buffer.update_inplace(np.zeros(shape, dtype))
        return buffer
    except (MemoryError, RuntimeError) as error:
        found = f"an array of {'x'.join(map(str, shape))}: {shown(error, 200)}"
    raise DeviceError(f"no memory on {device} for a stage's values", found=found)


def upload(array: np.ndarray, buffer: ort.OrtValue, device: Device) -> None:
    """Copy an array into a buffer of its shape and type; it may be changed as soon as this returns."""
    if device.stream is not None:
        device.stream.upload(array, buffer.data_ptr())
    else:
        buffer.update_inplace(array)


def download(buffer: ort.OrtValue, dtype: np.dtype | type[np.generic], device: Device) -> np.ndarray:
    """What a buffer holds when all work handed over so far is done, as an array of its own.

    Args:
        buffer: The buffer.
        dtype: The type of its elements.
        device: Where it lies.
    """
    if device.stream is not None:
        return device.stream.download(buffer.data_ptr(), tuple(buffer.shape()), np.dtype(dtype))
    return np.array(buffer.numpy())
