"""The experiment folder of DeepLab v1: where each step finds and leaves its files.

    exper/voc12/                                        EXP
      experiment.json                                   data root, number of labels (ours; -D goes over it)
      config/NET/test.prototxt                          a template with ${EXP}, ${NET_ID}, ${DATA_ROOT}, ...
      model/NET/test.caffemodel, train_iter_N.caffemodel
      list/SET.txt                                      /JPEGImages/ID.jpg [/SegmentationClass/ID.png]
      list/SET_id.txt                                   ID
      features/NET/SET/fc8/ID_blob_0.mat                features2: of the net trained with trainval
      res/features/NET/SET/fc8/POST/ID.bin
      res/features/NET/SET/fc8/POST/results/VOC2012/Segmentation/comp6_SET_cls/ID.png
      log/

POST is post_none, or post_densecrf_W5_XStd50_RStd10_PosW3_PosXStd3 after the CRF's parameters.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.densecrf import CrfParameters
from weights.errors import DataSetError, UsageError
from weights.whole_file import check_folder, whole_file

__all__ = ["FEATURE_FOLDERS", "Experiment", "Picture", "init_experiment", "open_experiment", "post_folder"]

FOLDERS = ("config", "features", "features2", "list", "log", "model", "res")
FEATURE_FOLDERS = ("features", "features2")
SETTINGS = "experiment.json"
MAX_SETTINGS = 1 << 20
_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Picture:
    """One line of a list: its id, its image file, and the file of its true labels where the list has one."""

    identity: str
    image: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Experiment:
    """One net and one set of pictures in an experiment folder.

    define: values of the prototxt's template variables, over the usual ones. features: "features" or
    "features2". layer: the folder of the features, after the layer that they come from.
    """

    root: Path
    net: str
    test_set: str = "val"
    features: str = "features"
    layer: str = "fc8"
    define: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """Every template variable that sub.sed knows."""
        usual = {
            "EXP": self.root.name,
            "NET_ID": self.net,
            "TRAIN_SET": "train_aug",
            "TEST_SET": self.test_set,
            "NUM_LABELS": "21",
            "FEATURE_DIR": f"{self.root.name}/{self.features}/{self.net}",
        }
        return {**usual, **self.define}

    @property
    def data_root(self) -> Path:
        """The folder that the lists' paths begin at; UsageError where nobody said which."""
        if "DATA_ROOT" not in self.define:
            raise UsageError(
                "where are the pictures?",
                file=self.root / SETTINGS,
                found="no DATA_ROOT",
                hint="-D DATA_ROOT=.../VOCdevkit/VOC2012, or init --data-root",
            )
        return Path(self.define["DATA_ROOT"])

    @property
    def prototxt(self) -> Path:
        """The template of the test net."""
        return self.root / "config" / self.net / "test.prototxt"

    @property
    def feature_folder(self) -> Path:
        """Where the net's .mat files are."""
        return self.root / self.features / self.net / self.test_set / self.layer

    def results(self, post: str) -> Path:
        """Where the results of a post-processing are; see `post_folder`."""
        return self.root / "res" / self.features / self.net / self.test_set / self.layer / post

    def pictures_folder(self, post: str) -> Path:
        """Where the paletted PNG results are, under the names that the VOC server wants."""
        name = f"comp6_{self.test_set}_cls"
        return self.results(post) / "results" / "VOC2012" / "Segmentation" / name

    def weights(self) -> Path:
        """The weights to test with: test.caffemodel, else the snapshot of the most iterations."""
        second = "2" if self.features == "features2" else ""
        folder = self.root / "model" / self.net
        test = folder / f"test{second}.caffemodel"
        if test.is_file():
            return test
        pattern = re.compile(rf"train{second}_iter_(\d+)\.caffemodel")
        found = [(int(m[1]), p) for p in folder.glob("*.caffemodel") if (m := pattern.fullmatch(p.name))]
        if not found:
            raise UsageError(
                "no weights to test with",
                file=folder,
                expected=f"{test.name} or train{second}_iter_N.caffemodel",
                hint="copy one there, or give --weights FILE",
            )
        return max(found)[1]

    def pictures(self) -> list[Picture]:
        """The pictures of the set, in the list's order.

        Raises:
            DataSetError: A list is missing, has other lines, or not as many as the list of ids.
        """
        file = self.root / "list" / f"{self.test_set}.txt"
        lines = [line.split() for line in _lines(file)]
        ids_file = file.with_name(f"{self.test_set}_id.txt")
        ids = list(_lines(ids_file)) if ids_file.is_file() else [Path(line[0]).stem for line in lines]
        if len(ids) != len(lines):
            raise DataSetError(
                "the two lists do not fit", file=ids_file, found=f"{len(ids)} ids", expected=len(lines)
            )
        for identity in ids:
            if not _NAME.fullmatch(identity):
                raise DataSetError("a line that is not an id", file=ids_file, found=repr(identity[:60]))
        return [self._picture(i, line, file) for i, line in zip(ids, lines, strict=True)]

    def _picture(self, identity: str, line: list[str], file: Path) -> Picture:
        parts = [part.lstrip("/") for part in line]
        if len(parts) > 2 or any(".." in Path(part).parts or not part for part in parts):
            raise DataSetError(
                "a line that is no picture",
                file=file,
                found=repr(" ".join(line)[:60]),
                expected="IMAGE [LABELS]",
            )
        paths = [self.data_root / part for part in parts]
        return Picture(identity, paths[0], paths[1] if len(paths) > 1 else None)


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise DataSetError("no such list", file=file, hint="clockwork deeplab init writes it") from None
    except UnicodeDecodeError:
        raise DataSetError("not a list", file=file, found="bytes that are not UTF-8 text") from None
    return (line.strip() for line in text.splitlines() if line.strip())


def post_folder(crf: CrfParameters | None) -> str:
    """The folder's name for a post-processing, as the scripts of DeepLab v1 build it."""
    if crf is None:
        return "post_none"
    return (
        f"post_densecrf_W{crf.bi_w:g}_XStd{crf.bi_x_std:g}_RStd{crf.bi_r_std:g}"
        f"_PosW{crf.pos_w:g}_PosXStd{crf.pos_x_std:g}"
    )


def open_experiment(
    root: Path,
    net: str | None = None,
    test_set: str = "val",
    features: str = "features",
    layer: str = "fc8",
    define: Mapping[str, str] | None = None,
) -> Experiment:
    """The experiment at `root`.

    Args:
        root: The folder that EXP names.
        net: NET_ID; may be left out where config/ has one folder.
        test_set: TEST_SET.
        features: "features", or "features2" for the net trained with trainval.
        layer: The folder of the features.
        define: Template variables over those of experiment.json.

    Returns:
        The experiment, with its settings.

    Raises:
        UsageError: There is no such experiment, or the net is not clear.
    """
    if not (root / "config").is_dir():
        raise UsageError(
            "not an experiment folder",
            file=root,
            expected="a folder with config/",
            hint="clockwork deeplab init",
        )
    nets = sorted(p.name for p in (root / "config").iterdir() if p.is_dir())
    if net is None and len(nets) != 1:
        raise UsageError("which net?", file=root, found=", ".join(nets) or "none", hint="--net NET_ID")
    for name in (net or nets[0], test_set, layer):
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise UsageError("not a name", found=repr(name), expected="letters, digits, _ . + -")
    return Experiment(
        root.absolute(), net or nets[0], test_set, features, layer, {**_settings(root), **(define or {})}
    )


def _settings(root: Path) -> dict[str, str]:
    file = root / SETTINGS
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text("utf-8")) if file.stat().st_size <= MAX_SETTINGS else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise UsageError("not the settings of an experiment", file=file, expected='{"DATA_ROOT": "..."}')
    return data


def init_experiment(
    root: Path,
    net: str,
    *,
    prototxt: Path | None = None,
    weights: Path | None = None,
    data_root: Path | None = None,
    sets: tuple[str, ...] = ("val",),
    define: Mapping[str, str] | None = None,
) -> list[Path]:
    """Lay out an experiment folder; files that are there already stay as they are, settings are added to.

    Args:
        root: The folder that EXP names.
        net: NET_ID.
        prototxt: Copied to config/NET/test.prototxt.
        weights: Copied to model/NET/test.caffemodel.
        data_root: A VOC2012 folder, from whose ImageSets/Segmentation/SET.txt the lists are made.
        sets: The sets to make lists of.
        define: Template variables to keep in experiment.json.

    Returns:
        The files that were written.

    Raises:
        UsageError: A name that cannot be one, or a source that is missing.
    """
    if not _NAME.fullmatch(net) or net in (".", ".."):
        raise UsageError("not a name for a net", found=repr(net), expected="letters, digits, _ . + -")
    check_folder(root)
    for folder in (*FOLDERS, f"config/{net}", f"model/{net}", f"log/{net}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    kept = _settings(root)
    settings = {**kept, **(define or {})}
    if data_root is not None:
        settings["DATA_ROOT"] = str(data_root.absolute())
    if settings != kept or not (root / SETTINGS).exists():
        with whole_file(root / SETTINGS) as partial:
            partial.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
        written.append(root / SETTINGS)
    for source, target in (
        (prototxt, f"config/{net}/test.prototxt"),
        (weights, f"model/{net}/test.caffemodel"),
    ):
        if source is not None:
            _copy(source, root / target, written)
    for name in sets if data_root is not None else ():
        assert data_root is not None
        ids = list(_lines(data_root / "ImageSets" / "Segmentation" / f"{name}.txt"))
        truth = {i: f"/SegmentationClass/{i}.png" for i in ids}
        rows = [
            f"/JPEGImages/{i}.jpg" + (f" {truth[i]}" if (data_root / truth[i][1:]).is_file() else "")
            for i in ids
        ]
        _put(root / "list" / f"{name}.txt", "".join(f"{row}\n" for row in rows).encode(), written)
        _put(root / "list" / f"{name}_id.txt", "".join(f"{i}\n" for i in ids).encode(), written)
    return written


def _put(file: Path, content: bytes, written: list[Path]) -> None:
    if not file.exists():
        with whole_file(file) as partial:
            partial.write_bytes(content)
        written.append(file)


def _copy(source: Path, target: Path, written: list[Path]) -> None:
    if not source.is_file():
        raise UsageError("no such file", file=source)
    if not target.exists():
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
        written.append(target)
