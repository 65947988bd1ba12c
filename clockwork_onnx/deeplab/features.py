"""The test step: pictures through the net, one .mat file for each and each MatWrite layer.

What Caffe's `caffe test` did with the test net: ImageSegData pads a picture at the bottom and right with the
mean up to crop_size (the middle of a larger one is taken), the net runs, a DenseCRF layer in it refines
scores within the picture's own size, and MatWrite stores its bottoms under the picture's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

import weights as weights_files
from caffe_port import read_net, to_onnx
from caffe_port.net import HostStep, Net
from clockwork_onnx.deeplab.experiment import Experiment, Picture
from clockwork_onnx.deeplab.mat_files import blob_name, write_mat
from runtime.densecrf import DenseCrf, KernelSet
from runtime.sessions.device import Device
from runtime.video.images import read_image
from weights.errors import UnsupportedError, UsageError

__all__ = ["FeatureNet", "compute_features", "open_feature_net", "prepare"]

Floats = NDArray[np.float32]


def prepare(image: NDArray[np.uint8], crop: int, mean: Sequence[float]) -> tuple[Floats, tuple[int, int]]:
    """A picture as ImageSegData hands it to the net.

    Args:
        image: H x W x 3, RGB.
        crop: Height and width of the net's input; 0 for the picture's own size.
        mean: Subtracted, in B, G, R order.

    Returns:
        1 x 3 x crop x crop, BGR, zeros (the mean) below and to the right of the picture; and `data_dim`, the
        height and width that the picture takes of it.
    """
    data = image[:, :, ::-1].astype(np.float32) - np.asarray(mean or (0,), np.float32)
    height, width = image.shape[:2]
    rows, columns = (min(crop, height), min(crop, width)) if crop else (height, width)
    down, across = (height - rows) // 2, (width - columns) // 2
    padded = np.zeros((1, 3, crop or height, crop or width), np.float32)
    padded[0, :, :rows, :columns] = data[down : down + rows, across : across + columns].transpose(2, 0, 1)
    return padded, (rows, columns)


@dataclass(frozen=True)
class FeatureNet:
    """A test net ready to run: its session, its data layer's parameters, and its steps on the host."""

    net: Net
    session: ort.InferenceSession
    crop: int
    mean: tuple[float, ...]
    crfs: tuple[HostStep, ...]
    writers: tuple[HostStep, ...]

    def run(self, image: NDArray[np.uint8]) -> dict[str, Floats]:
        """Every blob that a MatWrite layer reads, N x C x H x W, for one picture (H x W x 3, RGB)."""
        data, (rows, columns) = prepare(image, self.crop, self.mean)
        names = [output.name for output in self.session.get_outputs()]
        found = self.session.run(names, {self.net.inputs[0].name: data})
        blobs: dict[str, Floats] = dict(zip(names, found, strict=True))
        for crf in self.crfs:
            seen = data[0, :, :rows, :columns].transpose(1, 2, 0) + np.asarray(self.mean or (0,), np.float32)
            picture = np.ascontiguousarray(seen[:, :, ::-1].round().clip(0, 255).astype(np.uint8))
            scores = blobs[crf.reads[0]]
            refined = np.zeros_like(scores)
            kernels = KernelSet.of_layer(crf.parameters)
            refined[0, :, :rows, :columns] = DenseCrf(picture, kernels).infer(scores[0, :, :rows, :columns])
            blobs[crf.makes[0]] = refined
        return blobs


def open_feature_net(experiment: Experiment, device: Device, weights_path: str | None = None) -> FeatureNet:
    """Port the experiment's test net and open it.

    Args:
        experiment: Whose net.
        device: Where it runs.
        weights_path: Weights in place of the experiment's own; several, overlaid, separated by commas.

    Returns:
        The net, open on the device.

    Raises:
        UsageError: The net has no data layer that says how pictures are fed, or writes nothing.
        UnsupportedError: It needs something of the host that is not known.
        PrototxtError, WeightsError: It cannot be ported.
    """
    net = read_net(experiment.prototxt, define=experiment.variables)
    steps: dict[str, list[HostStep]] = {}
    for step in net.host_steps:
        steps.setdefault(step.type, []).append(step)
    if len(steps.get("ImageSegData", ())) != 1 or len(net.inputs) != 1:
        raise UsageError(
            "not a test net of DeepLab v1",
            file=experiment.prototxt,
            found=", ".join(i.name for i in net.inputs) or "no input",
            expected="one ImageSegData layer, and nothing else to be fed",
        )
    if "MatWrite" not in steps:
        raise UsageError("the net writes no features", file=experiment.prototxt, expected="a MatWrite layer")
    crfs, writers = steps.get("DenseCRF", []), steps["MatWrite"]
    for crf in crfs:
        if crf.reads[0] not in net.outputs or len(crf.reads) != 3:
            raise UnsupportedError(
                "a CRF that does not read scores, data_dim and data",
                file=net.file, layer=crf.name, layer_type=crf.type, found=", ".join(crf.reads),
            )  # fmt: skip
    made = {name for crf in crfs for name in crf.makes}
    outputs = [
        name for name in dict.fromkeys(b for w in (*writers, *crfs) for b in w.reads) if name not in made
    ]
    outputs = [name for name in outputs if name in net.values() and name != net.inputs[0].name]
    blobs = weights_files.read(weights_path or str(experiment.weights()))
    model = to_onnx(net, blobs, outputs=outputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = device.threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=device.providers)
    data = steps["ImageSegData"][0].parameters
    return FeatureNet(
        net, session, int(data["crop_size"]), tuple(data["mean_value"]), tuple(crfs), tuple(writers)
    )


def compute_features(
    experiment: Experiment, feature_net: FeatureNet, *, force: bool = False
) -> Iterator[tuple[Picture, bool]]:
    """Run the net on every picture of the set and write its features.

    A picture whose files are all there already is passed over, so that an interrupted run goes on where it
    stopped.

    Args:
        experiment: Whose pictures and folders.
        feature_net: The net.
        force: Compute what is there too.

    Yields:
        Each picture, and whether its features were computed now.
    """
    pictures = experiment.pictures()
    for position, picture in enumerate(pictures):
        files = _files(experiment, feature_net.writers, picture, position)
        due = force or not all(file.is_file() for file in files)
        if due and files:
            blobs = feature_net.run(read_image(picture.image))
            for file, name in files.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_mat(file, blobs[name])
        yield picture, due and bool(files)


def _files(
    experiment: Experiment, writers: Sequence[HostStep], picture: Picture, position: int
) -> dict[Path, str]:
    """The files of one picture and the blob that each holds.

    Only the last part of a prefix counts (`fc8/`, `crf/`): nothing is written where a prototxt says.
    """
    files: dict[Path, str] = {}
    for writer in writers:
        how: Mapping[str, Any] = writer.parameters
        if position % how["period"]:
            continue
        identity = picture.identity if how["source"] else f"iter_{position}"
        layer = PurePosixPath(how["prefix"]).name or experiment.layer
        folder = experiment.feature_folder.with_name(layer)
        for i, blob in enumerate(writer.reads):
            files[folder / blob_name(identity, i, strip=how["strip"])] = blob
    return files
