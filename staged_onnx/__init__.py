"""Cut a ported net into stages and keep them as a bundle on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caffe_port.net import Net, Shape
from staged_onnx.bundle import Bundle, check_files, read_bundle
from staged_onnx.export import export
from staged_onnx.frame_graphs import FRAME, FrameSpec, Preprocessing
from staged_onnx.manifest import FeatureFlow, Manifest, StageSpec, ValueSpec
from staged_onnx.outputs import OutputSpec
from staged_onnx.palettes import Classes, classes
from staged_onnx.planning import Plan, StagePlan, plan_cuts
from weights.errors import UsageError

__all__ = [
    "FRAME",
    "Bundle",
    "Classes",
    "FeatureFlow",
    "FrameSpec",
    "Manifest",
    "OutputSpec",
    "Plan",
    "Preprocessing",
    "StagePlan",
    "StageSpec",
    "ValueSpec",
    "check_files",
    "classes",
    "export",
    "plan",
    "read_bundle",
]


def plan(
    net: Net,
    cuts: Sequence[str] | None = None,
    *,
    stages: int | None = None,
    output: str | None = None,
    inputs: Mapping[str, Shape] | None = None,
    kind: str | None = None,
) -> Plan:
    """Divide a net into stages; see `staged_onnx.planning` and `staged_onnx.automatic` for the rules.

    Args:
        net: The net.
        cuts: Blobs to cut at, shallow to deep.
        stages: Instead of cuts, how many stages of balanced cost there should be, the head not counted.
        output: The blob that holds the output, by default the net's only one.
        inputs: Shapes (N, C, H, W) by name that replace the prototxt's, for the cost figures.
        kind: What is to come out: "labels", "scores", "picture", "map" or "vector"; by default it follows
            from the net.

    Returns:
        The stages, each with what it reads, hands out and costs.

    Raises:
        UsageError: Both or neither of `cuts` and `stages` are given, or a blob is unknown.
        BundleError: The net cannot be cut so.
    """
    if (cuts is None) == (stages is None):
        raise UsageError(
            "how should the net be cut?", expected="either cuts (blob names) or a number of stages"
        )
    if cuts is not None:
        return plan_cuts(net, cuts, output=output, inputs=inputs, kind=kind)
    from staged_onnx.automatic import choose_cuts

    assert stages is not None
    chosen = choose_cuts(net, stages, output=output, inputs=inputs, kind=kind)
    return plan_cuts(net, chosen.cuts, output=output, inputs=inputs, why=chosen.why, kind=kind)
