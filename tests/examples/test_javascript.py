"""The bundle in Node and in a browser: the player's labels, byte for byte."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from clockwork_onnx.evaluation.demo.demo import embedded_bundle

HERE = Path(__file__).parents[2] / "examples/deploy/javascript"
NODE = shutil.which("node")
BROWSER = next((b for name in ("chromium", "google-chrome") if (b := shutil.which(name))), None)


def modules() -> Path:
    """Where node's packages lie: beside the example, or where NODE_PATH says."""
    found = [
        HERE / "node_modules",
        *(Path(p) for p in os.environ.get("NODE_PATH", "").split(os.pathsep) if p),
    ]
    return next((folder for folder in found if (folder / "onnxruntime-common").is_dir()), HERE / "none")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[np.ndarray]]:
    """The demo net's bundle, frames, and the labels of each."""
    folder = tmp_path_factory.mktemp("javascript")
    bundle = embedded_bundle(folder / "demo.staged")
    rng = np.random.default_rng(0)
    frames, labels = [], []
    with runtime.open(bundle.path, device="cpu", schedule="oracle") as player:
        for i in range(2):
            small = rng.integers(0, 256, (12, 16, 3), np.uint8)
            image = np.asarray(Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC))
            frames.append(folder / f"{i}.png")
            Image.fromarray(image).save(frames[-1])
            labels.append(np.array(player.step(image).labels))
    assert len(np.unique(labels)) > 1
    return bundle.path, frames, labels


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
def test_node_gives_the_player_s_labels(played: tuple[Path, list[Path], list[np.ndarray]]) -> None:
    if not (modules() / "onnxruntime-node").is_dir():
        pytest.skip("npm install --ignore-scripts onnxruntime-node pngjs, and name the folder in NODE_PATH")
    bundle, frames, labels = played
    environment = {**os.environ, "NODE_PATH": str(modules())}
    command = [str(NODE), str(HERE / "play.js"), str(bundle), *map(str, frames)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for frame, expected in zip(frames, labels, strict=True):
        assert frame.with_suffix(".labels").read_bytes() == expected.tobytes()


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_the_browser_gives_the_player_s_labels(
    played: tuple[Path, list[Path], list[np.ndarray]], tmp_path: Path
) -> None:
    dist = modules() / "onnxruntime-web/dist"
    if not dist.is_dir():
        pytest.skip("npm install onnxruntime-web, and name the folder in NODE_PATH")
    bundle, frames, labels = played
    for source in (HERE / "bundle.js", HERE / "index.html", bundle, frames[0], dist):
        (tmp_path / source.name).symlink_to(source)
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = (
            f"http://127.0.0.1:{server.server_port}/index.html?bundle={bundle.name}&source={frames[0].name}"
        )
        command = [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
            f"--user-data-dir={tmp_path / 'profile'}", "--timeout=60000", "--virtual-time-budget=600000",
            "--dump-dom", page,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        server.shutdown()
    title = re.search(r"<title>(done|error) (.*?)</title>", done.stdout)
    if title is None and "<title>" not in done.stdout:
        pytest.skip(f"Chromium does not run on this machine: {done.stderr.strip()[-200:]}")
    flat = labels[0].reshape(-1).astype(np.int64)
    checked = int((flat * (np.arange(flat.size) % 251 + 1)).sum() % 1000003)
    assert title is not None and title.groups() == ("done", f"{flat.size} {checked}"), done.stdout[-500:]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
