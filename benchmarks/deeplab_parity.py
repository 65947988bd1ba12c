"""DeepLab v1 end to end by the command line, every step against an independent computation.

Ten pictures of ten sizes, cut from those of a folder, with labels of random blocks; weights are random, from
a fixed seed. `clockwork deeplab init, test, crf, eval` run on a test prototxt as published, and then:

- scores: OpenCV's Caffe reader up to the score maps, Interp, Padding and Eltwise after it in NumPy;
- .mat: read by SciPy, bit for bit what ONNX Runtime gives for the plain model of `clockwork convert`;
- labels: argmax of what SciPy read, cut to the picture, against the PNG that Pillow reads;
- CRF: pydensecrf on what SciPy read, against the labels' .bin, read by struct, and their PNG;
- mean IU: its formula in NumPy over those PNGs.

    python benchmarks/deeplab_parity.py test.prototxt PICTURES [--crf deeplab-largefov] [--count 10]

Needs the extra [test], pydensecrf2, 3 GB of memory and 1 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from PIL import Image
from scipy.io import loadmat

import caffe_port
import weights
from caffe_port.net import Net
from clockwork_onnx.cli import run
from clockwork_onnx.deeplab.experiment import Experiment, open_experiment
from clockwork_onnx.evaluation.datasets.base import list_files
from runtime.densecrf import published
from tests.runtime.densecrf.make_fixture import by_pydensecrf

SIZES = (
    (375, 500), (500, 375), (333, 500), (281, 500), (500, 400),
    (366, 499), (442, 500), (227, 311), (513, 513), (500, 334),
)  # fmt: skip
TAIL = frozenset({"Interp", "Padding", "Eltwise"})
CLASSES = 21


def make_voc(root: Path, pictures: Path, count: int) -> None:
    """A VOC2012 folder: pictures cut from others, labels of 32-pixel blocks, some of them void."""
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    files = list_files(pictures)
    ids = []
    for number, (height, width) in enumerate(SIZES[:count]):
        with Image.open(files[number * len(files) // count]) as whole:
            larger = whole.convert("RGB").resize((width + 40, height + 40))
        picture = larger.crop((20, 20, width + 20, height + 20))
        ids.append(f"2007_{number:06d}")
        picture.save(root / "JPEGImages" / f"{ids[-1]}.jpg", quality=95)
        blocks = rng.integers(0, CLASSES + 1, (-(-height // 32), -(-width // 32))).astype(np.uint8)
        blocks[blocks == CLASSES] = 255
        labels = np.kron(blocks, np.ones((32, 32), np.uint8))[:height, :width]
        Image.fromarray(labels).save(root / "SegmentationClass" / f"{ids[-1]}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(ids) + "\n", "utf-8")


class ByOpenCv:
    """The net in two parts: OpenCV up to the last score maps, NumPy behind them."""

    def __init__(self, net: Net, blobs: Mapping[str, tuple[np.ndarray, ...]], folder: Path) -> None:
        kept = [layer for layer in net.layers if layer.type not in TAIL]
        self.tail = [layer for layer in net.layers if layer.type in TAIL]
        picture = net.inputs[0]
        lines = [f'input: "{picture.name}"', *(f"input_dim: {d}" for d in picture.shape)]
        for layer in kept:
            spec = type(layer.spec)()
            spec.CopyFrom(layer.spec)
            if spec.convolution_param.HasField("hole"):
                spec.convolution_param.dilation.append(spec.convolution_param.hole)
                spec.convolution_param.ClearField("hole")
            spec.ClearField("strict_dim")
            lines.append("layer {" + text_format.MessageToString(spec) + "}")
        (folder / "trunk.prototxt").write_text("\n".join(lines), "utf-8")
        trunk = caffe_port.read_net(folder / "trunk.prototxt")
        own = {layer.key: blobs[layer.key] for layer in kept if layer.key in blobs}
        weights.write(folder / "trunk.caffemodel", trunk, own)
        self.reader = cv2.dnn.readNetFromCaffe(
            str(folder / "trunk.prototxt"), str(folder / "trunk.caffemodel")
        )
        made = {top for layer in self.tail for top in layer.tops}
        self.maps = list(dict.fromkeys(b for x in self.tail for b in x.bottoms if b not in made))

    def scores(self, data: np.ndarray) -> np.ndarray:
        """What the last layer gives."""
        self.reader.setInput(data)
        values = dict(zip(self.maps, self.reader.forward(self.maps), strict=True))
        for layer in self.tail:
            bottoms = [values[b] for b in layer.bottoms]
            if layer.type == "Eltwise":
                assert layer.spec.eltwise_param.operation == 1
                values[layer.tops[0]] = np.sum(bottoms, axis=0)
            elif layer.type == "Padding":
                begin, end = layer.spec.padding_param.pad_beg, layer.spec.padding_param.pad_end
                values[layer.tops[0]] = bottoms[0][:, :, -begin:end, -begin:end]
            else:
                values[layer.tops[0]] = interp(bottoms[0], layer.spec.interp_param.zoom_factor)
        return np.asarray(values[self.tail[-1].tops[0]])


def interp(x: np.ndarray, zoom: int) -> np.ndarray:
    """interp_layer.cpp: n + (n - 1)(zoom - 1) values, corners on corners."""
    for axis in (2, 3):
        n = x.shape[axis]
        at = np.arange(n + (n - 1) * (zoom - 1)) / zoom
        low = np.minimum(at.astype(int), max(n - 2, 0))
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, n - 1), axis) * share
    return x


def labels_of_bin(file: Path) -> np.ndarray:
    """The result of the CRF programs, by struct."""
    data = file.read_bytes()
    rows, columns, channels = struct.unpack("<3i", data[:12])
    assert channels == 1 and len(data) == 12 + 2 * rows * columns
    return np.frombuffer(data, "<i2", offset=12).reshape(columns, rows).T


def mean_iu(truths: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> float:
    """MyVOCevalseg.m over all pixels below 255."""
    counts = np.zeros((CLASSES, CLASSES))
    for truth, labels in zip(truths, results, strict=True):
        np.add.at(counts, (truth[truth < 255], labels[truth < 255]), 1)
    hits, either = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return float(np.mean(hits / np.where(either, either, 1)))


def clockwork(*words: object) -> None:
    """A command, timed."""
    began = time.perf_counter()
    assert not run([str(word) for word in words]), words
    print(f"  clockwork {' '.join(map(str, words[:2]))}: {time.perf_counter() - began:.0f} s", flush=True)


def compare(experiment: Experiment, work: Path, crf: str) -> None:
    """Every step of an experiment that has run, against its independent computation."""
    net = caffe_port.read_net(experiment.prototxt, define=experiment.variables)
    blobs = weights.read(experiment.weights())
    reader = ByOpenCv(net, blobs, work)
    caffe_port.save_model(caffe_port.to_onnx(net, blobs), work / "plain.onnx")
    session = ort.InferenceSession(str(work / "plain.onnx"), providers=["CPUExecutionProvider"])
    data_layer = next(step for step in net.host_steps if step.type == "ImageSegData").parameters
    worst, same_bits, plain, refined, truths, classes = 0.0, 0, [], [], [], set()
    different = {"argmax": 0, "CRF": 0, "PNG of the CRF": 0}
    post = experiment.root / "res/features" / experiment.net / "val/fc8"
    png = "results/VOC2012/Segmentation/comp6_val_cls"
    (with_crf,) = post.glob("post_densecrf_*")
    for picture in experiment.pictures():
        with Image.open(picture.image) as opened:
            image = np.array(opened.convert("RGB"))
        height, width = image.shape[:2]
        crop = data_layer["crop_size"]
        bgr = image[:, :, ::-1].astype(np.float32) - np.float32(data_layer["mean_value"])
        padded = np.pad(bgr, ((0, crop - height), (0, crop - width), (0, 0)))
        data = np.ascontiguousarray(padded.transpose(2, 0, 1)[None])
        mat = loadmat(experiment.feature_folder / f"{picture.identity}_blob_0.mat")["data"]
        scores = np.ascontiguousarray(mat.T)  # (w, h, c, n) -> N x C x H x W
        expected = reader.scores(data)
        worst = max(worst, float(np.abs(scores - expected).max() / np.abs(expected).max()))
        same_bits += int(np.array_equal(scores, session.run(None, {net.inputs[0].name: data})[0]))
        inside = np.ascontiguousarray(scores[0, :, :height, :width])
        with Image.open(post / "post_none" / png / f"{picture.identity}.png") as opened:
            plain.append(np.array(opened))
        different["argmax"] += int((plain[-1] != inside.argmax(axis=0)).sum())
        by_program = by_pydensecrf(image, inside, published(crf)).argmax(axis=0)
        different["CRF"] += int((labels_of_bin(with_crf / f"{picture.identity}.bin") != by_program).sum())
        with Image.open(with_crf / png / f"{picture.identity}.png") as opened:
            refined.append(np.array(opened))
        different["PNG of the CRF"] += int((refined[-1] != by_program).sum())
        classes |= set(np.unique(refined[-1]).tolist())
        assert picture.labels is not None
        with Image.open(picture.labels) as opened:
            truths.append(np.array(opened))
    print(f"  scores against OpenCV and NumPy: {worst:.1e} of the largest")
    print(f"  .mat read by SciPy equals the plain model bit for bit: {same_bits} of {len(truths)}")
    pixels = sum(truth.size for truth in truths)
    print(f"  labels that differ in {pixels} pixels: {different}, {len(classes)} classes")
    for folder, results in ((post / "post_none", plain), (with_crf, refined)):
        said, own = json.loads((folder / "scores.json").read_text())["mean_iu"], mean_iu(truths, results)
        print(f"  mean IU of {folder.name}: eval {said:.12f}, by its formula {own:.12f}")


def main() -> None:
    """Run the procedure, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--crf", default="deeplab-largefov")
    parser.add_argument("--count", type=int, default=len(SIZES))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, root = Path(folder), Path(folder) / "voc12"
        make_voc(work / "VOC2012", asked.pictures, asked.count)
        clockwork("deeplab", "init", root, "--net", "net", "--prototxt", asked.prototxt,
                  "--data-root", work / "VOC2012")  # fmt: skip
        experiment = open_experiment(root)
        net = caffe_port.read_net(experiment.prototxt, define=experiment.variables)
        blobs = caffe_port.random_weights(net, seed=0)
        weights.write(root / "model/net/test.caffemodel", net, blobs)
        clockwork("deeplab", "test", root, "--device", "cpu")
        clockwork("deeplab", "eval", root)
        clockwork("deeplab", "crf", root, "-p", asked.crf)
        clockwork("deeplab", "eval", root, "-p", asked.crf)
        compare(experiment, work, asked.crf)


if __name__ == "__main__":
    main()
