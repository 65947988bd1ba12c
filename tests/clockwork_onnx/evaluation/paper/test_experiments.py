"""Tables of the paper: what they play, with which bundle, and what stands in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.evaluation.datasets.base import NO_CLASS, DataSet, Sample, Shot
from clockwork_onnx.evaluation.paper import experiments as paper
from clockwork_onnx.evaluation.paper import figures, protocols, sources
from clockwork_onnx.evaluation.paper.experiments import bundle_for, result_table, run_experiment
from clockwork_onnx.evaluation.paper.fitting import fitting_methods
from clockwork_onnx.evaluation.paper.protocols import METHODS, Options
from clockwork_onnx.evaluation.paper.sources import SHAPES, Experiment, experiments
from staged_onnx import Bundle, read_bundle
from tests.support.toy_bundles import TOY_CLASSES, chain, toy_frame
from weights.errors import DataSetError, UsageError


def toy_video(labels: list[int], shots: int = 1) -> DataSet:
    def sample(i: int, label: int) -> Sample:
        truth = np.full((8, 8), label, np.uint8)
        return Sample(f"f{i}", lambda: toy_frame(label), lambda: truth, i)

    made = tuple(Shot(f"s{n}", tuple(sample(i, c) for i, c in enumerate(labels))) for n in range(shots))
    return DataSet("toy video", TOY_CLASSES, made)


def toy_experiment(labels: list[int], key: str = "") -> Experiment:
    data = toy_video(labels)
    return Experiment(key, data, lambda m: protocols.translated(data, m, Options()), boundary_radius=1)


def test_every_method_of_the_translated_tables(toy: Bundle) -> None:
    # Frames 2 to 5 are scored; the label changes on every frame, and the deepest stage decides.
    rows = run_experiment(
        toy_experiment([0, 1, 2, 0, 1, 2]), toy, list(METHODS.values()), Options(), device="cpu"
    )
    accuracy = {row.method.name: row.result.scores.pixel_accuracy for row in rows}
    assert accuracy == {
        "frame oracle": 1.0,
        "3-stage baseline": 1.0,
        "3-stage pipeline": 0.0,
        "2-stage baseline": 1.0,
        "2-stage pipeline": 0.0,
        "skip frame": 0.5,
        "exponential": 0.5,  # stage 3 fires on 0 and 4, and the label of 0 is that of 3
        "alternating": 0.5,
    }
    assert all(row.result.frames == row.result.scored_frames == 4 for row in rows)
    notes = {row.method.name: row.note for row in rows if row.note}
    assert notes == {"3-stage baseline": "untrained", "2-stage baseline": "untrained"}


def test_the_fills_of_a_pipeline_differ_on_the_first_scored_frame(toy: Bundle) -> None:
    # After two frames of one label the pipeline of three stages needs two frames to see the new one.
    # With the library's fill stage 3 lags by one frame on frame 2, with the notebook's by two.
    data = [1, 0, 0, 0, 0, 0]
    pipeline = [METHODS["3-stage pipeline"]]
    found = {}
    for fill in ("library", "notebook", "paper"):
        options = Options(fill=fill)  # type: ignore[arg-type]
        experiment = replace(toy_experiment(data), paper_fill="library")
        (row,) = run_experiment(experiment, toy, pipeline, options, device="cpu")
        found[fill] = row.result.scores.pixel_accuracy
    assert found == {"library": 1.0, "notebook": 0.75, "paper": 1.0}


def test_a_truncated_net_of_its_own_replaces_the_cut_off_one(toy: Bundle) -> None:
    (row,) = run_experiment(
        toy_experiment([0, 1, 2, 0, 1, 2]),
        toy,
        [METHODS["3-stage baseline"]],
        Options(),
        device="cpu",
        baselines={1: toy},
    )
    assert row.note == "" and row.result.fires["stage3"] == 4
    assert row.result.macs_of_oracle == 1.0


def test_the_paper_s_numbers_stand_beside_ours_with_its_weights_only(toy: Bundle) -> None:
    oracle = [METHODS["frame oracle"]]
    experiment = toy_experiment([0, 1, 2, 0, 1, 2], key="pascal-16")
    (row,) = run_experiment(experiment, toy, oracle, Options(), device="cpu")
    assert row.paper is None
    assert "paper mean IU" not in result_table("t", [row]).columns
    (shown,) = run_experiment(experiment, toy, oracle, Options(), device="cpu", with_paper=True)
    table = result_table("t", [shown])
    line = dict(zip(table.columns, table.rows[0], strict=True))
    assert (line["mean IU"], line["paper mean IU"], line["paper fwIU-b"]) == (1.0, 0.659, 0.563)
    manifest = replace(toy.manifest, source={"weights": [{"name": "voc-fcn8s-heavy.caffemodel"}]})
    assert paper.has_paper_weights(replace(toy, manifest=manifest)) and not paper.has_paper_weights(toy)


def with_classes(bundle: Bundle, count: int) -> Bundle:
    names = tuple(f"class {i}" for i in range(count))
    return replace(bundle, manifest=replace(bundle.manifest, class_names=names))


def test_the_bundle_must_speak_the_data_set_s_classes(toy: Bundle) -> None:
    voc, city, truncated = (with_classes(toy, count) for count in (21, 19, 20))
    cityscapes = DataSet("c", ("x",) * 19, ())
    youtube = DataSet("y", ("x",) * 11, (), prediction_map=(0,) * 21)
    assert bundle_for(cityscapes, [voc, city], Options()) is city
    assert bundle_for(youtube, [city, voc], Options()) is voc
    # A14: a twentieth output
    assert bundle_for(cityscapes, [truncated], Options()) is truncated
    with pytest.raises(UsageError, match="expected a net of 19 classes"):
        bundle_for(cityscapes, [truncated, voc], Options(twentieth_class="refused"))


def test_a_twentieth_output_counts_as_wrong(toy: Bundle) -> None:
    data = toy_video([0, 1, 2])
    two = replace(data, classes=("blue", "green"))
    scored = paper._scored_by(two, toy)
    assert scored.prediction_map == (0, 1, NO_CLASS)
    assert paper._scored_by(data, toy) is data


def make_voc(root: Path) -> None:
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/seg11valid.txt").write_text("b\na\n")
    for folder, mode in (("JPEGImages", "RGB"), ("SegmentationClass", "L")):
        (root / folder).mkdir()
        for name, size in (("a", (180, 90)), ("b", (200, 100))):
            Image.new(mode, size).save(root / folder / f"{name}.{'jpg' if mode == 'RGB' else 'png'}")


@pytest.mark.parametrize("place", ["", "VOC2011", "VOCdevkit/VOC2012"])
def test_data_sets_are_found_under_their_usual_names(place: str, tmp_path: Path) -> None:
    make_voc(tmp_path / place)
    found = experiments(3, tmp_path, Options(boundary_radius="10"))
    assert [e.key for e in found] == ["pascal-16", "pascal-32"]
    assert found[0].boundary_radius == 10 and found[0].paper_fill == "library"
    sizes = [shot.samples[0].read_image().shape for shot in found[1].data_set.shots]
    assert sizes == [(90, 20, 3), (100, 40, 3)]  # pictures of one size follow each other


def test_missing_data_is_an_error_only_where_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"the NYUDv2 data set is not here.*get it from"):
        experiments(4, tmp_path, Options())
    folder = tmp_path / "cityscapes"
    for path in ("gtFine/val/ulm", "leftImg8bit_sequence/val/ulm"):
        (folder / path).mkdir(parents=True)
    Image.new("L", (4, 4)).save(folder / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png")
    for i in range(11, 20):
        Image.new("RGB", (4, 4)).save(
            folder / f"leftImg8bit_sequence/val/ulm/ulm_000000_{i:06d}_leftImg8bit.png"
        )
    found = experiments(6, tmp_path, Options(sequence_length="9"))
    assert [e.key for e in found] == ["cityscapes"]
    assert len(found[0].data_set.shots[0].samples) == 9
    with pytest.raises(DataSetError, match="a file of the Cityscapes data set is missing"):
        experiments(6, tmp_path, Options())


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "cityscapes/gtFine").mkdir(parents=True)
    assert sources.not_there(6, tmp_path) == ("nyudv2", "youtube")
    assert sources.not_there(5, tmp_path) == ("pascal",)
    assert sources.not_there(6, SHAPES) == ()


def test_true_labels_that_are_a_frame_late() -> None:
    # Scored are frames 2 to 5 of 0 0 1 1 1 2: late labels are right on 3 and 4, and 1 stands for 0 and 2.
    late = paper.one_frame_late(toy_experiment([0, 0, 1, 1, 1, 2]))
    assert late.pixel_accuracy == 0.5
    assert late.class_iu == (0.0, 2 / 4, 0.0)
    video = toy_video([0, 1, 2])
    alone = tuple(
        replace(
            shot, samples=tuple(replace(s, read_label=None) for s in shot.samples[:-1]) + shot.samples[-1:]
        )
        for shot in video.shots
    )
    last = replace(video, shots=alone)
    experiment = Experiment("", last, lambda m: protocols.last_frame(last, m, Options()))
    assert np.isnan(paper.one_frame_late(experiment).mean_iu)


def test_tables_in_miniature_need_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_PICTURES", 2)
    translated = experiments(5, SHAPES, Options())
    assert [len(e.data_set.shots) for e in translated] == [2, 2]
    assert [e.name for e in translated] == ["shapes-16", "shapes-32"]
    (slow,) = experiments(3, SHAPES, Options(), shifts=(4,))
    assert slow.data_set.shots[0].samples[0].read_image().shape == (240, 380, 3)
    assert [m.name for m in paper.table_methods(5, [])] == [
        "frame oracle",
        "2-stage pipeline",
        "skip frame",
        "exponential",
        "alternating",
    ]
    assert [m.name for m in paper.table_methods(6, [0.25])][-1] == "adaptive 0.25"
    with pytest.raises(UsageError, match="no such table"):
        paper.table_methods(2, [])


def test_sweep_and_timeline(toy: Bundle) -> None:
    video = toy_video([0, 0, 1, 1, 2, 2])
    experiment = Experiment("", video, lambda m: protocols.whole_shots(video, m, Options()))
    results = figures.sweep(experiment, toy, [0.0, 0.5, 1.1], Options(), device="cpu")
    assert [r.fires["stage3"] for r in results] == [6, 3, 1]
    strips, _ = figures.timeline(video, toy, ["alternating", "adaptive:0.5"], device="cpu")
    assert strips.fired["adaptive:0.5"] == [True, False, True, False, True, False]


def test_the_adaptive_clocks_rate_on_nyudv2_counts_whole_clips(tmp_path: Path) -> None:
    from tests.clockwork_onnx.evaluation.datasets.test_datasets import make_nyud

    root = tmp_path / "nyudv2"
    root.mkdir()
    make_nyud(root)
    names = sorted((root / "raw/kitchen_0001").iterdir())
    for number in range(25, 56):  # the clip goes on after the labelled frame, number 21
        (root / "raw/kitchen_0001" / f"r-13007.{number:02d}-1.ppm").write_bytes(names[0].read_bytes())
    (experiment,) = [e for e in experiments(6, tmp_path, Options()) if e.key == "nyudv2"]
    (adaptive,) = experiment.clips(protocols.adaptive(0.25))
    assert [sample.number for sample in adaptive.samples] == [1, 11, 21, 31, 41, 51]
    assert (adaptive.scored, adaptive.counted) == ({2}, set(range(6)))
    for method in (METHODS["frame oracle"], METHODS["skip frame"], METHODS["3-stage pipeline"]):
        for clip in experiment.clips(method):
            assert clip.samples[-1].number == 21


def test_a_pipeline_of_more_stages_than_the_net_has_is_left_out(tmp_path: Path) -> None:
    two = read_bundle(chain(tmp_path / "two.staged", 2))
    methods = [METHODS[name] for name in ("frame oracle", "3-stage pipeline", "2-stage pipeline")]
    fitting, reasons = fitting_methods(toy_experiment([0, 1, 2]), methods, two, {})
    assert [method.name for method in fitting] == ["frame oracle", "2-stage pipeline"]
    assert len(reasons) == 1 and reasons[0].startswith("no 3-stage pipeline, since two has 2 stages")
