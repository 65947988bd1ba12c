"""Files and folders that appear whole or not at all; locks on folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weights.errors import UsageError
from weights.whole_file import exchange, locked_folder, whole_file


def test_appears_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    with whole_file(target) as partial:
        partial.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    with pytest.raises(RuntimeError), whole_file(target) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["x.bin"]


def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with whole_file(tmp_path / "x") as partial:
            partial.touch()
            names.add(partial.name)
    assert len(names) == 20 and all(len(name) > 20 for name in names)


def test_a_link_in_the_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = tmp_path / "out"
    link.symlink_to(victim)
    with whole_file(link) as partial:
        partial.write_text("new")
    assert victim.read_text() == "mine" and link.read_text() == "new" and not link.is_symlink()


def test_long_names(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    with whole_file(target) as partial:
        partial.touch()
    assert target.exists()


@pytest.mark.parametrize("platform", [sys.platform, "other"])
def test_exchange(tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.whole_file.sys.platform", platform)
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    (new / "is").write_text("new")
    old.mkdir()
    (old / "is").write_text("old")
    exchange(new, old)
    assert (old / "is").read_text() == "new" and (new / "is").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_one_writer_per_folder(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from weights.whole_file import locked_folder\n"
        "with locked_folder(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == b"locked\n"
    with pytest.raises(UsageError, match="another run is writing into this folder"), locked_folder(tmp_path):
        pass
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    with locked_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".clockwork.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="cannot be locked"), locked_folder(folder):
        pass
    assert not (tmp_path / "victim").exists()
