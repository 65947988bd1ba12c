"""Schedules compared by their agreement with the oracle, and the one that is recommended."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import staged_onnx
from caffe_port import random_weights
from clockwork_onnx.cli import run
from clockwork_onnx.default_schedule import default_schedule
from clockwork_onnx.evaluation.scoring import advice as advice_module
from clockwork_onnx.evaluation.scoring.advice import advise, candidates, has_skips, recommended
from runtime.video.frames import Frame
from tests.support.small_nets import chain, thin_fcn8s
from tests.support.toy_bundles import toy_bundle, toy_frame
from weights.errors import UsageError


def frames(labels: list[int]) -> list[Frame]:
    return [Frame(i, None, toy_frame(label), f"{i:06d}") for i, label in enumerate(labels)]


def test_agreement_is_counted_against_the_oracle(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    found = advise(bundle, frames([0, 1, 1, 1, 0, 0]), ["skip:2", "skip:3"], device="cpu")
    shares = {r.schedule: r.scores.pixel_accuracy for r in found.results}
    assert shares["oracle"] == 1 and found.results[0].schedule == "oracle"
    # skip:2 shows 0 0 1 1 0 0, skip:3 shows 0 0 0 1 1 1
    assert shares["skip:2"] == pytest.approx(5 / 6) and shares["skip:3"] == pytest.approx(2 / 6)
    assert found.best == found.live == "skip:2"


def result(name: str, work: float, pixels: float, iu: float) -> SimpleNamespace:
    return SimpleNamespace(
        schedule=name, macs_of_oracle=work, scores=SimpleNamespace(pixel_accuracy=pixels, mean_iu=iu)
    )


def test_the_cheapest_within_the_oracle_s_own_flicker_is_recommended() -> None:
    """Shares as ESPNet has them on CamVid: 7 % of the pixels of a stale frame differ whatever is done."""
    found = [
        result("oracle", 1.0, 1.0, 1.0),
        result("skip:2", 0.5, 0.958, 0.67),  # 8.4 % of a stale frame
        result("warp:2", 0.5, 0.965, 0.70),  # 7.0 %
        result("warp:4", 0.25, 0.941, 0.56),  # 7.9 %
        result("warp:8", 0.13, 0.919, 0.48),  # 9.3 %
        result("between:8", 0.15, 0.939, 0.54),  # 7.2 %
    ]
    assert recommended(found) == "between:8"  # type: ignore[arg-type]
    assert recommended(found[:-1]) == "warp:4"  # type: ignore[arg-type]
    assert recommended(found[:1]) == "oracle"  # type: ignore[arg-type]


def test_what_cannot_be_compared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = toy_bundle(tmp_path)
    with pytest.raises(UsageError, match="a video is needed"):
        advise(bundle, frames([1]), ["skip:2"], device="cpu")
    output = replace(bundle.manifest.output, kind="map")
    with pytest.raises(UsageError, match="only labels"):
        advise(replace(bundle, manifest=replace(bundle.manifest, output=output)), frames([1, 2]), [])
    monkeypatch.setattr(advice_module, "MOST_BYTES", 600)
    with pytest.raises(UsageError, match="--max-frames"):
        advise(bundle, frames([1, 1, 1, 1]), ["skip:2"], device="cpu")


def test_the_command_writes_a_table_json_and_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = toy_bundle(tmp_path)
    (tmp_path / "frames").mkdir()
    for i, label in enumerate([0, 1, 1, 1]):
        Image.fromarray(toy_frame(label)).save(tmp_path / "frames" / f"{i}.png")
    arguments = ["advise", str(bundle.path), str(tmp_path / "frames"), "--schedule", "skip:2"]
    assert run([*arguments, "--device", "cpu", "--keep"]) == 0
    shown = capsys.readouterr().out
    assert "recommended  --schedule skip:2, now the bundle's own" in shown
    assert staged_onnx.read_bundle(bundle.path).manifest.schedule == "skip:2"
    assert run([*arguments, "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 4 and found["recommended"] == "skip:2"
    assert [row["schedule"] for row in found["schedules"]] == ["oracle", "skip:2"]


def test_the_default_schedule_follows_from_the_net(tmp_path: Path) -> None:
    skips, straight = (
        staged_onnx.export(net, random_weights(net), staged_onnx.plan(net, cuts=cuts), target).manifest
        for net, cuts, target in (
            (thin_fcn8s(tmp_path), ["pool3", "pool4", "upscore2"], tmp_path / "a.staged"),
            (chain(tmp_path), ["a", "up"], tmp_path / "b.staged"),
        )
    )
    assert has_skips(skips) and "alternating" in candidates(skips)
    assert not has_skips(straight) and "alternating" not in candidates(straight)
    assert default_schedule(skips, flow=True)[0] == "alternating"
    assert default_schedule(straight, flow=True)[0] == "skip:2"
    large = [replace(stage, macs=10**9) for stage in skips.stages]
    heavy = replace(skips, stages=tuple(large))
    assert default_schedule(heavy, flow=True)[0] == "warp:4"
    name, why = default_schedule(heavy, flow=False)
    assert name == "alternating" and "clockwork-onnx[flow]" in why and "33% of the work" in why
    assert default_schedule(replace(heavy, output=replace(heavy.output, kind="map")))[0] == "oracle"
