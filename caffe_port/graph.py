"""A Caffe net on its way to an ONNX graph: what a layer's `emit` writes into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caffe_port.net import Dims, Layer, Net, Shape, Sizes
from caffe_port.onnx_graph import Dimensions, Draft, OnnxGraph

__all__ = ["GraphBuilder", "NeedsFixedSize"]


class NeedsFixedSize(Exception):
    """Raised by an `emit` that cannot follow the frame size; the graph is then built for one size."""

    def __init__(self, layer: Layer, reason: str) -> None:
        super().__init__(f'layer "{layer.name}" ({layer.type}): {reason}')


class GraphBuilder(OnnxGraph):
    """An ONNX graph that knows the net: the sizes of its values, and where each is in the graph.

    `env` maps each value of the net to its name in the graph. Results are called after the net's values
    wherever they are one, so that the graph reads like the prototxt; inner results of a layer are called
    `layer/Op`. `notes` collects what the user should know of the conversion.
    """

    def __init__(self, net: Net, sizes: Sizes) -> None:
        super().__init__()
        self.net = net
        self.sizes = sizes
        self.env: dict[str, str] = {}
        self.notes: list[str] = []

    @property
    def fixed(self) -> bool:
        """Whether every size is known."""
        return self.sizes.fixed

    def shape(self, value: str) -> Shape:
        """Shape of a value of the net at the net's own input size."""
        return self.sizes.shapes[value]

    def dims(self, value: str) -> Dims:
        """Shape of a value of the net, None where it follows the frame size."""
        return self.sizes.dims[value]

    def require_fixed(self, layer: Layer, reason: str, values: Iterable[str] | None = None) -> None:
        """Say that a layer needs the sizes of values to be known.

        Args:
            layer: The layer.
            reason: Why it needs them, for the model's metadata.
            values: The values, by default the layer's bottoms.

        Raises:
            NeedsFixedSize: One of them follows the frame size.
        """
        if any(None in self.dims(v) for v in (layer.bottoms if values is None else values)):
            raise NeedsFixedSize(layer, reason)

    def value_input(self, value: str, dims: Dimensions) -> None:
        """Declare a value of the net as a graph input of the same name.

        Args:
            value: The value's name.
            dims: Its dimensions, numbers or names.
        """
        self.env[value] = self.input(value, dims)

    def draft(self, name: str, called: Mapping[str, str] | None = None) -> Draft:
        """As `OnnxGraph.draft`; results are called after the values of the net.

        Args:
            name: The graph's name.
            called: Name -> result, by default the values of the net.

        Returns:
            The model without its weights, and the arrays.
        """
        return super().draft(name, self.env if called is None else called)
