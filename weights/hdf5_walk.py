"""The walk through an HDF5 file: run by `weights.hdf5_file` in a process of its own, never in the caller's.

libhdf5 crashes on some damaged files, loops for ever on others, and opens the paths that a file names. So the
file is opened, then the process gives up opening anything else; of each dataset the creation properties are
looked at before anything else; and all sizes are added up against one budget before a byte is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5l, h5o, h5p, h5s, h5t, h5z

from weights import limits
from weights.isolated import limit_memory, no_more_files, serve

_FILTERS = {h5z.FILTER_DEFLATE: "gzip", h5z.FILTER_SHUFFLE: "shuffle", h5z.FILTER_FLETCHER32: "fletcher32"}
_TYPES = {
    f"{order}{kind}{size}": getattr(h5t, f"{name}{8 * size}{end}")
    for order, end in (("<", "LE"), (">", "BE"))
    for kind, name, sizes in (
        ("f", "IEEE_F", (2, 4, 8)),
        ("i", "STD_I", (1, 2, 4, 8)),
        ("u", "STD_U", (1, 2, 4, 8)),
    )
    for size in sizes
}
_PIECE = 4 << 20

Send = Callable[..., None]


class Refused(Exception):
    """What is wrong with the file; the parts are those of a ClockworkError."""

    def __init__(self, problem: str, path: str, **parts: str) -> None:
        super().__init__(problem)
        self.record = {"error": problem, "path": path, **parts}


def _printable(name: bytes) -> str:
    """Bytes that are not UTF-8 stay visible as \\xNN."""
    return name.decode("utf-8", "backslashreplace")


@dataclass
class _Walk:
    """One pass over a file of `size` bytes, and what it has seen; objects go by their address in the file."""

    size: int
    load: bool
    send: Send
    plain: int = 0
    unpacked: int = 0
    objects: int = 0
    groups: set[int] = field(default_factory=set)
    arrays: dict[int, str] = field(default_factory=dict)

    def group(self, group: h5g.GroupID, path: str, depth: int) -> None:
        """Every member of a group, datasets and the groups in it, in HDF5's order."""
        for key in group:
            self.objects += 1
            name = f"{path}/{_printable(key)}"
            if self.objects > limits.HDF5_OBJECTS or depth > limits.NESTING or len(name) > limits.NAME_BYTES:
                raise Refused(
                    "has too many groups",
                    path or "/",
                    expected=f"at most {limits.HDF5_OBJECTS}, {limits.NESTING} deep",
                )
            if group.links.get_info(key).type != h5l.TYPE_HARD:
                raise Refused("is a link: links are not followed", name, expected="groups and arrays")
            info = h5o.get_info(group, key)
            if info.type == h5o.TYPE_GROUP:
                if info.addr in self.groups:
                    raise Refused(
                        "makes too many groups of few", name, found="a group that is in the file twice"
                    )
                self.groups.add(info.addr)
                self.send({"group": name})
                self.group(h5g.open(group, key), name, depth + 1)
            elif info.type == h5o.TYPE_DATASET and info.addr in self.arrays:
                raise Refused(
                    "is in the file twice",
                    name,
                    found=f"the array of {self.arrays[info.addr]}",
                    expected="each array once",
                )
            elif info.type == h5o.TYPE_DATASET:
                self.arrays[info.addr] = name
                self.array(h5d.open(group, key), name)
            else:
                raise Refused("neither a group nor an array", name)

    def array(self, data: h5d.DatasetID, name: str) -> None:
        """One dataset: its properties, its type, its size, and then its numbers or where they lie."""
        properties = data.get_create_plist()
        chunk = _chunk(properties, name)
        stored = data.get_type()
        kind = _type(stored)
        space = data.get_space()
        shape = None if space.get_simple_extent_type() == h5s.NULL else space.get_simple_extent_dims()
        record: dict[str, Any] = {"array": name, "type": kind, "shape": shape}
        if not kind or shape is None:
            record["type"] = kind or "of class " + str(stored.get_class())
            self.send({**record, "numbers": False})
            return
        text = "x".join(map(str, shape)) or "()"
        # Of a shape with a zero the other numbers count too: an array of that shape is made in the end.
        if len(shape) > limits.AXES or prod(max(dim, 1) for dim in shape) > limits.ELEMENTS:
            raise Refused(
                "has an impossible shape, larger than its file can hold",
                name,
                found=text,
                expected=f"at most {limits.ELEMENTS}",
            )
        size = prod(shape) * int(kind[2:])
        offset = data.get_offset() if properties.get_layout() == h5d.CONTIGUOUS else None
        self.spend(data, name, text, size, plain=not properties.get_nfilters(), placed=offset is not None)
        if offset is not None or not size or not self.load:
            self.send({**record, "offset": offset or 0})
            return
        self.send({**record, "pieces": True})
        for piece in _pieces(data, shape, kind, chunk):
            self.send({}, piece.tobytes())

    def spend(
        self, data: h5d.DatasetID, name: str, text: str, size: int, *, plain: bool, placed: bool
    ) -> None:
        """Count `size` bytes against what a file of this size can hold."""
        stored = data.get_storage_size()
        if placed:
            self.plain += size
        else:
            self.unpacked += size
        most = max(limits.ALWAYS_UNPACKED, limits.UNPACKED * self.size)
        if (plain and size > stored) or self.plain > self.size or self.unpacked > most:
            raise Refused(
                "has less data than its shape",
                name,
                found=f"{stored} bytes for shape {text}",
                expected=f"{size} bytes" if size > stored else f"arrays of {most} bytes in all",
            )


def _chunk(properties: h5p.PropDCID, name: str) -> tuple[int, ...]:
    """The shape of a chunk, () where there are none; raises Refused for storage that is not read here."""
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise Refused("is kept in another file", name, expected="an array in this file")
    if layout not in (h5d.CONTIGUOUS, h5d.COMPACT, h5d.CHUNKED):
        raise Refused("is stored in an unknown way", name, expected="contiguous, compact or in chunks")
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in _FILTERS:
            raise Refused(
                "is compressed in a way that is not read",
                name,
                found=f"filter {code}",
                expected=", ".join(_FILTERS.values()),
                hint="repack it: h5repack -f GZIP=4",
            )
    chunk = tuple(properties.get_chunk()) if layout == h5d.CHUNKED else ()
    if prod(chunk) * 8 > limits.HDF5_CHUNK:
        raise Refused("has too large chunks", name, found=str(chunk), expected=f"at most {limits.HDF5_CHUNK}")
    return chunk


def _type(stored: h5t.TypeID) -> str:
    """NumPy's text for a type of plain numbers, `|b1` for h5py's booleans, "" for any other type."""
    kind = stored.get_class()
    if kind in (h5t.FLOAT, h5t.INTEGER):
        return next((text for text, known in _TYPES.items() if stored.equal(known)), "")
    if kind == h5t.ENUM and stored.get_size() == 1 and stored.get_nmembers() == 2:
        names = {stored.get_member_name(0), stored.get_member_name(1)}
        return "|b1" if names == {b"FALSE", b"TRUE"} else ""
    return ""


def _pieces(
    data: h5d.DatasetID, shape: tuple[int, ...], kind: str, chunk: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """The numbers of a dataset: some rows of its first axis at a time, in whole chunks."""
    dtype = np.dtype(kind)
    memory = None if kind == "|b1" else _TYPES[kind]
    if not shape:
        whole = np.empty((), dtype)
        data.read(h5s.ALL, h5s.ALL, whole, memory or data.get_type())
        yield whole.reshape(1)
        return
    row = prod(shape[1:]) * dtype.itemsize
    deep = max(1, chunk[0] if chunk else 1)
    rows = max(1, _PIECE // max(1, row) // deep) * deep
    if min(rows, shape[0]) * row > limits.HDF5_MEMORY // 4:
        raise Refused(
            "has too large rows of chunks",
            "",
            found=f"{min(rows, shape[0]) * row} bytes",
            expected=f"at most {limits.HDF5_MEMORY // 4}",
            hint="repack it without chunks: h5repack -l CONTI",
        )
    place = data.get_space()
    for start in range(0, shape[0], rows):
        count = (min(rows, shape[0] - start), *shape[1:])
        place.select_hyperslab((start, *[0] * (len(shape) - 1)), count)
        piece = np.empty(count, dtype)
        data.read(h5s.create_simple(count), place, piece, memory or data.get_type())
        yield piece


def walk(request: dict[str, Any], send: Send) -> None:
    """Answer one request: a record for each group and each array of the file, in HDF5's order.

    Args:
        request: "path"; "device", "inode" and "size" as the caller has seen them; "load": whether the
            numbers of arrays that do not lie in the file as they are shall follow as pieces.
        send: Takes a record, and raw bytes.
    """
    try:
        limit_memory(limits.HDF5_MEMORY)
        properties = h5p.create(h5p.FILE_ACCESS)
        if hasattr(properties, "set_file_locking"):
            properties.set_file_locking(True, True)
        status = os.stat(request["path"])
        if [status.st_dev, status.st_ino, status.st_size] != request["seen"]:
            raise Refused("changed while it was read", "")
        file = h5f.open(os.fsencode(request["path"]), h5f.ACC_RDONLY, properties)
        no_more_files()
        root = h5g.open(file, b"/")
        steps = _Walk(status.st_size, request["load"], send)
        steps.groups.add(h5o.get_info(root).addr)
        steps.group(root, "", 0)
        send({"end": True})
    except Refused as refused:
        send(refused.record)
    except MemoryError:
        send({"error": "needs too much memory", "path": "", "expected": f"at most {limits.HDF5_MEMORY}"})
    # h5py has no error class of its own: which of these it raises depends on where a damaged file is hit.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        send({"error": "the HDF5 file is cut short or damaged", "path": "", "found": str(error)[:200]})


if __name__ == "__main__":
    h5py.get_config()  # what h5py sets up late, set up before the first fork
    serve(walk)
