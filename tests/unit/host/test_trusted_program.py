"""Whose programs are run with our rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.host.trusted_program import complaint


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "sbin/oob"
    path.parent.mkdir(mode=0o755)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_ours_is_run(program: Path) -> None:
    assert complaint(program) == ""


def test_what_is_no_executable_file_is_not(program: Path) -> None:
    assert "No such file" in complaint(program.with_name("other"))
    assert "is not a file" in complaint(program.parent)
    program.chmod(0o644)
    assert "is not executable" in complaint(program)


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_what_others_can_write_is_not(program: Path, mode: int) -> None:
    program.chmod(mode)
    assert "by others than its owner" in complaint(program)
    program.chmod(0o755)
    program.parent.chmod(mode)
    assert str(program.parent) in complaint(program)
    program.parent.chmod(0o1777)
    assert complaint(program) == "", "a sticky directory, such as /tmp"


def test_a_link_counts_as_what_it_leads_to(program: Path) -> None:
    link = program.with_name("link")
    link.symlink_to(program)
    assert complaint(link) == ""
    program.chmod(0o775)
    assert "by others than its owner" in complaint(link)
    link.unlink()
    link.symlink_to(link)
    assert complaint(link) != ""
