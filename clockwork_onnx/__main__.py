"""`python -m clockwork_onnx`: the same as the `clockwork` command."""

from clockwork_onnx.cli import main

main()
