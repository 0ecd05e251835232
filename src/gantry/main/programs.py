"""Entry points of the ``gnt-*`` programs, for the installed scripts. No program is written here."""

from __future__ import annotations

from gantry.main.gnt import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def gnt_cluster() -> NoReturn:
    """``gnt-cluster``."""
    run("gnt-cluster")


def gnt_node() -> NoReturn:
    """``gnt-node``."""
    run("gnt-node")


def gnt_group() -> NoReturn:
    """``gnt-group``."""
    run("gnt-group")


def gnt_instance() -> NoReturn:
    """``gnt-instance``."""
    run("gnt-instance")


def gnt_backup() -> NoReturn:
    """``gnt-backup``."""
    run("gnt-backup")


def gnt_os() -> NoReturn:
    """``gnt-os``."""
    run("gnt-os")


def gnt_hook() -> NoReturn:
    """``gnt-hook``."""
    run("gnt-hook")


def gnt_job() -> NoReturn:
    """``gnt-job``."""
    run("gnt-job")


def gnt_debug() -> NoReturn:
    """``gnt-debug``."""
    run("gnt-debug")
