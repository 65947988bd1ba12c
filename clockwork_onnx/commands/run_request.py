"""What `clockwork run` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clockwork_onnx.commands.run_folder import KINDS
from weights.errors import UsageError

if TYPE_CHECKING:
    from runtime.densecrf.playing import RefinedPlayer
    from runtime.player import Player

__all__ = ["RunRequest"]


@dataclass(frozen=True)
class RunRequest:
    """What was asked for; `quiet`: nothing is shown while it runs. The others are the command's options."""

    bundle: Path
    source: str
    quiet: bool
    schedule: str | None
    signal: str | None
    crf: str | None
    crf_moved: int | None
    device: str
    passes: str
    size: tuple[int, int] | None
    folder: Path | None
    force: bool
    resume: bool
    labels: bool
    overlay: bool
    timeline: bool
    log: bool
    report: bool
    mat: bool
    views: bool
    colours: str
    line_width: float
    alpha: float
    start: int
    stride: int
    max_frames: int | None
    live: str | None
    shots: str | None
    fps: Fraction | None
    inputs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        named = [kind for kind in (*KINDS, "force", "resume") if getattr(self, kind)]
        if named and self.folder is None:
            raise UsageError(
                "where should it be written?",
                found=", ".join(f"--{kind}" for kind in named),
                expected="-o FOLDER with them",
            )
        if self.force and self.resume:
            raise UsageError("--force begins anew and --resume goes on", expected="one of them")
        if self.resume and self.crf_moved is not None:
            raise UsageError(
                "a CRF that begins with its result on the frame before cannot go on where it broke off",
                found="--resume --crf-moved",
                expected="--force, to begin anew",
            )

    def open_player(self) -> Player | RefinedPlayer:
        """A player of the bundle, as asked for."""
        from clockwork_onnx.commands.run_player import open_run_player

        return open_run_player(
            self.bundle,
            device=self.device,
            schedule=self.schedule,
            signal=self.signal,
            passes=self.passes,
            size=self.size,
            crf=self.crf,
            crf_moved=self.crf_moved,
            scores=self.mat,
        )

    @property
    def is_named(self) -> bool:
        """Whether any kind of output is named."""
        return any(getattr(self, kind) for kind in KINDS)

    @property
    def mode(self) -> str:
        """What becomes of an earlier run's results, for `RunFolder`."""
        return "force" if self.force else "resume" if self.resume else "new"

    def wanted(self, still: bool) -> tuple[str, ...]:
        """What is to be written; where only the folder is named, what suits a video or a single picture."""
        named = tuple(kind for kind in KINDS if getattr(self, kind))
        if self.folder is None or named:
            return named
        return ("labels", "overlay") if still else ("overlay", "timeline", "log")

    def settings(self, player: Player | RefinedPlayer) -> dict[str, Any]:
        """All that decides what the results are, as JSON data."""
        from runtime.video.streams import without_password

        source = Path(self.source)
        return {
            "bundle": player.bundle.manifest.name,
            "bundle_sha256": sha256((player.bundle.path / "manifest.json").read_bytes()).hexdigest(),
            "source": without_password(self.source),
            "inputs": {name: without_password(source) for name, source in self.inputs},
            "source_bytes": source.stat().st_size if source.is_file() else None,
            "schedule": str(player.schedule),
            "signal": self.signal,
            "device": str(player.device),
            "passes": list(player.device.passes),
            "fps": None if self.fps is None else str(self.fps),
            "size": list(self.size) if self.size is not None else None,
        } | {
            name: getattr(self, name)
            for name in (
                "crf",
                "crf_moved",
                "start",
                "stride",
                "max_frames",
                "live",
                "shots",
                "alpha",
                "colours",
                "line_width",
            )
        }
