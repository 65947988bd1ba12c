"""The schedule that a new bundle is given where the user names none, and why."""

from __future__ import annotations

from importlib.util import find_spec

from staged_onnx import Manifest

__all__ = ["default_schedule"]

LARGE = 300_000_000
"""Multiply-accumulates from which a pass costs more than the optical flow of a frame."""


def default_schedule(manifest: Manifest, *, flow: bool | None = None) -> tuple[str, str]:
    """A schedule for a bundle, and the reason in one line.

    Args:
        manifest: The bundle's.
        flow: Whether a quick optical flow is at hand, by default whether OpenCV is installed.

    Returns:
        The schedule's text, and a line that says why.
    """
    early = {value for stage in manifest.stages[:-1] for value in stage.outputs}
    if manifest.output.kind != "labels":
        return "oracle", f"every frame gets its own {manifest.output.kind}; skip:2 halves the work"
    flow = find_spec("cv2") is not None if flow is None else flow
    if any(step.type == "DenseCRF" for step in manifest.host_steps):
        return "oracle", "the net's CRF needs the scores of every frame; skip:2 halves the work"
    if manifest.macs >= LARGE and flow and manifest.scores is not None:
        return (
            "warp:4",
            "the net on every 4th frame, its labels moved along the optical flow between: a quarter of the "
            "work; clockwork advise compares others on your video",
        )
    why = "" if manifest.macs < LARGE else "; warp:4 saves more where OpenCV is installed: pip install "
    why += "'clockwork-onnx[flow]'" if why else ""
    if early.intersection(manifest.head.inputs):
        share = manifest.stages[-1].macs / max(1, manifest.macs)
        return "alternating", f"the last stage, {share:.0%} of the work, every other frame{why}"
    return "skip:2", f"nothing but the last stage feeds the head, so all of it rests every other frame{why}"
