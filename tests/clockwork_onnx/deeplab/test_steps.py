"""From an experiment folder to the number, each step against a computation of its own."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

import weights
from clockwork_onnx.cli import run
from clockwork_onnx.deeplab.binary_files import read_labels_bin, write_ppm, write_scores_bin
from clockwork_onnx.deeplab.experiment import Experiment, init_experiment, open_experiment, post_folder
from clockwork_onnx.deeplab.features import open_feature_net, prepare
from clockwork_onnx.deeplab.grid import NO_CRF, grid, sample, search
from clockwork_onnx.deeplab.scoring import evaluate, voc_scores
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.densecrf import PUBLISHED, CrfParameters, DenseCrf, log_softmax
from runtime.sessions.device import choose_device
from runtime.video.images import read_image
from staged_onnx.palettes import voc_palette
from tests.clockwork_onnx.deeplab.voc import CROP, IN_NET_CRF, MEAN, SIZES, forward, make_net, make_voc
from tests.runtime.densecrf.make_fixture import by_pydensecrf
from weights.errors import DataSetError, UsageError

LARGE = "deeplab-largefov"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An experiment folder made by init."""
    make_voc(tmp_path / "VOC2012")
    prototxt, caffemodel = make_net(tmp_path)
    command = ["deeplab", "init", str(tmp_path / "exper/voc12"), "--net", "small"]
    command += ["--prototxt", str(prototxt), "--weights", str(caffemodel)]
    assert run([*command, "--data-root", str(tmp_path / "VOC2012")]) == 0
    return tmp_path / "exper/voc12"


def deeplab(step: str, *options: object) -> int:
    return run(["deeplab", step, *map(str, options)])


def images(experiment: Experiment) -> list[np.ndarray]:
    return [read_image(p.image) for p in experiment.pictures()]


def features(experiment: Experiment) -> list[np.ndarray]:
    """C x H x W, as MATLAB's script reads them: permute [2 1 3], rows and columns of the picture."""
    found = []
    for picture, image in zip(experiment.pictures(), images(experiment), strict=True):
        data = loadmat(experiment.feature_folder / f"{picture.identity}_blob_0.mat")["data"]
        assert data.dtype == np.float32 and data.shape == (CROP, CROP, 21, 1)
        permuted = data[..., 0].transpose(1, 0, 2)
        found.append(permuted[: image.shape[0], : image.shape[1]].transpose(2, 0, 1))
    return found


def independent_scores(truths: list[np.ndarray], results: list[np.ndarray]) -> float:
    """MyVOCevalseg.m: mean IU over 21 classes, in per cent."""
    counts = np.zeros((21, 21))
    for truth, result in zip(truths, results, strict=True):
        for t, r in zip(truth.ravel(), result.ravel(), strict=True):
            if t < 255:
                counts[t, r] += 1
    accuracies = []
    for j in range(21):
        denom = counts[j].sum() + counts[:, j].sum() - counts[j, j]
        accuracies.append(100 * counts[j, j] / (denom if denom else 1))
    return sum(accuracies) / 21


def test_init_lays_out_the_tree_and_keeps_what_is_there(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert {p.name for p in root.iterdir() if p.is_dir()} == {
        "config", "features", "features2", "list", "log", "model", "res",
    }  # fmt: skip
    assert (root / "list/val.txt").read_text().splitlines()[0] == (
        "/JPEGImages/2007_000000.jpg /SegmentationClass/2007_000000.png"
    )
    assert (root / "list/val_id.txt").read_text().splitlines() == [f"2007_{i:06d}" for i in range(4)]
    (root / "list/val.txt").write_text("mine")
    assert deeplab("init", root, "--net", "small", "-D", "NUM_LABELS=5") == 0
    assert (root / "list/val.txt").read_text() == "mine"
    assert set(json.loads((root / "experiment.json").read_text())) == {"DATA_ROOT", "NUM_LABELS"}
    assert "put" not in capsys.readouterr().out.split("then:")[-1]


def test_every_step_equals_its_independent_computation(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert deeplab("test", root, "--device", "cpu") == 0
    experiment = open_experiment(root)
    blobs = weights.read(str(experiment.weights()))
    for image, scores in zip(images(experiment), features(experiment), strict=True):
        expected = forward(image, blobs)[:, : image.shape[0], : image.shape[1]]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    truths = [np.array(Image.open(p.labels)) for p in experiment.pictures() if p.labels]
    capsys.readouterr()
    assert deeplab("eval", root, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    expected_labels = [scores.argmax(axis=0) for scores in features(experiment)]
    assert plain["mean_iu"] * 100 == pytest.approx(independent_scores(truths, expected_labels), rel=1e-9)
    assert deeplab("crf", root, "-p", LARGE) == 0
    capsys.readouterr()
    assert deeplab("eval", root, "-p", LARGE, "--json") == 0
    refined = json.loads(capsys.readouterr().out)
    folder = Path(refined["results"])
    assert folder.parts[-9:] == (
        "features", "small", "val", "fc8", "post_densecrf_W4_XStd121_RStd5_PosW3_PosXStd3",
        "results", "VOC2012", "Segmentation", "comp6_val_cls",
    )  # fmt: skip
    results = []
    for picture, image, scores in zip(
        experiment.pictures(), images(experiment), features(experiment), strict=True
    ):
        with Image.open(folder / f"{picture.identity}.png") as png:
            assert png.mode == "P" and png.size == image.shape[1::-1]
            assert png.getpalette()[: 3 * 21] == [v for colour in voc_palette(21) for v in colour]
            results.append(np.array(png))
        assert np.array_equal(results[-1], _crf_labels(image, scores))
    assert refined["mean_iu"] * 100 == pytest.approx(independent_scores(truths, results), rel=1e-9)


def _crf_labels(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """By pydensecrf where it is installed."""
    log_p = log_softmax(np.ascontiguousarray(scores))
    try:
        q = by_pydensecrf(image, log_p, PUBLISHED[LARGE])
    except ImportError:
        q = DenseCrf(image, PUBLISHED[LARGE]).infer(log_p)
    return np.asarray(q.argmax(axis=0))


def test_an_interrupted_run_goes_on_and_other_parameters_are_not_mixed(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    assert deeplab("test", root, "--device", "cpu") == 0
    experiment = open_experiment(root)
    files = sorted(experiment.feature_folder.iterdir())
    before = files[0].stat().st_mtime_ns
    files[1].unlink()
    capsys.readouterr()
    assert deeplab("test", root, "--device", "cpu", "--json") == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 1
    assert files[0].stat().st_mtime_ns == before and files[1].is_file()
    refined = []
    for options in ((), (), ("-i", "3"), ("-i", "3"), ("-i", "3", "--force")):
        assert deeplab("crf", root, "-p", LARGE, *options, "--json") == 0
        refined.append(json.loads(capsys.readouterr().out)["refined"])
    assert refined == [4, 0, 4, 0, 4]
    steps = (root / "log/small/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in steps] == ["test", "test", *["crf"] * 5]


def test_a_crf_in_the_net_gives_probabilities_that_are_0_outside_the_picture(tmp_path: Path) -> None:
    make_voc(tmp_path / "VOC2012")
    prototxt, caffemodel = make_net(tmp_path, IN_NET_CRF)
    init_experiment(
        tmp_path / "voc12", "small", prototxt=prototxt, weights=caffemodel, data_root=tmp_path / "VOC2012"
    )
    experiment = open_experiment(tmp_path / "voc12")
    net = open_feature_net(experiment, choose_device("cpu"))
    image = images(experiment)[1]
    blobs = net.run(image)
    rows, columns = SIZES[1]
    scores = blobs["fc8_interp"][0, :, :rows, :columns]
    expected = DenseCrf(image, CrfParameters.of(5, 50, 10, iterations=3)).infer(np.ascontiguousarray(scores))
    assert np.allclose(blobs["crf_inf"][0, :, :rows, :columns], expected, atol=1e-6)
    assert blobs["crf_inf"].shape == (1, 21, CROP, CROP)
    assert not blobs["crf_inf"][..., columns:].any()
    assert deeplab("test", tmp_path / "voc12", "--device", "cpu") == 0
    written = loadmat(tmp_path / "voc12/features/small/val/crf/2007_000001_blob_0.mat")["data"]
    assert np.array_equal(written.T, blobs["crf_inf"])


@pytest.mark.parametrize("suffix", [".bin", ".mat"])
def test_the_flags_of_the_old_programs(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    for folder in ("ppm", "feat", "out"):
        (tmp_path / folder).mkdir()
    image = np.kron(rng.integers(0, 256, (4, 3, 3)), np.ones((6, 7, 1))).astype(np.uint8)
    scores = rng.normal(0, 1, (4, 24, 21)).astype(np.float32)
    write_ppm(tmp_path / "ppm/a.ppm", image)
    if suffix == ".bin":
        powers = np.exp(scores)
        write_scores_bin(tmp_path / "feat/a.bin", powers / powers.sum(axis=0))
        default = PUBLISHED["refine-pascal"]
    else:
        padded = np.pad(scores, ((0, 0), (0, 9), (0, 12)))[None]
        savemat(tmp_path / "feat/a_blob_0.mat", {"data": padded.T})
        default = PUBLISHED["refine-pascal-v4"]
    folders = ["-id", tmp_path / "ppm", "-fd", tmp_path / "feat", "-sd", tmp_path / "out"]
    assert deeplab("crf", *folders) == 0
    expected = DenseCrf(image, default).infer(scores).argmax(axis=0)
    assert np.array_equal(read_labels_bin(tmp_path / "out/a.bin"), expected)
    flags = {"-i": 4, "-px": 2, "-py": 3, "-pw": 1.5, "-bx": 20, "-by": 30, "-br": 9}
    flags |= {"-bg": 8, "-bb": 7, "-bw": 6}
    assert deeplab("crf", *folders, *chain.from_iterable(flags.items())) == 0
    other = CrfParameters(1.5, 2, 3, 6, 20, 30, 9, 8, 7, 4)
    expected = DenseCrf(image, other).infer(scores).argmax(axis=0)
    assert np.array_equal(read_labels_bin(tmp_path / "out/a.bin"), expected)


def test_the_grid_agrees_with_scoring_each_setting_and_resumes(
    root: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deeplab("test", root, "--device", "cpu") == 0
    experiment = open_experiment(root)
    settings = [NO_CRF, *grid((3, 6), (20,), (5, 9), iterations=2)]
    pictures = sample(experiment, 3, seed=1)
    assert [p.identity for p in pictures] == sorted(p.identity for p in pictures) and len(pictures) == 3
    kept = root / "counts.npz"
    partial = next(search(experiment, settings, pictures, kept))
    assert partial[0].pictures == 1
    whole = list(search(experiment, settings, pictures, kept))
    assert [points[0].pictures for points in whole] == [1, 2, 3]
    monkeypatch.setattr("clockwork_onnx.deeplab.grid._counts", None)  # not called again
    assert list(search(experiment, settings, pictures, kept))[-1] == whole[-1]
    monkeypatch.undo()
    for point in whole[-1]:
        confusion = Confusion(21)
        for picture, scores in zip(experiment.pictures(), features(experiment), strict=True):
            if picture in pictures:
                crf = DenseCrf(read_image(picture.image), point.parameters)
                q = crf.infer(np.ascontiguousarray(scores))
                assert picture.labels is not None
                confusion.add(np.array(Image.open(picture.labels)), q.argmax(axis=0).astype(np.uint8))
        assert point.mean_iu == pytest.approx(voc_scores(confusion).mean_iu, rel=1e-12)
    capsys.readouterr()
    options = ["--bi-w", "3,6", "--bi-xy-std", "20", "--bi-rgb-std", "5,9", "-i", "2", "--json"]
    assert deeplab("grid", root, *options) == 0
    found = json.loads(capsys.readouterr().out)
    rows = Path(found["csv"]).read_text().splitlines()
    assert len(rows) == 5 and float(rows[1].split(",")[-2]) == pytest.approx(found["mean_iu"], abs=1e-6)
    with Image.open(found["plot"]) as plot:
        assert plot.width > 400


def test_the_picture_as_the_data_layer_hands_it_over() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    data, (rows, columns) = prepare(image, 7, tuple(MEAN))
    assert (rows, columns) == (6, 7) and data.shape == (1, 3, 7, 7)
    for c in range(3):  # BGR; the middle of what is too wide, the mean below what is too low
        assert np.array_equal(data[0, c, :6], image[:, 1:8, 2 - c].astype(np.float32) - MEAN[c])
        assert not data[0, c, 6].any()
    native, size = prepare(image, 0, ())
    assert native.shape == (1, 3, 6, 9) and size == (6, 9)


def test_a_class_that_does_not_occur_counts_as_0() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 2]], np.uint8))
    assert voc_scores(confusion).class_iu == (0.5, 0.5, 0.0)
    assert voc_scores(confusion).mean_iu == pytest.approx(1 / 3)


def test_what_is_missing_or_wrong_is_said(root: Path, capsys: pytest.CaptureFixture) -> None:
    def refused(*command: object) -> str:
        assert deeplab(*command) == 2  # type: ignore[arg-type]
        return capsys.readouterr().err

    assert "not an experiment folder" in refused("test", root.parent)
    assert "first: clockwork deeplab test" in refused("eval", root)
    assert "no picture with labels and features" in refused("grid", root)
    assert "-id, -fd and -sd together" in refused("crf", "-id", root)
    assert "unknown CRF parameters" in refused("crf", root, "-p", "best")
    assert "no such .mat" in refused("crf", root) or "No such file" in refused("crf", root)
    (root / "model/small/test.caffemodel").rename(root / "model/small/train_iter_9.caffemodel")
    (root / "model/small/train_iter_80.caffemodel").write_bytes(b"")
    assert open_experiment(root).weights().name == "train_iter_80.caffemodel"
    (root / "list/val.txt").write_text("/../../etc/passwd\n")
    (root / "list/val_id.txt").unlink()
    assert "a line that is no picture" in refused("eval", root)
    (root / "config/other").mkdir()
    assert "other, small" in refused("eval", root)


def test_a_picture_larger_than_the_crop_is_not_scored_in_silence(root: Path) -> None:
    assert deeplab("test", root, "--device", "cpu") == 0
    experiment = open_experiment(root)
    first = experiment.pictures()[0]
    Image.new("RGB", (CROP + 1, 20)).save(first.image)
    with pytest.raises(DataSetError, match="larger than its scores"):
        sample_and_search(experiment)
    with pytest.raises(DataSetError, match="wrong size"):
        Image.new("P", (3, 3)).save(_result(experiment, first.identity))
        evaluate(experiment)
    assert post_folder(PUBLISHED[LARGE]).endswith("W4_XStd121_RStd5_PosW3_PosXStd3")
    with pytest.raises(UsageError, match="not a name"):
        open_experiment(root, "../x")


def sample_and_search(experiment: Experiment) -> None:
    list(search(experiment, [NO_CRF], sample(experiment, 9), experiment.root / "kept.npz"))


def _result(experiment: Experiment, identity: str) -> Path:
    folder = experiment.pictures_folder(post_folder(None))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{identity}.png"
