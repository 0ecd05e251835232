"""Whether one OS definition is valid, and what it offers: a pure check of its listing.

The rules are section 1 of the OS interface, with our differences (section 8): the file
checks use the highest version that both sides know, and ``parameters.list`` may have
comments. No file is read here; ``gantry.osdefs.search`` brings the listing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gantry.model.live import OsFacts

SUPPORTED_VERSIONS: Final = (10, 15, 20)
VERSION_FILE: Final = "ganeti_api_version"
VARIANTS_FILE: Final = "variants.list"
PARAMETERS_FILE: Final = "parameters.list"
TEXT_FILES: Final = (VERSION_FILE, VARIANTS_FILE, PARAMETERS_FILE)
CREATE: Final = "create"
CREATE_UNTRUSTED: Final = "create_untrusted"
VERIFY: Final = "verify"
_SCRIPTS: Final = ("export", "import", "rename")
_OWNER_EXECUTES: Final = 0o100
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_VARIANT: Final = re.compile(r"[a-zA-Z0-9_.-]+")
_PARAMETER: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a definition, symbolic links followed.

    ``kind`` is "file", "directory", "link" (one that leads nowhere) or "special"; ``mode``
    the permission bits; ``content`` the bytes of the three text files only; ``problem`` why
    it could not be read.
    """

    kind: str
    mode: int = 0
    digest: str = ""
    content: bytes | None = None
    problem: str = ""


class _Broken(Exception):
    """A text file with a line that cannot be used; the text names file, line and remedy."""


def is_name(text: str) -> bool:
    """Whether a directory of that name can be a definition (no dot, no slash, no plus)."""
    return _NAME.fullmatch(text) is not None


def version(api_versions: tuple[int, ...]) -> int:
    """The highest version that both sides know, or 0."""
    return max(set(api_versions) & set(SUPPORTED_VERSIONS), default=0)


def check(name: str, path: str, entries: Mapping[str, Entry]) -> OsFacts:
    """What the definition ``name`` at ``path`` is, given all its files by relative name.

    Every fault is named in ``problem``, with the file and what to do about it.
    """
    problems: list[str] = []
    if not is_name(name):
        problems.append(
            f"{name!r} cannot be the name of a definition: rename the directory, using only "
            "letters, digits, _ and -"
        )
    api_versions: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    try:
        api_versions = _versions(path, entries)
        problems += _missing(path, entries, version(api_versions))
        if version(api_versions) >= 15:
            variants = _variants(path, entries)
        if version(api_versions) >= 20:
            parameters = _parameters(path, entries)
    except _Broken as error:
        problems.append(str(error))
    files = {file: _file_digest(entry) for file, entry in sorted(entries.items())}
    return OsFacts(
        name=name,
        path=path,
        problem="; ".join(dict.fromkeys(problems)),
        variants=variants,
        parameters=parameters,
        api_versions=api_versions,
        trusted=CREATE_UNTRUSTED not in entries,
        digest=_digest("\0".join(f"{file}\0{value}" for file, value in files.items())),
        files=files,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _file_digest(entry: Entry) -> str:
    return _digest(f"{entry.kind} {entry.mode:o} {entry.digest}")


def _versions(path: str, entries: Mapping[str, Entry]) -> tuple[int, ...]:
    found: list[int] = []
    text = _text(path, VERSION_FILE, entries)
    for number, line in enumerate(text.splitlines(), start=1):
        if not (line.strip().isascii() and line.strip().isdigit() and len(line.strip()) < 9):
            raise _Broken(
                f"{VERSION_FILE} in {path}, line {number}: {line[:40]!r} is not a version; "
                "write one integer per line, such as 20, and nothing else"
            )
        found.append(int(line))
    if not found:
        raise _Broken(f"{VERSION_FILE} in {path} is empty; write one version per line, such as 20")
    if not version(tuple(found)):
        listed = ", ".join(map(str, found))
        known = ", ".join(map(str, SUPPORTED_VERSIONS))
        raise _Broken(
            f"{VERSION_FILE} in {path} lists {listed}, but this node knows {known}; "
            "add a version that the scripts follow"
        )
    return tuple(sorted(set(found)))


def _missing(path: str, entries: Mapping[str, Entry], api: int) -> Iterator[str]:
    """The faults of the scripts and of the files that version ``api`` requires."""
    create = [file for file in (CREATE, CREATE_UNTRUSTED) if file in entries]
    if not create:
        yield f"{CREATE} is missing in {path}; add this script (it installs the instance)"
    required = [*create, *_SCRIPTS]
    if api >= 20:
        required.append(VERIFY)
    for script in required:
        fault = _script_fault(path, script, entries.get(script))
        if fault:
            yield fault


def _script_fault(path: str, script: str, entry: Entry | None) -> str:
    if entry is None:
        return f"{script} is missing in {path}; add this script (it may do nothing)"
    fault = _kind_fault(path, script, entry)
    if fault:
        return fault
    if not entry.mode & _OWNER_EXECUTES:
        return f"{script} in {path} is not executable; run chmod +x {path}/{script}"
    return ""


def _kind_fault(path: str, file: str, entry: Entry) -> str:
    if entry.kind == "link":
        return f"{file} in {path} is a symbolic link that leads nowhere; mend or replace it"
    if entry.kind != "file":
        what = "directory" if entry.kind == "directory" else "special file"
        return f"{file} in {path} is a {what}; it must be a regular file"
    if entry.problem:
        return f"{file} in {path} cannot be read ({entry.problem}); mend its rights"
    return ""


def _text(path: str, file: str, entries: Mapping[str, Entry], optional: bool = False) -> str:
    entry = entries.get(file)
    if entry is None:
        if optional:
            return ""
        raise _Broken(f"{file} is missing in {path}; add this file")
    fault = _kind_fault(path, file, entry)
    if fault:
        raise _Broken(fault)
    if entry.content is None:
        raise _Broken(f"{file} in {path} is too large; it should be a short list")
    try:
        return entry.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = entry.content.count(b"\n", 0, error.start) + 1
        raise _Broken(f"{file} in {path}, line {line} is not UTF-8 text; rewrite it") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Line number and stripped line, without blank lines and comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _variants(path: str, entries: Mapping[str, Entry]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for number, line in _lines(_text(path, VARIANTS_FILE, entries, optional=True)):
        if not _VARIANT.fullmatch(line):
            raise _Broken(
                f"{VARIANTS_FILE} in {path}, line {number}: {line[:40]!r} cannot be a variant; "
                "use letters, digits, dots, dashes and underscores, one variant per line"
            )
        found[line] = None
    return tuple(found)


def _parameters(path: str, entries: Mapping[str, Entry]) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[int, str, str]] = {}
    for number, line in _lines(_text(path, PARAMETERS_FILE, entries)):
        name, *rest = line.split(None, 1)
        if not _PARAMETER.fullmatch(name):
            raise _Broken(
                f"{PARAMETERS_FILE} in {path}, line {number}: {name[:40]!r} cannot be the name of "
                "a parameter; use letters, digits, dashes and underscores"
            )
        same = name.upper().replace("-", "_")
        if same in found:
            raise _Broken(
                f"{PARAMETERS_FILE} in {path}, line {number}: {name!r} is there already, as "
                f"{found[same][1]!r} in line {found[same][0]} (both become OSP_{same}); "
                "remove one of them"
            )
        found[same] = (number, name, "".join(rest))
    return tuple((name, description) for _, name, description in found.values())
