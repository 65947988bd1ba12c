"""The exact floors of setup.cfg as constraints for pip: what continuous integration tests against.

python -m tools.floors > floors.txt
pip install -c floors.txt -e '.[flow,test]'
"""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from pathlib import Path

__all__ = ["floors"]

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=(?P<floor>[^,;\s]+)")


def floors(text: str) -> list[str]:
    """One NAME==FLOOR line for each package that running and testing needs on Linux.

    Args:
        text: The contents of setup.cfg.
    """
    config = ConfigParser()
    config.read_string(text)
    extras = config["options.extras_require"]
    lines = [config["options"]["install_requires"], extras["flow"], extras["test"]]
    wanted = [line.strip() for line in "\n".join(lines).splitlines() if '== "darwin"' not in line]
    found = [match for line in wanted if (match := _REQUIREMENT.match(line))]
    return list(dict.fromkeys(f"{match['name']}=={match['floor']}" for match in found))


if __name__ == "__main__":
    sys.stdout.write("\n".join(floors((Path(__file__).parents[1] / "setup.cfg").read_text("utf-8"))) + "\n")
