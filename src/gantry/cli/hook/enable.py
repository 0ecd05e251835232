"""``gnt-hook enable``."""

from __future__ import annotations

import argparse

from gantry.cli.hook import switching

EXAMPLES = """
gnt-hook enable 20-cmdb
gnt-hook enable instance-add-pre.d/20-cmdb --node node2
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which scripts, where."""
    switching.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """They run again from now on."""
    return switching.run(arguments, enabled=True)
