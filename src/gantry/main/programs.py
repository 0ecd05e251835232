"""Entry points of the ``gnt-*`` programs, for the installed scripts. No program is written here."""

from __future__ import annotations

import sys

from gantry.main.gnt import main


def gnt_cluster() -> int:
    """``gnt-cluster``."""
    return main("gnt-cluster", sys.argv[1:])


def gnt_node() -> int:
    """``gnt-node``."""
    return main("gnt-node", sys.argv[1:])


def gnt_group() -> int:
    """``gnt-group``."""
    return main("gnt-group", sys.argv[1:])


def gnt_instance() -> int:
    """``gnt-instance``."""
    return main("gnt-instance", sys.argv[1:])


def gnt_os() -> int:
    """``gnt-os``."""
    return main("gnt-os", sys.argv[1:])


def gnt_hook() -> int:
    """``gnt-hook``."""
    return main("gnt-hook", sys.argv[1:])


def gnt_job() -> int:
    """``gnt-job``."""
    return main("gnt-job", sys.argv[1:])


def gnt_debug() -> int:
    """``gnt-debug``."""
    return main("gnt-debug", sys.argv[1:])
