"""A layer's own `phase`, which is its mode, not a filter (Caffe: Net::Init, LayerParameter.phase).

`include` and `exclude` say whether a layer is there; the field `phase` says how it works. Caffe gives every
layer the net's phase where the field is not set. Tools that write a net out (Caffe itself, Vitis, DECENT) put
it on every layer. Most layers do the same in both modes. In TRAIN mode

- BatchNorm normalises by the batch's own statistics unless `use_global_stats` says otherwise
  (batch_norm_layer.cpp: use_global_stats_ = phase == TEST);
- Dropout and its kind, and STOCHASTIC pooling, draw random numbers, which no model can reproduce.
"""

from __future__ import annotations

from caffe_port.proto import caffe_pb2
from weights.errors import UnsupportedError

__all__ = ["apply_mode"]

_RANDOM = frozenset({"Dropout", "SpatialDropout"})
_FORKS_STATISTICS = frozenset({"BN", "CuDNNBatchNorm", "SyncBN"})


def apply_mode(layer: caffe_pb2.LayerParameter) -> str:
    """Write what TRAIN mode means into the layer's own fields.

    Args:
        layer: The layer; changed in place.

    Returns:
        A note for the user, "" where the mode changes nothing.

    Raises:
        UnsupportedError: The layer draws random numbers in this mode, or a fork's statistics are meant.
    """
    if not layer.HasField("phase") or layer.phase != caffe_pb2.TRAIN:
        return ""
    stochastic = layer.type == "Pooling" and layer.pooling_param.pool == caffe_pb2.PoolingParameter.STOCHASTIC
    draws = layer.type == "SeLuDropout" or (layer.type in _RANDOM and layer.dropout_param.dropout_ratio != 0)
    if draws or stochastic or layer.type in _FORKS_STATISTICS:
        raise UnsupportedError(
            "a layer that is in TRAIN mode at test time too",
            found="phase: TRAIN"
            + (" (it draws random numbers)" if layer.type not in _FORKS_STATISTICS else ""),
            expected="no phase, or phase: TEST",
            hint="delete the field to run the layer as at test time",
        )
    if layer.type == "BatchNorm" and not layer.batch_norm_param.HasField("use_global_stats"):
        layer.batch_norm_param.use_global_stats = False
        return "phase: TRAIN: normalised by the statistics of each batch, as Caffe does"
    return ""
