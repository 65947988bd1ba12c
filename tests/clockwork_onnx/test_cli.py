"""The command line: statuses, JSON, and one clear line for bad input with nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import weights
from caffe_port import random_weights
from clockwork_onnx.cli import cli, run
from tests.support.small_nets import chain, thin_fcn8s

LAYER = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
    "convolution_param { num_output: 2 kernel_size: 1 } }"
)
INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err.strip()
    assert err.count("\n") == 0, err
    assert err.startswith("clockwork: error: ")
    return err


@pytest.fixture
def fcn(tmp_path: Path) -> tuple[Path, Path]:
    """A thin FCN-8s as a user has it: prototxt and caffemodel."""
    net = thin_fcn8s(tmp_path)
    weights.write(tmp_path / "net.caffemodel", net, random_weights(net, seed=1))
    return Path(net.file), tmp_path / "net.caffemodel"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in (
        "convert",
        "inspect",
        "verify",
        "run",
        "demo",
        "eval",
        "calibrate",
        "bench",
        "net",
        "weights",
        "crop-offsets",
    ):
        assert name in shown
        assert run([name, "--help"]) == 0
    assert cli.name == "cli" or cli.name


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["convert"], ["net", "fcn8s"], ["convert", "a", "b", "--scale", "x"]]
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert " --help)" in error_line(capsys)


def test_a_table_that_is_no_terminal_s_is_not_cut_at_80_columns(
    fcn: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run(["inspect", str(fcn[0])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 150
    (row,) = [line for line in lines if line.startswith("conv1_1 ")]
    assert "conv1_1@conv1_1 1x" in row and "exact" in row


def test_convert_to_a_plain_model(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.onnx"
    assert run(["convert", str(fcn[0]), str(fcn[1]), "-o", str(target), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["inputs"] == {"data": [1, 3, "height", "width"]}
    assert list(summary["outputs"]) == ["score"]
    onnx.checker.check_model(onnx.load(target))


def test_convert_to_a_bundle(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.staged"
    cuts = ["--cut", "pool3", "--cut", "pool4", "--cut", "upscore2"]
    arguments = ["convert", str(fcn[0]), str(fcn[1]), "-o", str(target), *cuts, "--mean", "1,2,3", "--json"]
    assert run(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in summary["stages"]] == ["stage1", "stage2", "stage3", "head"]
    assert summary["size"] == "native" and summary["signal"] == "score_pool4"
    assert run(arguments) == 2
    assert "--force" in error_line(capsys)
    assert run([*arguments, "--force"]) == 0


def test_convert_chooses_cuts_where_none_are_given_and_says_so(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", str(fcn[0]), str(fcn[1]), "-o", str(tmp_path / "net.staged")]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "chosen   3 stages, cut at " in shown and "--stages N" in shown
    assert run([*arguments, "--force", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["stages"]) == 4 and len(summary["chosen"]) == 2
    assert summary["chosen"][1].startswith(f"schedule {summary['schedule']}: ")


@pytest.mark.parametrize("target", ["net.staged", "net.onnx"])
def test_convert_names_the_layers_that_it_leaves_out(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """`inspect` counts every layer of the net, the model has those that lead to what it gives out."""
    with open(fcn[0], "a", encoding="utf-8") as file:
        file.write('layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }')
    arguments = ["convert", *map(str, fcn), "-o", str(tmp_path / target), "--blob", "score"]
    arguments += ["--cut", "pool4"] if target.endswith(".staged") else []
    assert run(arguments) == 0
    assert "left out prob (Softmax): nothing that is given out needs it" in capsys.readouterr().out
    assert run([*arguments, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == [{"name": "prob", "type": "Softmax"}]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_one_wording(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: int
) -> None:
    files = [str(path) for path in fcn]
    files[missing] = str(tmp_path / "missing")
    assert run(["convert", *files, "-o", str(tmp_path / "x.onnx")]) == 2
    line = error_line(capsys)
    assert line.startswith(
        f"clockwork: error: {files[missing]}: cannot be read; found No such file or directory;"
    )
    assert ("expected a prototxt file" if missing == 0 else "expected a caffemodel") in line


def test_two_answers_to_one_question(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "x.staged")
    for arguments, words in (
        ([str(fcn[1]), "--random-weights", "0", "--stages", "2"], "come from?; found both;"),
        (["--stages", "2"], "come from?; found neither;"),
        ([str(fcn[1]), "--stages", "2", "--cut", "pool3"], "be cut?; found both;"),
    ):
        assert run(["convert", str(fcn[0]), *arguments, "-o", target]) == 2
        assert words in error_line(capsys)


@pytest.mark.parametrize("name", ["x.onnx", "x.staged", "deeper/x.onnx"])
def test_a_file_where_a_folder_should_be(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / "afile"
    file.write_text("mine")
    options = ["--stages", "2"] if name.endswith(".staged") else []
    for arguments in (
        ["convert", str(fcn[0]), str(fcn[1]), "-o", str(file / name), *options],
        ["net", "fcn8s", "-o", str(file / name)],
        ["net", "fcn8s", "-o", str(file)],
    ):
        assert run(arguments) == 2
        assert f"cannot be written to; found {file}, which is a file; expected a folder" in error_line(capsys)
    assert file.read_text() == "mine"


def test_inspect_of_an_onnx_model(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.onnx"
    assert run(["convert", str(fcn[0]), str(fcn[1]), "-o", str(target)]) == 0
    capsys.readouterr()
    assert run(["inspect", str(target)]) == 2
    assert "found an ONNX model; expected a prototxt or a bundle NAME.staged" in error_line(capsys)
    assert run(["convert", str(target), str(fcn[1]), "-o", str(tmp_path / "y.onnx")]) == 2
    assert "found an ONNX model; expected a prototxt text file" in error_line(capsys)
    assert run(["inspect", str(fcn[1])]) == 2
    assert "is this the caffemodel?" in error_line(capsys)
    assert run(["inspect", str(tmp_path / "none.onnx")]) == 2
    assert "cannot be read; found No such file or directory" in error_line(capsys)


def test_inspect_describes_a_bundle(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.staged"
    arguments = ["convert", str(fcn[0]), str(fcn[1]), "-o", str(target), "--cut", "pool4", "--json"]
    assert run(arguments) == 0
    written = json.loads(capsys.readouterr().out)
    assert run(["inspect", str(target), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    origins = written.pop("preprocessing_from")
    assert origins == {
        "size": "the net crops its scores to its input, whatever that is",
        "channels": "Caffe's order",
        "mean": "not known",
        "scale": "not known",
    }
    assert written["notes"][0].startswith("nothing is known of mean and scale")
    assert written.pop("chosen")[0].startswith("schedule skip:2: nothing but the last stage")
    assert {**described, "left_out": [], "notes": written["notes"]} == written
    assert run(["inspect", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "stages: 1 and the head" in shown and "net.caffemodel (sha256 " in shown
    assert all(f"{name} 1x" in shown for name in written["values"])
    assert run(["inspect", str(target), str(fcn[1])]) == 2
    assert "has its weights already" in error_line(capsys)
    assert run(["inspect", str(tmp_path)]) == 2
    assert "not a bundle" in error_line(capsys)


def test_a_bundle_with_weights_cut_short(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.staged"
    convert = ["convert", str(fcn[0]), str(fcn[1]), "-o", str(target), "--cut", "pool3", "--cut", "pool4"]
    assert run(convert) == 0
    capsys.readouterr()
    cut = target / "weights" / "stage2.bin"
    cut.write_bytes(cut.read_bytes()[:100])
    frame = tmp_path / "frame.png"
    Image.fromarray(np.zeros((80, 96, 3), np.uint8)).save(frame)
    for arguments in (["inspect", str(target)], ["run", str(target), str(frame), "--device", "cpu"]):
        assert run(arguments) == 2
        line = error_line(capsys)
        assert line.startswith(f"clockwork: error: {cut}: the file of weights is cut short; found 100 bytes")


def test_a_default_schedule_must_fit(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(tmp_path.iterdir())
    arguments = ["convert", str(fcn[0]), str(fcn[1]), "-o", str(tmp_path / "n.staged"), "--cut", "pool4"]
    for schedule in ("pipeline:3", "sometimes", "rates:1,2,3"):
        assert run([*arguments, "--schedule", schedule]) == 2
        assert schedule in error_line(capsys)
    assert set(tmp_path.iterdir()) == before


def test_a_net_that_takes_one_size_gets_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        INPUT
        + LAYER
        + (
            'layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" '
            "inner_product_param { num_output: 8 } }"
            'layer { name: "r" type: "Reshape" bottom: "ip" top: "r" '
            "reshape_param { shape { dim: 0 dim: 2 dim: 2 dim: 2 } } }"
        )
    )
    (tmp_path / "n.prototxt").write_text(text, "utf-8")
    arguments = [
        "convert",
        str(tmp_path / "n.prototxt"),
        "--random-weights",
        "0",
        "-o",
        str(tmp_path / "n.staged"),
        "--cut",
        "c",
    ]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [8, 8]
    assert run([*arguments, "--size", "native", "--force"]) == 2
    assert "--size 8x8" in error_line(capsys)


BAD_PROTOTXT = {
    "unknown layer": (
        INPUT + 'layer { name: "odd" type: "Odd" bottom: "data" top: "o" odd_param { x: 1 } }',
        ("odd", "Odd"),
    ),
    "missing bottom": (INPUT + LAYER.replace('bottom: "data"', 'bottom: "nowhere"'), ('"c"', "nowhere")),
    "not text": ("<html><body>404</body></html>", ("HTML",)),
    "broken": ("layer { name: ", ("line 1",)),
    "empty": ("", ("no layers",)),
    "unknown field": (
        INPUT + LAYER.replace("kernel_size: 1", "kernel_size: 1 kernel_shape: 2"),
        ("kernel_shape", '"c"'),
    ),
}


@pytest.mark.parametrize("case", BAD_PROTOTXT)
def test_bad_prototxt(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = BAD_PROTOTXT[case]
    file = tmp_path / "bad.prototxt"
    file.write_text(text, "utf-8")
    assert run(["convert", str(file), "--random-weights", "0", "-o", str(tmp_path / "x.onnx")]) == 2
    line = error_line(capsys)
    for word in (*words, "bad.prototxt"):
        assert word in line
    assert set(tmp_path.iterdir()) == {file}


def test_bad_weights(fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = fcn[1].read_bytes()
    cases = {
        "truncated": (whole[: len(whole) // 2], ()),
        "page": (b"<!DOCTYPE html><html><body>Not found</body></html>", ("HTML",)),
        "empty": (b"", ()),
    }
    for name, (data, words) in cases.items():
        bad = tmp_path / f"{name}.caffemodel"
        bad.write_bytes(data)
        before = set(tmp_path.iterdir())
        for target in ("x.onnx", "x.staged"):
            cuts = ["--cut", "pool4"] if target.endswith("staged") else []
            assert run(["convert", str(fcn[0]), str(bad), "-o", str(tmp_path / target), *cuts]) == 2
            line = error_line(capsys)
            assert bad.name in line or '"' in line  # the file, or the layer whose weights are cut off
            for word in words:
                assert word in line
        assert set(tmp_path.iterdir()) == before


def test_a_weight_of_the_wrong_shape(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = thin_fcn8s(tmp_path)
    blobs = dict(random_weights(net))
    blobs["fc7"] = (np.zeros((3, 3, 1, 1), np.float32), blobs["fc7"][1])
    weights.write(tmp_path / "bad.caffemodel", net, blobs)
    before = set(tmp_path.iterdir())
    assert (
        run(["convert", str(fcn[0]), str(tmp_path / "bad.caffemodel"), "-o", str(tmp_path / "x.onnx")]) == 2
    )
    line = error_line(capsys)
    assert '"fc7"' in line and "(3, 3, 1, 1)" in line and "(14, 14, 1, 1)" in line
    assert set(tmp_path.iterdir()) == before


def test_inspect_lists_what_passes_save(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tmp_path / "net.staged")
    assert run(["convert", str(fcn[0]), str(fcn[1]), "-o", bundle, "--cut", "pool4", "--json"]) == 0
    capsys.readouterr()
    assert run(["inspect", bundle, "--passes", "--json"]) == 0
    found = {(one["stage"], one["pass"]): one for one in json.loads(capsys.readouterr().out)["passes"]}
    before, after = found["stage1", "live-region"]["macs"]
    assert 0 < after < before
    assert run(["inspect", bundle, "--passes"]) == 0
    assert "live-region" in capsys.readouterr().out
    assert run(["inspect", str(fcn[0]), "--passes"]) == 2
    assert "bundle" in error_line(capsys)
    assert run(["run", bundle, str(tmp_path), "--passes", "faster"]) == 2
    assert "live-region" in error_line(capsys)


def test_bad_runs(fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "net.staged"
    assert run(["convert", str(fcn[0]), str(fcn[1]), "-o", str(bundle), "--cut", "pool4", "--json"]) == 0
    capsys.readouterr()
    not_video = tmp_path / "notes.mp4"
    not_video.write_text("dear diary")
    frames = tmp_path / "frames"
    frames.mkdir()
    before = set(tmp_path.iterdir())
    for source in (not_video, frames, tmp_path / "absent.mp4"):
        assert run(["run", str(bundle), str(source), "-o", str(tmp_path / "out"), "--overlay"]) == 2
        assert source.name in error_line(capsys).split("error: ")[1]
    assert run(["run", str(tmp_path / "absent.staged"), str(not_video)]) == 2
    assert "absent.staged" in error_line(capsys)
    assert set(tmp_path.iterdir()) == before


def test_run_writes_what_was_asked(
    fcn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import av
    import skimage.io
    from PIL import Image

    bundle, frames, out = tmp_path / "net.staged", tmp_path / "frames", tmp_path / "out"
    cuts = ["--cut", "pool3", "--cut", "pool4", "--cut", "upscore2"]
    assert run(["convert", str(fcn[0]), str(fcn[1]), "-o", str(bundle), *cuts, "--json"]) == 0
    capsys.readouterr()
    frames.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        skimage.io.imsave(
            frames / f"f{number}.png", rng.integers(0, 256, (61, 83, 3), np.uint8), check_contrast=False
        )
    arguments = [
        "run",
        str(bundle),
        str(frames),
        "-o",
        str(out),
        "--schedule",
        "alternating",
        "--labels",
        "--overlay",
        "--timeline",
        "--log",
        "--report",
        "--json",
    ]
    assert run(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 12
    assert summary["fires"] == {"stage1": 12, "stage2": 12, "stage3": 6, "head": 12}
    labels = sorted((out / "labels").iterdir())
    assert [p.name for p in labels][:3] == ["f0.png", "f1.png", "f10.png"]
    with Image.open(labels[0]) as image:
        assert image.mode == "P" and image.size == (83, 61)
    records = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [r["frame"] for r in records] == list(range(12))
    assert [("stage3" in r["fired"]) for r in records] == [True, False] * 6
    with av.open(str(out / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 12
    assert (out / "timeline.png").read_bytes()[:4] == b"\x89PNG"
    assert "<html" in (out / "report.html").read_text().lower()


def test_stages_chosen_automatically_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = chain(tmp_path)
    arguments = [
        "convert",
        net.file,
        "--random-weights",
        "1",
        "-o",
        str(tmp_path / "c.staged"),
        "--stages",
        "2",
        "--json",
    ]
    assert run(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["stages"]) == 3 and all("stage" in line or "head" in line for line in summary["why"])


def test_net_writes_the_nets_of_feature_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, name in (
        (["flownet"], "flownet"),
        (["dff-deeplab", "--classes", "7"], "dff-deeplab"),
        (["accel", "--version", "101"], "accel-101"),
    ):
        command = ["net", *arguments, "--size", "64x96", "-o", str(tmp_path), "--json"]
        assert run(command) == 0
        assert json.loads(capsys.readouterr().out) == {"files": [str(tmp_path / f"{name}.prototxt")]}
        assert run(command) == 2
        assert "--force replaces it" in error_line(capsys)
    assert run(["net", "accel", "--size", "native", "-o", str(tmp_path / "other")]) == 2
    assert "HEIGHTxWIDTH" in error_line(capsys)
