"""What stands behind ``-B``, ``-H``, ``-O``, ``--disk`` and ``--net``: pure parsing.

The server checks again; what is refused here never leaves the machine.
"""

from __future__ import annotations

from gantry.cli.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO = "no_"
_MOST = 64
"""Disks or NICs of one instance: more is a slip of the finger."""
_ACTIONS = ("add", "modify", "remove")


def key_values(text: str, option: str) -> dict[str, Any]:
    """``a=1,b,no_c,-d`` as Ganeti reads it: b is true, c is false, d is back to its default.

    A comma within a value is written ``\\,``.
    """
    found: dict[str, Any] = {}
    for item in _split(text, ","):
        if not item:
            continue
        name, equals, value = item.partition("=")
        parsed: Any = value
        if not equals:
            name, parsed = item, True
            if item.startswith(_NO):
                name, parsed = item[len(_NO) :], False
            elif item.startswith("-"):
                name, parsed = item[1:], "default"
        if not name:
            # The value stays unsaid: it may be a secret.
            raise Usage(f"{option}: a name is missing in front of =", "such as NAME=VALUE,…")
        if name in found:
            raise Usage(f"{option}: {name} is given twice")
        found[name] = parsed
    return found


def texts(text: str, option: str) -> dict[str, str]:
    """The same where all values are text (OS parameters)."""
    return {name: _text(value) for name, value in key_values(text, option).items()}


def headed(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """``kvm:a=1,b=2`` or ``kvm``: a name and its values."""
    head, _, rest = text.partition(":")
    if not head or "=" in head:
        raise Usage(f"{option} {text!r}: it begins with a name and a colon, such as kvm:acpi=yes")
    return head, key_values(rest, option)


def by_head(given: list[str], option: str) -> dict[str, dict[str, Any]]:
    """Several such options by their names; Usage where a name comes twice."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        head, parameters = headed(text, option)
        if head in found:
            raise Usage(f"{option}: {head} is given twice")
        found[head] = parameters
    return found


def host_name(text: str, what: str) -> str:
    """The name of an object that is to be made, in lower case; or Usage."""
    from gantry.model import names
    from gantry.model.errors import GantryError

    try:
        return names.host_name(text, what)
    except GantryError as error:
        raise Usage(error.message, error.hint) from None


def size(text: str, what: str) -> int:
    """MiB, or Usage."""
    # Imported here: what it needs takes longer than most commands do without it.
    from gantry.model import sizes
    from gantry.model.errors import GantryError

    try:
        return sizes.parse(text, what)
    except GantryError as error:
        raise Usage(error.message, error.hint) from None


def disks(given: list[str]) -> list[dict[str, Any]]:
    """``--disk 0:size=10G,name=root --disk 1:size=1G`` as the operation wants it."""
    found = _numbered(given, "--disk")
    for index, disk in enumerate(found):
        if "size" not in disk:
            raise Usage(f"--disk {index}: the size is missing", "such as 0:size=10G")
        disk["size"] = size(str(disk["size"]), f"the size of disk {index}")
    return found


def disks_anew(given: list[str]) -> list[list[Any]]:
    """``--disk 0 --disk 1:size=10G`` of what exists: (which, values)."""
    return [_anew(text) for text in given]


def _anew(text: str) -> list[Any]:
    head, _, rest = text.partition(":")
    if not head or "=" in head:
        raise Usage(f"--disk {text!r}: say which one", "such as 0, or 0:size=10G")
    shown = {name: _text(value) for name, value in key_values(rest, "--disk").items()}
    return [int(head) if head.isascii() and head.isdigit() else head, shown]


def nics(given: list[str]) -> list[dict[str, Any]]:
    """``--net 0:ip=10.0.0.5,link=br0 --net 1`` as the operation wants it."""
    return [
        {name: _text(value) for name, value in one.items()} for one in _numbered(given, "--net")
    ]


def nic_changes(given: list[str]) -> list[list[Any]]:
    """``--net add:…``, ``--net 0:modify,…``, ``--net 1:remove``: (action, which, values).

    ``remove`` alone is the last one, as Ganeti has it.
    """
    return [_change(text, "--net", "ip=10.0.0.5") for text in given]


def disk_changes(given: list[str]) -> list[list[Any]]:
    """``--disk add:size=…``, ``--disk 0:mode=ro``, ``--disk 1:remove``, in the same way."""
    return [_change(text, "--disk", "mode=ro") for text in given]


def _change(text: str, option: str, example: str) -> list[Any]:
    head, _, rest = text.partition(":")
    values = key_values(rest, option)
    actions = [name for name in _ACTIONS if values.get(name) is True]
    if head in _ACTIONS:
        actions.append(head)
    if not head or head == "modify" or "=" in head:
        raise Usage(f"{option} {text!r}: say which one", f"such as 0:{example}, 0:remove, or add:…")
    if len(actions) > 1:
        raise Usage(f"{option} {text!r}: give one of {', '.join(_ACTIONS)}")
    which: int | str = -1
    if head not in _ACTIONS:
        which = int(head) if head.isascii() and head.lstrip("-").isdigit() else head
    shown = {name: _text(value) for name, value in values.items() if name not in actions}
    if actions == ["remove"] and shown:
        raise Usage(f"{option} {text!r}: what is removed takes no values")
    return [actions[0] if actions else "modify", which, shown]


def _text(value: Any) -> str:
    """A value that is text in the operation, as the user wrote it."""
    if value is False:
        return "no"
    return "yes" if value is True else str(value)


def _numbered(given: list[str], option: str) -> list[dict[str, Any]]:
    by_number: dict[int, dict[str, Any]] = {}
    for text in given:
        head, _, rest = text.partition(":")
        if not (head.isascii() and head.isdecimal() and len(head) < 4 and int(head) < _MOST):
            raise Usage(
                f"{option} {text!r}: it begins with a number", "such as 0:…, counted from 0"
            )
        if int(head) in by_number:
            raise Usage(f"{option} {head} is given twice")
        by_number[int(head)] = key_values(rest, option)
    if sorted(by_number) != list(range(len(by_number))):
        raise Usage(f"{option}: the numbers have gaps", "count from 0, one after the other")
    return [by_number[number] for number in range(len(by_number))]


def _split(text: str, separator: str) -> list[str]:
    """Split at ``separator``, not where a backslash stands before it."""
    parts, current, escaped = [], "", False
    for character in text:
        if escaped:
            current += character if character in (separator, "\\") else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == separator:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current + ("\\" if escaped else "")]
