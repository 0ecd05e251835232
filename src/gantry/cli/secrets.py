"""Secret OS parameters: from a file or standard input, so that no process list shows them."""

from __future__ import annotations

import sys

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
        content = sys.stdin.read() if text == "@-" else _content(text[1:])
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Usage(f"{option}: cannot read {text[1:]}: {why}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals or not name.strip():
                # The line itself stays unsaid: it may be the secret.
                raise Usage(f"{option}: line {number} of {text[1:]} is not NAME=VALUE")
            found[name.strip()] = value
    return found


def _content(path: str) -> str:
    from pathlib import Path

    return Path(path).read_text("utf-8")
