"""The paper's Table 1 and Figure 2: how fast the layers of a net change from frame to frame.

What is measured are the score layers, whatever the cuts, as in the notebook behind the paper: the blobs whose
name begins with "score", those left out that are a crop (they end in "c"), upsampled or split. In the FCN-8s
these are score_pool3, score_pool4, score_fr and the final score. A net with at most one such name is also
measured at its carried values that have a channel per class.

The depth of a score layer is that of what it scores: how many convolutions and poolings lie before the layer
that is scored, on the longest way from the frame: 9 for pool3, 13 for pool4 and 19 for fc7, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot, mean_of, preprocess
from clockwork_onnx.evaluation.paper.experiments import run_experiment
from clockwork_onnx.evaluation.paper.numbers import TABLE_1
from clockwork_onnx.evaluation.paper.protocols import METHODS, Method, Options
from clockwork_onnx.evaluation.paper.sources import Experiment
from clockwork_onnx.evaluation.results.tables import Cell, Table
from clockwork_onnx.evaluation.scoring.differences import ARGMAX, Difference, ShotDifferences, over_shots
from clockwork_onnx.evaluation.scoring.truncated import StageRunner, graphs_of, has_scores_of
from staged_onnx import Bundle

__all__ = [
    "LayerChange",
    "LayerChanges",
    "ScoreLayer",
    "difference_table",
    "layer_changes",
    "score_layers",
]

_DEEPENING = frozenset({"AveragePool", "Conv", "Gemm", "MaxPool"})
_PAPER_ROWS = {"pixels": "pixels", "score_pool3": "pool3", "score_pool4": "pool4", "score_fr": "fc7"}


@dataclass(frozen=True)
class ScoreLayer:
    """A layer with a channel per class.

    stage: after how many stages it is known. depth: how many convolutions and poolings lie before the layer
    that it scores; None where it is not made by a convolution.
    """

    name: str
    stage: int
    depth: int | None


@dataclass(frozen=True)
class LayerChange:
    """A row of Table 1: how much something changes per frame, and how good a net cut off there is."""

    name: str
    relative: Difference | None
    change: Difference | None
    mean_iu: float | None
    depth: int | None = None


@dataclass(frozen=True)
class LayerChanges:
    """What was measured on a video.

    rows: of Table 1, from the pixels to the true labels. differences: all of them by name, over shots.
    traces: shot -> layer -> the relative difference frame by frame, from the second frame on, of the two
    shots of Figure 2: those in which the deepest score layer changes least, but does, and most.
    """

    rows: tuple[LayerChange, ...]
    differences: dict[str, Difference]
    traces: dict[str, dict[str, list[float]]]


def score_layers(bundle: Bundle) -> list[ScoreLayer]:
    """Find the score layers of a net, from shallow to deep."""
    manifest, graphs = bundle.manifest, graphs_of(bundle)
    depth: dict[str, int] = {"frame": 0}
    scored: dict[str, str] = {}  # made by a convolution -> what it reads
    made: dict[str, int] = {}
    for number, graph in enumerate(graphs.values(), start=1):
        for node in graph.graph.node:
            deepest = max((depth.get(name, 0) for name in node.input), default=0)
            for name in node.output:
                depth[name] = deepest + (node.op_type in _DEEPENING)
                made[name] = min(number, len(manifest.stages))
                if node.op_type == "Conv":
                    scored[name] = node.input[0]
    names = [name for name in made if name.startswith("score") and not name.endswith("c") and "/" not in name]
    if len(names) < 2:  # no more than the last one
        carried = ((n, manifest.values[n].shape) for stage in manifest.stages for n in stage.outputs)
        classes = len(manifest.class_names)
        names = [name for name, shape in carried if len(shape) == 4 and shape[1] == classes] + names
    layers = [
        ScoreLayer(n, made[n], max(0, depth.get(scored[n], 0) - 1) if n in scored else None) for n in names
    ]
    # by depth, as the table has them, however the net is cut; the last score, of no one depth, at the end
    return sorted(layers, key=lambda layer: (layer.depth is None, layer.depth or 0))


def layer_changes(
    experiment: Experiment, video: DataSet, bundle: Bundle, options: Options, device: str = "auto"
) -> LayerChanges:
    """Measure Table 1 and Figure 2 on a video.

    Every frame from the first labelled one of a shot on is run in full.

    Args:
        experiment: What the nets cut off early are scored on.
        video: The labelled video.
        bundle: The net.
        options: `pixel_values` says whether the data set's mean is subtracted from the pixels, `label_change`
            how changes of labels are counted.
        device: As for `runtime.open`.

    Returns:
        What was measured.

    Raises:
        UsageError: No shot has a labelled frame.
    """
    layers = score_layers(bundle)
    runner = StageRunner(bundle, device, blobs=[layer.name for layer in layers])
    mean = video.mean or mean_of(bundle.manifest.preprocessing)
    subtracted = mean if options.pixel_values == "mean subtracted" else (0.0,) * 3
    shots = {}
    for number, shot in enumerate(video.shots):
        gathered = _of_shot(shot, runner, layers, subtracted, options)
        if gathered is not None:
            shots[shot.name if shot.name not in shots else f"{shot.name} ({number})"] = gathered
    summary = over_shots(gathered.mean() for gathered in shots.values())
    accuracy = _accuracy(experiment, bundle, options, device)
    whole = len(bundle.manifest.stages)
    rows = [LayerChange("pixels", summary["data"], None, None, 0)]
    for layer in layers:
        # A score that no single convolution makes is the sum of all: the net's last one.
        stage = layer.stage if layer.depth is not None else whole
        name = layer.name
        rows.append(
            LayerChange(name, summary[name], summary[name + ARGMAX], accuracy.get(stage), layer.depth)
        )
    rows.append(LayerChange("output", None, summary["output"], accuracy[whole]))
    rows.append(LayerChange("true label", None, summary["label"], None))
    return LayerChanges(tuple(rows), summary, _traces(shots, layers))


def _of_shot(
    shot: Shot,
    runner: StageRunner,
    layers: Sequence[ScoreLayer],
    mean: Sequence[float],
    options: Options,
) -> ShotDifferences | None:
    first = next((i for i, s in enumerate(shot.samples) if s.read_label is not None), None)
    if first is None:
        return None
    gathered = ShotDifferences(options.label_change)
    for sample in shot.samples[first:]:
        image = sample.read_image()
        labels, _ = runner.run(image)
        values = {layer.name: runner.value(layer.name)[0] for layer in layers}
        gathered.add(preprocess(image, mean), values, _truth(sample), labels)
    return gathered


def _accuracy(experiment: Experiment, bundle: Bundle, options: Options, device: str) -> dict[int, float]:
    """Mean IU by the number of stages after which the net is cut off, where it can be."""
    whole = len(bundle.manifest.stages)
    depths = [n for n in range(1, whole) if has_scores_of(bundle, n)]
    methods = [*(Method("", "oracle", stages=n) for n in depths), METHODS["frame oracle"]]
    rows = run_experiment(experiment, bundle, methods, options, device=device)
    return {row.method.stages or whole: row.result.scores.mean_iu for row in rows}


def _traces(
    shots: Mapping[str, ShotDifferences], layers: Sequence[ScoreLayer]
) -> dict[str, dict[str, list[float]]]:
    """Figure 2: of the two deepest scored layers (pool4 and fc7), in the stillest and the liveliest shot."""
    by_depth = sorted((layer for layer in layers if layer.depth is not None), key=lambda one: one.depth or 0)
    shown = [layer.name for layer in (by_depth or list(layers))[-2:]]
    if not shown:
        return {}
    # A still picture has nothing to draw; it is taken only where there is nothing else.
    ranked = sorted(shots, key=lambda name: shots[name].mean()[shown[-1]])
    ranked = [name for name in ranked if shots[name].mean()[shown[-1]] > 0] or ranked
    chosen = dict.fromkeys((ranked[0], ranked[-1]))
    # The first frame is compared with itself, which is a 0 of the mean and nothing to draw.
    return {
        shot: {layer: [values[layer] for values in shots[shot].trace[1:]] for layer in shown}
        for shot in chosen
    }


def difference_table(title: str, rows: Sequence[LayerChange], with_paper: bool) -> Table:
    """Lay out Table 1.

    Args:
        title: The table's title.
        rows: As `layer_changes` gives them.
        with_paper: Also show the paper's numbers, of the layers that it names.

    Returns:
        The paper's columns, depth included, and the share of labels that change.
    """
    columns = ["", "relative difference", "std", "labels changed", "std", "depth", "mean IU"]
    if with_paper:
        columns += ["paper difference", "std", "paper depth", "paper mean IU"]
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        line: list[Cell] = [row.name]
        for difference in (row.relative, row.change):
            line += [difference.mean, difference.std] if difference is not None else [None, None]
        line += [row.depth, row.mean_iu]
        if with_paper:
            known = TABLE_1.get(_PAPER_ROWS.get(row.name, ""))
            mean, std, depth, percent = known if known is not None else (None, None, None, None)
            line += [mean, std, depth, None if percent is None else percent / 100]
        cells.append(tuple(line))
    return Table(title, tuple(columns), tuple(cells))


def _truth(sample: Sample) -> NDArray[np.uint8] | None:
    return sample.read_label() if sample.read_label is not None else None
