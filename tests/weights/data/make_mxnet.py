"""Writes mxnet-*.params and mxnet-*.npz beside it, with a real MXNet. Runs on Python 2.7 and 3.

python2.7 -m pip install --target OLD mxnet==0.9.5 numpy==1.16.6
PYTHONPATH=OLD python2.7 make_mxnet.py          # legacy: before V1
... mxnet==0.11.0                               # V1
python3.8 -m pip install mxnet==1.9.1 numpy==1.23.5
python3.8 make_mxnet.py                         # V2, and V3 (np_shape)
"""

import os

import mxnet as mx
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GENERATION = {"0.9.5": "legacy", "0.11.0": "v1", "1.9.1": "v2"}[mx.__version__]
TYPES = ["float32", "float64", "float16", "uint8", "int32"]
if GENERATION == "v2":
    TYPES += ["int8", "int64", "bool"]

ARRAYS = {
    "arg:conv1_weight": np.arange(2 * 3 * 1 * 2, dtype="float32").reshape(2, 3, 1, 2) / 7,
    "arg:conv1_bias": np.array([-1.5, 2.25], "float32"),
    "arg:bn1_gamma": np.array([1, 2], "float32"),
    "arg:bn1_beta": np.array([3, 4], "float32"),
    "aux:bn1_moving_mean": np.array([5, 6], "float32"),
    "aux:bn1_moving_var": np.array([7, 8], "float32"),
    "arg:rfcn_bbox_weight": np.array([[0]], "float32"),
    "arg:rfcn_bbox_weight_test": np.array([[8]], "float32"),
    "arg:rfcn_bbox_bias_test": np.array([9], "float32"),
    "arg:scale": np.array([[0.125]], "float32"),
}
for kind in TYPES:
    ARRAYS["arg:of_" + kind] = (np.arange(6).reshape(2, 3) % 5).astype(kind)


def save(name, arrays):
    stored = {key: mx.nd.array(value, dtype=value.dtype) for key, value in arrays.items()}
    mx.nd.save(os.path.join(HERE, "mxnet-" + name + ".params"), stored)
    np.savez_compressed(os.path.join(HERE, "mxnet-" + name + ".npz"), **arrays)


save(GENERATION, ARRAYS)
if GENERATION == "v2":
    with mx.np_shape(True):
        scalar = mx.nd.zeros((1,)).reshape(())
        empty = mx.nd.zeros((0, 3))
        mx.nd.save(os.path.join(HERE, "mxnet-v3.params"), {"arg:scalar": scalar, "arg:empty": empty})
    arrays = {"arg:scalar": np.zeros((), "float32"), "arg:empty": np.zeros((0, 3), "float32")}
    np.savez_compressed(os.path.join(HERE, "mxnet-v3.npz"), **arrays)
    mx.nd.save(
        os.path.join(HERE, "mxnet-sparse.params"),
        {"arg:x_weight": mx.nd.array(np.eye(3, dtype="float32")).tostype("csr")},
    )
