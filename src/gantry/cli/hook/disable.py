"""``gnt-hook disable``."""

from __future__ import annotations

import argparse

from gantry.cli.hook import switching

EXAMPLES = """
gnt-hook disable 20-cmdb --reason "the CMDB is down until Monday"
gnt-hook disable instance-add-pre.d/20-cmdb
gnt-hook disable 20-cmdb --node node2
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which scripts, where."""
    switching.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """They are skipped from now on, also after a push; lists, lint and history say why."""
    return switching.run(arguments, enabled=False)
