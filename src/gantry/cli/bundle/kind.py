"""What differs between bundles of hooks and those of OS definitions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Kind:
    """``path`` is below the API's; ``opcode`` what a push submits; ``name`` of a definition."""

    __slots__ = ("name", "opcode", "path")

    def __init__(self, path: str, opcode: str, name: str = "") -> None:
        self.path = path
        self.opcode = opcode
        self.name = name

    @property
    def fields(self) -> dict[str, str]:
        """What a request says beside the bundle."""
        return {"name": self.name} if self.name else {}

    @property
    def operation(self) -> dict[str, object]:
        """The beginning of what is submitted."""
        named: dict[str, object] = {"os_name": self.name} if self.name else {}
        return {"OP_ID": self.opcode, **named}


HOOKS: Final = Kind("hooks", "OP_HOOK_PUSH")


def definition(name: str) -> Kind:
    """Of the OS definition of that name; with a variant, which is of no matter here."""
    return Kind("os", "OP_OS_PUSH", name.partition("+")[0])
