"""`clockwork run` on a bundle: the CRF of its net or one that is asked for, and its scores as .mat files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

import clockwork_onnx as cw
import weights
from clockwork_onnx.cli import run
from clockwork_onnx.deeplab.binary_files import read_ppm, write_ppm
from runtime.densecrf import CrfParameters, DenseCrf, published
from tests.clockwork_onnx.deeplab.voc import IN_NET_CRF, SIZES, VALUES, forward, make_net


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """x.staged, of a net with a DenseCRF and two MatWrite layers, its weights, and pictures in frames/."""
    prototxt, caffemodel = make_net(tmp_path, IN_NET_CRF)
    net = cw.read_net(prototxt, define=VALUES)
    done = cw.convert(net, caffemodel, tmp_path / "x.staged", stages=1, schedule="oracle")
    assert any("as ImageSegData does" in note for note in done.notes)
    (tmp_path / "frames").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        blocks = np.kron(rng.integers(0, 256, (5, 4, 3)), np.ones((5, 8, 1))).astype(np.uint8)
        write_ppm(tmp_path / f"frames/f{number}.ppm", blocks[: SIZES[0][0], : SIZES[0][1]])
    return tmp_path


def played(folder: Path, *options: str) -> list[np.ndarray]:
    target = folder / f"out{len(list(folder.iterdir()))}"
    command = ["run", str(folder / "x.staged"), str(folder / "frames"), "--device", "cpu", "-o", str(target)]
    assert run([*command, "--labels", *options]) == 0
    files = sorted((target / "labels").iterdir())
    return [np.array(Image.open(file)) for file in files]


def expected(folder: Path, crf: CrfParameters | None) -> list[np.ndarray]:
    """From the net in NumPy."""
    blobs = weights.read(folder / "net.caffemodel")
    found = []
    for file in sorted((folder / "frames").iterdir()):
        picture = read_ppm(file)
        scores = forward(picture, blobs)[:, : picture.shape[0], : picture.shape[1]].astype(np.float32)
        q = DenseCrf(picture, crf).infer(np.ascontiguousarray(scores)) if crf is not None else scores
        found.append(q.argmax(axis=0).astype(np.uint8))
    return found


def test_the_crf_of_the_net_runs_unless_another_or_none_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    own = CrfParameters.of(5, 50, 10, iterations=3)
    for options, crf, said in (
        ((), own, 'DenseCRF layer "crf" runs'),
        (("--crf", "none"), None, 'DenseCRF layer "crf" is left out'),
        (("--crf", "deeplab-largefov"), published("deeplab-largefov"), 'DenseCRF layer "crf" is replaced'),
    ):
        labels = played(folder, *options)
        agree = [np.mean(a == b) for a, b in zip(labels, expected(folder, crf), strict=True)]
        assert min(agree) > 0.999, options
        said_there = capsys.readouterr().err
        assert said in said_there and 'MatWrite layer "mat" is left out: --mat' in said_there
    assert not np.array_equal(expected(folder, own), expected(folder, None))


def test_scores_as_mat_files(folder: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["run", str(folder / "x.staged"), str(folder / "frames"), "--device", "cpu", "--crf", "none"]
    assert run([*command, "-o", str(folder / "out"), "--mat"]) == 0
    assert "MatWrite" not in capsys.readouterr().err
    blobs = weights.read(folder / "net.caffemodel")
    for number in range(3):
        data = loadmat(folder / f"out/mat/f{number}_blob_0.mat")["data"]
        picture = read_ppm(folder / f"frames/f{number}.ppm")
        height, width = picture.shape[:2]
        assert data.shape[:3] == (width, height, 21)
        wanted = forward(picture, blobs)[:, :height, :width]
        np.testing.assert_allclose(np.squeeze(data).T, wanted, rtol=1e-4, atol=1e-4)


def test_a_moved_start_and_what_does_not_fit_together(folder: Path, capsys: pytest.CaptureFixture) -> None:
    first, *_ = played(folder, "--crf-moved", "2")
    assert np.mean(first == expected(folder, CrfParameters.of(5, 50, 10, iterations=3))[0]) > 0.999
    command = ["run", str(folder / "x.staged"), str(folder / "frames"), "--device", "cpu"]
    assert run([*command, "--crf", "none", "--crf-moved", "2"]) == 2
    assert "no CRF to begin with a moved result" in capsys.readouterr().err
    assert run([*command, "--crf", "bests"]) == 2
    assert "unknown CRF parameters" in capsys.readouterr().err
    assert run([*command, "--schedule", "warp:4"]) == 2
    assert "does not go with a CRF" in capsys.readouterr().err
    assert run([*command, "-o", str(folder / "o"), "--resume", "--crf-moved", "2"]) == 2
    assert "cannot go on where it broke off" in capsys.readouterr().err


def test_a_bundle_whose_own_schedule_moves_labels_is_played_by_the_oracle(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    file = folder / "x.staged/manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schedule": "warp:4"}))
    labels = played(folder, "--crf", "deeplab")
    assert "schedule oracle" in capsys.readouterr().err
    agree = [np.mean(a == b) for a, b in zip(labels, expected(folder, published("deeplab")), strict=True)]
    assert min(agree) > 0.999


def test_an_interrupted_run_goes_on_with_its_crf(folder: Path, capsys: pytest.CaptureFixture) -> None:
    command = [
        "run",
        str(folder / "x.staged"),
        str(folder / "frames"),
        "--device",
        "cpu",
        "--labels",
        "--mat",
    ]
    assert run([*command, "-o", str(folder / "out"), "--max-frames", "2"]) == 0
    assert run([*command, "-o", str(folder / "out"), "--resume", "--crf", "none"]) == 2
    assert "crf" in capsys.readouterr().err


def test_the_manifest_s_two_crfs_are_a_question(folder: Path, capsys: pytest.CaptureFixture) -> None:
    file = folder / "x.staged/manifest.json"
    manifest = json.loads(file.read_text())
    crf = next(step for step in manifest["host_steps"] if step["type"] == "DenseCRF")
    manifest["host_steps"].append({**crf, "name": "second"})
    file.write_text(json.dumps(manifest))
    assert run(["run", str(folder / "x.staged"), str(folder / "frames"), "--device", "cpu"]) == 2
    assert "which of the net's CRFs" in capsys.readouterr().err
