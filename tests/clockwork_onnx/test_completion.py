"""The lines for shell completion that docs/howto/settings.md gives."""

import os
import subprocess
import sys

import pytest

START = "import sys; from clockwork_onnx.cli import cli; cli(prog_name='clockwork')"


@pytest.mark.parametrize(
    ("words", "position", "found"), [("clockwork ru", 1, "run"), ("clockwork run --sched", 2, "--schedule")]
)
def test_bash_completes_commands_and_options(words: str, position: int, found: str) -> None:
    environment = {
        **os.environ,
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
        "_CLOCKWORK_COMPLETE": "bash_complete",
    }
    done = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"plain,{found}"]
