"""A bundle behind Triton: each sequence of frames has a player, and with it a feature cache, of its own.

The model's folder holds `bundle.staged`. Parameters of config.pbtxt: `schedule` (by default the bundle's) and
`device`. A sequence begins with START and ends with END; one whose sender goes away is forgotten when more
than MOST are open, the one that was idle longest first.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

import clockwork_onnx as cw

MOST = 16


class TritonPythonModel:
    """What Triton's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Remember where the bundle is and how it is played, and try that once."""
        given = json.loads(args["model_config"]).get("parameters", {})
        settings = {name: entry["string_value"] for name, entry in given.items()}
        self.bundle = Path(args["model_repository"]) / "bundle.staged"
        self.schedule = settings.get("schedule") or None
        self.device = settings.get("device") or "auto"
        self.players: OrderedDict[int, cw.Player] = OrderedDict()
        self._open().close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response per request: the labels of its frame, or why there are none."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Close what is open."""
        for player in self.players.values():
            player.close()
        self.players.clear()

    def _answer(self, request: Any) -> Any:
        def read(name: str) -> np.ndarray:
            return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

        sequence = int(read("CORRID").reshape(-1)[0])
        try:
            labels = self._player(sequence, bool(read("START").any())).step(read("frame")).labels
        except cw.ClockworkError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        if read("END").any():
            self.players.pop(sequence).close()
        return pb_utils.InferenceResponse([pb_utils.Tensor("labels", labels)])

    def _player(self, sequence: int, starts: bool) -> cw.Player:
        """The player of a sequence; one that begins again has an empty cache."""
        player = self.players.get(sequence)
        if player is None:
            if len(self.players) >= MOST:
                self.players.popitem(last=False)[1].close()
            player = self.players[sequence] = self._open()
        elif starts:
            player.end_shot()
        self.players.move_to_end(sequence)
        return player

    def _open(self) -> cw.Player:
        return cw.open(self.bundle, device=self.device, schedule=self.schedule)
