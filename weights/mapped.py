"""Arrays that are views of a mapped file: letting go of the memory that they were read into."""

from __future__ import annotations

import mmap

import numpy as np

__all__ = ["release"]


def release(array: np.ndarray) -> None:
    """Drop the pages of a mapped array; they are read from the file again when they are next touched.

    Worth it once an array has been copied: its pages would count as this process's memory for as long as
    the file is mapped. Does nothing to other arrays, nor where the system has no madvise.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(owner, "madvise") or not array.flags.c_contiguous:
        return
    start = array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        owner.madvise(mmap.MADV_DONTNEED, first, last - first)
