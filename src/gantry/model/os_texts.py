"""Texts of an OS definition's files, and how they differ between two nodes. Pure.

Which files differ is known from their digests (``gantry.model.oses``); this is for showing how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

import msgspec

from gantry.model.asking import Question

MAX_TEXT: Final = 64 * 1024
"""Bytes of a file beyond which only that it differs is shown."""
MAX_FILES: Final = 50
MAX_LINES: Final = 400
"""Lines of all differences of one node."""


class OsText(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its permission bits, and its text, or why that is not shown."""

    path: str
    mode: int = 0
    text: str | None = None
    note: str = ""


class OsTexts(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has of the files that it was asked for."""

    files: tuple[OsText, ...] = ()


class ReadOsTexts(Question[OsTexts], frozen=True, kw_only=True, tag="os-texts"):
    """Read these files of the definition that counts on the node; ``paths`` are relative.

    Files that not everybody on the node may read stay unread.
    """

    answer: ClassVar[type[msgspec.Struct]] = OsTexts
    name: str
    paths: tuple[str, ...]


def difference(usual: OsTexts, other: OsTexts, names: tuple[str, str]) -> list[str]:
    """The lines of a unified diff from ``usual`` to ``other``, which are on the nodes ``names``."""
    lines: list[str] = []
    theirs, mine = _by_path(usual), _by_path(other)
    for path in sorted({*theirs, *mine}):
        lines += _one(path, theirs.get(path), mine.get(path), names)
    if len(lines) > MAX_LINES:
        return [*lines[:MAX_LINES], f"({len(lines) - MAX_LINES} lines more)"]
    return lines


def _by_path(texts: OsTexts) -> Mapping[str, OsText]:
    return {one.path: one for one in texts.files}


def _one(
    path: str, usual: OsText | None, other: OsText | None, names: tuple[str, str]
) -> list[str]:
    here = (f"{names[0]}:{path}", f"{names[1]}:{path}")
    if usual is None or other is None:
        gone, there = (names[0], names[1]) if usual is None else (names[1], names[0])
        return [f"{path}: on {there} and not on {gone}"]
    lines = []
    if usual.mode != other.mode:
        lines.append(f"{path}: mode {usual.mode:04o} on {names[0]}, {other.mode:04o} on {names[1]}")
    if usual.text is None or other.text is None:
        notes = dict.fromkeys(one.note for one in (usual, other) if one.text is None)
        return [*lines, f"{path}: differs, and is not shown: {', '.join(notes)}"]
    if usual.text == other.text:
        return lines
    import difflib  # only for who looks at them: agents load this module too

    found = difflib.unified_diff(_lines(usual.text), _lines(other.text), *here, lineterm="", n=2)
    return [*lines, *_printable(found)]


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], lines[-1] + " (without a line end)"]


def _printable(lines: Iterable[str]) -> Iterator[str]:
    """Without what a terminal would obey: a definition's file may hold anything."""
    for line in lines:
        yield "".join(
            each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}"
            for each in line[:500]
        )
