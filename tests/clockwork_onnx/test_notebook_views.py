"""What a notebook shows: short texts, and HTML in which names do no harm."""

import pickle
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import runtime
import staged_onnx
from caffe_port import Net, random_weights
from tests.support.small_nets import thin_fcn8s
from tests.support.toy_bundles import toy_bundle, toy_frame
from weights.reading import Blobs

EVIL = '<script>alert("x")</script>\x1b[31m'


class _Closed(HTMLParser):
    """Counts tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html_of(thing: object) -> str:
    text = thing._repr_html_()  # type: ignore[attr-defined]
    parser = _Closed()
    parser.feed(text)
    assert not parser.open and "<script>" not in text and "\x1b" not in text
    return text


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return thin_fcn8s(tmp_path)


def test_a_net_is_a_line_and_a_table(net: Net) -> None:
    assert repr(net).startswith("Net('") and "layers, data 1x3x80x96 -> score)" in repr(net)
    assert len(repr(net)) < 300
    assert "<td" in html_of(net) and "conv1_1" in html_of(net)
    html_of(replace(net, name=EVIL, layers=(replace(net.layers[0], name=EVIL), *net.layers[1:])))


def test_weights_are_counted(net: Net) -> None:
    blobs = Blobs(random_weights(net))
    assert repr(blobs).endswith("numbers)") and len(repr(blobs)) < 100
    assert "conv1_1" in html_of(blobs)


def test_plans_and_bundles_are_drawn(net: Net, tmp_path: Path) -> None:
    plan = staged_onnx.plan(net, cuts=["pool3", "pool4", "upscore2"])
    assert repr(plan) == "Plan(stage1 to pool3, stage2 to pool4, stage3 to upscore2, head to score)"
    bundle = staged_onnx.export(net, random_weights(net), plan, tmp_path / "x.staged")
    assert "3 stages and the head, frames of any size -> labels, alternating" in repr(bundle)
    for thing in (plan, bundle):
        text = html_of(thing)
        assert text.count("display:flex") == 1 and "pool3, " in text and "stage3" in text and "%" in text


def test_a_step_is_an_overlay_while_the_frame_lives(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    with runtime.open(bundle.path, device="cpu") as player:
        frame = toy_frame(1, (40, 60))
        step = player.step(frame)
        with_frame = html_of(step)
        assert repr(step).startswith("Step(0, labels 40 x 60, fired: ")
        assert "data:image/" in with_frame
    again = pickle.loads(pickle.dumps(step))
    assert np.array_equal(again.labels, step.labels)
    alone = html_of(again)
    assert "data:image/" in alone and alone != with_frame
