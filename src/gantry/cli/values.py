"""What stands behind ``-B``, ``-H``, ``-O``, ``--disk`` and ``--net``: pure parsing.

The server checks again; what is refused here never leaves the machine.
"""

from __future__ import annotations

from typing import Any

from gantry.cli.errors import Usage
from gantry.model import sizes
from gantry.model.errors import GantryError

_NONE_ITEM = "no_"
_DISK_ACTIONS = ("add", "attach", "modify", "remove", "detach")


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
            if item.startswith(_NONE_ITEM):
                name, parsed = item[len(_NONE_ITEM) :], False
            elif item.startswith("-"):
                name, parsed = item[1:], "default"
        if not name:
            raise Usage(f"{option} {text!r}: a name is missing in front of =")
        if name in found:
            raise Usage(f"{option}: {name} is given twice")
        found[name] = parsed
    return found


def texts(text: str, option: str) -> dict[str, str]:
    """The same where all values are text (OS parameters)."""
    return {
        name: value if isinstance(value, str) else str(value)
        for name, value in key_values(text, option).items()
    }


def headed(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """``kvm:a=1,b=2`` or ``kvm``: a name and its values."""
    head, _, rest = text.partition(":")
    if not head or "=" in head:
        raise Usage(f"{option} {text!r}: it begins with a name and a colon, such as kvm:acpi=yes")
    return head, key_values(rest, option)


def size(text: str, what: str) -> int:
    """MiB, or Usage."""
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


def nics(given: list[str]) -> list[dict[str, Any]]:
    """``--net 0:ip=10.0.0.5,link=br0 --net 1`` as the operation wants it."""
    return [{name: str(value) for name, value in one.items()} for one in _numbered(given, "--net")]


def nic_changes(given: list[str]) -> list[list[Any]]:
    """``--net add:…``, ``--net 0:modify,…``, ``--net 1:remove``: (action, which, values)."""
    found: list[list[Any]] = []
    for text in given:
        head, _, rest = text.partition(":")
        values = key_values(rest, "--net")
        action = next((name for name in _DISK_ACTIONS if values.pop(name, None) is True), None)
        which: int | str = -1
        if head in _DISK_ACTIONS:
            action = head
        else:
            which = int(head) if head.lstrip("-").isdigit() else head
        if head == "remove" or not head:
            raise Usage(f"--net {text!r}: say which one", "such as 0:remove, or -1:remove")
        shown = {name: str(value) for name, value in values.items()}
        found.append([action or "modify", which, shown])
    return found


def _numbered(given: list[str], option: str) -> list[dict[str, Any]]:
    by_number: dict[int, dict[str, Any]] = {}
    for text in given:
        head, _, rest = text.partition(":")
        if not head.isdigit():
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
