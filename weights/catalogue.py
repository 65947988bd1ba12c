"""Published Caffe nets, and which of them a file is: `catalogue`, `recognise`.

`catalogue.tsv` holds facts, one per line, tab-separated:

    home    name  address
    family  name  net  licence  pre-processing  classes       ("" for what is not known)
    file    family  home  path there  bytes  SHA-256
    net     name  family  layer [shape of its first blob] ...  (layers that only such a net has)

Sizes and hashes are those that the homes publish, by Git LFS or beside the file, or of files from there.
Nothing is downloaded: a file that a user has is compared with what is known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weights import limits
from weights.errors import WeightsError
from weights.reading import LayerDescription, describe
from weights.regular_file import open_regular

__all__ = ["Family", "Published", "Recognised", "catalogue", "recognise"]

TABLE = Path(__file__).with_name("catalogue.tsv")
POINTER = re.compile(rb"version https://git-lfs[^\n]*\noid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?\Z")
POINTER_BYTES = 1024
BLOCK = 1 << 20


@dataclass(frozen=True)
class Family:
    """What is known of all files of one net; "" for what is not."""

    name: str
    net: str = ""
    licence: str = ""
    preprocessing: str = ""
    classes: str = ""


@dataclass(frozen=True)
class Published:
    """One published file: its size in bytes, its SHA-256 and where it is."""

    family: Family
    home: str
    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    published: Published files with the very same content. net: The net that its layers show it to be, "" for
    none that is known, and its family. doubt: Why it is not the published file that it seems to be.
    """

    file: str
    size: int
    published: tuple[Published, ...]
    net: str = ""
    family: Family | None = None
    doubt: str = ""


@dataclass(frozen=True)
class _Signature:
    net: str
    family: str
    layers: tuple[tuple[str, str], ...]


@cache
def _table() -> tuple[tuple[Published, ...], tuple[_Signature, ...], Mapping[str, Family]]:
    homes: dict[str, str] = {}
    families: dict[str, Family] = {}
    files: list[Published] = []
    nets: list[_Signature] = []
    for line in TABLE.read_text("utf-8").splitlines():
        what, *cells = line.split("\t")
        if what == "home":
            homes[cells[0]] = cells[1]
        elif what == "family":
            families[cells[0]] = Family(*cells)
        elif what == "file":
            family = families.get(cells[0], Family(cells[0]))
            files.append(Published(family, homes[cells[1]], cells[2], int(cells[3]), cells[4]))
        elif what == "net":
            pairs = (cell.partition(" ") for cell in cells[2:])
            nets.append(_Signature(cells[0], cells[1], tuple((name, shape) for name, _, shape in pairs)))
    return tuple(files), tuple(nets), families


def catalogue(text: str = "") -> tuple[Published, ...]:
    """The published files whose path, net or family holds `text`, in the order of the catalogue."""
    wanted = text.lower()
    return tuple(
        one
        for one in _table()[0]
        if wanted in one.path.lower() or wanted in one.family.net.lower() or wanted in one.family.name.lower()
    )


def _content(path: str | os.PathLike[str]) -> tuple[int, str, bool]:
    """Size and SHA-256 of a file, or of the file that it is a Git LFS pointer to, and whether it is one.

    The hash is "" where no published file has this size.
    """
    with open_regular(path, limits.WEIGHTS_BYTES, expected="a file of weights") as (file, size):
        if size <= POINTER_BYTES:
            pointer = POINTER.match(file.read())
            if pointer is not None:
                return int(pointer[2]), pointer[1].decode(), True
            file.seek(0)
        if all(one.size != size for one in _table()[0]):
            return size, "", False
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
        return size, digest.hexdigest(), False


def _is(signature: _Signature, layers: Mapping[str, str]) -> bool:
    return all(name in layers and (not shape or layers[name] == shape) for name, shape in signature.layers)


def _shapes(layers: Sequence[LayerDescription]) -> Iterator[tuple[str, str]]:
    for layer in layers:
        shape = layer.shapes[0] if layer.shapes else ()
        sizes = list(shape)
        while len(sizes) > 2 and sizes[0] == 1:  # V1 files have four sizes for every blob
            sizes.pop(0)
        yield layer.name, "x".join(map(str, sizes))


def _doubt(path: str | os.PathLike[str], size: int, sha256: str) -> str:
    """Why the file is none of those that have its size and name."""
    alike = [one for one in _table()[0] if one.size == size and one.name == Path(path).name]
    if not alike or any(one.sha256 == sha256 for one in alike):
        return ""
    known = ", ".join(sorted({one.sha256[:12] for one in alike}))
    return (
        "it has the name and size of a published file, but not its content: "
        f"SHA-256 {sha256[:12]}..., not {known}..."
    )


def recognise(path: str | os.PathLike[str]) -> Recognised:
    """Which published file a file is, by its SHA-256, and which net, by its layers.

    Args:
        path: A file of weights, or the Git LFS pointer to one.

    Returns:
        What is known of it.

    Raises:
        WeightsError: The file cannot be read, or holds no weights.
    """
    size, sha256, pointer = _content(path)
    published = tuple(one for one in _table()[0] if one.size == size and one.sha256 == sha256)
    if pointer:
        return Recognised(os.fspath(path), size, published, family=published[0].family if published else None)
    try:
        layers = dict(_shapes(describe(path).layers))
    except WeightsError:
        if not published:
            raise
        layers = {}
    found = next((net for net in _table()[1] if _is(net, layers)), None)
    family = published[0].family if published else _table()[2].get(found.family) if found else None
    return Recognised(
        os.fspath(path), size, published, found.net if found else "", family, _doubt(path, size, sha256)
    )
