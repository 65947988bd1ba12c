"""A bundle at another size gives what the same net converted for that size gives."""

from pathlib import Path

import numpy as np
import pytest

import runtime
import staged_onnx
from caffe_port import random_weights
from clockwork_onnx.cli import run
from staged_onnx import Bundle, Preprocessing
from staged_onnx.resized import resized_bundle
from tests.support.ported import read_text
from tests.support.small_nets import thin_fcn8s
from weights.errors import UsageError

CUTS = ["pool3", "pool4", "upscore2"]
FRAMES = [np.random.default_rng(i).integers(0, 256, (70, 90, 3), np.uint8) for i in range(4)]


def exported(folder: Path, size: tuple[int, int] | None, **options: object) -> Bundle:
    folder.mkdir(exist_ok=True)
    net = thin_fcn8s(folder)
    how = Preprocessing(size, "bgr", (100.0,), 0.5, **options)  # type: ignore[arg-type]
    plan = staged_onnx.plan(net, cuts=CUTS)
    return staged_onnx.export(net, random_weights(net, seed=3), plan, folder / "x.staged", preprocessing=how)


def labels_of(bundle: Bundle, schedule: str, size: tuple[int, int] | None = None) -> list[np.ndarray]:
    with runtime.open(bundle.path, device="cpu", schedule=schedule, size=size) as player:
        return [step.labels for step in player.play(FRAMES)]


@pytest.mark.parametrize("schedule", ["oracle", "alternating", "pipeline:2", "warp:2", "warp-feature:2"])
def test_labels_are_those_of_a_bundle_made_for_the_size(tmp_path: Path, schedule: str) -> None:
    small, large = exported(tmp_path / "a", (80, 96)), exported(tmp_path / "b", (112, 128))
    found, expected = labels_of(small, schedule, (112, 128)), labels_of(large, schedule)
    assert all(np.array_equal(f, e) for f, e in zip(found, expected, strict=True))
    assert any(not np.array_equal(f, e) for f, e in zip(labels_of(small, schedule), expected, strict=True))


def test_the_manifest_says_what_follows(tmp_path: Path) -> None:
    small, large = exported(tmp_path / "a", (80, 96)), exported(tmp_path / "b", (112, 128))
    changed = resized_bundle(small, (112, 128)).manifest
    assert changed.preprocessing == large.manifest.preprocessing and changed.reference_size == (112, 128)
    shapes = {name: value.shape for name, value in changed.values.items()}
    assert shapes == {name: value.shape for name, value in large.manifest.values.items()}
    assert resized_bundle(small, (80, 96)) is small


def test_what_cannot_be_resized_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sees frames at their own size"):
        resized_bundle(exported(tmp_path / "a", None), (112, 128))
    with pytest.raises(UsageError, match="takes one size"):
        resized_bundle(exported(tmp_path / "b", (80, 96), fit="pad"), (112, 128))
    with pytest.raises(UsageError, match=r"multiples of 16x16.*--size 112x128"):
        resized_bundle(exported(tmp_path / "c", (80, 96), multiple=(16, 16)), (110, 120))
    text = """
    input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
    layer { name: "a" type: "Convolution" bottom: "data" top: "a"
      convolution_param { num_output: 2 kernel_size: 3 pad: 1 stride: 2 } }
    layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param { num_output: 4 } }"""
    net = read_text(text, tmp_path)
    plan = staged_onnx.plan(net, cuts=["a"], kind="scores")
    how = Preprocessing((16, 16))
    bundle = staged_onnx.export(net, random_weights(net), plan, tmp_path / "d.staged", preprocessing=how)
    with pytest.raises(UsageError, match="takes one size"):
        resized_bundle(bundle, (32, 32))


def test_run_takes_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    bundle = exported(tmp_path / "a", (80, 96))
    Image.fromarray(FRAMES[0]).save(tmp_path / "0.png")
    arguments = ["run", str(bundle.path), str(tmp_path / "0.png"), "--device", "cpu"]
    assert run([*arguments, "--size", "112x128", "-o", str(tmp_path / "out"), "--labels"]) == 0
    found = np.asarray(Image.open(tmp_path / "out/labels/0.png"))
    assert np.array_equal(found, labels_of(bundle, "oracle", (112, 128))[0])
    capsys.readouterr()
    assert run([*arguments, "--size", "native"]) == 2
    assert "native is what a bundle is converted with" in capsys.readouterr().err
