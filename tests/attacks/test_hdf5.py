"""Findings D3: HDF5 files that killed, blocked or bloated the process, or made it open other files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import weights
from weights import hdf5_file
from weights.errors import WeightsError

FILES = sorted((Path(__file__).parent / "files").glob("*.h5"))
SECONDS, BYTES = 10, 1 << 30


def _refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_refused_in_one_line(path: Path) -> None:
    started = time.monotonic()
    _refused(path)
    assert time.monotonic() - started < SECONDS


def test_command_line_refuses_them_in_little_memory(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'input: "x" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }\n'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    code = "import sys; from clockwork_onnx.cli import main; main(sys.argv[1:])"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for name in ("crash1.h5", "endless.h5", "bomb.h5"):
        file = next(path for path in FILES if path.name == name)
        done = subprocess.run(
            [sys.executable, "-c", code, "convert", str(net), str(file), "-o", str(tmp_path / "x.onnx")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1 and str(file) in done.stderr
    # The largest of all children so far, in KiB: these and any that other tests started before.
    assert max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) << 10 < 2 * BYTES


def test_a_good_file_is_read_right_after_a_bad_one() -> None:
    good = Path(__file__).parents[1] / "weights" / "data" / "mini.caffemodel.h5"
    expected = weights.read(good)
    for path in FILES:
        _refused(path)
        found = weights.read(good)
        assert {name: [a.tobytes() for a in arrays] for name, arrays in found.items()} == {
            name: [a.tobytes() for a in arrays] for name, arrays in expected.items()
        }


def test_a_walk_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_group("data")
        for index in range(3000):
            data.create_group(f"layer{index}")["0"] = np.zeros(1, "f4")
    monkeypatch.setattr("weights.limits.HDF5_SECONDS", 0.001)
    monkeypatch.setattr(hdf5_file, "_BYTES_PER_SECOND", 1e12)
    assert "no end of it within" in _refused(path)
    monkeypatch.undo()
    assert len(weights.read(path)) == 3000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_unlimited_virtual_dataset_opens_nothing(tmp_path: Path) -> None:
    # A pipe nobody writes to: opening it would block, and the walk with it.
    target = tmp_path / "target"
    os.mkfifo(target)
    path = tmp_path / "v.h5"
    unlimited = slice(0, h5py.h5s.UNLIMITED)
    with h5py.File(path, "w", libver="latest") as file:
        layout = h5py.VirtualLayout((4, 6), "f4", maxshape=(None, 6))
        source = h5py.VirtualSource(str(target), "data", (4, 6), maxshape=(None, 6))
        layout[unlimited, :] = source[unlimited, :]
        file.create_group("data/conv")
        file.create_virtual_dataset("data/conv/0", layout)
    started = time.monotonic()
    assert "is kept in another file" in _refused(path)
    assert time.monotonic() - started < SECONDS


def test_one_budget_for_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for index in range(20):
            file.create_dataset(
                f"data/l{index}/0", (16 << 20,), "f4", chunks=(1 << 20,), compression="gzip", data=None
            )
    assert "has less data than its shape" in _refused(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": "lzf"}, "compressed in a way that is not read; found filter 32000"),
        ({"scaleoffset": 3}, "compressed in a way that is not read; found filter 6"),
        ({"chunks": (5000, 5000)}, "too large chunks"),
    ],
)
def test_creation_properties_are_looked_at_first(tmp_path: Path, options: dict, words: str) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/conv/0", (5000, 5000), "f4", **{"chunks": (100, 100), **options})
    assert words in _refused(path)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True}, {"fletcher32": True}])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_what_is_written_in_other_ways_is_read(tmp_path: Path, dtype: str, options: dict) -> None:
    path = tmp_path / "x.h5"
    array = np.random.default_rng(0).standard_normal((70, 3, 50)).astype(dtype)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(
            "data/conv/0", data=array, **({"chunks": (16, 2, 50), **options} if options else {})
        )
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        small = h5py.h5d.create(file["data/conv"].id, b"1", h5py.h5t.IEEE_F32LE, space, compact)
        small.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, 2, 3], "<f4"))
    # A file with a block of the user's own in front does not begin with HDF5's mark.
    inside = tmp_path / "plain.h5"
    with h5py.File(path, "r") as file, h5py.File(inside, "w") as plain:
        file.copy("data", plain)
    found = weights.read(inside)["conv"]
    np.testing.assert_array_equal(found[0], array.astype("<f4"), strict=True)
    assert found[1].tolist() == [1, 2, 3] and not found[0].flags.writeable


def test_threads_take_turns(tmp_path: Path) -> None:
    good = Path(__file__).parents[1] / "weights" / "data" / "mini.caffemodel.h5"
    found: list[int] = []

    def work() -> None:
        for _ in range(5):
            found.append(len(weights.read(good)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [3] * 20
