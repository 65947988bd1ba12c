"""A bundle on disk: opened with everything about it checked, and its files compared with their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np

from staged_onnx.drawn import Box, byte_size, draw_stages
from staged_onnx.graph_check import HINT, check_graph
from staged_onnx.manifest import FileSpec, Manifest, StageSpec
from staged_onnx.manifest_reader import from_json
from weights import limits
from weights.errors import BundleError
from weights.regular_file import open_regular, read_regular
from weights.shown import one_line, shown

__all__ = ["MANIFEST", "Bundle", "check_files", "hash_files", "read_bundle", "stored_files"]

MANIFEST = "manifest.json"


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle on disk: its folder and its manifest.

    Attributes:
        path: The folder.
        manifest: What its stages are.
        graphs: By a stage's name, a serialised graph that stands for its file; weights that such a graph
            keeps outside are in the bundle's folder.
    """

    path: Path
    manifest: Manifest
    graphs: Mapping[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        manifest = self.manifest
        size = manifest.preprocessing.size
        seen = "frames of any size" if size is None else f"frames at {size[0]}x{size[1]}"
        stages = f"{len(manifest.stages)} stage{'s' * (len(manifest.stages) > 1)} and the head"
        return shown(
            f"Bundle({str(self.path)!r}, {stages}, {seen} -> {manifest.output.kind}, {manifest.schedule})",
            300,
        )

    def _repr_html_(self) -> str:
        manifest = self.manifest

        def box(stage: StageSpec) -> Box:
            values = [(v, manifest.values[v]) for v in stage.outputs if v in manifest.values]
            sizes = [f"{v}, {byte_size(np.dtype(s.dtype).itemsize * prod(s.shape))}" for v, s in values]
            last = stage is manifest.head
            return Box(
                stage.name,
                stage.macs,
                f"{len(stage.layers)} layers",
                tuple(stage.outputs) if last else tuple(sizes),
            )

        return draw_stages(repr(self), [box(stage) for stage in (*manifest.stages, manifest.head)])

    def model_path(self, stage: StageSpec) -> Path:
        """The ONNX file of a stage.

        Args:
            stage: A stage of this bundle, or its head.

        Returns:
            The file's path.
        """
        return self.path / stage.model


def read_bundle(path: str | PathLike[str]) -> Bundle:
    """Open a bundle's manifest and check its graphs, and that its weights are there and long enough.

    Args:
        path: The bundle's folder. Nothing outside it is ever opened.

    Returns:
        The bundle; no weights are read.

    Raises:
        BundleError: Naming the file and what is wrong with it.
    """
    folder = Path(path)
    file = folder / MANIFEST
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing at this path"
        raise BundleError(
            "not a bundle",
            file=folder,
            found=found,
            expected="a folder NAME.staged/ with a manifest.json",
            hint="make one: clockwork convert",
        )
    if not file.is_file():
        raise BundleError(
            "not a bundle",
            file=folder,
            found="a folder without manifest.json",
            expected="a folder made by clockwork convert",
        )
    text = read_regular(file, limits.MANIFEST_BYTES, expected="a bundle's manifest", error=BundleError)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            "manifest is not JSON", file=file, found=one_line(error, 200), hint="convert the net again"
        ) from None
    bundle = Bundle(folder, from_json(data, file))
    _check_graphs(bundle)
    return bundle


def _check_graphs(bundle: Bundle) -> None:
    """Check the graph of every stage, and of the whole net where the bundle has it."""
    manifest = bundle.manifest
    inputs: dict[str, tuple[int, ...]] = {f.name: f.shape(manifest.reference_size) for f in manifest.frames}
    inputs |= {name: value.shape for name, value in manifest.values.items()}
    if manifest.feature_flow is not None:
        inputs["value"] = manifest.values[manifest.feature_flow.value].shape
    made = 0
    for model in manifest.models:
        file = bundle.path / model
        if not file.is_file():
            raise BundleError("a stage's file is missing", file=file, hint="convert the net again")
        made += check_graph(file, inputs)
    if made > limits.MADE_ELEMENTS:
        raise BundleError(
            "graphs that make too much out of constants",
            file=bundle.path,
            found=f"{made} numbers",
            expected=f"at most {limits.MADE_ELEMENTS}",
        )
    if manifest.whole and (bundle.path / manifest.whole).is_file():
        check_graph(bundle.path / manifest.whole, inputs)


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, FileSpec]:
    """The size and the SHA-256 of files in a folder.

    Args:
        folder: The folder.
        names: The files' paths in it.

    Returns:
        Name -> size and hash.

    Raises:
        BundleError: A file cannot be read.
    """
    found = {}
    for name in names:
        with open_regular(
            folder / name, limits.WEIGHTS_BYTES, expected="a file of the bundle", error=BundleError
        ) as (file, size):
            found[name] = FileSpec(size, hashlib.file_digest(file, "sha256").hexdigest())
    return found


def stored_files(folder: Path) -> list[str]:
    """The names of a bundle's graphs and files of weights, as they are now."""
    weights = sorted(file.name for file in (folder / "weights").glob("*"))
    return [*sorted(file.name for file in folder.glob("*.onnx")), *(f"weights/{name}" for name in weights)]


def check_files(bundle: Bundle) -> int:
    """Compare every file of a bundle with the hash that the manifest has of it.

    Args:
        bundle: The bundle.

    Returns:
        How many files there are.

    Raises:
        BundleError: A file is missing, was changed or exchanged, or is not in the manifest; or the bundle is
            of an earlier release, which has no hashes.
    """
    listed = bundle.manifest.files
    if not listed:
        raise BundleError(
            "a bundle without hashes of its files",
            file=bundle.path / MANIFEST,
            found=f"written by {bundle.manifest.created_by or 'an unknown program'}",
            hint="convert the net again with this release",
        )
    extra = sorted(set(stored_files(bundle.path)) - set(listed))
    if extra:
        raise BundleError("a file that the manifest does not list", file=bundle.path / extra[0], hint=HINT)
    for name, expected in listed.items():
        (found,) = hash_files(bundle.path, [name]).values()
        if found != expected:
            raise BundleError(
                "not the file that the manifest lists",
                file=bundle.path / name,
                found=f"{found.size} bytes, SHA-256 {found.sha256[:16]}...",
                expected=f"{expected.size} bytes, SHA-256 {expected.sha256[:16]}...",
                hint=HINT,
            )
    return len(listed)
