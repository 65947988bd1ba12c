"""What the pages say is true: their commands run, the schema fits real bundles, the site has every page."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from clockwork_onnx.cli import run
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from staged_onnx import Manifest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_command_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorial.md").read_text("utf-8")
    commands = re.findall(r"^\$ clockwork (.*)$", text, flags=re.M)
    assert len(commands) == 5
    for command in commands:
        assert run(shlex.split(command)) == 0, command
    assert (tmp_path / "by-warp" / "timeline.png").is_file()
    assert len(list((tmp_path / "by-oracle" / "labels").iterdir())) == 90


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    bundle = embedded_bundle(tmp_path_factory.mktemp("bundle") / "shapes.staged")
    return json.loads((bundle.path / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads((DOCS / "reference" / "manifest.schema.json").read_text("utf-8"))


def test_the_schema_fits_a_real_bundle(manifest: Any, schema: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra [test]")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    assert set(manifest) <= set(schema["properties"]), "a field that the schema does not know"
    for path, wrong in (
        (("format_version",), 2),
        (("head", "model"), "../head.onnx"),
        (("classes", "palette"), [[0, 0, 256]]),
        (("preprocessing", "channels"), "hsv"),
    ):
        broken = json.loads(json.dumps(manifest))
        where = broken
        for key in path[:-1]:
            where = where[key]
        where[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_the_bundle_page_names_every_field(manifest: Any) -> None:
    page = (DOCS / "reference" / "bundle.md").read_text("utf-8")
    assert [field for field in manifest if f"`{field}`" not in page] == []


def test_architecture_names_files_that_exist() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`((?:caffe_port|staged_onnx|runtime|weights|clockwork_onnx)/[\w/]+\.py)`", page))
    assert len(named) >= 10, named
    named.discard("caffe_port/layers/NAME.py")
    assert [name for name in sorted(named) if not (DOCS.parent / name).is_file()] == []
    ways = [section for section in page.split("\n## ") if "way of a" in section.splitlines()[0]]
    assert len(ways) == 2
    for way in ways:
        assert 3 <= len(re.findall(r"^\d+\. ", way, flags=re.M)) <= 7, way.splitlines()[0]


def test_the_navigation_of_the_site_has_every_page() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (DOCS.parent / "mkdocs.yml").read_text("utf-8"), flags=re.M))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert pages - listed <= {page for page in pages if re.match("results/.+/", page)}
    assert listed <= pages


def test_the_schema_knows_every_field_that_a_manifest_can_have(schema: Any) -> None:
    source = inspect.getsource(Manifest.to_json)
    assert set(re.findall(r'"(\w+)": ', source)) - {"names", "palette"} <= set(schema["properties"])
