"""Properties of files: what is written comes back, what is damaged is refused or harmless."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import weights
from weights.errors import WeightsError

DATA = Path(__file__).parent / "data"
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

arrays = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4),
    elements=st.floats(width=32),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@dataclass(frozen=True)
class Layer:
    name: str
    type: str = "Convolution"
    bottoms: tuple[str, ...] = ("in",)
    tops: tuple[str, ...] = ("out",)


@dataclass(frozen=True)
class Net:
    name: str
    layers: tuple[Layer, ...]


def _same(found: dict[str, tuple[np.ndarray, ...]], given: dict[str, list[np.ndarray]]) -> None:
    assert set(found) == {name for name, blobs in given.items() if blobs}
    for name, stored in found.items():
        for mine, theirs in zip(stored, given[name], strict=True):
            assert mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()


@SETTINGS
@given(st.dictionaries(names, st.lists(arrays, max_size=4), min_size=1, max_size=5), names)
def test_binary_round_trip(tmp_path: Path, blobs: dict[str, list[np.ndarray]], title: str) -> None:
    path = tmp_path / "x.caffemodel"
    weights.write(path, Net(title, tuple(map(Layer, blobs))), blobs)
    _same(weights.read(path), blobs)
    assert weights.describe(path).name == title
    assert [layer.name for layer in weights.describe(path).layers] == list(blobs)


@SETTINGS
@given(
    st.dictionaries(
        names.filter(lambda name: name not in ("", ".") and not set(name) & {"\0", "/"}),
        st.lists(arrays, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_hdf5_round_trip(tmp_path: Path, blobs: dict[str, list[np.ndarray]]) -> None:
    path = tmp_path / "x.caffemodel.h5"
    weights.write(path, Net("net", tuple(map(Layer, blobs))), blobs)
    _same(weights.read(path), blobs)


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5"])
@SETTINGS
@given(data=st.data())
def test_damaged_files_raise_nothing_else(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    content = bytearray((DATA / f"mini.{suffix}").read_bytes())
    # Most structure lies in front: half of the damage goes there.
    reach = data.draw(st.sampled_from([600, len(content)]))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, reach - 1), st.integers(0, 255)), min_size=1, max_size=8)
    ):
        content[place] = value
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content[:cut])
    tracemalloc.start()
    try:
        found = weights.read(path)
        assert sum(array.nbytes for blobs in found.values() for array in blobs) <= 4 * len(content)
    except WeightsError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20


@SETTINGS
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    try:
        assert isinstance(weights.read(path), dict)
    except WeightsError as error:
        assert str(path) in str(error)
