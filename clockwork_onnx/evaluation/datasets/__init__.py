"""Data sets in their original folder layouts, read lazily. One module a data set."""

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot

__all__ = ["DataSet", "Sample", "Shot"]
