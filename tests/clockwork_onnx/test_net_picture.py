"""The picture of a net: valid SVG, every layer once, lines that lead from maker to reader."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import staged_onnx
from caffe_port import random_weights
from caffe_port.shapes import infer_shapes
from clockwork_onnx.cli import run
from clockwork_onnx.net_picture import LEFT, LINE, Row, bundle_rows, draw, net_rows
from tests.support.small_nets import thin_fcn8s

SVG = "{http://www.w3.org/2000/svg}"
CUTS = ["pool3", "pool4", "upscore2"]


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_every_layer_has_a_row_in_its_stage(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    plan = staged_onnx.plan(net, cuts=CUTS)
    rows = net_rows(net, plan, infer_shapes(net))
    shown = texts(draw("net", rows))
    headings = [row.text for row in rows if row.kind == "stage"]
    assert headings == ["stage1", "stage2", "stage3", "head"]
    joined = sum(row.faint.count(" · ") for row in rows)
    assert sum(row.kind == "layer" for row in rows) + joined == len(net.layers) + 1
    assert any(line.startswith("conv1_1Convolution, ") and line.endswith(" · ReLU") for line in shown)
    assert any(row.text == "pool3" and row.kind == "carried" for row in rows)
    assert len(shown) == len(rows)


def test_lines_end_where_values_are_made_and_read() -> None:
    rows = [
        Row("layer", "in", makes=("a",)),
        Row("layer", "two", reads=("a",), makes=("b", "c")),
        Row("layer", "left", reads=("b",), makes=("d",)),
        Row("layer", "sum", reads=("a", "c", "d")),
    ]
    svg = draw("net", rows)
    ends = {
        (int(float(x)), int(float(y)))
        for path in re.findall(r'<path d="M([\d. CV]+)" stroke', svg)
        for x, y in [re.split(r"[ CV]", path)[-2:] if "C" in path else (path.split()[0], path.split("V")[1])]
    }
    nodes = {(int(x), int(y)) for x, y in re.findall(r'<circle cx="(\d+)" cy="(\d+)"', svg)}
    assert len(nodes) == 4 and len({y for _, y in nodes}) == 4
    at = {(y - LEFT) // LINE: (x, y) for x, y in nodes}
    assert {at[1], at[2], at[3]} <= ends


def test_names_do_no_harm_and_a_net_without_a_plan_has_one_colour(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    evil = replace(net, layers=(replace(net.layers[0], name='<script>"&\x1b'), *net.layers[1:]))
    svg = draw('<b>"', net_rows(evil, None, {}))
    assert "<script>" not in svg and '<script>"&\\x1b' in "".join(texts(svg))
    assert len(set(re.findall(r'fill="(#[0-9a-f]{6})"', svg))) == 1


def test_inspect_draws_nets_and_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = thin_fcn8s(tmp_path)
    picture = tmp_path / "net.svg"
    assert run(["inspect", net.file, "--graph", str(picture), *(f"--cut={cut}" for cut in CUTS)]) == 0
    assert "carries score_pool3" in " ".join(texts(picture.read_text("utf-8")))
    assert run(["inspect", net.file, "--graph", str(picture)]) == 0
    assert run(["inspect", net.file, "--graph", str(picture), "--cut", "nothing"]) == 2
    capsys.readouterr()
    bundle = staged_onnx.export(
        net, random_weights(net), staged_onnx.plan(net, cuts=CUTS), tmp_path / "x.staged"
    )
    assert run(["inspect", str(bundle.path), "--graph", str(picture)]) == 0
    shown = texts(picture.read_text("utf-8"))
    assert shown == texts(draw(bundle.manifest.name, bundle_rows(bundle.manifest)))
    assert [line for line in shown if line.startswith("head")]
