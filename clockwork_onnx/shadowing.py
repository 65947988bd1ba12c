"""Is it our `weights` that Python finds, or a file of the user's with the same name?

The packages below the front door have ordinary names. A user's own `weights.py`, or a folder `runtime/`
beside a script, comes first on Python's path and would otherwise show up as an AttributeError far from its
cause.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "check_packages"]

PACKAGES = ("weights", "caffe_port", "staged_onnx", "runtime")

_HOME = Path(__file__).resolve().parent.parent


def check_packages() -> None:
    """Check that the four packages are those installed beside this one.

    Raises:
        ImportError: Another module has one of their names; the message says which file it is.
    """
    for name in PACKAGES:
        found = _location(name)
        if found is None:
            raise ImportError(
                f"clockwork_onnx: its package '{name}' is missing from {_HOME}; install clockwork-onnx again"
            )
        if found.resolve() != _HOME / name:
            raise ImportError(
                f"clockwork_onnx: another module named '{name}' hides the package of that name: {found}; "
                f"rename it, or take its folder off Python's path (ours is {_HOME / name})"
            )


def _location(name: str) -> Path | None:
    """The file of the module, or the folder of the package, that `import name` finds; None where none is."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else find_spec(name)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if folders:
        return Path(folders[0])
    return Path(spec.origin) if spec.origin is not None else None
