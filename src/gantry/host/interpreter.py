"""What runs a script: as its first line says, and whether this machine has it."""

from __future__ import annotations

import os
import shutil
from typing import Final

from gantry.model.hook_files import Interpreter

ELF: Final = b"\x7fELF"
"""What a program begins with."""
_HEAD: Final = 512
_ENV: Final = "/usr/bin/env"
_PATH: Final = "/sbin:/bin:/usr/sbin:/usr/bin"
"""Where a script's interpreter is looked for: it is all that it has in its PATH."""


def interpreter(content: bytes) -> Interpreter:
    """Of a file with this content, or one that begins so."""
    head = content[:_HEAD]
    if head.startswith(ELF):
        return Interpreter(binary=True)
    if not head.startswith(b"#!"):
        return Interpreter()
    line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace")
    words = line.strip(" \t").split(" ")
    program = words[0]
    if not os.access(program, os.X_OK):
        return Interpreter(line=line, missing=program or "(nothing)")
    wanted = next((word for word in words[1:] if word and not word.startswith("-")), "")
    if program == _ENV and wanted and shutil.which(wanted, path=_PATH) is None:
        return Interpreter(line=line, missing=wanted)
    return Interpreter(line=line)
