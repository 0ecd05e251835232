"""The name of a definition that is in a directory on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path


def name(arguments: argparse.Namespace, directory: str) -> str:
    """As ``--name`` says it, or that of the directory."""
    given: str | None = arguments.name
    return given or Path(directory).resolve().name
