"""Every rule of ``gnt-os lint``, on a definition that breaks it alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import write

from gantry.local.shipped import shipped
from gantry.model.findings import Finding
from gantry.osdefs.lint import lint
from gantry.osdefs.sources import read

Change = Callable[[Path], object]
CR = "it has the line ends of Windows"


def text(file: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda place: (place / file).write_bytes(data)


def gone(file: str) -> Change:
    return lambda place: (place / file).unlink()


def mode(file: str, bits: int) -> Change:
    return lambda place: (place / file).chmod(bits)


def link(file: str, to: str) -> Change:
    def change(place: Path) -> None:
        (place / file).unlink(missing_ok=True)
        (place / file).symlink_to(to)

    return change


def instead(file: str, make: Callable[[Path], object]) -> Change:
    def change(place: Path) -> None:
        (place / file).unlink(missing_ok=True)
        make(place / file)

    return change


def all_of(*changes: Change) -> Change:
    return lambda place: [one(place) for one in changes]


def definition(where: Path) -> Path:
    """One that there is nothing to say of."""
    return write(where, scripts={"create": 'echo "$OSP_DHCP $OSP_KEY"'})


def found(place: Path, name: str = "", search_path: tuple[Path, ...] = ()) -> tuple[Finding, ...]:
    return lint(read(place, name or place.name, search_path))


RULES: list[tuple[str, Change, str, str, int, str]] = [
    ("no version file", gone("ganeti_api_version"), "error", "ganeti_api_version", 0, "is missing"),
    ("empty", text("ganeti_api_version", ""), "error", "ganeti_api_version", 0, "is empty"),
    ("rubbish", text("ganeti_api_version", "20\nx\n"), "error", "ganeti_api_version", 2,
     "'x' is not a version"),
    ("comment", text("ganeti_api_version", "# v\n20\n"), "error", "ganeti_api_version", 1,
     "is not a version"),
    ("unknown alone", text("ganeti_api_version", "25\n"), "error", "ganeti_api_version", 0,
     "lists 25, but this node knows 10, 15, 20"),
    ("unknown too", text("ganeti_api_version", "25\n20\n"), "warning", "ganeti_api_version", 0,
     "no version 25 is known: 20 is used"),
    ("binary version", text("ganeti_api_version", b"\xff\n"), "error", "ganeti_api_version", 1,
     "not UTF-8"),
    ("huge list", text("variants.list", "a\n" * 600_000), "error", "variants.list", 0,
     "is too large"),
    ("windows list", text("variants.list", "a\nb\r\n"), "warning", "variants.list", 2, CR),
    *[(f"no {one}", gone(one), "error", one, 0, "is missing")
      for one in ("create", "export", "import", "rename", "verify", "parameters.list")],
    *[(f"{one} not executable", mode(one, 0o644), "error", one, 0, "is not executable")
      for one in ("create", "export", "import", "rename", "verify")],
    ("a directory", instead("rename", Path.mkdir), "error", "rename", 0, "is a directory"),
    ("a pipe", instead("rename", os.mkfifo), "error", "rename", 0, "is a special file"),
    ("dangling script", link("rename", "no"), "error", "rename", 0, "leads nowhere"),
    ("dangling other", link("common", "no"), "error", "common", 0, "it is a link to nothing"),
    ("link out", link("variants.list", "/dev/null/../../etc/hostname"), "error", "variants.list",
     0, ""),
    ("link out to a file", link("common.sh", "/etc/passwd"), "warning", "common.sh", 0,
     "it is a link out of the definition, to /etc/passwd"),
    ("variant", text("variants.list", "ok\n# x\na b\n"), "error", "variants.list", 3,
     "'a b' cannot be a variant"),
    ("variant twice", text("variants.list", "a\nb\na\n"), "warning", "variants.list", 3,
     "'a' is there already"),
    ("parameter", text("parameters.list", "a=b x\n"), "error", "parameters.list", 1,
     "'a=b' cannot be the name of a parameter"),
    ("parameter twice", text("parameters.list", "dhcp x\nDHCP y\n"), "error", "parameters.list", 2,
     "'DHCP' is there already, as 'dhcp' in line 1"),
    ("no description", text("parameters.list", "dhcp\nkey which\n"), "warning", "parameters.list",
     1, "'dhcp' has no description"),
    ("comment for ganeti", text("parameters.list", "dhcp x\n\nkey y\n"), "note",
     "parameters.list", 2, "Ganeti does not know blank lines"),
    ("no interpreter", text("rename", "exit 0\n"), "error", "rename", 0, "it has no interpreter"),
    ("interpreter missing", text("rename", "#!/no/such/sh\n"), "error", "rename", 0,
     "/no/such/sh is not there"),
    ("interpreter by env", text("rename", "#!/usr/bin/env nosuch\n"), "error", "rename", 0,
     "nosuch is not there"),
    ("windows interpreter", text("rename", "#!/bin/sh\r\nexit 0\r\n"), "error", "rename", 0,
     "carriage return"),
    ("windows below", text("rename", "#!/bin/sh\ntrue\nexit 0\r\n"), "error", "rename", 3, CR),
    ("everybody", mode("rename", 0o757), "error", "rename", 0, "everybody may write to it"),
    ("the group", mode("rename", 0o775), "warning", "rename", 0, "its group may write to it"),
    ("the directory", lambda place: place.chmod(0o777), "error", ".", 0,
     "everybody may write to it"),
    ("setuid", mode("rename", 0o4755), "warning", "rename", 0, "setuid or setgid bit is lost"),
    ("both", text("create_untrusted", "#!/bin/sh\n"), "warning", "create", 0,
     "it is never run"),
    ("verify too early", text("ganeti_api_version", "15\n"), "warning", "verify", 0,
     "version 15 of the interface does not read it"),
    ("parameters too early", text("ganeti_api_version", "15\n"), "warning", "parameters.list", 0,
     "version 15 of the interface does not read it"),
    ("variants too early", all_of(text("ganeti_api_version", "10\n"), text("variants.list", "a\n")),
     "warning", "variants.list", 0, "version 10 of the interface does not read it"),
    ("misspelt", text("variant.list", "a\n"), "warning", "variant.list", 0,
     "nothing reads this file"),
    ("stray", text("readme", "x\n"), "note", "readme", 0, "no file here names it"),
    ("undeclared parameter", text("rename", '#!/bin/sh\n\necho "$OSP_SIZE"\n'), "warning", "rename",
     3, "OSP_SIZE is never set"),
    ("unused parameter", text("create", '#!/bin/sh\necho "$OSP_DHCP"\n'), "note",
     "parameters.list", 0, "no file here reads the parameter 'key'"),
    ("tracing", text("rename", "#!/bin/sh\nset -ex\n"), "warning", "rename", 2,
     "set -x writes parameters into the log"),
    ("name in a bundle", text("a b", "x"), "warning", "a b", 0, "it cannot be pushed under"),
    ("too large", text("image", b"x" * (5 << 20)), "warning", ".", 0, "it cannot be pushed"),
]  # fmt: skip


def test_there_is_nothing_to_say_of_a_good_one(tmp_path: Path) -> None:
    assert found(definition(tmp_path)) == ()


@pytest.mark.parametrize("name", ["busybox", "noop"])
def test_there_is_nothing_to_say_of_those_that_are_shipped(name: str) -> None:
    assert found(shipped("os") / name) == ()


@pytest.mark.parametrize(
    ("change", "level", "path", "line", "message"),
    [one[1:] for one in RULES],
    ids=[one[0] for one in RULES],
)
def test_a_rule(
    tmp_path: Path, change: Change, level: str, path: str, line: int, message: str
) -> None:
    place = definition(tmp_path)
    change(place)
    said = [one for one in found(place) if one.path == path]
    [one] = [
        one
        for one in said
        if (one.level.value, one.line) == (level, line) and message in one.message
    ]
    assert one.hint, "says what to do"
    assert len(said) <= 2


@pytest.mark.parametrize("name", ["deb.old", "a+b", "ä", "a b", "x" * 3 + "."])
def test_a_name_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    [one] = found(definition(tmp_path), name)
    assert (one.path, repr(name) in one.message) == (".", True)


def test_shadowing_in_the_search_path(tmp_path: Path) -> None:
    first, second, mine = (definition(tmp_path / one) for one in ("first", "second", "mine"))
    search = (first.parent, second.parent)
    assert "is never used" in found(second, "", search)[0].message
    assert str(second) in found(first, "", search)[0].message
    assert "the first in the search path" in found(mine, "", search)[0].message
    assert found(mine, "", search[:1]) == (), "a push says that itself, where it was not pushed"
    assert found(mine, "other", search) == ()


def test_a_file_that_a_script_names_is_meant(tmp_path: Path) -> None:
    place = definition(tmp_path)
    (place / "common.sh").write_text("x")
    (place / "rename").write_text('#!/bin/sh\n. "$(dirname "$0")/common.sh"\n')
    assert found(place) == ()


def test_everything_at_once_and_each_once(tmp_path: Path) -> None:
    place = definition(tmp_path)
    for change in (one[1] for one in RULES[6:]):
        try:
            change(place)
        except OSError:
            continue
    said = found(place)
    assert len(set(said)) == len(said) >= 8
