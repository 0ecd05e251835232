"""``gantry completion bash``: writes the script that completes all programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gantry.cli import completion
from gantry.main.gantry import COMMANDS


def main(arguments: Sequence[str]) -> int:
    """Write it to stdout; the exit status."""
    parser = argparse.ArgumentParser(
        prog="gantry completion",
        description="Write the script by which a shell completes commands, options and names.",
        epilog="example: gantry completion bash > /etc/bash_completion.d/gantry",
    )
    parser.add_argument("shell", choices=("bash",))
    parser.parse_args(arguments)
    sys.stdout.write(completion.script({"gantry": list(COMMANDS)}))
    return 0
