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
_MISSING: Final = "is missing"
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


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a definition is not valid: ``file`` (empty: its directory) ``message``, do ``remedy``."""

    file: str
    message: str
    remedy: str
    line: int = 0

    def text(self, path: str) -> str:
        """In one line, for the definition at ``path``."""
        if self.message == _MISSING:
            return f"{self.file} {_MISSING} in {path}; {self.remedy}"
        line = f", line {self.line}:" if self.line else ""
        return f"{self.file} in {path}{line} {self.message}; {self.remedy}"


class _Broken(Exception):
    """A text file that cannot be used, with its fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


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
    told = read(entries)
    problems += [fault.text(path) for fault in told.faults]
    files = {file: _file_digest(entry) for file, entry in sorted(entries.items())}
    return OsFacts(
        name=name,
        path=path,
        problem="; ".join(dict.fromkeys(problems)),
        variants=told.variants,
        parameters=told.parameters,
        api_versions=told.api_versions,
        trusted=CREATE_UNTRUSTED not in entries,
        digest=_digest("\0".join(f"{file}\0{value}" for file, value in files.items())),
        files=files,
    )


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of a definition say; of a list that is at fault, nothing."""

    faults: tuple[Fault, ...]
    api_versions: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


def read(entries: Mapping[str, Entry]) -> Read:
    """Every fault, the version first: what else is looked at depends on it."""
    faults: list[Fault] = []
    api_versions: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    try:
        api_versions = _versions(entries)
    except _Broken as error:
        return Read(faults=(error.fault,))
    faults += _missing(entries, version(api_versions))
    try:
        if version(api_versions) >= 15:
            variants = _variants(entries)
    except _Broken as error:
        faults.append(error.fault)
    try:
        if version(api_versions) >= 20:
            parameters = _parameters(entries)
    except _Broken as error:
        faults.append(error.fault)
    return Read(
        faults=tuple(faults), api_versions=api_versions, variants=variants, parameters=parameters
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _file_digest(entry: Entry) -> str:
    return _digest(f"{entry.kind} {entry.mode:o} {entry.digest}")


def _versions(entries: Mapping[str, Entry]) -> tuple[int, ...]:
    found: list[int] = []
    for number, line in enumerate(_text(VERSION_FILE, entries).splitlines(), start=1):
        if not (line.strip().isascii() and line.strip().isdigit() and len(line.strip()) < 9):
            raise _Broken(
                Fault(
                    file=VERSION_FILE,
                    line=number,
                    message=f"{line[:40]!r} is not a version",
                    remedy="write one integer per line, such as 20, and nothing else",
                )
            )
        found.append(int(line))
    if not found:
        remedy = "write one version per line, such as 20"
        raise _Broken(Fault(file=VERSION_FILE, message="is empty", remedy=remedy))
    if not version(tuple(found)):
        listed = ", ".join(map(str, found))
        known = ", ".join(map(str, SUPPORTED_VERSIONS))
        raise _Broken(
            Fault(
                file=VERSION_FILE,
                message=f"lists {listed}, but this node knows {known}",
                remedy="add a version that the scripts follow",
            )
        )
    return tuple(sorted(set(found)))


def _missing(entries: Mapping[str, Entry], api: int) -> Iterator[Fault]:
    """The faults of the scripts and of the files that version ``api`` requires."""
    create = [file for file in (CREATE, CREATE_UNTRUSTED) if file in entries]
    if not create:
        remedy = "add this script (it installs the instance)"
        yield Fault(file=CREATE, message=_MISSING, remedy=remedy)
    required = [*create, *_SCRIPTS]
    if api >= 20:
        required.append(VERIFY)
    for script in required:
        fault = _script_fault(script, entries.get(script))
        if fault is not None:
            yield fault


def _script_fault(script: str, entry: Entry | None) -> Fault | None:
    if entry is None:
        remedy = "add this script (it may do nothing)"
        return Fault(file=script, message=_MISSING, remedy=remedy)
    fault = _kind_fault(script, entry)
    if fault is None and not entry.mode & _OWNER_EXECUTES:
        return Fault(file=script, message="is not executable", remedy=f"run chmod +x {script}")
    return fault


def _kind_fault(file: str, entry: Entry) -> Fault | None:
    if entry.kind == "link":
        message = "is a symbolic link that leads nowhere"
        return Fault(file=file, message=message, remedy="mend or replace it")
    if entry.kind != "file":
        what = "directory" if entry.kind == "directory" else "special file"
        return Fault(file=file, message=f"is a {what}", remedy="it must be a regular file")
    if entry.problem:
        message = f"cannot be read ({entry.problem})"
        return Fault(file=file, message=message, remedy="mend its rights")
    return None


def _text(file: str, entries: Mapping[str, Entry], optional: bool = False) -> str:
    entry = entries.get(file)
    if entry is None:
        if optional:
            return ""
        raise _Broken(Fault(file=file, message=_MISSING, remedy="add this file"))
    fault = _kind_fault(file, entry)
    if fault is not None:
        raise _Broken(fault)
    if entry.content is None:
        raise _Broken(Fault(file=file, message="is too large", remedy="it should be a short list"))
    try:
        return entry.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = entry.content.count(b"\n", 0, error.start) + 1
        raise _Broken(
            Fault(file=file, line=line, message="this is not UTF-8 text", remedy="rewrite it")
        ) from None


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Line number and stripped line, without blank lines and comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _variants(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for number, line in lines(_text(VARIANTS_FILE, entries, optional=True)):
        if not _VARIANT.fullmatch(line):
            raise _Broken(
                Fault(
                    file=VARIANTS_FILE,
                    line=number,
                    message=f"{line[:40]!r} cannot be a variant",
                    remedy="use letters, digits, dots, dashes and underscores, one variant per "
                    "line",
                )
            )
        found[line] = None
    return tuple(found)


def _parameters(entries: Mapping[str, Entry]) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[int, str, str]] = {}
    for number, line in lines(_text(PARAMETERS_FILE, entries)):
        name, *rest = line.split(None, 1)
        if not _PARAMETER.fullmatch(name):
            raise _Broken(
                Fault(
                    file=PARAMETERS_FILE,
                    line=number,
                    message=f"{name[:40]!r} cannot be the name of a parameter",
                    remedy="use letters, digits, dashes and underscores",
                )
            )
        same = name.upper().replace("-", "_")
        if same in found:
            raise _Broken(
                Fault(
                    file=PARAMETERS_FILE,
                    line=number,
                    message=f"{name!r} is there already, as {found[same][1]!r} in line "
                    f"{found[same][0]} (both become OSP_{same})",
                    remedy="remove one of them",
                )
            )
        found[same] = (number, name, "".join(rest))
    return tuple((name, description) for _, name, description in found.values())
