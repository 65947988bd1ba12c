"""The folder of a bundle: written beside its place, and put there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path

from caffe_port.onnx_graph import Draft
from caffe_port.save import Stored, save_model
from staged_onnx.bundle import MANIFEST, hash_files, stored_files
from staged_onnx.manifest import Manifest
from weights.errors import BundleError
from weights.whole_file import check_folder, exchange, sync_folder, whole_file

__all__ = ["bundle_folder", "check_target", "file_hashes", "save_graph", "write_manifest"]


def check_target(target: Path, force: bool) -> None:
    """Refuse to write a bundle where that would destroy something that was not asked for.

    Args:
        target: The folder to write.
        force: Whether a bundle that is there may be replaced.

    Raises:
        BundleError: There is a bundle and `force` is not set, or something that is not a bundle.
        UsageError: The folder cannot be made.
    """
    check_folder(target.parent)
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise BundleError(
            "the bundle exists", file=target, expected="a new path", hint="--force (force=True) replaces it"
        )
    if not target.is_dir() or not (target / MANIFEST).is_file():
        raise BundleError(
            "--force replaces bundles only",
            file=target,
            found="something else",
            expected="a bundle, or a new path",
        )


@contextmanager
def bundle_folder(target: Path, force: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends, and is gone where the block fails.

    Args:
        target: The bundle's folder.
        force: Whether a bundle that is there is replaced.

    Yields:
        The folder, with an empty `weights` in it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        (folder / "weights").mkdir()
        yield folder
        folder.chmod(0o755)
        _put(folder, target, force)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _put(folder: Path, target: Path, force: bool) -> None:
    """Give a finished bundle its name: at every moment the old bundle has it, or the whole new one."""
    if not force or not target.exists():
        os.rename(folder, target)
        sync_folder(target.parent)
        return
    exchange(folder, target)
    sync_folder(target.parent)
    # What was the new folder's name is now the old bundle's, or that of a link to it.
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def save_graph(model: Draft, folder: Path, name: str, stored: Stored | None = None) -> str:
    """Write a graph, its weights beside it.

    Args:
        model: The graph.
        folder: The bundle's folder.
        name: The file's name without its ending.
        stored: The weights that other graphs of the bundle have written; they are shared.

    Returns:
        The file's name.
    """
    file = f"{name}.onnx"
    save_model(model, folder / file, weights_file=f"weights/{name}.bin", stored=stored)
    return file


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json`, with the hashes of all other files.

    Args:
        manifest: The manifest; its hashes are replaced.
        folder: The bundle's folder, with all other files in it.
    """
    manifest = replace(manifest, files=hash_files(folder, stored_files(folder)))
    with whole_file(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", "utf-8")


def file_hashes(files: Sequence[str | PathLike[str]]) -> list[dict[str, str]]:
    """Name and SHA-256 of each file, as the manifest lists its sources."""
    found = []
    for file in files:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append({"name": Path(file).name, "sha256": digest})
    return found
