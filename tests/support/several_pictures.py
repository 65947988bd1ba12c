"""Thin NYUD nets that take colour beside HHA or depth, as bundles, and frames for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import staged_onnx
from caffe_port import Net, random_weights, read_net
from caffe_port.nets.building import net_text
from caffe_port.nets.fcn import FCNS, Head, fcn_layers
from staged_onnx import Bundle, Preprocessing

SIZE = (60, 70)
COLOUR = Preprocessing(None, "bgr", (116.19, 97.203, 92.318))
MORE = {
    "hha": Preprocessing(None, "rgb", (132.431, 94.076, 118.477)),
    "depth": Preprocessing(None, "log-depth", (7.844,)),
}
"""What the data layers of NYUD make of each kind of picture."""


def thin_text(name: str) -> str:
    """The prototxt of a NYUD net with few channels and little padding."""
    thin = replace(FCNS[name], widths=(2, 3, 4, 4, 5, 6), size=SIZE, heads=(Head(4),))
    return net_text(name, fcn_layers(thin))


def thin_net(folder: Path, name: str) -> Net:
    """The net, read from a file in `folder`."""
    file = folder / f"{name}.prototxt"
    file.write_text(thin_text(name), "utf-8")
    return read_net(file)


def thin_bundle(
    folder: Path, which: str, *, kind: str | None = None, **options: Any
) -> tuple[Net, dict[str, Any], Bundle]:
    """The net of colour and `which` ("hha" or "depth"), its weights, and a bundle of two stages."""
    net = thin_net(folder, {"hha": "nyud-fcn32s-color-hha", "depth": "nyud-fcn32s-color-d"}[which])
    blobs = random_weights(net, seed=3)
    bundle = staged_onnx.export(
        net,
        blobs,
        staged_onnx.plan(net, stages=2, kind=kind),
        folder / f"{which}.staged",
        preprocessing=COLOUR,
        more={which: MORE[which]},
        **options,
    )
    return net, blobs, bundle


def pictures(which: str, count: int = 1, size: tuple[int, int] = SIZE) -> list[dict[str, np.ndarray]]:
    """Frames with their further picture: noise of one seed per frame, depth in millimetres."""
    made = []
    for i in range(count):
        rng = np.random.default_rng(i)
        colour = rng.integers(0, 256, (*size, 3), np.uint8)
        if which == "depth":
            other = rng.integers(0, 9000, (*size, 1)).astype(np.uint16)
            other[0, 0] = 0
        else:
            other = rng.integers(0, 256, (*size, 3), np.uint8)
        made.append({"frame": colour, which: other})
    return made


def net_inputs(frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What NYUD's data layer makes of a frame, in NumPy: the net's inputs."""
    made = {"color": frame["frame"][:, :, ::-1].astype(np.float32) - np.float32(COLOUR.mean)}
    if "hha" in frame:
        made["hha"] = frame["hha"].astype(np.float32) - np.float32(MORE["hha"].mean)
    else:
        made["depth"] = np.log(np.maximum(frame["depth"].astype(np.float32), 1)) - np.float32(7.844)
    return {name: np.ascontiguousarray(picture.transpose(2, 0, 1)[None]) for name, picture in made.items()}
