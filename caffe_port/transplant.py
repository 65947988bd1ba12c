"""Net surgery on whole nets: the weights of one net for another (FCN's and DIGITS' net_surgery.py).

Layers are matched by name. Numbers are copied in their order, so that the weight (O, I) of a fully connected
layer becomes one (O, C, h, w) of a convolution with C h w = I. What the new net has and the old one has not
is filled as Caffe fills it before training: by the filler that the prototxt states, else with zeros.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from caffe_port.fillers import fill
from caffe_port.match import wanted_blobs
from caffe_port.net import Net
from caffe_port.registry import Blob
from caffe_port.shapes import infer_shapes
from weights.errors import UsageError, WeightsError
from weights.surgery import Blobs, Move, expand_score, transplant

__all__ = ["Filled", "Transplanted", "initial_weights", "transplant_net"]


@dataclass(frozen=True)
class Filled:
    """A blob that comes from no file: `how` is its filler's type, or "zeros"."""

    layer: str
    index: int
    shape: tuple[int, ...]
    how: str


@dataclass(frozen=True)
class Transplanted:
    """The weights of the new net, and where each blob came from or went.

    `copied` kept their shape, `coerced` have another one, `extended` are the first classes of more,
    `filled` are new, and `dropped` have no place in the new net.
    """

    blobs: dict[str, tuple[np.ndarray, ...]]
    copied: tuple[Move, ...]
    coerced: tuple[Move, ...]
    extended: tuple[Move, ...]
    filled: tuple[Filled, ...]
    dropped: tuple[Move, ...]


def _how(blob: Blob) -> str:
    """By what a blob is filled: Caffe's default for weights and biases without a filler is zeros."""
    kind, value = (blob.filler.type, blob.filler.value) if blob.filler is not None else ("", 0.0)
    if blob.role in ("weight", "bias") and (not kind or (kind == "constant" and value == 0)):
        return "zeros"
    return kind or f"the {blob.role} of no change"


def initial_weights(net: Net, seed: int = 0) -> tuple[dict[str, tuple[np.ndarray, ...]], tuple[Filled, ...]]:
    """Every blob of the net as Caffe has it before training, and by what each was filled.

    Args:
        net: The net, with the shapes of its inputs.
        seed: Seed of the random fillers.

    Returns:
        Layer key -> arrays, and what each was filled by.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[np.ndarray, ...]] = {}
    filled = []
    for key, blobs in wanted_blobs(net, infer_shapes(net)).items():
        made[key] = tuple(
            np.zeros(b.shape, np.float32) if _how(b) == "zeros" else fill(b, rng) for b in blobs
        )
        filled += [Filled(key, i, b.shape, _how(b)) for i, b in enumerate(blobs)]
    return made, tuple(filled)


def _as_stored_by_rows(net: Net, blobs: Blobs) -> dict[str, tuple[np.ndarray, ...]]:
    """The weights of the net's own layers, with transposed InnerProducts put right; others are left out."""
    kept = {}
    for layer in net.layers:
        arrays = blobs.get(layer.key) or blobs.get(layer.name) or ()
        if arrays and layer.type == "InnerProduct" and layer.spec.inner_product_param.transpose:
            first = arrays[0].reshape(-1, layer.spec.inner_product_param.num_output)
            arrays = (np.ascontiguousarray(first.T), *arrays[1:])
        if arrays:
            kept[layer.key] = tuple(arrays)
    return kept


def _check_renames(old: Net, new: Net, renamed: Mapping[str, str], kept: Blobs, made: Blobs) -> None:
    """Raise UsageError for a renamed layer that is not there, and where two layers would go to one place."""
    for source, target in renamed.items():
        if source not in kept or target not in made:
            there = kept if source not in kept else made
            raise UsageError(
                "no such layer with weights",
                file=(old if there is kept else new).file,
                found=source if there is kept else target,
                expected=", ".join(there),
            )
    places = [renamed.get(name, name) for name in kept]
    twice = {name for name in places if places.count(name) > 1 and name in made}
    if twice:
        raise UsageError("two layers for one place", file=new.file, found=", ".join(sorted(twice)))


def transplant_net(
    old: Net,
    old_blobs: Blobs,
    new: Net,
    *,
    rename: Mapping[str, str] | None = None,
    extend: Collection[str] = (),
    seed: int = 0,
) -> Transplanted:
    """The weights of `old` for `new`.

    Args:
        old: The net that `old_blobs` belong to.
        old_blobs: Layer name -> arrays.
        new: The net to make weights for.
        rename: Layer of `old` -> layer of `new`, where the names differ.
        extend: Layers of `new` that score more classes than those of `old`: their first classes are the
            old ones. Where they score fewer, and where they upsample, they are filled anew.
        seed: Seed of the random fillers.

    Returns:
        The weights by layer key, and where each comes from.

    Raises:
        UsageError: `rename` names a layer that is not there, or two layers for one place.
        WeightsError: A blob has another count of numbers than its place.
    """
    renamed = dict(rename or {})
    kept = _as_stored_by_rows(old, old_blobs)
    made, filled = initial_weights(new, seed)
    _check_renames(old, new, renamed, kept, made)
    upsampling = {layer.key for layer in new.layers if layer.type == "Deconvolution"}
    extended: list[Move] = []
    refilled: list[Move] = []
    for source, arrays in list(kept.items()):
        target = renamed.get(source, source)
        if target not in extend or target not in made or arrays[0].size == made[target][0].size:
            continue
        del kept[source]
        place = made[target][0]
        if target in upsampling or arrays[0].size > place.size:
            refilled += [Move(source, i, a.shape) for i, a in enumerate(arrays)]
            continue
        rows = (arrays[0].reshape(-1, *place.shape[1:]), *arrays[1:])
        made, report = expand_score(made, target, {source: rows}, source)
        extended += report.copied
    try:
        made, report = transplant(made, kept, rename=renamed)
    except WeightsError as error:
        error.hint = "give the layer another name in the new net, or --classes N if it scores classes"
        raise error.located(file=new.file) from None
    taken = {(m.target, m.index) for m in (*report.copied, *report.coerced, *extended)}
    return Transplanted(
        made,
        report.copied,
        report.coerced,
        tuple(extended),
        tuple(f for f in filled if (f.layer, f.index) not in taken),
        (*report.dropped, *refilled),
    )
