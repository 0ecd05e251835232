"""What lies where exports are read, whoever put it there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.fakes.export_files import exported

from gantry.agent import exports
from gantry.model.backup_orders import CONFIG, EXPORT_DIRECTORY
from gantry.model.errors import Rejected

GANETI = "/srv/ganeti/export"


def put(root: Path, name: str, config: str | None, directory: str = EXPORT_DIRECTORY) -> Path:
    path = root / directory.lstrip("/") / name
    path.mkdir(parents=True)
    if config is not None:
        (path / CONFIG).write_text(config)
    return path


def test_one_that_is_bad_does_not_hide_the_others(tmp_path: Path) -> None:
    good = exported("dump0")[CONFIG]
    put(tmp_path, "good", good)
    put(tmp_path, "endless", good.replace("timestamp = 1", "timestamp = 1e400"))
    put(tmp_path, "nothing", None)
    os.mkfifo(put(tmp_path, "waits", None) / CONFIG)
    (put(tmp_path, "leads-away", None) / CONFIG).symlink_to("/etc/passwd")
    put(tmp_path, "theirs", good, GANETI)
    put(tmp_path, os.fsdecode(b"not\xfftext"), good)
    found = {one.name: one for one in exports._list(tmp_path)}
    assert sorted(found) == ["endless", "good", "leads-away", "nothing", "theirs", "waits"]
    assert {name for name, one in found.items() if not one.problem} == {"good", "theirs"}
    assert "nologin" not in found["leads-away"].problem
    assert found["good"].directory == EXPORT_DIRECTORY
    assert found["theirs"].directory == GANETI


def test_a_description_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (put(tmp_path, "web1", None) / CONFIG).symlink_to("/etc/passwd")
    with pytest.raises(Rejected, match="no export"):
        exports._read(tmp_path, f"{EXPORT_DIRECTORY}/web1", None)


def test_files_whose_names_cannot_be_sent_are_left_out(tmp_path: Path) -> None:
    path = put(tmp_path, "web1", exported("dump0")[CONFIG])
    (path / "dump0").write_bytes(b"x")
    (path / os.fsdecode(b"not\xfftext")).write_bytes(b"x")
    (path / "two\nlines").write_bytes(b"x")
    found = exports._read(tmp_path, f"{EXPORT_DIRECTORY}/web1", None)
    assert sorted(found.files) == [CONFIG, "dump0"]


def test_exports_may_be_elsewhere_as_a_whole_but_not_one_of_them(tmp_path: Path) -> None:
    good = exported("dump0")[CONFIG]
    elsewhere = tmp_path / "large"
    (elsewhere / "web1").mkdir(parents=True)
    (elsewhere / "web1" / CONFIG).write_text(good)
    (elsewhere / "web2").symlink_to(elsewhere / "web1")
    place = tmp_path / EXPORT_DIRECTORY.lstrip("/")
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    assert [one.name for one in exports._list(tmp_path)] == ["web1"]
    assert exports._read(tmp_path, f"{EXPORT_DIRECTORY}/web1", None).config == good
    with pytest.raises(Rejected, match="symbolic link"):
        exports._read(tmp_path, f"{EXPORT_DIRECTORY}/web2", None)
