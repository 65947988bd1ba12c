"""docs/seeds.md: every row of the original systems is there, and what it names exists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from caffe_port import infer_shapes, random_weights, read_net
from caffe_port.net import Input, resolve
from caffe_port.nets.building import net_text
from caffe_port.nets.fcn import FCNS, Fcn, Head, fcn_layers
from clockwork_onnx.cli import cli
from runtime.schedule.grammar import parse_schedule
from staged_onnx import read_bundle
from tests.support.ported import noise, read_text, run
from tests.support.shared_data import ROOT, shared
from tests.support.toy_bundles import chain

PAGE = (ROOT / "docs/seeds.md").read_text("utf-8")
MISSING = {3, 5, 12, 19, 27, 28}
LETTERS = "CDFGX"
ROWS = (
    [f"C{i}" for i in range(1, 36) if i not in MISSING]
    + [f"F{i}" for i in range(1, 9)]
    + [f"D{i}" for i in range(1, 16) if i != 12]
    + [f"G{i}" for i in range(1, 10)]
    + [f"X{i}" for i in range(1, 12) if i != 10]
)


def cells() -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(rf"\| [{LETTERS}]\d", line)]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_every_row_is_there_once_and_in_order() -> None:
    found = re.findall(rf"(?m)^\| ([{LETTERS}]\d+) \|", PAGE)
    assert found == ROWS
    assert all(len(row) == 3 and all(row) for row in cells().values())


@pytest.mark.parametrize("row", ROWS)
def test_what_a_row_names_exists(row: str) -> None:
    named = re.findall(r"`([^`]*)`", cells()[row][1])
    seen = [name for name in named if name.startswith(("tests/", "clockwork "))]
    assert seen
    for name in seen:
        if name.startswith("clockwork "):
            check_command(shlex.split(name)[1:])
            continue
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not function or function in functions, name


def check_command(words: list[str]) -> None:
    """The command exists, takes these options, and as many arguments."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    command.make_parser(click.Context(command)).parse_args(list(words))
    needed = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    given = [
        w for i, w in enumerate(words) if not w.startswith("-") and not (i and words[i - 1].startswith("-"))
    ]
    assert len(given) >= len(needed), words


def test_nothing_has_run_on_a_gpu_is_said() -> None:
    """Change this with the first measurement on one."""
    assert "nothing in this project has run on a GPU" in cells()["C35"][2]


def test_shares_of_the_computation_at_fixed_rates(tmp_path: Path) -> None:
    """With the paper's shares of the three stages, .59, .18 and .23."""
    manifest = read_bundle(chain(tmp_path / "three.staged")).manifest
    shares = {"oracle": 1.0, "alternating": 0.885, "exponential": 0.7375, "skip:2": 0.5}
    for text, share in shares.items():
        rates = parse_schedule(text, manifest).rates
        assert rates is not None
        assert sum(s / r for s, r in zip((0.59, 0.18, 0.23), rates, strict=True)) == pytest.approx(share)


def test_every_fcn_file_is_read_without_being_told_a_shape() -> None:
    files = sorted(shared("prototxts/shelhamer+fcn.berkeleyvision.org").glob("*/*.prototxt"))
    assert len(files) == 31
    for file in files:
        net = read_net(file)
        shapes = infer_shapes(net)
        assert {shapes[o][2:] for o in net.outputs} == {net.inputs[0].shape[2:]}


def test_two_streams_are_the_mean_of_two_nets(tmp_path: Path) -> None:
    """NYUD's colour and HHA: half the scores of each, upsampled."""
    thin = Fcn((Head(4),), 32, (("color", 3), ("hha", 3)), (60, 70), widths=(2, 3, 4, 4, 5, 6), pad=100)
    net = read_text(net_text("two", fcn_layers(thin)), tmp_path)
    assert [layer.name for layer in net.layers][-3:] == ["score_fused", "upscore", "score"]
    assert FCNS["nyud-fcn32s-color-hha"].inputs == thin.inputs
    blobs = random_weights(net, seed=3)
    feeds = {"color": noise(1, 3, 60, 70, seed=1), "hha": noise(1, 3, 60, 70, seed=2)}
    fused = run(net, feeds, blobs, outputs=["score_fused"])["score_fused"]
    alone = []
    for name in feeds:
        layers = [x for x in net.layers if x.name.endswith(name)]
        part = resolve(name, name, [Input(name, (1, 3, 60, 70))], [x.spec for x in layers])
        alone.append(run(part, {name: feeds[name]}, blobs)[f"score_fr{name}"])
    np.testing.assert_allclose(fused, (alone[0] + alone[1]) / 2, atol=1e-5)
