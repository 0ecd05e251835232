"""For which version of the interface a script looks written, by what its text compares with.

Nearly all variables are sent in both versions under both names, so only what the versions
decide differently tells anything: the version's number and the phase's case.
"""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"^\s*(?:#|//)")
_VERSION: Final = re.compile(r"HOOKS_VERSION[^\w\n]{1,40}?(?:(?:eq|ne)\s+)?[\"']?\b([12])\b(?!\.)")
_PHASE: Final = re.compile(r"HOOKS_PHASE[^\w\n]{1,40}?\b(PRE|POST|pre|post)\b")
_CASE: Final = re.compile(r"HOOKS_PHASE[^\n]*\bin\b|HOOKS_VERSION[^\n]*\bin\b")
_BRANCH: Final = re.compile(r"^\s*\(?([\w|\"' ]+)\)")
_FOLDED: Final = re.compile(r"HOOKS_PHASE[^\n]*(?:lower|upper|,,|\^\^|tr )", re.IGNORECASE)
_MEANS: Final = {"1": 1, "2": 2, "PRE": 1, "POST": 1, "pre": 2, "post": 2}
_BRANCHES: Final = 12
"""Lines after the head of a ``case`` in which its branches are looked for."""


def written_for(text: str) -> tuple[int, ...]:
    """The versions that it speaks of; none where it does not say."""
    lines = [line for line in text.splitlines() if not _COMMENT.match(line)]
    code = "\n".join(lines)
    found = {_MEANS[value] for value in _VERSION.findall(code)}
    if not _FOLDED.search(code):
        found |= {_MEANS[value] for value in _PHASE.findall(code)}
    for number, line in enumerate(lines):
        if _CASE.search(line):
            found |= _branches(line.partition(" in")[2], lines[number + 1 : number + _BRANCHES])
    return tuple(sorted(found))


def _branches(rest: str, following: list[str]) -> set[int]:
    """What the branches of a shell's ``case`` speak of."""
    found: set[int] = set()
    for line in [rest, *following]:
        if "esac" in line:
            break
        match = _BRANCH.match(line)
        if match:
            values = [value.strip(" \"'") for value in match[1].split("|")]
            found |= {_MEANS[value] for value in values if value in _MEANS}
    return found
