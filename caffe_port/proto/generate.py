"""Rebuild `caffe_pb2.py` and its types from `caffe.proto`.

python -m caffe_port.proto.generate    # needs the extra [dev]
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

__all__ = ["generate", "main"]

HERE = Path(__file__).parent


def generate(into: Path) -> Path:
    """Compile `caffe.proto` into the folder `into`.

    Writes the module `caffe_pb2.py` and `caffe_pb2.pyi`, which tells type checkers its messages and fields.

    Returns:
        The path of the module.

    Raises:
        SystemExit: the compiler failed.
    """
    protoc = import_module("grpc_tools.protoc")
    status = protoc.main(
        ["protoc", f"-I{HERE}", f"--python_out={into}", f"--pyi_out={into}", str(HERE / "caffe.proto")]
    )
    if status:
        raise SystemExit(f"protoc failed with status {status}")
    return into / "caffe_pb2.py"


def main() -> int:
    """Write the committed module in place."""
    print(generate(HERE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
