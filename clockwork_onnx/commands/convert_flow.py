"""What `clockwork convert` does with a net that moves its features between key frames (Accel, DFF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clockwork_onnx.commands.bundle_summary import bundle_summary
from clockwork_onnx.options import NetOptions
from weights.errors import UsageError

if TYPE_CHECKING:
    from caffe_port import Net
    from staged_onnx import Bundle

__all__ = ["read_key_net", "write_flow_bundle"]

Weights = Mapping[str, tuple[np.ndarray, ...]]

SHOWN = 6
"""Weights that no layer takes that are named before the rest is counted."""
CITYSCAPES = 19


def read_key_net(reading: NetOptions, prototxt: Path) -> Net:
    """The net of key frames of a prototxt that holds both nets.

    Args:
        reading: The options that say how nets are read.
        prototxt: The file.

    Returns:
        The net.

    Raises:
        PrototxtError, UnsupportedError: As `caffe_port.read_net` does.
    """
    return replace(reading, net_stage=(*reading.net_stage, "key")).read(prototxt)


def _weights(net: Net, key_net: Net, path: str | None, seed: int | None) -> Weights:
    """The weights of both nets: from files, or from the fillers where there is a seed."""
    import caffe_port
    import weights

    if (path is None) == (seed is None):
        raise UsageError(
            "where do the weights come from?",
            found="both" if path is not None else "neither",
            expected="WEIGHTS, or --random-weights SEED",
        )
    if path is not None:
        return weights.read(path)
    made = (caffe_port.random_weights(each, seed=seed or 0) for each in (net, key_net))
    return {name: arrays for blobs in made for name, arrays in blobs.items()}


_FIXED = {"cuts": "--cut", "stages": "--stages", "kind": "--kind", "signal": "--signal", "outputs": "--blob"}
"""Options that do not go with such a net."""


def _check_options(net: Net, options: Mapping[str, Any]) -> None:
    given = [shown for name, shown in _FIXED.items() if options[name]]
    if given:
        raise UsageError(
            "the stages of this net follow from its two graphs",
            file=net.file,
            found=", ".join(given),
            expected="the net as it is",
        )


def write_flow_bundle(
    net: Net,
    key_net: Net,
    weights_path: str | None,
    target: Path,
    *,
    whole: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the bundle and return its summary.

    Args:
        net: The net of the frames between key frames.
        key_net: That of key frames.
        weights_path: Files of weights, separated by commas.
        target: The folder to write.
        whole: Also keep the key net for comparison.
        options: The command's other options by name; None and () are not given.

    Returns:
        The summary that the command prints, as JSON data.

    Raises:
        UsageError: An option that does not go with such a net.
    """
    import staged_onnx
    from clockwork_onnx.preprocessing import given_mean
    from runtime.schedule.grammar import parse_schedule
    from staged_onnx.feature_flow import plan_feature_flow
    from staged_onnx.flow_export import PIXEL_MEANS, default_schedule, export_feature_flow

    blobs = _weights(net, key_net, weights_path, options["random_weights"])
    files = weights_path.split(",") if weights_path is not None else []
    _check_options(net, options)
    size = options["size"] if options["size"] not in (None, "native") else None
    how = staged_onnx.Preprocessing(
        size,
        options["channels"] or "rgb",
        given_mean(options["mean"]) or PIXEL_MEANS,
        options["scale"] or 1.0,
    )
    plan = plan_feature_flow(key_net, net, size)
    schedule = options["schedule"] or default_schedule(plan)
    channels = plan.between.shapes[plan.between.scores][1]
    classes = options["classes"] or ("cityscapes" if channels == CITYSCAPES else None)
    bundle = export_feature_flow(
        blobs,
        plan,
        target,
        preprocessing=how,
        classes=staged_onnx.classes(classes, channels) if classes else None,
        schedule=schedule,
        weights_files=files,
        whole=whole,
        force=options["force"],
        check=lambda manifest: parse_schedule(schedule, manifest, files=False),
    )
    summary = bundle_summary(bundle)
    summary["notes"] += _left_over(bundle, blobs)
    return {**summary, "left_out": [], "chosen": []}


def _left_over(bundle: Bundle, blobs: Weights) -> list[str]:
    """A note on weights that no layer takes."""
    manifest = bundle.manifest
    assert manifest.feature_flow is not None
    stages = (*manifest.stages, manifest.head, manifest.feature_flow.head)
    taken = {layer for stage in stages for layer in stage.layers}
    extra = [name for name in blobs if name not in taken]
    if not extra:
        return []
    shown = ", ".join(extra[:SHOWN]) + (f" and {len(extra) - SHOWN} more" if len(extra) > SHOWN else "")
    return [f"weights that no layer takes: {shown}"]
