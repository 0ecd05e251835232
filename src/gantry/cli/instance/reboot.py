"""``gnt-instance reboot``."""

from __future__ import annotations

import argparse

from gantry.cli import options as shared
from gantry.cli import selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance reboot web1
gnt-instance reboot -t soft web1            (reset it within its process)
gnt-instance reboot -t full --shutdown-timeout=20 web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instances, and how."""
    selection.options(parser)
    parser.add_argument(
        "-t", "--type", choices=("soft", "hard", "full"), default="hard", help="how (hard)"
    )
    parser.add_argument("--ignore-secondaries", action="store_true", help="hooks see it")
    shared.shutdown_timeout(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reboot them."""

    def operation(name: str) -> dict[str, Any]:
        return {
            "OP_ID": "OP_INSTANCE_REBOOT",
            "instance_name": name,
            "reboot_type": arguments.type,
            "ignore_secondaries": arguments.ignore_secondaries,
            "shutdown_timeout": arguments.shutdown_timeout,
        }

    return selection.run_each(arguments, "Reboot", operation)
