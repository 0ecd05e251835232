"""Secret OS parameters: from a file or standard input, so that no process list shows them."""

from __future__ import annotations

import sys
from pathlib import Path

from gantry.cli import values
from gantry.cli.errors import Usage

HELP = "NAME=VALUE,… or @FILE with one NAME=VALUE a line (@- : standard input); never stored"


def read(text: str | None, option: str = "--os-parameters-secret") -> dict[str, str]:
    """The parameters behind an option; those written on the command line work too."""
    if not text:
        return {}
    if not text.startswith("@"):
        return values.texts(text, option)
    try:
        content = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{option}: cannot read {text[1:]}: {error}") from None
    found: dict[str, str] = {}
    for line in content.splitlines():
        if line.strip() and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise Usage(f"{option}: a line of {text[1:]} has no =")
            found[name.strip()] = value
    return found
