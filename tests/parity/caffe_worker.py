"""Real Caffe behind a pipe, for fuzz.py: runs in the Python 3.9 of the Caffe environment.

Reads a line of JSON with a `folder` that holds deploy.prototxt, `feeds` by input, a `seed`, and perhaps
`resized` input shapes; writes net.caffemodel and answer.npz ("i/NAME", "o/NAME", and "ri/", "ro/" for the
resized run) into the folder, and answers with a line of JSON. A failed CHECK ends the process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import caffe
import numpy as np

from tests.parity.cases import Case
from tests.parity.make_fixtures import draw, fill


def answer(job: dict) -> None:
    """One net, one or two passes."""
    folder = Path(job["folder"])
    rng = np.random.default_rng(job["seed"])
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
    if net.params:
        fill(net, Case("fuzz", ""), rng)
        net.save(str(folder / "net.caffemodel"))
    arrays = {}
    for prefix, shapes in (("", {}), ("r", job["resized"])):
        if prefix and not shapes:
            continue
        for name, shape in shapes.items():
            net.blobs[name].reshape(*shape)
        net.reshape()
        given = {}
        for name in net.inputs:
            given[name] = draw(rng, tuple(job["feeds"][name]), tuple(net.blobs[name].data.shape))
            net.blobs[name].data[...] = given[name]
        net.forward()
        arrays.update({f"{prefix}i/{name}": values for name, values in given.items()})
        arrays.update({f"{prefix}o/{name}": net.blobs[name].data.copy() for name in net.outputs})
        np.savez(folder / "answer.npz", **arrays)


def main() -> None:
    """Answer until the pipe closes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        answer(job)
        print("{}", file=out, flush=True)


if __name__ == "__main__":
    main()
