"""Secret OS parameters never need to stand on a command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gantry.cli import secrets
from gantry.cli.errors import Usage


def test_from_a_file_one_a_line_with_any_character(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("# remark\n\nroot_password=a,b=c \\ d\nkey=x\n")
    assert secrets.read(f"@{file}") == {"root_password": "a,b=c \\ d", "key": "x"}


def test_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("password=s3cret\n"))
    assert secrets.read("@-") == {"password": "s3cret"}


def test_on_the_command_line_as_ganeti_has_it() -> None:
    assert secrets.read("a=1,b=2") == {"a": "1", "b": "2"}
    assert secrets.read(None) == {}


def test_a_complaint_never_shows_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("s3cret\n")
    for given in (f"@{file}", "=s3cret", f"@{tmp_path}/none"):
        with pytest.raises(Usage) as refused:
            secrets.read(given)
        assert "s3cret" not in str(refused.value) + refused.value.hint
