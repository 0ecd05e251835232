"""``gantry token NAME``: let a machine join once, within the hour."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError
from gantry.model.errors import OperationFailed


def main(arguments: Sequence[str]) -> int:
    """Write the token to standard output."""
    parser = argparse.ArgumentParser(
        prog="gantry token",
        description="Make a token with which one machine may join the cluster, once, within the "
        "hour. It is a secret: put it into a file, and bring the file to the machine.",
        epilog="example: gantry token node4.example.com > node4.token",
    )
    parser.add_argument("name", metavar="NAME", help="the host name of the new node")
    given = parser.parse_args(arguments)
    try:
        text = Connection().post("tokens", {"name": given.name})["token"]
    except (ApiError, ClientError) as error:
        raise OperationFailed(error.message, error.info()["hint"]) from None
    sys.stdout.write(text + "\n")
    return 0
