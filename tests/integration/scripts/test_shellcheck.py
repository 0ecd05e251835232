"""shellcheck has nothing to say of any shell script that we ship."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[3]
_SHELLS = ("#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash")
_IN_GUESTS = _TOP / "os/busybox/guest"


def _scripts() -> list[Path]:
    """Those of packaging, OS definitions, examples and CI; a link is another one's name."""
    found = [
        path
        for room in ("packaging", "os", "examples", ".ci")
        for path in (_TOP / room).rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    return sorted(path for path in found if _first_line(path) in _SHELLS)


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(100).decode(errors="replace").rstrip()


def test_all_rooms_have_some() -> None:
    names = {str(path.relative_to(_TOP)) for path in _scripts()}
    assert {"packaging/install-runner", "os/busybox/create", "examples/power/ipmi"} <= names
    assert {"packaging/guest-kernel", "os/busybox/guest/etc/init.d/boot", ".ci/run"} <= names


@pytest.mark.parametrize("script", _scripts(), ids=lambda path: str(path.relative_to(_TOP)))
def test_it_finds_nothing(script: Path) -> None:
    options = ["-x"]
    if script.is_relative_to(_IN_GUESTS):
        # Busybox's shell knows `local`, and what is included lies elsewhere there.
        options = ["-s", "dash", "-e", "SC1091"]
    done = subprocess.run(
        ["shellcheck", *options, script.name],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
