"""The arithmetic of paths on the CPU: lengthening one, warping by one, how badly one explains a picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from runtime.flow.fields import Flow
from staged_onnx.blend import residual_graph
from staged_onnx.warp import path_graph, warp_graph

__all__ = ["PathGraphs"]

GREYS_KEPT = 8


class PathGraphs:
    """Small graphs, opened when first used and run by one thread: waking others would take longer."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[Any, ...], ort.InferenceSession] = {}
        self._greys: OrderedDict[tuple[int, tuple[int, int]], tuple[Any, NDArray[np.float32]]] = OrderedDict()
        self._lock = Lock()

    def longer(self, path: Flow, flow: Flow) -> Flow:
        """The path that begins with `flow` and goes on along `path` (see `path_graph`).

        Args:
            path: h x w x 2, in pixels of its grid.
            flow: H x W x 2, in pixels of its grid.

        Returns:
            h x w x 2, on the path's grid.
        """
        grid = (path.shape[0], path.shape[1])
        return self._run("path", lambda: path_graph(flow.shape, grid), path=path, flow=flow)

    def warp(self, value: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
        """A map read where a flow leads to.

        Args:
            value: 1 x C x h x w.
            flow: H x W x 2, in pixels of its grid.

        Returns:
            1 x C x h x w.
        """
        value = np.ascontiguousarray(value)
        return self._run("warp", lambda: warp_graph(value.shape, flow.shape), value=value, flow=flow)

    def residual(
        self, image: NDArray[np.uint8], source: NDArray[np.uint8], path: Flow
    ) -> NDArray[np.float32]:
        """How many grey levels a picture differs from what its path leads to, as a mean over 5 x 5 pixels.

        Args:
            image: The picture, uint8 height x width x 3, RGB.
            source: The picture that the path leads to.
            path: h x w x 2, in pixels of its grid.

        Returns:
            h x w, on the path's grid.
        """
        grid = (path.shape[0], path.shape[1])
        return self._run(
            "residual",
            lambda: residual_graph(grid),
            image=self.grey(image, grid),
            source=self.grey(source, grid),
            path=path,
        )

    def grey(self, image: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.float32]:
        """Grey levels on a grid, each the mean of its pixels.

        Args:
            image: uint8 height x width x 3, RGB.
            grid: Height and width of the grid.

        Returns:
            h x w, from 0 to 255.
        """
        key = (id(image), grid)
        known = self._greys.get(key)
        if known is not None and known[0] is image:
            return known[1]
        picture = Image.fromarray(image).convert("L")
        if picture.size != (grid[1], grid[0]):
            picture = picture.resize((grid[1], grid[0]), Image.Resampling.BOX)
        grey = np.asarray(picture, np.float32)
        self._greys[key] = (image, grey)
        while len(self._greys) > GREYS_KEPT:
            self._greys.popitem(last=False)
        return grey

    def _run(self, kind: str, build: Callable[[], onnx.ModelProto], **arrays: Any) -> NDArray[np.float32]:
        key = (kind, *(array.shape for array in arrays.values()))
        with self._lock:
            if key not in self._sessions:
                options = ort.SessionOptions()
                options.intra_op_num_threads = options.inter_op_num_threads = 1
                options.log_severity_level = 4
                self._sessions[key] = ort.InferenceSession(
                    build().SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            session = self._sessions[key]
        return np.asarray(session.run(None, arrays)[0])
