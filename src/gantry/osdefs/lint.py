"""What is wrong with an OS definition, before anything is installed with it: pure judgement.

What makes it invalid is said by ``gantry.osdefs.check``, as a node would say it. What is here
beside that would let it be valid and not work, or work here and not elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from gantry.model import bundles, file_rules
from gantry.model.errors import Rejected
from gantry.model.findings import Finding, error, note, warning
from gantry.model.hook_files import EntryKind
from gantry.osdefs import check
from gantry.osdefs.environment import variable_of
from gantry.osdefs.sources import Source, Sources

HERE: Final = "."
_SINCE: Final = {check.VARIANTS_FILE: 15, check.VERIFY: 20, check.PARAMETERS_FILE: 20}
_SCRIPTS: Final = (check.CREATE, check.CREATE_UNTRUSTED, "export", "import", "rename", check.VERIFY)
_KNOWN: Final = (*_SCRIPTS, *check.TEXT_FILES)
_TEXT_LIMIT: Final = 1 << 20
_RAISED: Final = 0o6000
_PARAMETER: Final = re.compile(r"\bOSP_([A-Z0-9_]+)\b")
_TRACING: Final = re.compile(r"^\s*set\s+-[a-z]*x|^\s*set\s+-o\s+xtrace", re.MULTILINE)
_SHELL: Final = re.compile(r"/(env\s+)?(ba|da|k|z)?sh\b")
_KINDS: Final = {
    EntryKind.FILE: "file",
    EntryKind.DIRECTORY: "directory",
    EntryKind.BROKEN: "link",
    EntryKind.OTHER: "special",
}


def lint(found: Sources) -> tuple[Finding, ...]:
    """Everything that there is to say, the definition as a whole first, then file by file."""
    told = _told(found.files)
    version = check.version(told.api_versions)
    faulty = {one.file for one in told.faults}
    lists = {
        path: one
        for path, one in found.files.items()
        if path in check.TEXT_FILES and path not in faulty
    }
    findings = [
        *_as_a_whole(found),
        *(error(one.file, one.message, one.remedy, one.line) for one in told.faults),
        *_versions(told.api_versions),
        *_lists(lists, version),
        *(one for path, source in found.files.items() for one in _file(path, source, found.user)),
        *_unread(found.files, version),
        *_parameters(found.files, told, version),
    ]
    order = {path: number for number, path in enumerate(sorted(found.files))}
    findings.sort(key=lambda one: (one.path != HERE, order.get(one.path, -1), one.line))
    return tuple(dict.fromkeys(findings))


def _told(files: Mapping[str, Source]) -> check.Read:
    """As a node reads it; without a version that can be used, the rest is looked at as if of 20."""
    entries = _entries(files)
    told = check.read(entries)
    if not any(one.file == check.VERSION_FILE for one in told.faults):
        return told
    assumed = check.Entry(kind="file", mode=0o644, content=b"20\n")
    rest = check.read({**entries, check.VERSION_FILE: assumed})
    return msgspec.structs.replace(rest, faults=(*told.faults, *rest.faults))


def _entries(files: Mapping[str, Source]) -> dict[str, check.Entry]:
    """As a node would read them."""
    return {
        path: check.Entry(
            kind=_KINDS[one.kind],
            mode=one.mode,
            content=one.content if one.size <= _TEXT_LIMIT else None,
            problem=one.problem,
        )
        for path, one in files.items()
        if path != HERE
    }


def _as_a_whole(found: Sources) -> Iterator[Finding]:
    if not check.is_name(found.name):
        yield error(
            HERE,
            f"{found.name!r} cannot be the name of a definition",
            "rename the directory, using only letters, digits, _ and -",
        )
    if check.CREATE_UNTRUSTED in found.files and check.CREATE in found.files:
        yield warning(
            check.CREATE,
            f"it is never run: where there is {check.CREATE_UNTRUSTED}, that runs, in an "
            "installation guest",
            "remove one of them: which one says whether the node trusts the definition",
        )
    if found.before:
        yield warning(
            HERE,
            f"it is never used on this machine: {found.before[0]} comes first in the search path",
            "rename one of them, or remove the one that is not meant",
        )
    elif found.after:
        yield warning(
            HERE,
            f"{', '.join(found.after)} has the same name: where this one is installed, the first "
            "in the search path is used",
            "give it a name of its own, or remove the one that is not meant",
        )
    yield from _pushed(found.files)


def _pushed(files: Mapping[str, Source]) -> Iterator[Finding]:
    """What keeps ``gnt-os push`` from taking it as it is."""
    sizes = [one.size for one in files.values() if one.kind is EntryKind.FILE]
    if sum(sizes) > bundles.MAX_CONTENT or len(sizes) > bundles.MAX_FILES:
        yield warning(
            HERE,
            f"it cannot be pushed: {len(sizes)} files with {sum(sizes)} bytes are more than "
            f"{bundles.MAX_FILES} files or {bundles.MAX_CONTENT} bytes",
            "let scripts read large files, such as images, from elsewhere",
        )
    for path, one in files.items():
        if one.kind is not EntryKind.FILE or path.startswith(".") or "/." in path:
            continue
        try:
            bundles.check_path(path)
        except Rejected as refused:
            yield warning(path, "it cannot be pushed under this name", refused.hint)


def _versions(listed: tuple[int, ...]) -> Iterator[Finding]:
    unknown = [one for one in listed if one not in check.SUPPORTED_VERSIONS]
    if unknown and check.version(listed):
        yield warning(
            check.VERSION_FILE,
            f"no version {', '.join(map(str, unknown))} is known: {check.version(listed)} is used",
            "remove it, or make sure that the scripts follow both",
        )


def _lists(files: Mapping[str, Source], version: int) -> Iterator[Finding]:
    for name, source in files.items():
        text = source.content.decode("utf-8", "replace")
        if "\r" in text:
            line = text[: text.index("\r")].count("\n") + 1
            yield warning(
                name, "it has the line ends of Windows", "write it with those of Unix", line
            )
        if name == check.VARIANTS_FILE and version >= 15:
            yield from _repeated(name, text)
        if name == check.PARAMETERS_FILE and version >= 20:
            yield from _descriptions(text)


def _repeated(name: str, text: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, line in check.lines(text):
        if line in seen:
            yield warning(name, f"{line[:40]!r} is there already", "remove the line", number)
        seen.add(line)


def _descriptions(text: str) -> Iterator[Finding]:
    """What we take and today's Ganeti does not."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            yield note(
                check.PARAMETERS_FILE,
                "Ganeti does not know blank lines and comments here",
                "remove the line where the definition is to work there, too",
                number,
            )
        elif len(words) == 1:
            yield warning(
                check.PARAMETERS_FILE,
                f"{words[0][:40]!r} has no description",
                "write what it means behind it: gnt-os info shows it, and Ganeti needs it",
                number,
            )


def _file(path: str, one: Source, user: int) -> Iterator[Finding]:
    if one.link and one.outside:
        yield warning(
            path,
            f"it is a link out of the definition, to {one.link}",
            "put the file itself there: each node would need what it leads to, and gnt-os push "
            "refuses it",
        )
    if one.kind is EntryKind.BROKEN and path not in _KNOWN:
        yield error(path, "it is a link to nothing, or cannot be reached", "remove it, or mend it")
    if one.kind is EntryKind.OTHER:
        yield error(path, "it is no file", "a definition has files and directories alone")
    if one.kind in (EntryKind.FILE, EntryKind.DIRECTORY):
        yield from file_rules.rights(path, one.mode, one.owner, user)
        if one.mode & _RAISED and one.kind is EntryKind.FILE:
            yield warning(path, "its setuid or setgid bit is lost in a push", "chmod ug-s")
    if one.kind is EntryKind.FILE and path not in check.TEXT_FILES:
        yield from _program(path, one)


def _program(path: str, one: Source) -> Iterator[Finding]:
    runs = bool(one.mode & 0o100)
    if path in _SCRIPTS or (runs and one.interpreter.line):
        yield from file_rules.interpreter(path, one.interpreter)
    line_end = one.content.find(b"\r\n")
    if one.interpreter.line and line_end >= 0 and not one.interpreter.missing:
        yield error(
            path,
            "it has the line ends of Windows",
            "write it with those of Unix: a shell takes the other character for part of a word",
            one.content.count(b"\n", 0, line_end) + 1,
        )
    text = one.content.decode("utf-8", "replace")
    if _SHELL.search(one.interpreter.line) and (match := _TRACING.search(text)):
        yield warning(
            path,
            "set -x writes parameters into the log, also those that are secret",
            "take it out when it works",
            text.count("\n", 0, match.end()) + 1,
        )


def _unread(files: Mapping[str, Source], version: int) -> Iterator[Finding]:
    """Files that no version of the interface reads, or not the one that is used."""
    texts = "\n".join(
        one.content.decode("utf-8", "replace")
        for path, one in files.items()
        if path not in check.TEXT_FILES
    )
    for path, one in files.items():
        since = _SINCE.get(path, 0)
        if version and since > version:
            yield warning(
                path,
                f"version {version} of the interface does not read it",
                f"write {since} into {check.VERSION_FILE} where the scripts follow that version",
            )
        if path in (HERE, *_KNOWN) or "/" in path or path.startswith("."):
            continue
        if re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w-])", texts):
            continue
        meant = _meant(path)
        if meant and meant not in files:
            yield warning(path, "nothing reads this file", f"did you mean {meant}?")
        elif one.kind is EntryKind.FILE:
            yield note(
                path,
                "no version of the interface reads it, and no file here names it",
                "remove it where it is not meant to be there",
            )


def _meant(path: str) -> str:
    """The file of the interface that this name is near to."""
    stems = {name.partition(".")[0]: name for name in _KNOWN}
    near = get_close_matches(path.partition(".")[0], stems, 1, 0.8)
    return stems[near[0]] if near else ""


def _parameters(files: Mapping[str, Source], told: check.Read, version: int) -> Iterator[Finding]:
    """Between ``parameters.list`` and what the scripts read."""
    if version < 20 or any(fault.file == check.PARAMETERS_FILE for fault in told.faults):
        return
    declared = {variable_of(name): name for name, _ in told.parameters}
    used: set[str] = set()
    for path, one in files.items():
        if one.kind is not EntryKind.FILE or path in check.TEXT_FILES:
            continue
        text = one.content.decode("utf-8", "replace")
        for match in _PARAMETER.finditer(text):
            if match[0] not in declared and match[0] not in used:
                yield warning(
                    path,
                    f"{match[0]} is never set: there is no such parameter in "
                    f"{check.PARAMETERS_FILE}",
                    f"add it there: {match[1].lower()} what it means",
                    text.count("\n", 0, match.start()) + 1,
                )
            used.add(match[0])
    # Where none is read by its name, they are read in another way.
    for variable, name in declared.items() if used else ():
        if variable not in used:
            yield note(
                check.PARAMETERS_FILE,
                f"no file here reads the parameter {name!r} ({variable})",
                "remove it, or let a script read it",
            )
