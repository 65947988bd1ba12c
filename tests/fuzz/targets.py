"""One target per kind of input: what is read, from which seeds, and what may come of it."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

import runtime
import staged_onnx
import weights
from caffe_port import read_net
from caffe_port.inspection import inspect_net
from clockwork_onnx import cli
from runtime.video.reader import open_video
from runtime.video.writer import VideoWriter
from staged_onnx import Manifest
from tests.support.toy_bundles import chain

__all__ = ["TARGETS", "Target"]

TESTS = Path(__file__).parents[1]
WEIGHTS = TESTS / "weights" / "data"


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: What it is called on the command line and under `corpus/`.
        run: Reads one input, given as bytes and a folder to work in; a ClockworkError is an answer too.
        seeds: Inputs in order.
        words: What the format is made of.
    """

    name: str
    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...]


def _file(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _prototxt(data: bytes, folder: Path) -> None:
    inspect_net(read_net(_file(data, folder, "net.prototxt"), tolerant=True))


def _weights(name: str) -> Callable[[bytes, Path], None]:
    def run(data: bytes, folder: Path) -> None:
        path = _file(data, folder, name)
        found = weights.read(path)
        held = sum(array.nbytes for arrays in found.values() for array in arrays)
        assert held <= 4 * len(data) + (64 << 20), f"{held} bytes out of {len(data)}"

    return run


@cache
def _toy() -> Path:
    """The one toy bundle that the targets of bundles damage."""
    return chain(Path(tempfile.mkdtemp(prefix="fuzz-")) / "toy.staged")


def _opened(folder: Path, name: str, data: bytes) -> Path:
    path = folder / "toy.staged"
    if not path.exists():
        shutil.copytree(_toy(), path)
    (path / name).write_bytes(data)
    return path


def _manifest(data: bytes, folder: Path) -> None:
    bundle = staged_onnx.read_bundle(_opened(folder, "manifest.json", data))
    runtime.parse_schedule(bundle.manifest.schedule, bundle.manifest)


def _graph(data: bytes, folder: Path) -> None:
    with runtime.open(_opened(folder, "stage2.onnx", data), device="cpu", threads=1) as player:
        player.step(np.zeros((4, 6, 3), np.uint8))


@cache
def _toy_manifest() -> Manifest:
    return staged_onnx.read_bundle(_toy()).manifest


def _schedule(data: bytes, folder: Path) -> None:
    manifest = _toy_manifest()
    # Without files: a learned clock's model is named by whoever writes the command line, not by a bundle.
    text = data.decode("utf-8", "surrogateescape")
    assert str(runtime.parse_schedule(text, manifest, files=False))


COMMANDS = ("inspect", "convert", "verify", "weights", "calibrate", "bench")


def _command(data: bytes, folder: Path) -> None:
    """Words between line breaks; nothing is written outside the folder."""
    words = [word for word in data.decode("utf-8", "replace").split("\n") if "\0" not in word][:12]
    words = [word for word in words if not word.startswith(("-o", "--out", "/", ".."))]
    if not words or words[0] not in COMMANDS:  # the command itself is chosen, so that the rest is read
        words = [COMMANDS[len(data) % len(COMMANDS)], *words]
    if not (folder / "toy.staged").exists():
        shutil.copytree(_toy(), folder / "toy.staged")
        (folder / "a.prototxt").write_bytes(_prototxts()[0])
        shutil.copyfile(WEIGHTS / "mini.caffemodel", folder / "x")
    words = [word.replace("@", str(folder)) for word in words]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        status = cli.run(words)
    assert status in (0, 1, 2), status
    assert "Traceback" not in said.getvalue()


def _images(data: bytes, folder: Path) -> None:
    # What a file is, its content says: the suffix makes no difference.
    with open_video(_file(data, folder, "x.png")) as frames:
        for frame in islice(frames, 2):
            assert frame.image.ndim == 3


def _video(data: bytes, folder: Path) -> None:
    for name in ("x.avi", "x.mp4"):
        if data[:4] == b"RIFF" and name == "x.mp4":
            continue
        with open_video(_file(data, folder, name)) as frames:
            for frame in islice(frames, 8):
                assert frame.image.ndim == 3


@cache
def _prototxts() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((TESTS / "parity").glob("*/*/deploy.prototxt")))


@cache
def _pictures() -> tuple[bytes, ...]:
    picture = Image.fromarray(np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3))
    made = []
    for kind in ("PNG", "TIFF", "JPEG"):
        with io.BytesIO() as file:
            picture.save(file, kind)
            made.append(file.getvalue())
    return tuple(made)


@cache
def _videos() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mp4"
        with VideoWriter(path, 10, (16, 32)) as writer:
            for value in range(0, 250, 50):
                writer.write(np.full((16, 32, 3), value, np.uint8), None)
        return (path.read_bytes(),)


def _params() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(WEIGHTS.glob("mxnet-*.params")))


def _texts(*texts: str) -> Callable[[], Sequence[bytes]]:
    return lambda: tuple(text.encode() for text in texts)


SCHEDULES = (
    "oracle", "skip:2", "rates:1,1,2", "alternating", "exponential", "pipeline:2", "adaptive:0.25",
    "warp:4@scale=1/2", "warp-feature:3", "correct:4", "between:3@0.5", "skip:3@1", "alternating@fuse",
)  # fmt: skip
LINES = (
    "inspect\n@/toy.staged\n--json", "weights\nshow\n@/x", "verify\n@/x.onnx\n--reference\n@/r.h5",
    "convert\n@/a.prototxt\n@/b\n--size\n3x4", "inspect\n@/x\n--shape\ndata=1,3,5,5\n--define\nA=b",
    "bench\n@/x\n--count\n3", "calibrate\n@/x\n@/v\n--share\n0.5\n--max-frames\n3",
)  # fmt: skip
NUMBER_WORDS = tuple(
    text.encode()
    for text in ("-1", "0", "1e999", "1e999999999", "nan", "inf", "9" * 30, "1/0", "²", "2147483648")
)
PROTOTXT_WORDS = (b"layer {", b"}", b"bottom:", b"top:", b"type:", b'"Split"', b'"Concat"', b"dim:", b"\n")
VIDEO_WORDS = (b"moov", b"mdat", b"stts", b"trak", b"avc1", b"RIFF", b"LIST", b"INFO\xe9")
GRAPH_WORDS = (
    b"ConstantOfShape", b"Tile", b"Expand", b"Loop", b"Shape", b"Add", b"v1", b"\xff\xff\xff\xff\x07"
)  # fmt: skip
SCHEDULE_WORDS = (b":", b"@", b",", b"+", b"(", b")", b"scale=", b"flow=")
COMMAND_WORDS = (b"\n", b"--json", b"--size", b"--shape", b"--stages", b"--define")

TARGETS = {
    target.name: target
    for target in (
        Target(
            "prototxt", _prototxt, _prototxts,
            (*PROTOTXT_WORDS, *NUMBER_WORDS),
        ),
        Target(
            "caffemodel", _weights("x.caffemodel"), lambda: ((WEIGHTS / "mini.caffemodel").read_bytes(),),
            (b"\xa2\x06", b"\x3a", b"\x12\x06", b"\xff\xff\xff\xff\x0f", b"\x0d", b"\x2a"),
        ),
        Target("mxnet", _weights("x.params"), _params, (b"arg:", b"_test", b"_weight", b"\xc9\xfa\x93\xf9")),
        Target(
            "hdf5", _weights("x.h5"), lambda: ((WEIGHTS / "mini.caffemodel.h5").read_bytes(),),
            (b"TREE", b"SNOD", b"HEAP", b"OHDR", b"FRHP", b"\xff" * 8, b"data", b"0"),
        ),
        Target(
            "manifest", _manifest, lambda: ((_toy() / "manifest.json").read_bytes(),),
            (b"[]", b"{}", b"null", b"true", b'"x"', b"stages", b"1e400", b"1" * 5000, *NUMBER_WORDS),
        ),
        Target(
            "graph", _graph, lambda: ((_toy() / "stage2.onnx").read_bytes(),),
            GRAPH_WORDS,
        ),
        Target("schedule", _schedule, _texts(*SCHEDULES), (*SCHEDULE_WORDS, *NUMBER_WORDS)),
        Target("command", _command, _texts(*LINES), (*COMMAND_WORDS, *NUMBER_WORDS)),
        Target("images", _images, _pictures, (b"IHDR", b"IDAT", b"II*\0", b"\xff\xd8", b"tRNS", b"acTL")),
        Target("video", _video, _videos, VIDEO_WORDS),
    )
}  # fmt: skip
