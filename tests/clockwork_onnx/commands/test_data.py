"""clockwork data: PASCAL VOC's archive prepared safely, and a data set on one page."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.cli import run
from staged_onnx.palettes import voc_palette

ROOT = "VOCdevkit/VOC2012"
NAMES = {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033", "2007_000039")}


def jpeg(seed: int) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG")
    return buffer.getvalue()


def label(seed: int) -> bytes:
    """A paletted label image with void at its rim."""
    labels = np.random.default_rng(seed).integers(0, 21, (12, 16)).astype(np.uint8)
    labels[0] = 255
    image = Image.fromarray(labels)
    image.putpalette(np.array(voc_palette(), np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def archive(path: Path, **changes: bytes | None) -> Path:
    """PASCAL VOC in small; `changes` replaces (or, with None, leaves out) files by their paths."""
    files: dict[str, bytes | None] = {f"{ROOT}/Annotations/2007_000032.xml": b"<annotation/>"}
    for number, name in enumerate(sorted({name for names in NAMES.values() for name in names})):
        files[f"{ROOT}/JPEGImages/{name}.jpg"] = jpeg(number)
        files[f"{ROOT}/SegmentationClass/{name}.png"] = label(number)
    for split, names in NAMES.items():
        files[f"{ROOT}/ImageSets/Segmentation/{split}.txt"] = "".join(f"{n}\n" for n in names).encode()
    files.update(changes)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            if data is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["voc.tar", "voc.tar.gz"])
def test_prepare(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tar, out = archive(tmp_path / name), tmp_path / "out"
    assert run(["data", "prepare-voc", str(tar), "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == {"train": 2, "val": 2}
    written = sorted(str(f.relative_to(out)) for f in out.rglob("*") if f.is_file())
    pictures = [
        f"{split}/{kind}/{n}{suffix}"
        for split in NAMES
        for kind, suffix in (("images", ".jpg"), ("labels", ".png"))
        for n in NAMES[split]
    ]
    assert written == sorted([*pictures, "classes.txt", "train.txt", "val.txt"])
    labels = out / "val/labels/2007_000033.png"
    assert labels.read_bytes() == label(1)
    with Image.open(labels) as image:
        palette = image.getpalette()
        assert image.mode == "P" and palette is not None and palette[3 * 255 :] == [224, 224, 192]
        assert np.asarray(image)[0, 0] == 255
    assert (out / "train.txt").read_text().split() == list(NAMES["train"])
    assert run(["data", "prepare-voc", str(tar), "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["data", "prepare-voc", str(tar), "-o", str(out), "--force"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", name]


LIST = f"{ROOT}/ImageSets/Segmentation/val.txt"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({LIST: b"../../evil\n"}, "is no list of pictures; found '../../evil'"),
        ({LIST: b"/etc/passwd\n"}, "is no list of pictures"),
        ({LIST: b""}, "no list of pictures for val"),
        ({f"{ROOT}/SegmentationClass/2007_000033.png": None}, "1 of them, the first is SegmentationClass"),
        ({LIST: b"a" * (2 << 20)}, "is too large"),
    ],
)
def test_archives_that_are_refused(
    tmp_path: Path, changes: dict[str, bytes | None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tar = archive(tmp_path / "voc.tar", **changes)
    assert run(["data", "prepare-voc", str(tar), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["voc.tar"]


def test_nothing_leaves_the_folder(tmp_path: Path) -> None:
    """Paths upwards, absolute paths, links and devices of the archive never reach the disk."""
    tar = archive(
        tmp_path / "voc.tar", **{f"{ROOT}/JPEGImages/../../../../escaped.jpg": b"x", "/escaped": b"x"}
    )
    with tarfile.open(tar, "a") as more:
        for kind, name in ((tarfile.SYMTYPE, "2007_000032"), (tarfile.LNKTYPE, "x"), (tarfile.FIFOTYPE, "y")):
            member = tarfile.TarInfo(f"{ROOT}/JPEGImages/{name}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            more.addfile(member)
    assert run(["data", "prepare-voc", str(tar), "-o", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "voc.tar"]
    assert all(not p.is_symlink() for p in (tmp_path / "out").rglob("*"))
    assert (tmp_path / "out/train/images/2007_000032.jpg").read_bytes() == jpeg(0)


def test_an_archive_that_claims_too_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is decompressed to get past a file that claims a terabyte."""
    tar = archive(tmp_path / "voc.tar")
    member = tarfile.TarInfo("VOCdevkit/huge")
    member.size = 1 << 40
    tar.write_bytes(member.tobuf() + tar.read_bytes())
    assert run(["data", "prepare-voc", str(tar), "-o", str(tmp_path / "out")]) == 2
    assert "too much in the archive" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x1f\x8b\x08broken"])
def test_what_is_no_archive(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "voc.tar").write_bytes(content)
    assert run(["data", "prepare-voc", str(tmp_path / "voc.tar"), "-o", str(tmp_path / "out")]) == 2
    assert "clockwork: error:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_show_counts_every_label_and_shows_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tar, out = archive(tmp_path / "voc.tar"), tmp_path / "out"
    assert run(["data", "prepare-voc", str(tar), "-o", str(out)]) == 0
    capsys.readouterr()
    assert run(["data", "show", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 4 and sum(row["pixels"] for row in found["labels"]) == 4 * 12 * 16
    assert found["labels"][-1] == {"label": 255, "pixels": 4 * 16, "pictures": 4}
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("<figure") == 4 and page.count("data:image/") == 12
    assert "tvmonitor" in page and "void" in page and "val/2007_000033" in page
    assert run(["data", "show", str(out)]) == 2
    assert run(["data", "show", str(out / "train"), "-o", str(tmp_path / "t.html"), "--most", "1"]) == 0
    assert (tmp_path / "t.html").read_text("utf-8").count("<figure") == 1


def test_show_refuses_what_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", str(tmp_path)]) == 2
    assert "no labelled images here" in capsys.readouterr().err
    for name, size in (("images", (4, 4)), ("labels", (4, 5))):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / name / "a.png")
    assert run(["data", "show", str(tmp_path)]) == 2
    assert "different sizes" in capsys.readouterr().err
    assert not tmp_path.with_name(tmp_path.name + ".html").exists()
