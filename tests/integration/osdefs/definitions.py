"""Definitions on a real disk, for the tests of this directory."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = ("create", "export", "import", "rename", "verify")


def write(
    directory: Path,
    name: str = "deb",
    *,
    scripts: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
) -> Path:
    """A valid definition ``name`` in ``directory``, changed by ``scripts`` (bodies for sh)."""
    path = directory / name
    path.mkdir(parents=True)
    for script in SCRIPTS:
        body = (scripts or {}).get(script, "exit 0")
        (path / script).write_text(f"#!/bin/sh\n{body}\n")
        (path / script).chmod(0o755)
    texts = {"ganeti_api_version": "20\n", "parameters.list": "dhcp whether\nkey which\n"}
    for file, content in {**texts, **(files or {})}.items():
        (path / file).write_text(content)
    return path


def seen(said: list[str]) -> dict[str, str]:
    """The variables among what a script said, which ran ``env``; without the shell's own."""
    found = dict(line.split("=", 1) for line in said if line.partition("=")[0].isidentifier())
    return {name: found[name] for name in found.keys() - {"PWD", "OLDPWD", "SHLVL", "_"}}


def is_dead(pid_file: Path) -> bool:
    """Whether the process whose id is in the file is gone, or is only waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.rpartition(")")[2].split()[0] == "Z"
