"""What `convert` makes of a prototxt's words on its pictures, and what it says of it."""

from pathlib import Path

import numpy as np
import pytest

from clockwork_onnx.api import Conversion, convert
from clockwork_onnx.cli import run
from staged_onnx import Preprocessing
from weights.errors import UsageError

LAYERS = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3
  pad: 1 stride: 2 } }
layer { name: "s" type: "Convolution" bottom: "c" top: "s"
  convolution_param { num_output: 5 kernel_size: 1 } }
"""
CROPPED = """
layer { name: "u" type: "Deconvolution" bottom: "s" top: "u" convolution_param { num_output: 5 kernel_size: 4
  stride: 2 } }
layer { name: "score" type: "Crop" bottom: "u" bottom: "data" top: "score" crop_param { axis: 2 offset: 1 } }
"""
DATA = """layer { name: "d" type: "Data" top: "data" top: "label" data_param { batch_size: 2 }
  transform_param { TRANSFORM crop_size: 32 } }"""
DEPLOY = 'input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 48 } '
MEAN_FILE = 'mean_file: "data/mean.binaryproto"'


def converted(folder: Path, text: str, **options: object) -> Conversion:
    (folder / "net.prototxt").write_text(text, "utf-8")
    return convert(
        folder / "net.prototxt", None, folder / "x.staged", random_weights=0, force=True, **options
    )


def how_of(done: Conversion) -> Preprocessing:
    assert done.bundle is not None
    return done.bundle.manifest.preprocessing


def test_a_data_layer_s_numbers_are_used(tmp_path: Path) -> None:
    text = DATA.replace("TRANSFORM", "mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5") + LAYERS
    done = converted(tmp_path, text)
    assert how_of(done) == Preprocessing((32, 32), "bgr", (104.0, 117.0, 123.0), 0.5)
    assert done.origins["mean"] == done.origins["scale"] == 'Data layer "d"'
    turned = converted(tmp_path, text, channels="rgb", scale=1.0)
    assert how_of(turned) == Preprocessing((32, 32), "rgb", (123.0, 117.0, 104.0), 1.0)
    assert turned.origins["scale"] == turned.origins["channels"] == "given"
    assert not [note for note in done.notes if note.startswith("nothing is known")]


def test_a_mean_in_a_file_is_asked_for_and_read(tmp_path: Path) -> None:
    text = DATA.replace("TRANSFORM", MEAN_FILE) + LAYERS
    with pytest.raises(UsageError, match=r"--mean FILE\.binaryproto"):
        converted(tmp_path, text)
    picture = np.stack([np.full((4, 4), value, np.float32) for value in (1, 2, 3)])
    np.save(tmp_path / "mean.npy", picture)
    done = converted(tmp_path, text, mean=tmp_path / "mean.npy")
    assert how_of(done).mean == (1.0, 2.0, 3.0)
    assert how_of(converted(tmp_path, text, mean=str(tmp_path / "mean.npy"), channels="rgb")).mean[0] == 3.0
    assert how_of(converted(tmp_path, text, mean=(0.0,))).mean == (0.0,)


def test_what_is_not_known_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = converted(tmp_path, DEPLOY + LAYERS)
    assert how_of(done) == Preprocessing((32, 48))
    assert done.notes[0].startswith("nothing is known of mean and scale: the prototxt does not say")
    arguments = ["convert", str(tmp_path / "net.prototxt"), "--random-weights", "0", "--force"]
    assert run([*arguments, "-o", str(tmp_path / "x.staged"), "--mean", "1,2,3"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "mean 1, 2, 3 (given)" in shown and "scale 1 (not known)" in shown
    assert (
        "size 32 x 48, frames are resized (the prototxt's;" in shown
        and "channels bgr (Caffe's order)" in shown
    )


def test_a_net_that_normalises_by_itself_is_not_warned_of(tmp_path: Path) -> None:
    own = 'layer { name: "n" type: "Power" bottom: "data" top: "data" power_param { scale: 0.01 shift: -1 } }'
    done = converted(tmp_path, DEPLOY + own + LAYERS)
    assert done.origins["mean"] == 'layer "n" (Power) of the net does it'
    assert not [note for note in done.notes if note.startswith("nothing is known")]


def test_the_size_is_the_prototxt_s_unless_the_net_crops_or_makes_pictures(tmp_path: Path) -> None:
    assert how_of(converted(tmp_path, DEPLOY + LAYERS)).size == (32, 48)
    assert how_of(converted(tmp_path, DEPLOY + LAYERS, size="native")).size is None
    assert how_of(converted(tmp_path, DEPLOY + LAYERS + CROPPED)).size is None
    assert how_of(converted(tmp_path, DEPLOY + LAYERS + CROPPED, size=(20, 20))).size == (20, 20)
    picture = LAYERS.replace("num_output: 5", "num_output: 3").replace('"s"', '"out"')
    assert how_of(converted(tmp_path, DEPLOY + picture)).size is None


def test_a_size_that_does_not_fit_names_one_that_does(tmp_path: Path) -> None:
    skip = """
    layer { name: "p" type: "Convolution" bottom: "data" top: "p"
      convolution_param { num_output: 4 kernel_size: 8 stride: 8 } }
    layer { name: "u" type: "Deconvolution" bottom: "p" top: "u"
      convolution_param { num_output: 5 kernel_size: 8 stride: 8 } }
    layer { name: "q" type: "Convolution" bottom: "data" top: "q" convolution_param { num_output: 5
      kernel_size: 1 } }
    layer { name: "score" type: "Eltwise" bottom: "u" bottom: "q" top: "score" }"""
    with pytest.raises(UsageError, match=r"height a multiple of 8.*--size 104x120"):
        converted(tmp_path, DEPLOY + skip, size=(100, 120))
    native = how_of(converted(tmp_path, DEPLOY + skip, size="native"))
    assert (native.size, native.fit, native.multiple) == (None, "pad", (8, 8))
    assert how_of(converted(tmp_path, DEPLOY + skip, size="native", fit="resize")).fit == "resize"


def test_deeplab_s_data_layer_pads(tmp_path: Path) -> None:
    text = DATA.replace('"Data"', '"ImageSegData"').replace("TRANSFORM", "mean_value: 100") + LAYERS
    done = converted(tmp_path, text)
    assert how_of(done) == Preprocessing((32, 32), "bgr", (100.0,), 1.0, "pad")
    assert done.origins["size"] == 'ImageSegData layer "d"'
