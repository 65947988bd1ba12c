"""The grid search: the CRF's parameters that score best on a sample of labelled pictures.

DeepLab v1 searched bi_w, bi_xy_std and bi_rgb_std on 100 pictures of the validation set, with the Gaussian of
position fixed at weight 3 and 3 pixels. Here the pictures are the outer loop: a picture's scores are read
once, each of its lattices is built once for all weights, and after each picture the counts so far are kept,
so that an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np

from clockwork_onnx.deeplab.experiment import Experiment, Picture
from clockwork_onnx.deeplab.mat_files import blob_name
from clockwork_onnx.deeplab.refine import scores_of
from clockwork_onnx.deeplab.scoring import voc_scores
from clockwork_onnx.evaluation.datasets.base import read_label
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.densecrf import CrfParameters, DenseCrf
from runtime.densecrf.lattice import Lattice
from runtime.video.images import read_image
from weights.errors import DataSetError, UsageError
from weights.whole_file import whole_file

__all__ = ["DEFAULT_RANGES", "NO_CRF", "GridPoint", "grid", "plot_grid", "sample", "search", "write_csv"]

DEFAULT_RANGES = {
    "bi_w": (5.0, 10.0),
    "bi_xy_std": tuple(float(v) for v in range(40, 101, 10)),
    "bi_rgb_std": tuple(float(v) for v in range(3, 11)),
}
"""DeepLab v1's: {5, 10}, {40 .. 100}, {3 .. 10}."""


NO_CRF = CrfParameters(pos_w=0, bi_w=0, iterations=0)
"""A setting under which the scores stay as they are."""


@dataclass(frozen=True)
class GridPoint:
    """One setting and its mean IU on the pictures so far."""

    parameters: CrfParameters
    mean_iu: float
    pictures: int


def grid(
    bi_w: Sequence[float],
    bi_xy_std: Sequence[float],
    bi_rgb_std: Sequence[float],
    pos_w: Sequence[float] = (3.0,),
    pos_xy_std: Sequence[float] = (3.0,),
    iterations: int = 10,
) -> list[CrfParameters]:
    """Every combination of parameters, those that share lattices next to each other.

    Args:
        bi_w: Weights of the kernel of position and colour.
        bi_xy_std: Its standard deviations across and down, in pixels.
        bi_rgb_std: Its standard deviations of each colour, in levels of 255.
        pos_w: Weights of the kernel of position.
        pos_xy_std: Its standard deviations across and down, in pixels.
        iterations: Mean-field updates, the same for all.

    Returns:
        The settings, as many as the product of the numbers of values.
    """
    return [
        CrfParameters.of(w, xy, rgb, position, position_std, iterations)
        for xy, rgb, position_std, position, w in product(bi_xy_std, bi_rgb_std, pos_xy_std, pos_w, bi_w)
    ]


def sample(experiment: Experiment, count: int, seed: int = 0) -> list[Picture]:
    """Pictures of the experiment's set that have labels and features, chosen at random.

    Args:
        experiment: The experiment.
        count: How many there are at most.
        seed: The same seed chooses the same pictures.

    Returns:
        The pictures, in the list's order.

    Raises:
        DataSetError: There is none.
    """
    able = [
        picture
        for picture in experiment.pictures()
        if picture.labels is not None and (experiment.feature_folder / blob_name(picture.identity)).is_file()
    ]
    if not able:
        raise DataSetError(
            "no picture with labels and features",
            file=experiment.feature_folder,
            hint="clockwork deeplab test makes the features",
        )
    chosen = np.random.default_rng(seed).permutation(len(able))[:count]
    return [able[i] for i in sorted(chosen)]


def search(
    experiment: Experiment, settings: Sequence[CrfParameters], pictures: Sequence[Picture], kept: Path
) -> Iterator[list[GridPoint]]:
    """Run every setting on every picture.

    Args:
        experiment: Whose features.
        settings: What to try.
        pictures: What to try it on.
        kept: The file (.npz) in which the counts are kept after each picture; one of another search is begun
            anew.

    Yields:
        After each picture, the settings in the order given, with the mean IU over the pictures so far.
    """
    if not settings:
        raise UsageError("nothing to search", expected="at least one value of each parameter")
    classes = int(experiment.variables["NUM_LABELS"])
    search_key = _key(experiment, settings, pictures)
    counts = np.zeros((len(settings), classes, classes + 1), np.int64)
    done, counts = _resume(kept, search_key, counts)
    for number, picture in enumerate(pictures, 1):
        if number > done:
            counts = counts + _counts(experiment, settings, picture, classes)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(kept) as partial, open(partial, "wb") as stream:
                np.savez(stream, key=np.array(search_key), done=number, counts=counts)
        if number >= done:
            yield [GridPoint(s, _mean_iu(c), number) for s, c in zip(settings, counts, strict=True)]


def _mean_iu(counts: np.ndarray) -> float:
    confusion = Confusion(len(counts))
    confusion.counts = counts
    return voc_scores(confusion).mean_iu


def _counts(
    experiment: Experiment, settings: Sequence[CrfParameters], picture: Picture, classes: int
) -> np.ndarray:
    image = read_image(picture.image)
    assert picture.labels is not None
    truth = read_label(picture.labels)
    scores = scores_of(experiment.feature_folder / blob_name(picture.identity), image.shape[:2])
    lattices: dict[tuple[float, ...], Lattice] = {}
    found = []
    for setting in settings:
        needed = {kernel.stds for kernel in setting.kernels}
        for stds in [stds for stds in lattices if len(stds) > 2 and stds not in needed]:
            del lattices[stds]  # a lattice of colours takes some 20 MB, and settings come in its order
        labels = DenseCrf(image, setting, lattices).infer(scores).argmax(axis=0).astype(np.uint8)
        confusion = Confusion(classes)
        confusion.add(truth, labels)
        found.append(confusion.counts)
    return np.stack(found)


def _key(experiment: Experiment, settings: Sequence[CrfParameters], pictures: Sequence[Picture]) -> str:
    """What the kept counts belong to: settings, pictures, and the state of their features."""
    files = [experiment.feature_folder / blob_name(picture.identity) for picture in pictures]
    state = [
        [p.identity, f.stat().st_size, f.stat().st_mtime_ns] for p, f in zip(pictures, files, strict=True)
    ]
    text = json.dumps([[asdict(setting) for setting in settings], state])
    return hashlib.sha256(text.encode()).hexdigest()


def _resume(kept: Path, key: str, empty: np.ndarray) -> tuple[int, np.ndarray]:
    try:
        with np.load(kept, allow_pickle=False) as data:
            if str(data["key"]) == key and data["counts"].shape == empty.shape:
                return int(data["done"]), data["counts"]
    except (OSError, ValueError, KeyError, EOFError):
        pass
    return 0, empty


def write_csv(path: Path, points: Sequence[GridPoint]) -> None:
    """Write one line per setting, best first: its parameters, mean IU and number of pictures.

    Args:
        path: The file; it appears whole or not at all.
        points: The settings with their scores.
    """
    names = [field.name for field in fields(CrfParameters)]
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, "mean_iu", "pictures"])
        for point in sorted(points, key=lambda p: -p.mean_iu):
            values = (f"{getattr(point.parameters, name):g}" for name in names)
            writer.writerow([*values, f"{point.mean_iu:.6f}", point.pictures])


def plot_grid(path: Path, points: Sequence[GridPoint], before: float) -> None:
    """A map of mean IU over bi_xy_std and bi_rgb_std for each bi_w, the best marked.

    Args:
        path: A PNG.
        points: The settings; where several share the three, the best of them is shown.
        before: Mean IU without the CRF, named in the title.
    """
    from matplotlib.figure import Figure

    best = max(points, key=lambda p: p.mean_iu)
    weights = sorted({p.parameters.bi_w for p in points})
    across = sorted({p.parameters.bi_x_std for p in points})
    colours = sorted({p.parameters.bi_r_std for p in points})
    table = np.full((len(weights), len(colours), len(across)), np.nan)
    for p in points:
        at = (weights.index(p.parameters.bi_w), colours.index(p.parameters.bi_r_std))
        place = (*at, across.index(p.parameters.bi_x_std))
        table[place] = np.fmax(table[place], p.mean_iu)
    figure = Figure(figsize=(2.2 + 3.6 * len(weights), 4.2), layout="constrained")
    panels = figure.subplots(1, len(weights), squeeze=False, sharey=True)[0]
    for panel, weight, values in zip(panels, weights, table, strict=True):
        image = panel.imshow(
            values, origin="lower", aspect="auto", cmap="viridis",
            vmin=np.nanmin(table), vmax=np.nanmax(table),
        )  # fmt: skip
        panel.set_xticks(range(len(across)), [f"{v:g}" for v in across])
        panel.set_yticks(range(len(colours)), [f"{v:g}" for v in colours])
        panel.set(title=f"bi_w {weight:g}", xlabel="bi_xy_std, pixels")
        if weight == best.parameters.bi_w:
            ring = across.index(best.parameters.bi_x_std), colours.index(best.parameters.bi_r_std)
            panel.plot(*ring, "o", markersize=14, markerfacecolor="none", markeredgecolor="#d1495b", mew=3)
    panels[0].set_ylabel("bi_rgb_std, levels of 255")
    figure.colorbar(image, ax=panels, label="mean IU")
    figure.suptitle(
        f"{best.pictures} pictures: best {best.mean_iu:.4f} (ring), without CRF {before:.4f}", fontsize=11
    )
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
