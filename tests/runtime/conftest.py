"""Bundles that several tests of the runtime play."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.toy_bundles import chain


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of three stages."""
    return chain(tmp_path_factory.mktemp("toy") / "three.staged")
