"""`clockwork eval` and `clockwork demo` as a user calls them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import caffe_port
import staged_onnx
from clockwork_onnx.cli import run
from clockwork_onnx.commands import eval_bundle, eval_paper
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.demo import demo
from clockwork_onnx.evaluation.paper import sources
from staged_onnx import Bundle, classes, read_bundle
from tests.support.toy_bundles import toy_frame


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Six frames whose net labels are 0 1 2 0 1 2, and labels of other classes: 5 for 0, 4 for 1 and 2."""
    frames, labels = tmp_path / "frames", tmp_path / "labels"
    frames.mkdir()
    labels.mkdir()
    for i in range(6):
        label = i % 3
        Image.fromarray(toy_frame(label)).save(frames / f"f{i}.png")
        truth = np.full((8, 8), 5 if label == 0 else 4, np.uint8)
        truth[0] = 6  # to be ignored
        Image.fromarray(truth).save(labels / f"f{i}.png")
    return frames, labels


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def folder_options(pair: tuple[Path, Path]) -> tuple[object, ...]:
    return ("--frames", pair[0], "--labels", pair[1], "--map", "5,4,4", "--ignore", 6, "--device", "cpu")


def test_eval_of_a_folder_pair_as_json(
    toy: Bundle, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("eval", toy.path, *folder_options(pair), "--json")
    schedules = ("--schedule", "oracle", "--schedule", "skip:2", "--schedule", "alternating")
    status, out, _ = call(capsys, *arguments, *schedules)
    assert status == 0
    document = json.loads(out)
    found = {entry["schedule"]: entry for entry in document["schedules"]}
    assert list(found) == ["oracle", "skip:2", "alternating"]
    oracle = found["oracle"]
    assert (oracle["mean_iu"], oracle["fw_iu"], oracle["pixel_accuracy"]) == (1.0, 1.0, 1.0)
    assert oracle["fires"] == {"stage1": 6, "stage2": 6, "stage3": 6, "head": 6}
    assert oracle["macs_of_oracle"] == 1.0 and oracle["macs_per_frame"] == toy.manifest.macs
    assert oracle["class_iu"] == {**{f"class {i}": None for i in range(4)}, "class 4": 1.0, "class 5": 1.0}
    # Labels 5 4 4 5 4 4; every second one is the one before: 5 5 4 4 4 4.
    assert found["skip:2"]["pixel_accuracy"] == pytest.approx(4 / 6)
    assert found["skip:2"]["macs_of_oracle"] == 0.5
    assert found["alternating"]["mean_age"]["stage3"] == 0.5
    assert found["alternating"]["time_of_oracle"] > 0 and found["alternating"]["ms_per_frame"] > 0


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (("--max-frames", 2), 2),
        (("--start", 4), 2),
        (("--stride", 4), 2),
        (("--start", 1, "--stride", 2, "--max-frames", 9), 3),
        (("--start", 1, "--max-frames", 1), 1),
    ],
)
def test_eval_of_an_excerpt(
    options: tuple[object, ...],
    frames: int,
    toy: Bundle,
    pair: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("eval", toy.path, *folder_options(pair), "--schedule", "oracle", *options, "--json")
    status, out, err = call(capsys, *arguments)
    assert (status, err) == (0, "")
    document = json.loads(out)
    (oracle,) = document["schedules"]
    assert oracle["frames"] == oracle["scored_frames"] == frames
    assert document["title"].endswith(f", {frames} labelled frames")
    # label 5 is that of frames 0 and 3 alone, and still a class where neither is played
    assert len(document["classes"]) == 6 and oracle["pixel_accuracy"] == 1.0


def test_truncated_nets_are_scored_beside_the_schedules(
    toy: Bundle, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--schedule", "oracle", "--truncated", 1, "--truncated", 2, "--json")
    status, out, _ = call(capsys, "eval", toy.path, *folder_options(pair), *options)
    assert status == 0
    document = json.loads(out)
    found = {entry["schedule"]: entry for entry in document["schedules"]}
    assert list(found) == ["oracle", "truncated:1", "truncated:2"]
    assert found["truncated:2"]["fires"] == {"stage1": 6, "stage2": 6, "stage3": 0, "head": 6}
    # Each stage of the toy net tells the label by itself.
    assert found["truncated:1"]["mean_iu"] == 1.0
    assert 0 < found["truncated:1"]["macs_of_oracle"] < found["truncated:2"]["macs_of_oracle"] < 1
    assert document["curves"] == []


def test_without_a_map_fewer_label_classes_than_the_net_s_are_pointed_out(
    toy: Bundle, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(6):  # the net's labels are 0 1 2 0 1 2
        Image.fromarray(np.full((8, 8), i % 2, np.uint8)).save(pair[1] / f"f{i}.png")
    arguments = ("eval", toy.path, "--frames", pair[0], "--labels", pair[1], "--device", "cpu")
    options = ("--schedule", "oracle", "--json")
    status, out, err = call(capsys, *arguments, *options)
    assert status == 0 and len(json.loads(out)["classes"]) == 3
    (line,) = err.splitlines()
    assert line.startswith("clockwork: the labels have 2 classes, the net 3: ") and line.endswith(
        "give --map"
    )
    Image.fromarray(np.full((8, 8), 2, np.uint8)).save(pair[1] / "f5.png")
    assert call(capsys, *arguments, *options)[2] == ""


def test_named_classes_need_not_occur_in_the_labels(
    toy: Bundle, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("eval", toy.path, *folder_options(pair)[:4], "--map", "5,4,7", "--ignore", 6)
    options = ("--classes", "camvid", "--schedule", "oracle", "--device", "cpu", "--json")
    status, out, err = call(capsys, *arguments, *options)
    assert status == 0 and err == ""
    document = json.loads(out)
    assert len(document["classes"]) == 11
    # A third of the frames is given class 7, which no label has, in place of 4.
    assert document["schedules"][0]["pixel_accuracy"] == pytest.approx(2 / 3)


def test_eval_prints_and_writes(
    toy: Bundle, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "out"
    status, out, _ = call(
        capsys, "eval", toy.path, *folder_options(pair), "-o", out_folder, "--report", tmp_path / "page"
    )
    assert status == 0
    for words in ("oracle", "skip:2", "adaptive:0.25", "At equal cost, clockwork lies", "Not beaten"):
        assert words in out
    assert "Pareto front" in out and "cost/oracle" in out
    (header,) = [line for line in out.splitlines() if "MACs/oracle" in line]
    assert "schedule" in header and "mean ages" in header  # no column is cut in a pipe
    assert sorted(p.name for p in out_folder.iterdir()) == [
        "accuracy-cost.png",
        "accuracy-time.png",
        "classes.csv",
        "results.json",
        "schedules.csv",
        "schedules.md",
        "timeline.png",
    ]
    rows = list(csv.DictReader((out_folder / "schedules.csv").open()))
    assert rows[0]["schedule"] == "oracle" and float(rows[0]["mean IU"]) == 1.0
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "toy on" in page and page.count("data:image/") > 10


def test_eval_of_a_data_set_with_the_boundary(
    toy: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, value in (("val", 0), ("valannot", 0)):
        (tmp_path / folder).mkdir()
        for i in range(2):
            shape = (8, 8, 3) if folder == "val" else (8, 8)
            Image.fromarray(np.full(shape, value, np.uint8)).save(tmp_path / folder / f"a_{i}.png")
    arguments = ("eval", toy.path, "--data-set", "camvid", "--data", tmp_path, "--device", "cpu")
    status, out, _ = call(capsys, *arguments, "--schedule", "oracle", "--boundary", "--json")
    assert status == 0
    (entry,) = json.loads(out)["schedules"]
    assert entry["class_iu"]["sky"] == 1.0 and entry["boundary"]["mean_iu"] is None


PAIR = ("BUNDLE", "--frames", "FRAMES", "--labels", "LABELS")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("BUNDLE",), "nothing to score; expected --frames and --labels"),
        (("BUNDLE", "--data-set", "camvid", "--data", "TMP/no"), "the CamVid data set is not here"),
        (PAIR, "a label that is neither scored nor ignored"),
        ((*PAIR, "--map", "1,2"), "found 2 entries; expected 3"),
        ((*PAIR, "--map", "a"), "--map takes whole numbers"),
        (
            (*PAIR, "--ignore", "6", "--map", "5,4,9"),
            "found class 9 for class 2 of the net; expected 0 to 5, or 255 for none of them",
        ),
        ((*PAIR, "--ignore", "6", "--map", "5,4,6"), "found class 6 for class 2 of the net; expected 0 to 5"),
        (
            (*PAIR, "--classes", "7", "--map", "5,4,7"),
            "found class 7 for class 2 of the net; expected 0 to 6",
        ),
        ((*PAIR, "--map", "5,4,4"), "a label that is neither scored nor ignored; found class 6"),
        (
            (*PAIR, "--map", "5,4,4", "--ignore", "4", "--ignore", "5", "--ignore", "6"),
            "nothing to score: every label is void or ignored",
        ),
        (("BUNDLE", "--frames", "TMP/no", "--labels", "LABELS"), "the folder of frames is missing"),
        (("TMP/no.staged", *PAIR[1:]), "no.staged"),
        ((*PAIR, "--map", "5,4,4", "--ignore", "6", "--start", "6"), "found 0 of 6 frames"),
        (("--max-frames", "3"), "--max-frames go with --frames and --labels"),
        (("BUNDLE", "--data-set", "camvid", "--data", "TMP", "--stride", "3"), "--max-frames go with"),
        ((*PAIR, "--stride", "0"), "0 is not in the range"),
        (PAIR[1:], "a data set without a bundle"),
        ((*PAIR, "--map", "5,4,4", "--ignore", "6", "--truncated", "4"), "found 4 stages; expected 1 to 3"),
        ((*PAIR, "--map", "5,4,4", "--ignore", "6", "--schedule", "skip"), "schedule"),
        ((*PAIR, "--classes", "nonsense"), "nonsense"),
        (("BUNDLE", "--frames", "EMPTY", "--labels", "LABELS"), "EMPTY"),
        (("EMPTY", *PAIR[1:]), "EMPTY"),
        (
            (*PAIR, "--map", "5,4,4", "--ignore", "6", "--labels", "SMALL"),
            "found 8x8 predicted; expected 4x8",
        ),
        (("paper", "--table", "2"), "'2' is not one of '1', '3', '4', '5', '6'"),
        (("paper", "--table", "5", "--shift", "0"), "0 is not in the range"),
        (("--data-set", "imagenet"), "'imagenet' is not one of 'camvid'"),
        (("paper",), "nothing to do; expected --table"),
        (("paper", "--table", "5", "--data", "TMP"), "no bundle for this data"),
        (("paper", "--table", "5", "--data", "TMP", "--model", "BUNDLE"), "PASCAL VOC data set is not here"),
        (("paper", "--table", "5", "--set", "fill=x"), "no such choice for fill"),
        (("paper", "--table", "5", "--baseline", "x"), "not a truncated net"),
        (("paper", "--table", "6", "--model", "BUNDLE"), "no bundle for shapes"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: tuple[str, ...],
    message: str,
    toy: Bundle,
    pair: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "SMALL").mkdir()
    for path in pair[1].iterdir():
        Image.fromarray(np.full((4, 8), 5, np.uint8)).save(tmp_path / "SMALL" / path.name)
    places = {"BUNDLE": toy.path, "FRAMES": pair[0], "LABELS": pair[1], "TMP": tmp_path}
    places |= {name: tmp_path / name for name in ("EMPTY", "SMALL")}

    def place(text: str) -> str:
        for name, path in places.items():
            text = text.replace(name, str(path))
        return text

    out_folder = tmp_path / "out"
    status, out, err = call(capsys, "eval", *map(place, arguments), "-o", out_folder)
    assert status == 2 and out == ""
    assert len(err.strip().splitlines()) == 1 and message in err
    assert not out_folder.exists()


@pytest.mark.parametrize("below", ["", "deeper/down"])
@pytest.mark.parametrize(
    "arguments",
    [("eval", "-o"), ("eval", "--report"), ("eval", "paper", "--table", "5", "-o"), ("demo", "-o")],
)
def test_a_file_where_results_should_go_is_seen_before_the_work(
    arguments: tuple[str, ...],
    below: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def too_late(*_: object, **__: object) -> Bundle:
        raise AssertionError("work was begun")

    for module in (demo, eval_bundle, eval_paper):
        monkeypatch.setattr(module, "embedded_bundle", too_late)
    file = tmp_path / "file"
    file.write_text("mine")
    status, out, err = call(capsys, *arguments, file / below)
    assert (status, out) == (2, "")
    assert err == f"clockwork: error: {file}: not a folder; expected a folder, or a new path\n"
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]


def test_a_small_video_without_a_bundle_is_the_shapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = shapes_data.read(frames=3, size=(64, 80))
    monkeypatch.setattr(shapes_data, "read", lambda: small)
    status, out, _ = call(capsys, "eval", "--schedule", "oracle", "--device", "cpu", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["title"] == "shapes-fcn8s on shapes, held-out shots, 18 labelled frames"
    assert document["classes"] == list(small.classes)


def test_eval_paper_writes_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = shapes_data.pictures(2, (80, 240))
    small = shapes_data.read(frames=4, size=(64, 80), kinds=["fast", "slow"])
    monkeypatch.setattr(shapes_data, "pictures", lambda count: pictures)
    monkeypatch.setattr(shapes_data, "read", lambda: small)
    wanted = ("--table", 1, "--table", 3, "--table", 5, "--table", 6, "--figure", 6, "--figure", 7)
    arguments = ("eval", "paper", *wanted, "--device", "cpu", "-o", tmp_path / "out")
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    for words in ("Table 1", "Table 3", "Table 5", "Table 6", "Figure 6", "2-stage baseline (untrained)"):
        assert words in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "differences.png",
        "figure-2.png",
        *(f"figure-6.{kind}" for kind in ("csv", "md", "png")),
        "figure-7.png",
        "results.json",
        *(f"table-{n}.{kind}" for n in ("1", "3-shapes-16", "3-shapes-32") for kind in ("csv", "md")),
        *(
            f"table-{n}.{kind}"
            for n in ("5-shapes-16", "5-shapes-32", "6-shapes")
            for kind in ("csv", "md", "png")
        ),
    ]
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert [t["table"] for t in document["tables"]] == [1, 3, 3, 5, 5, 6]
    assert [f["figure"] for f in document["figures"]] == [2, 6, 7]
    assert {
        len(trace) for layers in document["figures"][0]["shots"].values() for trace in layers.values()
    } == {3}
    assert document["options"]["fill"] == "paper"
    rows = document["tables"][3]["rows"]
    assert rows[0]["method"] == "frame oracle" and 0 < rows[0]["boundary"]["fw_iu"] < 1
    assert "ms/frame" in (tmp_path / "out/table-5-shapes-16.csv").read_text()


def test_phases_that_are_not_to_be_had_leave_a_row_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = shapes_data.pictures(1, (80, 160))
    monkeypatch.setattr(shapes_data, "pictures", lambda count: pictures)
    arguments = ("eval", "paper", "--table", 5, "--shift", 4, "--set", "phases=merged", "--no-times")
    status, out, _ = call(capsys, *arguments, "--device", "cpu", "--json")
    assert status == 0
    document = json.loads(out)
    rows = {row["method"]: row["frames"] for row in document["tables"][0]["rows"]}
    # Every scored frame at both phases of the clocks of period 2.
    assert rows == {"frame oracle": 4, "2-stage pipeline": 4, "skip frame": 8, "alternating": 8}
    assert document["notes"][0].startswith("Table 5: no exponential: exponential has 4 phases")


def test_table_6_on_a_tree_of_cityscapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data/cityscapes"
    for folder in ("gtFine/val/ulm", "leftImg8bit_sequence/val/ulm"):
        (root / folder).mkdir(parents=True)
    for i in range(11, 20):
        frame = np.full((8, 8, 3), 20 * i % 256, np.uint8)
        Image.fromarray(frame).save(root / f"leftImg8bit_sequence/val/ulm/ulm_000000_{i:06d}_leftImg8bit.png")
    truth = Image.fromarray(np.full((8, 8), 7, np.uint8))
    truth.save(root / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png")
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layer { name: "shallow" type: "Convolution" bottom: "data" top: "shallow" '
        "convolution_param { num_output: 19 kernel_size: 1 } }\n"
        'layer { name: "deep" type: "Convolution" bottom: "shallow" top: "deep" '
        "convolution_param { num_output: 19 kernel_size: 1 } }\n"
        'layer { name: "sum" type: "Eltwise" bottom: "shallow" bottom: "deep" top: "sum" }\n'
    )
    net = caffe_port.read_net(prototxt)
    blobs = caffe_port.random_weights(net, seed=0)
    plan = staged_onnx.plan(net, cuts=["shallow", "deep"])
    bundle = staged_onnx.export(net, blobs, plan, tmp_path / "city.staged", classes=classes("cityscapes"))
    arguments = ("eval", "paper", "--table", 6, "--data", tmp_path / "data", "--model", bundle.path)
    options = ("--set", "sequence_length=9", "--paper-numbers", "--device", "cpu", "--no-times", "--json")
    status, out, _ = call(capsys, *arguments, *options)
    assert status == 0
    document = json.loads(out)
    (table,) = document["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    thresholds = ("0.25", "0.375", "0.47", "0.5")
    assert list(rows) == ["frame oracle", "skip frame", "alternating", *(f"adaptive {t}" for t in thresholds)]
    assert rows["adaptive 0.47"]["paper"] == {"mean_iu": 0.618, "fw_iu": 0.876}
    assert rows["adaptive 0.47"]["frames"] == 9 and rows["frame oracle"]["frames"] == 1
    assert {row["scored_frames"] for row in rows.values()} == {1}
    assert table["one_frame_late_mean_iu"] is None
    left_out = [note for note in document["notes"] if "left out" in note]
    assert [note.split()[2] for note in left_out] == ["nyudv2", "youtube"]
    assert any("nets of Cityscapes val are trained with 72.7804" in note for note in document["notes"])


def test_without_times_two_runs_write_the_same_bytes(
    toy: Bundle, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        names = ("oracle", "skip:2", "alternating", "adaptive:0.5", "adaptive:0.9")
        schedules = (*(text for one in names for text in ("--schedule", one)), "--truncated", 1)
        arguments = ("eval", toy.path, *folder_options(pair), "--no-times", *schedules)
        assert call(capsys, *arguments, "-o", tmp_path / name, "--report", tmp_path / name)[0] == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "index.html" in files and "results.json" in files and "timeline.png" in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_paper_s_tables_without_times_are_the_same_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = shapes_data.read(frames=4, size=(64, 80), kinds=["fast", "slow"])
    monkeypatch.setattr(shapes_data, "read", lambda: small)
    arguments = ("eval", "paper", "--table", 6, "--figure", 7, "--device", "cpu", "--no-times", "--json")
    first, second = (call(capsys, *arguments)[1] for _ in range(2))
    assert first == second and "_ms" not in first and "ms_per" not in first


def test_the_demo_leaves_its_files_and_says_the_same_twice(tmp_path: Path) -> None:
    small = shapes_data.read(frames=4, size=(64, 80), kinds=["fast", "static"])
    schedules = ("oracle", "skip:2", demo.SHOWN)
    results = [
        demo.run_demo(tmp_path / name, schedules=schedules, data_set=small, device="cpu") for name in "ab"
    ]
    first, second = (result.as_json(timings=False) for result in results)
    assert first == second
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "shapes-fcn8s.staged",
        "overlay.mp4",
        "timeline.png",
        "accuracy-cost.png",
        "report.json",
    }
    assert {p.name for p in results[0].files} == {p.name for p in (tmp_path / "a").iterdir()}
    report = json.loads((tmp_path / "a/report.json").read_text())
    assert [s["schedule"] for s in report["schedules"]] == list(schedules)
    assert set(report["moving_shots"]) == set(schedules)
    static = first["schedules"][0]["mean_iu"]
    assert report["moving_shots"]["oracle"]["mean_iu"] != static  # the static shot is left out of it
    with av.open(str(tmp_path / "a/overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 8
    assert len(read_bundle(tmp_path / "a/shapes-fcn8s.staged").manifest.stages) == 3


def test_the_demo_s_frames_are_those_of_its_progress_bar() -> None:
    assert demo.demo_frames() == len(demo.SCHEDULES) * shapes_data.read(frames=demo.FRAMES).labelled
    assert Path("shapes") == sources.SHAPES


def test_paper_on_video_of_ones_own(
    toy: Bundle, tmp_path: Path, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables and figures of labelled frames in folders; the pictures that are translated are frames of it."""
    wanted = [f"--table={n}" for n in (1, 3, 4, 5, 6)] + [f"--figure={n}" for n in (2, 6, 7)]
    own = ("--model", toy.path, *folder_options(pair), "--shift", 1, "--threshold", 0.1)
    status, _, _ = call(capsys, "eval", "paper", *own, *wanted, "-o", tmp_path / "out")
    assert status == 0
    name = f"{pair[0].parent.name}-frames"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    for table in (f"table-4-{name}", f"table-6-{name}", f"table-3-{name}-1", f"table-5-{name}-1", "table-1"):
        assert {f"{table}.csv", f"{table}.md"} <= written
    assert {"figure-2.png", "figure-6.png", "figure-7.png"} <= written
    document = json.loads((tmp_path / "out/results.json").read_text("utf-8"))
    oracles = [table["rows"][0] for table in document["tables"] if table["table"] != 1]
    assert [row["mean_iu"] for row in oracles] == [1.0] * 4
    assert document["data"] == f"{pair[0].parent.name}/frames"
    status, _, err = call(capsys, "eval", "paper", *folder_options(pair), "--table", 4)
    assert status == 2 and "a data set without a bundle" in err
