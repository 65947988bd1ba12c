"""Write `reference.h5`: what a reader of Caffe nets was given and what it answered.

`inputs/BLOB` and `outputs/BLOB` are float32 arrays; the attribute `reader` names the program that ran
the net, `stages` the NetState's stages where there are any. The file holds no times, so the same arrays
make the same bytes, and is kept small: plain h5py settings would spend 6 KB on a 1 KB case.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def write_reference(
    path: Path,
    *,
    reader: str,
    inputs: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
    stages: tuple[str, ...] = (),
) -> None:
    """Write one reference file, replacing what is there."""
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_obj_track_times(False)
    grouped = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    grouped.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    access.set_meta_block_size(512)
    raw = h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, fcpl=created, fapl=access)
    with h5py.File(raw) as file:
        # Fixed-length strings: a variable-length one alone costs 4 KB.
        file.attrs["reader"] = np.bytes_(reader)
        if stages:
            file.attrs["stages"] = np.bytes_(",".join(stages))
        for name, blobs in (("inputs", inputs), ("outputs", outputs)):
            group = h5py.Group(h5py.h5g.create(file.id, name.encode(), gcpl=grouped))
            for blob, values in blobs.items():
                group.create_dataset(blob, data=np.asarray(values, np.float32), track_times=False)
