"""Bundles that several tests of commands play."""

from __future__ import annotations

import pytest

from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from staged_onnx import Bundle
from tests.support.toy_bundles import toy_bundle


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The toy net of three stages."""
    return toy_bundle(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def shapes_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded shapes-fcn8s."""
    return embedded_bundle(tmp_path_factory.mktemp("shapes") / "shapes-fcn8s.staged")
