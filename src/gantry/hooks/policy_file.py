"""Reading the text of ``hooks.toml``: every fault of it with its line, and what to do."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any, Final

from gantry.hooks.policy import (
    LIMIT,
    Entry,
    Finding,
    Kind,
    Only,
    OnUnreachable,
    Policy,
    PolicyError,
    Settings,
)
from gantry.hooks.table import CONFIG_UPDATE, ROWS
from gantry.hooks.watcher import DIRECTORY as WATCHER
from gantry.model import timeouts

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])")
_USER: Final = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'')
_DEEP: Final = re.compile(r"(?<![\w-])(?:[\w-]{1,64}[ \t]{0,4}\.[ \t]{0,4}){32}")
"""A key of so many parts: reading one takes time by their square."""
_TOO_DEEP: Final = "it is nested too deeply"
_MOST: Final = 20
"""Faults that are told."""
_LONGEST: Final = 80
"""Characters of a name or a value in a message."""
_DEPTH: Final = 3
"""Table, name and key: nothing that is understood is deeper."""
KEYS: Final = ("timeout", "on-unreachable", "enabled", "version", "run-as", "only")


def parse(content: bytes) -> Policy:
    """The policy; PolicyError where anything of it is wrong."""
    entries, findings = _read(content)
    if findings:
        raise PolicyError(findings)
    order = list(Kind)
    return Policy(tuple(sorted(entries, key=lambda entry: order.index(entry.kind))))


def findings(
    content: bytes,
    *,
    scripts: Mapping[str, Collection[str]] | None = None,
    users: Container[str] | None = None,
) -> tuple[Finding, ...]:
    """All that there is to say of the file; those with ``error`` keep it from being followed.

    ``scripts`` are the names in each directory of scripts, ``users`` those that exist: where
    they are given, what speaks of others is found too.
    """
    entries, found = _read(content)
    for entry in entries:
        found += _idle(entry, scripts)
        user = entry.settings.run_as
        if users is not None and user and user not in users:
            text = f"there is no user {_shown(user)} here: its scripts fail"
            found.append(Finding(message=text, line=entry.line))
    return tuple(sorted(found, key=lambda one: one.line))


def directories() -> frozenset[str]:
    """Every directory of scripts that some operation reads."""
    prefixes = {row.directory(version) for row in ROWS.values() for version in (1, 2)}
    phases = ("pre", "post", "fail")
    made = {f"{prefix}-{phase}.d" for prefix in prefixes for phase in phases}
    return frozenset({*made, f"{CONFIG_UPDATE}-post.d", WATCHER})


def _read(content: bytes) -> tuple[list[Entry], list[Finding]]:
    if len(content) > LIMIT:
        return [], [Finding(message=f"it is longer than {LIMIT // 1024} KiB")]
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [], [Finding(message="it is not UTF-8", line=line)]
    if _DEEP.search(_QUOTED.sub("q", text)):
        return [], [Finding(message=_TOO_DEEP)]
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [], [_syntax(str(error), text)]
    except RecursionError:
        return [], [Finding(message=_TOO_DEEP)]
    except ValueError as error:
        # Such as a number of more digits than Python reads.
        return [], [Finding(message=f"it cannot be read: {error}")]
    reader = _Reader(text)
    entries: list[Entry] = []
    try:
        entries.extend(reader.tables(document))
    except _Enough:
        rest = "there is more of that kind: mend these first"
        reader.findings.append(Finding(message=rest, line=reader.findings[-1].line))
    return entries, reader.findings


def _syntax(said: str, text: str) -> Finding:
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", said)
    if place is None:
        return Finding(message=f"it is not TOML: {said}")
    line = int(place[1]) if place[1] else text.count("\n") + 1
    return Finding(message=f"it is not TOML: {said[: place.start()]}", line=line)


class _Enough(Exception):
    """There are more faults than anybody mends at once."""


class _Reader:
    """Turns the document into entries, and notes what does not fit."""

    def __init__(self, text: str) -> None:
        self.findings: list[Finding] = []
        self._lines: dict[tuple[str, ...], int] = {}
        for line, path in _places(text):
            for length in range(1, min(len(path), _DEPTH) + 1):
                self._lines.setdefault(tuple(path[:length]), line)

    def tables(self, document: dict[str, Any]) -> Iterator[Entry]:
        """The entries that can be read."""
        for kind, content in document.items():
            if kind not in list(Kind):
                self._wrong(
                    [kind],
                    f"there is no table {_shown(kind)}{_meant(kind, [one.value for one in Kind])}",
                )
            elif not isinstance(content, dict):
                self._wrong([kind], f"{_shown(kind)} is a table: [{kind}]")
            elif kind == Kind.DEFAULT:
                yield self._entry(Kind.DEFAULT, "", content, [kind])
            else:
                for name, table in content.items():
                    yield from self._named(Kind(kind), name, table)

    def _named(self, kind: Kind, name: str, table: Any) -> Iterator[Entry]:
        path = [kind.value, name]
        if not isinstance(table, dict):
            text = f'write [{kind}."NAME"]: {_shown(name)} is no table'
            self._wrong(path, text)
            return
        problem = _name_problem(kind, name)
        if problem:
            self._wrong(path, problem)
        yield self._entry(kind, name, table, path)

    def _entry(self, kind: Kind, name: str, table: dict[str, Any], path: list[str]) -> Entry:
        found: dict[str, Any] = {}
        for key, value in table.items():
            try:
                if key not in KEYS:
                    raise ValueError(f"there is no key {_shown(key)}{_meant(key, KEYS)}")
                found[key.replace("-", "_")] = _VALUES[key](value)
            except ValueError as error:
                self._wrong([*path, key], str(error))
        return Entry(kind=kind, name=name, settings=Settings(**found), line=self._line(path))

    def _wrong(self, path: list[str], message: str) -> None:
        self.findings.append(Finding(message=message, line=self._line(path)))
        if len(self.findings) >= _MOST:
            raise _Enough

    def _line(self, path: list[str]) -> int:
        """The line of a key, or else of the table that it is in."""
        lengths = range(min(len(path), _DEPTH), 0, -1)
        return next((line for one in lengths if (line := self._lines.get(tuple(path[:one])))), 0)


def _places(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that begin a table or a key, each with its path of names."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            table = _path(bare)
            yield number, table
        elif "=" in bare and not bare.startswith("#"):
            # The value may go on in the next line; the key alone tells enough.
            yield number, [*table, *_path(bare.partition("=")[0] + "= 0")]


def _path(line: str) -> list[str]:
    try:
        found: Any = tomllib.loads(line)
    except (tomllib.TOMLDecodeError, RecursionError):
        return []
    path = []
    while isinstance(found, dict) and found:
        [key] = found
        path.append(key)
        found = found[key]
    return path


def _name_problem(kind: Kind, name: str) -> str:
    directory, slash, script = name.partition("/")
    if kind is Kind.DIRECTORY and slash:
        return f"{_shown(name)} is no directory; for a script write [script.{_shown(name)}]"
    if kind is Kind.SCRIPT and not script:
        return f"{_shown(name)} is no script: write DIRECTORY/NAME"
    if kind is Kind.PATTERN:
        return "" if slash else f"{_shown(name)} fits no script: write DIRECTORY/NAME, with * and ?"
    if directory not in directories():
        return f"no operation reads {_shown(directory)}{_meant(directory, directories())}"
    return ""


def _idle(entry: Entry, scripts: Mapping[str, Collection[str]] | None) -> Iterator[Finding]:
    if scripts is None or entry.kind is Kind.DEFAULT:
        return
    if entry.kind is Kind.DIRECTORY and entry.settings.on_unreachable is not None:
        return  # that counts for nodes that have scripts there
    if not any(entry.fits(directory, name) for directory in scripts for name in scripts[directory]):
        text = f"there is no script here that {entry.kind} {_shown(entry.name)} is about"
        yield Finding(message=text, line=entry.line, error=False)


def _shown(value: Any) -> str:
    """As Python writes it, but not more than anybody reads."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of very many digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _meant(given: str, known: Iterable[str]) -> str:
    if len(given) > _LONGEST:
        return ""
    import difflib  # only for who has misspelt something

    close = difflib.get_close_matches(given, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _timeout(value: Any) -> float:
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(value, timeouts.HOOK_PHASE))
    elif isinstance(value, str) and (found := _TIME.fullmatch(value.strip())):
        seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds < timeouts.HOOK_PHASE:
        raise ValueError(
            f"timeout is {_shown(value)}: give seconds, or a time such as '90s', '10m', '2h', "
            f"of less than {timeouts.HOOK_PHASE / 3600:g} hours"
        )
    return seconds


def _on_unreachable(value: Any) -> OnUnreachable:
    if not isinstance(value, str) or value not in list(OnUnreachable):
        raise ValueError(f"on-unreachable is {_shown(value)}: give 'ignore' or 'deny'")
    return OnUnreachable(value)


def _enabled(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"enabled is {_shown(value)}: give true or false, without quotes")
    return value


def _version(value: Any) -> int:
    if isinstance(value, bool) or value not in (1, 2):
        raise ValueError(f"version is {_shown(value)}: give 1 or 2")
    return int(value)


def _run_as(value: Any) -> str:
    if not isinstance(value, str) or not _USER.fullmatch(value):
        raise ValueError(f"run-as is {_shown(value)}: give the name of a user")
    return value


def _only(value: Any) -> Only:
    known = Only.__struct_fields__
    if not isinstance(value, dict):
        raise ValueError(f"only is {_shown(value)}: give a table of {', '.join(known)}")
    found: dict[str, tuple[str, ...]] = {}
    for key, globs in value.items():
        if key not in known:
            raise ValueError(f"only has no {_shown(key)}{_meant(key, known)}")
        several = [globs] if isinstance(globs, str) else globs
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise ValueError(f"{key} is {_shown(globs)}: give a list of names")
        if not several:
            raise ValueError(f"{key} is empty, so nothing would fit: leave it out")
        found[key] = tuple(several)
    return Only(**found)


_VALUES: Final = {
    "timeout": _timeout,
    "on-unreachable": _on_unreachable,
    "enabled": _enabled,
    "version": _version,
    "run-as": _run_as,
    "only": _only,
}
