"""The catalogue of published nets, and which of them a file is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import weights
from caffe_port import random_weights
from clockwork_onnx.cli import main
from tests.support.ported import read_text
from weights import catalogue as module
from weights.catalogue import Family, Published, catalogue, recognise
from weights.errors import WeightsError


def test_every_line_is_whole() -> None:
    files = catalogue()
    assert len(files) > 280 and len({(one.home, one.path, one.sha256) for one in files}) == len(files)
    for one in files:
        assert len(one.sha256) == 64 and int(one.sha256, 16) >= 0
        assert one.size > 1000 and one.home.startswith("https://") and one.name


SEGMENTATION = (
    *("fcn8s-heavy", "fcn16s", "fcn32s", "fcn8s-atonce", "fcn-alexnet"),
    *("segnet", "icnet", "pspnet", "deeplabv3"),
)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentation_nets_are_there(name: str) -> None:
    assert catalogue(name) and catalogue(name.upper()) == catalogue(name)


def small_file(folder: Path, name: str = "small.caffemodel") -> Path:
    """Weights with the layers of an FCN-8s by name, one of another shape."""
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 } '
    below = "x"
    for layer in ("conv4_2", "mine"):
        text += (
            f'layer {{ name: "{layer}" type: "Convolution" bottom: "{below}" top: "{layer}" '
            "convolution_param { num_output: 1 kernel_size: 1 } } "
        )
        below = layer
    net = read_text(text, folder)
    weights.write(folder / name, net, random_weights(net))
    return folder / name


def known(monkeypatch: pytest.MonkeyPatch, *files: Published) -> None:
    _, nets, families = module._table()
    monkeypatch.setattr(module, "_table", lambda: (files, nets, families))


def published(path: Path) -> Published:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Published(Family("mine", "My net", "MIT"), "https://example.org", path.name, len(content), digest)


def test_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_file(tmp_path)
    assert not recognise(path).published
    known(monkeypatch, published(path))
    found = recognise(path)
    assert [one.path for one in found.published] == ["small.caffemodel"]
    assert found.family is not None and found.family.net == "My net" and not found.doubt


def test_another_content_of_that_name_and_size_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_file(tmp_path)
    known(monkeypatch, published(path))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = recognise(path)
    assert not found.published and found.doubt.startswith(
        "it has the name and size of a published file, but not"
    )


def test_by_git_lfs_pointer(tmp_path: Path) -> None:
    one = catalogue("fcn8s-heavy")[0]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{one.sha256}\nsize {one.size}\n"
    (tmp_path / "f.caffemodel").write_text(pointer)
    found = recognise(tmp_path / "f.caffemodel")
    assert one in found.published and found.family is not None
    assert found.family.classes == "21 PASCAL VOC" and found.size == one.size


FCN: dict[str, tuple[int, ...]] = {"fc6": (4096, 512, 7, 7), "score_fr": (21,)}
LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "FCN-8s (VGG-16)": FCN | {"score_pool4": (21,), "score_pool3": (21,)},
    "FCN-16s (VGG-16)": FCN | {"score_pool4": (21,)},
    "FCN-32s (VGG-16)": FCN,
    "VGG-16": {"conv5_3": (512, 512, 3, 3), "fc6": (1, 1, 4096, 25088)},
    "AlexNet or CaffeNet": {"conv1": (96, 3, 11, 11), "fc6": (4096, 9216)},
    "": {"conv1": (96, 3, 11, 11), "fc6": (4096, 9215)},
}


@pytest.mark.parametrize("net", LAYERS)
def test_by_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str) -> None:
    layers = tuple(weights.LayerDescription(name, "", (shape,)) for name, shape in LAYERS[net].items())
    path = small_file(tmp_path)
    described = weights.describe(path)
    monkeypatch.setattr(
        module, "describe", lambda path: weights.Description(described.file, "", "", 0, layers)
    )
    assert recognise(path).net == net


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.caffemodel").write_text("<html><body>not here</body></html>")
    with pytest.raises(WeightsError):
        recognise(tmp_path / "page.caffemodel")


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments])
        return ended.value.code

    assert not run("catalogue", "fcn-alexnet")
    assert "1 files" in (out := capsys.readouterr().out) and "fcn-alexnet-pascal.caffemodel" in out
    assert run("identify", str(small_file(tmp_path))) == 1
    assert "unknown" in capsys.readouterr().out
