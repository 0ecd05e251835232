"""``gnt-hook webhook-add``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-hook webhook-add chat https://chat.example.com/hooks/gantry --secret-file chat.secret
gnt-hook webhook-add pager @url.txt --secret-file pager.secret \\
    --event job:error --event hooks:denied --event 'instance:ERROR_*'
gnt-hook webhook-add cmdb https://cmdb.example.com/in --secret-file s --ca-file our-ca.pem
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Where to, and of what."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "url", metavar="URL", help="https://…, or @FILE whose first line it is (@-: standard input)"
    )
    parser.add_argument(
        "--secret-file",
        required=True,
        metavar="FILE",
        help="its first line is the key of the signatures, at least 16 characters",
    )
    parser.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="EVENT[:STATE]",
        help="only these events; may be given several times (all)",
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", help="who may have signed the server's certificate, PEM"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it; address and secret travel beside the operation and are in no record."""
    url = arguments.url
    if url.startswith("@"):
        url = _first_line(url[1:], "URL")
    operation = {
        "OP_ID": "OP_WEBHOOK_ADD",
        "name": arguments.name,
        "events": arguments.event,
        "ca": _read(arguments.ca_file, "--ca-file") if arguments.ca_file else "",
    }
    secret = _first_line(arguments.secret_file, "--secret-file")
    return jobs.run(arguments, [operation], [{"url": url, "secret": secret}])


def _first_line(name: str, option: str) -> str:
    return _read(name, option).partition("\n")[0].strip()


def _read(name: str, option: str) -> str:
    import sys
    from pathlib import Path

    from gantry.cli.errors import Usage

    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Usage(f"{option}: cannot read {name}: {why}") from None
