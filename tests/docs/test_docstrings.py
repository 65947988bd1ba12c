"""What the packages export is documented: each parameter has its line, and so has what is given back."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("caffe_port", "clockwork_onnx", "runtime", "staged_onnx", "weights")
EXPORTING = sorted(
    ".".join(file.relative_to(ROOT).parent.parts)
    for package in PACKAGES
    for file in (ROOT / package).rglob("__init__.py")
)


def own_functions(package: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions that a package exports, and the public methods of the classes that it exports."""
    module = import_module(package)
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isfunction(thing):
            yield f"{package}.{name}", thing
        elif inspect.isclass(thing) and thing.__module__.split(".")[0] in PACKAGES:
            for attribute, value in vars(thing).items():
                method = getattr(value, "__func__", value)
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    yield f"{package}.{name}.{attribute}", method


def section(doc: str, *titles: str) -> list[str]:
    """The names that the entries of a section begin with, `name: ...`; [""] for one that is plain text."""
    found = re.search(rf"^(?:{'|'.join(titles)}):\n((?:    .*\n|\n)+)", doc + "\n", flags=re.M)
    if found is None:
        return []
    return re.findall(r"^    \*{0,2}(\w+): \S", found[1], flags=re.M) or [""]


def faults(function: Callable[..., Any]) -> list[str]:
    """What the docstring of a function lacks."""
    doc = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    parameters = [name for name in signature.parameters if name not in ("self", "cls")]
    missing = [] if doc else ["a docstring"]
    described = section(doc, "Args")
    if sorted(described) != sorted(parameters):
        missing.append(f"Args for {parameters}, has {described}")
    gives = parameters and signature.return_annotation not in ("None", None)
    if gives and not section(doc, "Returns", "Yields"):
        missing.append(f"Returns or Yields of {signature.return_annotation}")
    return missing


@pytest.mark.parametrize("package", EXPORTING)
def test_what_a_package_exports_is_documented(package: str) -> None:
    found = {name: faults(function) for name, function in own_functions(package)}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_the_packages_export_functions() -> None:
    names = {name for package in PACKAGES for name, _ in own_functions(package)}
    assert {"caffe_port.read_net", "clockwork_onnx.open", "runtime.Player.play", "weights.write"} <= names
    assert len(names) > 40


def complete(number: int, factor: float = 1.0) -> float:
    """The product.

    Args:
        number: One.
        factor: The other.

    Returns:
        The product.
    """
    return number * factor


def lacking(number: int, factor: float = 1.0) -> float:
    """The product of `number` and `factor`.

    Args:
        number: One, as in
            factor: the other.
    """
    return number * factor


def test_a_parameter_without_a_line_and_a_result_without_a_section_are_found() -> None:
    assert faults(complete) == []
    assert faults(lacking) == [
        "Args for ['number', 'factor'], has ['number']",
        "Returns or Yields of float",
    ]
