"""Findings D4, D7, D9, D13, D14: bundles from strangers."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import caffe_port
import runtime
import staged_onnx
from caffe_port.convert import draft_onnx
from caffe_port.match import wanted_blobs
from caffe_port.shapes import count, infer_shapes
from clockwork_onnx import cli
from staged_onnx.graph_check import OPERATORS
from tests.support.shared_data import shared
from tests.support.toy_bundles import chain
from weights.errors import BundleError, ClockworkError

PARITY = sorted((Path(__file__).resolve().parents[1] / "parity").glob("*/*/deploy.prototxt"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return chain(tmp_path / "toy.staged")


def _edit(bundle: Path, change: Any, name: str = "stage3.onnx") -> None:
    model = onnx.load(bundle / name)
    change(model)
    (bundle / name).write_bytes(model.SerializeToString())


def _refused(bundle: Path, words: str) -> None:
    started = time.monotonic()
    with pytest.raises(BundleError, match=words) as caught:
        staged_onnx.read_bundle(bundle)
    assert time.monotonic() - started < 10
    assert str(bundle) in str(caught.value) and "\n" not in str(caught.value)


def _constant(model: onnx.ModelProto, name: str, numbers: Any, kind: int = TensorProto.INT64) -> None:
    array = np.array(numbers)
    model.graph.initializer.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1)))


def _node(model: onnx.ModelProto, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
    model.graph.node.append(helper.make_node(op, inputs, [output], **attributes))


def bomb_of_zeros(model: onnx.ModelProto) -> None:
    _constant(model, "n", [1 << 31])
    _node(model, "ConstantOfShape", ["n"], "z")
    _node(model, "ReduceMax", ["z"], "s")


def bomb_of_two_steps(model: onnx.ModelProto) -> None:
    _constant(model, "one", [1 << 13, 1], TensorProto.INT64)
    _constant(model, "n", [1 << 13, 1])
    _constant(model, "m", [1, 1 << 14])
    _node(model, "ConstantOfShape", ["n"], "column")
    _node(model, "ConstantOfShape", ["m"], "row")
    _node(model, "MatMul", ["column", "row"], "z")


def bomb_of_broadcasting(model: onnx.ModelProto) -> None:
    _constant(model, "column", np.zeros((20_000, 1)), TensorProto.FLOAT)
    _constant(model, "row", np.zeros((1, 20_000)), TensorProto.FLOAT)
    _node(model, "Add", ["column", "row"], "z")


def bomb_of_the_frame(model: onnx.ModelProto) -> None:
    _constant(model, "many", [1, 1 << 20, 1 << 10, 1])
    _node(model, "Tile", ["v2", "many"], "z")


def many_small_ones(model: onnx.ModelProto) -> None:
    for index in range(40):
        _constant(model, f"n{index}", [1 << 21])
        _node(model, "ConstantOfShape", [f"n{index}"], f"z{index}")


@pytest.mark.parametrize(
    "change", [bomb_of_zeros, bomb_of_two_steps, bomb_of_broadcasting, bomb_of_the_frame, many_small_ones]
)
def test_arrays_made_out_of_nothing_are_bounded(bundle: Path, change: Any) -> None:
    _edit(bundle, change)
    _refused(bundle, "is too large|make too much out of constants")


def size_out_of_pixels(model: onnx.ModelProto) -> None:
    _constant(model, "many", [1 << 40])
    _node(model, "ReduceMax", ["v2"], "brightest", keepdims=0)
    _node(model, "Cast", ["brightest"], "number", to=TensorProto.INT64)
    _node(model, "Mul", ["number", "many"], "n")
    _node(model, "ConstantOfShape", ["n"], "z")


def size_through_arithmetic(model: onnx.ModelProto) -> None:
    _constant(model, "many", [1, 1, 1 << 20, 1 << 20])
    _node(model, "Shape", ["v2"], "shape")
    _node(model, "Mul", ["shape", "many"], "product")
    _node(model, "Max", ["product", "shape"], "n")
    _node(model, "Expand", ["v2", "n"], "z")


@pytest.mark.parametrize("change", [size_out_of_pixels, size_through_arithmetic])
def test_sizes_that_a_graph_computes_are_bounded(bundle: Path, change: Any) -> None:
    _edit(bundle, change)
    _refused(bundle, "nothing bounds the size of|is too large")


def test_sizes_are_bounded_at_the_size_that_is_played(bundle: Path) -> None:
    def square_of_the_frame(model: onnx.ModelProto) -> None:
        """rows: 1 x n, columns: n x 1; their sum: n x n, for n pixels: 24 at the bundle's reference size."""
        for name, shape in (("row", [1, -1]), ("column", [-1, 1])):
            _constant(model, f"{name} shape", shape)
            _node(model, "Reshape", ["v2", f"{name} shape"], name)
        _node(model, "Add", ["row", "column"], "square")
        _node(model, "ReduceMax", ["square"], "z")

    _edit(bundle, square_of_the_frame)
    with runtime.open(bundle, device="cpu") as player:
        player.step(np.zeros((4, 6, 3), np.uint8))
        with pytest.raises(BundleError, match="found 262144x262144") as caught:
            player.step(np.zeros((512, 512, 3), np.uint8))
    assert "stage3.onnx" in str(caught.value)


def test_a_size_that_a_graph_only_states(bundle: Path) -> None:
    def stated(model: onnx.ModelProto) -> None:
        (port,) = (port for port in model.graph.output if port.name == "v3")
        del port.type.tensor_type.shape.dim[:]
        for dim in (1, 1, 50_000, 50_000):
            port.type.tensor_type.shape.dim.add(dim_value=dim)

    _edit(bundle, stated)
    with (
        pytest.raises(ClockworkError, match='"v3" is too large'),
        runtime.open(bundle, device="cpu") as player,
    ):
        player.step(np.zeros((4, 6, 3), np.uint8))


def test_only_operators_that_this_package_writes(bundle: Path) -> None:
    body = helper.make_graph([], "body", [], [])
    for node in (
        helper.make_node("Loop", ["", ""], ["z"], body=body),
        helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body),
        helper.make_node("RandomNormal", [], ["z"], shape=[1 << 40]),
        helper.make_node("Relu", ["v2"], ["z"], domain="com.evil"),
        helper.make_node("Relu", ["v2"], ["z"], body=body),
    ):
        shutil.rmtree(bundle)
        chain(bundle)
        _edit(bundle, lambda model, node=node: model.graph.node.append(node))
        _refused(bundle, "an operator that this package does not write|a graph inside it")
    shutil.rmtree(bundle)
    chain(bundle)
    _edit(bundle, lambda model: model.functions.add(name="f", domain="x"))
    _refused(bundle, "found functions")


def test_a_tensor_of_120000_axes_is_refused_at_once(bundle: Path) -> None:
    _edit(bundle, lambda m: m.graph.initializer.add(name="q", dims=[1 << 62] * 120_000, data_type=1))
    _refused(bundle, '"q" is too large, or of an impossible shape')


@pytest.mark.parametrize("name", ["cf8", "loop", "dims"])
def test_the_bundles_that_were_found(name: str) -> None:
    _refused(shared(f"attacks/{name}.staged"), "too large|Loop")


def test_every_operator_that_layers_emit_is_known() -> None:
    used: set[str] = set()
    for path in PARITY:
        net = caffe_port.read_net(path)
        shapes = infer_shapes(net)
        blobs = [blob for blobs in wanted_blobs(net, shapes).values() for blob in blobs]
        if sum(count(blob.shape) for blob in blobs) < 1 << 20:
            used |= {
                node.op_type for node in draft_onnx(net, caffe_port.random_weights(net)).model.graph.node
            }
    assert len(used) > 50
    assert not used - OPERATORS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schedule="warp:4@scale=1e999999999"), "scale"),
        (lambda m: m.update(schedule="skip:" + "9" * 5000), "rate|whole number|too long"),
        (lambda m: m.update(schedule="adaptive:1e999999999"), "number"),
        (lambda m: m.update(schedule="x" * 10**6), "too long"),
        (lambda m: m["preprocessing"].update(scale=10**400), "finite number"),
        (lambda m: m["preprocessing"].update(mean=[float("nan")]), "finite number"),
        (lambda m: m["preprocessing"].update(mean=[float("inf")]), "finite number"),
        (lambda m: m.update(reference_size=[10**400, 1]), "whole numbers above 0"),
        (lambda m: m.update(reference_size=[2**30, 2**30]), "at most 32 axes"),
        (lambda m: m["values"]["v1"].update(shape=[1 << 30] * 4), "at most 32 axes"),
        (lambda m: m["values"]["v1"].update(shape=[1] * 33), "at most 32 axes"),
        (lambda m: m["stages"][0].update(macs=10**30), "63 bits"),
        (lambda m: m.update(source=[]), '"source"'),
        (lambda m: m.update(files={"../x": {"size": 1, "sha256": "0" * 64}}), "name of a file"),
        (lambda m: m.update(files={"x": {"size": 1, "sha256": "zz"}}), "SHA-256"),
        (lambda m: m.update(stages=m["stages"] * 1000), "at most 256 stages"),
    ],
)
def test_numbers_and_types_in_a_manifest(bundle: Path, change: Any, words: str) -> None:
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    started = time.monotonic()
    with pytest.raises(ClockworkError, match=words) as caught:
        runtime.open(bundle, device="cpu").close()
    assert time.monotonic() - started < 10 and "\n" not in str(caught.value)


def test_a_number_of_5000_digits_in_a_manifest(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"macs": 1', '"macs": ' + "1" * 5000, 1))
    _refused(bundle, "manifest is not JSON")


def test_names_cannot_move_the_cursor(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["name"] = "toy\x1b[2J"
    manifest["classes"]["names"][0] = "c\x1b[31m\u202e"
    manifest["stages"][0]["cut"] = "cut\x1b]0;owned\x07"
    manifest["notes"] = ["note\x1b[1A"]
    file.write_text(json.dumps(manifest))
    assert cli.run(["inspect", str(bundle)]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err and "\x07" not in printed.out
    assert "toy\\x1b[2J" in printed.out and "c\\x1b[31m\\u202e" in printed.out


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    layers = (
        f'layer {{ name: "c{i}" type: "Convolution" bottom: "{b}" top: "c{i}" '
        f"convolution_param {{ num_output: {16 + 4 * i} kernel_size: 3 pad: 1 }} }}\n"
        for i, b in enumerate(("x", "c0", "c1"))
    )
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text('input: "x" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }\n' + "".join(layers))
    net = caffe_port.read_net(prototxt)
    plan = staged_onnx.plan(net, cuts=["c0", "c1"])
    return staged_onnx.export(net, caffe_port.random_weights(net), plan, tmp_path / "net.staged").path


def test_hashes_of_every_file(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads((exported / "manifest.json").read_text())["files"]
    there = {str(p.relative_to(exported)) for p in exported.rglob("*") if p.is_file()}
    assert set(listed) == there - {"manifest.json"}
    assert staged_onnx.check_files(staged_onnx.read_bundle(exported)) == len(listed)
    assert cli.run(["verify", str(exported)]) == 0
    assert f"all {len(listed)} files" in capsys.readouterr().out
    runtime.open(exported, device="cpu", verify=True).close()


def test_changed_exchanged_added_and_missing_files(exported: Path, tmp_path: Path) -> None:
    files = sorted((exported / "weights").glob("*.bin"), key=lambda file: file.stat().st_size)

    def verified(words: str) -> None:
        with pytest.raises(BundleError, match=words):
            staged_onnx.check_files(staged_onnx.read_bundle(exported))
        with pytest.raises(BundleError, match=words):
            runtime.open(exported, device="cpu", verify=True)
        assert cli.run(["verify", str(exported)]) == 2

    kept = files[0].read_bytes()
    damaged = bytearray(kept)
    damaged[len(damaged) // 2] ^= 1
    files[0].write_bytes(damaged)
    verified("not the file that the manifest lists")
    files[0].write_bytes(files[-1].read_bytes())
    verified("not the file that the manifest lists")
    files[0].write_bytes(kept)
    (exported / "weights" / "more.bin").write_bytes(b"x")
    verified("does not list; copy|that the manifest does not list")
    (exported / "weights" / "more.bin").unlink()
    staged_onnx.check_files(staged_onnx.read_bundle(exported))
    (exported / "whole.onnx").unlink()
    verified("No such file")


def test_a_bundle_without_hashes_says_so(bundle: Path) -> None:
    with pytest.raises(BundleError, match="without hashes of its files; found written by toy"):
        staged_onnx.check_files(staged_onnx.read_bundle(bundle))


def test_links_out_of_the_bundle(exported: Path, tmp_path: Path) -> None:
    file = next((exported / "weights").glob("stage*.bin"))
    secret = tmp_path / "secret"
    secret.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(secret)
    _refused(exported, "a link that leads out of the bundle")
