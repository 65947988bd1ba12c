"""The folder of a run's results: one run at a time, never results of two, and what is needed to go on.

`run.json` says what the run is (its settings: all that decides what the results are), which files it writes
and how far it has come: "running", "interrupted" or "complete". A run that says "running" while nobody holds
the folder's lock was killed. Files that are not whole yet have `.part` in their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weights import limits
from weights._version import __version__
from weights.errors import UsageError
from weights.regular_file import read_regular
from weights.whole_file import check_folder, growing, locked_folder, whole_file

__all__ = ["KINDS", "RunFolder", "RunState", "read_state"]

KINDS = ("labels", "overlay", "timeline", "log", "report", "mat", "views")
"""What can be written; each is an option of the command."""
STATE = "run.json"
LOG = "steps.jsonl"
OLD = ".old"
_FILES = ("overlay.mp4", "overlay.png", "timeline.png", LOG, "report.html")
_FOLDERS = {"labels": ("*.png",), "mat": ("*.mat",), "views": ("*.png", "views.json", "views.html")}
_STATES = ("running", "interrupted", "complete")


@dataclass(frozen=True)
class RunState:
    """What `run.json` says.

    settings: what decides the results, as JSON data. outputs: the kinds that are written. state: "running",
    "interrupted" or "complete". frames: how many were finished when this was written.
    """

    settings: Mapping[str, Any]
    outputs: tuple[str, ...]
    state: str = "running"
    frames: int = 0

    def check_same(self, other: RunState, folder: Path) -> None:
        """Refuse to go on with another run.

        Args:
            other: The state of the run that is to go on.
            folder: The folder, for the message.

        Raises:
            UsageError: A setting or the outputs differ; the message says which.
        """
        mine = {**self.settings, "outputs": list(self.outputs)}
        theirs = {**other.settings, "outputs": list(other.outputs)}
        for name in mine.keys() | theirs.keys():
            if mine.get(name) != theirs.get(name):
                raise UsageError(
                    f"the run in this folder was another: its {name} differs",
                    file=folder / STATE,
                    found=json.dumps(mine.get(name)),
                    expected=json.dumps(theirs.get(name)),
                    hint="give --resume the options of the run that broke off, or choose another folder",
                )


def read_state(folder: Path) -> RunState | None:
    """What the run in a folder says of itself; None where there is none.

    Args:
        folder: The run's folder.

    Returns:
        The state; None where the folder has no `run.json`.

    Raises:
        UsageError: Its `run.json` is not one that this command wrote.
    """
    path = folder / STATE
    if not path.exists():
        return None
    expected = f"a {STATE} that clockwork run wrote"
    try:
        data: Any = json.loads(
            read_regular(path, limits.RUN_STATE_BYTES, expected=expected, error=UsageError)
        )
        state = RunState(data["settings"], tuple(data["outputs"]), data["state"], data["frames"])
        known = data["format"] == "clockwork-run" and state.state in _STATES and isinstance(state.frames, int)
    except (ValueError, TypeError, KeyError, RecursionError):
        known = False
    if not known or not isinstance(state.settings, dict) or not set(state.outputs) <= set(KINDS):
        raise UsageError("not the state of a run", file=path, expected=expected)
    return state


class RunFolder:
    """A folder for results, locked while this is open; use it in a `with`.

    Args:
        path: The folder; it is made, and gone again where nothing is written into it.
        mode: What becomes of the results of an earlier run: "new" refuses to start, "force" removes them when
            the first new result is written, "resume" goes on with them.

    Raises:
        UsageError: Another run is writing there; there are results and the mode is "new"; or there are
            files that no run listed.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.earlier: RunState | None = None
        """The state that was found; None in a new folder."""
        self._stack = ExitStack()
        self._is_made = False
        self._mode = mode

    def __enter__(self) -> RunFolder:
        check_folder(self.path)
        self._is_made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._stack.enter_context(locked_folder(self.path))
            self.earlier = read_state(self.path)
            self._check_mode()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()

    def _close(self) -> None:
        self._stack.close()
        if self._is_made:
            with suppress(OSError):  # something was written
                self.path.rmdir()

    def _check_mode(self) -> None:
        there = [entry.name for entry in self._results()]
        if self.earlier is None and there:
            raise UsageError(
                "there are files in this folder that no run has listed",
                file=self.path,
                found=", ".join(there[:3]),
                expected="a folder without them",
                hint="move them away, or choose another folder",
            )
        if self.earlier is not None and self._mode == "new":
            raise UsageError(
                "there are results of an earlier run in this folder",
                file=self.path,
                found=f"{self.earlier.frames} frames, {self.earlier.state}",
                expected="a folder without results",
                hint="--resume goes on with that run, --force replaces it",
            )

    @property
    def log(self) -> Path:
        """Where the steps are kept; while the run goes on, under the name of a file that grows."""
        return self.path / LOG

    def begin(self, state: RunState) -> None:
        """Write that a run begins; what is left of an earlier one goes, but if that is to be gone on with."""
        self.write(state)
        if self._mode == "force" or self.earlier is None:
            for entry in self._results():
                if entry.is_dir() and not entry.is_symlink():
                    for pattern in _FOLDERS[entry.name]:
                        for file in entry.glob(pattern):
                            file.unlink()
                else:
                    entry.unlink()

    def write(self, state: RunState) -> None:
        """Write how far the run has come."""
        data = {
            "format": "clockwork-run",
            "format_version": 1,
            "created_by": f"clockwork-onnx {__version__}",
            "state": state.state,
            "frames": state.frames,
            "outputs": list(state.outputs),
            "settings": dict(state.settings),
        }
        with whole_file(self.path / STATE) as partial:
            partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def _results(self) -> list[Path]:
        """What lies here under a name that a run writes, in the order of these names."""
        names = [name for file in _FILES for name in (file, growing(Path(file)).name)]
        overlays = [self.path / f"overlay{OLD}.mp4"]
        files = [
            p for p in (*(self.path / name for name in names), *overlays) if p.exists() or p.is_symlink()
        ]
        folders = [
            self.path / name
            for name, patterns in _FOLDERS.items()
            if any(True for pattern in patterns for _ in (self.path / name).glob(pattern))
        ]
        return [*files, *folders]
