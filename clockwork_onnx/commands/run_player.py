"""What plays in `clockwork run`: a bundle, with the CRF that its net has or that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import runtime
from runtime.densecrf.playing import RefinedPlayer, crf_of, open_refined
from staged_onnx import Manifest, read_bundle
from weights.errors import UsageError

if TYPE_CHECKING:
    from runtime.player import Player

__all__ = ["open_run_player", "steps_left_out"]


def open_run_player(
    bundle: Path,
    *,
    device: str,
    schedule: str | None,
    signal: str | None,
    passes: str,
    size: tuple[int, int] | None,
    crf: str | None,
    crf_moved: int | None,
    scores: bool,
) -> Player | RefinedPlayer:
    """Open a bundle for `clockwork run`.

    Args:
        bundle: The bundle's folder.
        device, schedule, signal, passes, size: As for `runtime.open`.
        crf: Parameters or "none"; None for the DenseCRF layer of the net, if it has one.
        crf_moved: Iterations where the CRF begins with its result on the frame before; None for none.
        scores: Whether each frame's scores are wanted, too.

    Raises:
        UsageError: A moved start without a CRF, or unknown parameters.
        BundleError, ScheduleError, DeviceError: What cannot be opened, and why.
    """
    parameters = crf_of(read_bundle(bundle).manifest, crf)
    if parameters is None and crf_moved is not None:
        raise UsageError("no CRF to begin with a moved result", found="--crf-moved", hint="--crf NAME")
    if parameters is None and not scores:
        return runtime.open(bundle, device=device, schedule=schedule, signal=signal, passes=passes, size=size)
    return open_refined(
        bundle,
        parameters,
        device=device,
        schedule=schedule,
        signal=signal,
        passes=passes,
        size=size,
        moved_iterations=crf_moved,
    )


def steps_left_out(manifest: Manifest, outputs: Sequence[str], crf: str | None) -> list[str]:
    """What becomes of the layers that a host carries out: one line for each that a user may miss."""
    said = []
    for step in manifest.host_steps:
        if step.type == "MatWrite" and "mat" not in outputs:
            said.append(f'MatWrite layer "{step.name}" is left out: --mat writes its files')
        elif step.type == "DenseCRF":
            how = "runs" if crf is None else "is left out" if crf == "none" else f"is replaced by {crf}"
            said.append(f'DenseCRF layer "{step.name}" {how}')
    return said
