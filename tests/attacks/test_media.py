"""Finding D11: names in other encodings and damaged pictures are no reason for a traceback."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from PIL import Image

import staged_onnx
from runtime.video.reader import open_video
from tests.support.toy_bundles import chain
from weights.errors import BundleError, VideoError


def test_a_title_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 32, 16
        for value in (0, 100):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), value, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert b"TITLE" in content
    path.write_bytes(content.replace(b"TITLE", b"caf\xe9!"))
    with open_video(path) as frames:
        assert len(list(frames)) == 2


def test_a_tiff_cut_or_damaged_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with open_video(path) as frames:
                list(frames)
        except VideoError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("where", [b"Add", b"v2", b"score2"])
def test_names_in_a_graph_that_are_not_utf8(tmp_path: Path, where: bytes) -> None:
    bundle = chain(tmp_path / "toy.staged")
    file = bundle / "stage2.onnx"
    content = onnx.load(file).SerializeToString()
    assert where in content
    file.write_bytes(content.replace(where, b"\xe9" + where[1:]))
    with pytest.raises(BundleError):
        staged_onnx.read_bundle(bundle)
