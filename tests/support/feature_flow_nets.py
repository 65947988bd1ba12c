"""Deep Feature Flow and Accel with an eighth of the channels, as nets, bundles and plain graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from caffe_port import random_weights, read_net, to_onnx
from caffe_port.net import Net
from caffe_port.nets import accel, dff_deeplab
from staged_onnx import Bundle
from staged_onnx import classes as named_classes
from staged_onnx.feature_flow import FeatureFlowPlan, plan_feature_flow
from staged_onnx.flow_export import PIXEL_MEANS, export_feature_flow

SIZE = (64, 96)
CLASSES = 5
Blobs = dict[str, tuple[np.ndarray, ...]]


def thin_nets(system: str, folder: Path, classes: int = CLASSES) -> tuple[Net, Net]:
    """The net of key frames and that of the frames between; system: "dff" or "accel-VERSION"."""
    name, _, version = system.partition("-")
    make = dff_deeplab(classes, size=SIZE, thin=8) if name == "dff" else None
    text = make or accel(int(version), classes, size=SIZE, thin=8)
    path = folder / f"{system}.prototxt"
    path.write_text(text)
    return read_net(path, stages=["key"]), read_net(path)


def weights_of(key: Net, between: Net, seed: int = 0) -> Blobs:
    """Random weights of both nets; a flow of a pixel or two and a scale map around 1."""
    blobs = {**random_weights(between, seed), **random_weights(key, seed + 1)}
    weight, bias = blobs["Convolution5"]
    blobs["Convolution5"] = (weight * 2, bias + np.array([0.3, -0.2], np.float32))
    if "Convolution5_scale" in blobs:
        weight, bias = blobs["Convolution5_scale"]
        blobs["Convolution5_scale"] = (weight * 50, bias + 1)
    return blobs


def thin_bundle(
    system: str, folder: Path, blobs: Blobs | None = None, classes: int = CLASSES
) -> tuple[Bundle, FeatureFlowPlan, Blobs]:
    """The bundle of a system, its plan and its weights."""
    key, between = thin_nets(system, folder, classes)
    blobs = weights_of(key, between) if blobs is None else blobs
    plan = plan_feature_flow(key, between)
    table = named_classes("cityscapes") if classes == 19 else None
    bundle = export_feature_flow(blobs, plan, folder / f"{system}.staged", classes=table)
    return bundle, plan, blobs


def frames(count: int) -> list[np.ndarray]:
    """Frames of a smooth pattern that moves by three pixels per frame."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    made = []
    for number in range(count):
        planes = [
            128 + 80 * np.sin((rows + number) / (5 + c)) * np.cos((columns - 3 * number) / (7 + c))
            for c in range(3)
        ]
        made.append(np.stack(planes, axis=2).astype(np.uint8))
    return made


class Plain:
    """The un-staged graphs of a system, composed by hand."""

    def __init__(self, plan: FeatureFlowPlan, blobs: Blobs) -> None:
        self.plan = plan
        self._key = self._open(plan.key_net, blobs, [plan.value, plan.key.scores])
        self._between = self._open(plan.net, blobs, [plan.value, plan.between.scores])

    @staticmethod
    def _open(net: Net, blobs: Blobs, outputs: list[str]) -> tuple[ort.InferenceSession, list[str]]:
        model = to_onnx(net, blobs, outputs).SerializeToString()
        return ort.InferenceSession(model, providers=["CPUExecutionProvider"]), outputs

    @staticmethod
    def picture(frame: np.ndarray) -> np.ndarray:
        """A frame as the nets read it."""
        mean = np.array(PIXEL_MEANS, np.float32)
        return np.ascontiguousarray((frame - mean).transpose(2, 0, 1)[np.newaxis], np.float32)

    def key(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of a key frame."""
        return self._run(self._key, {self.plan.picture: self.picture(frame)})

    def between(
        self, frame: np.ndarray, earlier: np.ndarray, features: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Moved features and labels of another frame."""
        fed = {
            self.plan.picture: self.picture(frame),
            self.plan.earlier_picture: self.picture(earlier),
            self.plan.earlier_value: features,
        }
        return self._run(self._between, fed)

    @staticmethod
    def _run(
        opened: tuple[ort.InferenceSession, list[str]], fed: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        session, outputs = opened
        value, scores = session.run(outputs, dict(fed))
        return value, scores[0].argmax(0).astype(np.uint8)
