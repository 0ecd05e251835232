"""The lines that start daemons mean the same, whichever way they are read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gantry.main.daemon_options import DaemonOptions, daemon_options


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", DaemonOptions(Path("/from/environment"), None)),
        ("--root /srv/a", DaemonOptions(Path("/srv/a"), None)),
        ("--ready-fd 7 --root /srv/a", DaemonOptions(Path("/srv/a"), 7)),
        ("--root=/srv/a --ready-fd=7", DaemonOptions(Path("/srv/a"), 7)),
        ("--root=/srv/a --ready-fd 7", DaemonOptions(Path("/srv/a"), 7)),
        ("--root /srv/a --root /srv/b", DaemonOptions(Path("/srv/b"), None)),
    ],
)
def test_a_line_is_read(
    monkeypatch: pytest.MonkeyPatch, line: str, expected: DaemonOptions
) -> None:
    monkeypatch.setenv("GANTRY_ROOT", "/from/environment")
    assert daemon_options(line.split(), "agent", "…") == expected


@pytest.mark.parametrize(
    "line", ["--root", "--rot /", "/srv/a", "--ready-fd x", "--root --ready-fd"]
)
def test_a_wrong_line_is_wrong_use(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        daemon_options(line.split(), "agent", "…")
    assert caught.value.code == 2
    assert "usage: gantry agent" in capsys.readouterr().err


def test_help_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        daemon_options(["--help"], "master", "Run it.")
    assert not caught.value.code
    said = capsys.readouterr().out
    assert "Run it." in said and "example: gantry master --root /" in said
    assert sys.modules.get("argparse") is not None
