"""Which weight a Deconvolution runs with when its prototxt and its blob disagree about `group`.

FCN's upsampling layers were first published dense (K x K x k x k, all but the diagonal zero) and later
grouped (K x 1 x k x k), under the same names. Caffe only takes pairs that agree; old weights are given with
new prototxts all the same, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weights.errors import ShapeError, WeightsError

__all__ = ["Standardised", "standardise"]


@dataclass(frozen=True)
class Standardised:
    """A weight (channels in, channels out / group, ...) and the group to run it with.

    `rule` says in words which case it was, `warning` what the user should know about it, if anything.
    """

    weight: np.ndarray
    group: int
    rule: str
    warning: str | None = None


def _blocks(weight: np.ndarray, group: int) -> np.ndarray | None:
    """The blocks on the diagonal of a dense weight, grouped; None if there is anything beside them."""
    rows, columns = weight.shape[0] // group, weight.shape[1] // group
    split = weight.reshape(group, rows, group, columns, *weight.shape[2:])
    on = np.arange(group)
    diagonal = split[on, :, on]
    # NaN counts as something: comparing with zero finds it too. One group at a time needs no second copy.
    for index in range(group):
        row = split[index]
        if (row[:, :index] != 0).any() or (row[:, index + 1 :] != 0).any():
            return None
    return diagonal.reshape(weight.shape[0], columns, *weight.shape[2:])


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def standardise(weight: np.ndarray, *, group: int, channels_in: int, num_output: int) -> Standardised:
    """The weight of a Deconvolution whose prototxt says `group`, in one of four cases.

    a. As the prototxt says, grouped (channels in, num_output / group, ...): taken as it is.
    b. Dense in the prototxt and in the blob: taken as it is, unless there are as many channels out as in and
       all is zero beside the diagonal; then it runs in that many groups, with the same numbers for less work.
    c. Grouped in the prototxt, dense in the blob: the blocks on the diagonal, if all is zero beside them.
    d. Dense in the prototxt, one kernel per channel in the blob: put on the diagonal of a dense weight, with
       a warning, since Caffe refuses it.

    Args:
        weight: The blob, (channels in, channels out / group, kernel height, kernel width); it stays as it is.
        group: The prototxt's `group`.
        channels_in: How many channels the layer's bottom has.
        num_output: How many channels its top has.

    Returns:
        The weight to run with, its group, and which case it was.

    Raises:
        WeightsError: Any other shape, or a dense blob of a grouped layer with more than the diagonal.
        ShapeError: `group` does not divide the channels.
    """
    if group < 1 or channels_in % group or num_output % group:
        raise ShapeError(
            "group does not divide the channels",
            found=f"group {group}, {channels_in} channels in, {num_output} out",
        )
    dense = (channels_in, num_output)
    grouped = (channels_in, num_output // group)
    stored = weight.shape[:2]
    if stored == grouped:
        if group > 1:
            return Standardised(weight, group, f"grouped as in the prototxt ({group} groups)")
        if channels_in == num_output > 1:
            diagonal = _blocks(weight, channels_in)
            if diagonal is not None:
                rule = f"dense with nothing beside the diagonal: run as {channels_in} groups"
                return Standardised(diagonal, channels_in, rule)
        return Standardised(weight, 1, "dense as in the prototxt")
    if group > 1 and stored == dense:
        return _diagonal_taken(weight, group, grouped)
    if group == 1 and channels_in == num_output and stored == (channels_in, 1):
        return _put_on_diagonal(weight, channels_in)
    accepted = [_text(grouped + weight.shape[2:])]
    if group > 1:
        accepted.append(f"{_text(dense + weight.shape[2:])} with zeros beside the diagonal")
    elif channels_in == num_output:
        accepted.append(_text((channels_in, 1) + weight.shape[2:]))
    raise WeightsError(
        "a Deconvolution's weight has the wrong shape",
        found=f"shape {_text(weight.shape)}",
        expected=" or ".join(accepted),
    )


def _diagonal_taken(weight: np.ndarray, group: int, grouped: tuple[int, int]) -> Standardised:
    """Case c."""
    diagonal = _blocks(weight, group)
    if diagonal is None:
        raise WeightsError(
            "a dense weight for a grouped layer has numbers beside the diagonal",
            found=f"shape {_text(weight.shape)}",
            expected=f"zeros there, or shape {_text(grouped + weight.shape[2:])}",
            hint=f"remove group: {group} from the layer if the weights were trained dense",
        )
    return Standardised(
        diagonal,
        group,
        f"dense weight of a grouped layer: its diagonal taken ({group} groups)",
        f"a dense weight ({_text(weight.shape)}) for a layer of {group} groups: its diagonal was taken",
    )


def _put_on_diagonal(weight: np.ndarray, channels: int) -> Standardised:
    """Case d."""
    full = np.zeros((channels, channels, *weight.shape[2:]), weight.dtype)
    on = np.arange(channels)
    full[on, on] = weight[:, 0]
    return Standardised(
        full,
        1,
        "grouped weight of a dense layer: put on the diagonal",
        f"a weight of one kernel per channel ({_text(weight.shape)}) for a layer without groups: "
        "the kernels were put on the diagonal",
    )
