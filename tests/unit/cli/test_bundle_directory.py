"""A directory that is pushed: what of it is sent, and what is refused in plain words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gantry.cli.bundle.directory import read
from gantry.cli.errors import Usage


def test_links_to_files_of_the_directory_are_followed_and_hidden_files_left_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").symlink_to("one")
    for hidden in (".git", "__pycache__"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "x").write_text("x")
    assert [(one.path, one.content) for one in read(str(tmp_path))] == [
        ("one", b"1"),
        ("two", b"1"),
    ]


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "to itself": (lambda top: (top / "x").symlink_to("x"), "is a link in a circle"),
    "out": (lambda top: (top / "x").symlink_to("/etc/passwd"), "is a link out of the directory"),
    "to nothing": (lambda top: (top / "x").symlink_to("gone"), "is no file"),
    "to a directory": (lambda top: (top / "x").symlink_to("."), "is no file"),
    "pipe": (lambda top: os.mkfifo(top / "x"), "is no file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_in_a_bundle_is_named(tmp_path: Path, name: str) -> None:
    make, said = WRONG[name]
    make(tmp_path)
    with pytest.raises(Usage) as refused:
        read(str(tmp_path))
    assert f"{tmp_path}: x {said}" in str(refused.value)
