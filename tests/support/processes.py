"""Processes of this machine, as tests look for them."""

from __future__ import annotations

from pathlib import Path


def called(program: str, *words: str) -> list[int]:
    """Numbers of those that run ``program`` and have each of ``words`` in an argument."""
    found = []
    for each in Path("/proc").iterdir():
        if not each.name.isdigit():
            continue
        try:
            arguments = (each / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        named = Path(arguments[0]).name == program
        if named and all(any(word in one for one in arguments) for word in words):
            found.append(int(each.name))
    return found
