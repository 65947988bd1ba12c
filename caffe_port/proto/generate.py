"""Rebuild `caffe_pb2.py` from `caffe.proto`: python -m caffe_port.proto.generate (needs the extra [dev])."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

__all__ = ["generate", "main"]

HERE = Path(__file__).parent


def generate(into: Path) -> Path:
    """Compile `caffe.proto` into the folder `into` and return the path of the Python module."""
    protoc = import_module("grpc_tools.protoc")
    status = protoc.main(["protoc", f"-I{HERE}", f"--python_out={into}", str(HERE / "caffe.proto")])
    if status:
        raise SystemExit(f"protoc failed with status {status}")
    return into / "caffe_pb2.py"


def main() -> int:
    """Write the committed module in place."""
    print(generate(HERE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
