"""``gnt-instance reinstall``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gantry.cli import confirm, secrets, selection, values
from gantry.cli import options as shared
from gantry.cli.errors import Declined, Usage
from gantry.client.connection import Connection

EXAMPLES = """
gnt-instance reinstall web1
gnt-instance reinstall -f -o debian+trixie web1
gnt-instance reinstall --select-os web1
gnt-instance reinstall -O dhcp=yes web1                          (for this once)
gnt-instance reinstall -O dhcp=yes --store-os-parameters web1    (from now on)
gnt-instance reinstall --os-parameters-secret @password web1
gnt-instance reinstall --force-multiple --tags env:test
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instances, and with what."""
    selection.options(parser)
    shared.force(parser, "do not ask, where it is one instance")
    system = parser.add_argument_group("operating system")
    system.add_argument("-o", "--os-type", metavar="OS[+VARIANT]", help="default: the same again")
    system.add_argument("--select-os", action="store_true", help="choose it from a list")
    system.add_argument("--force-variant", action="store_true", help="accept undeclared variants")
    system.add_argument("-O", "--os-parameters", metavar="NAME=VALUE,…", help="for this once")
    system.add_argument("--os-parameters-private", metavar="NAME=VALUE,…", help="for this once")
    system.add_argument("--os-parameters-secret", metavar="…", help=secrets.HELP)
    system.add_argument(
        "--store-os-parameters",
        action="store_true",
        help="keep public and private parameters with the instance",
    )
    shared.installation(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then reinstall them."""
    fields = _fields(arguments)
    secret = secrets.read(arguments.os_parameters_secret)
    names = selection.select(arguments)
    if names and arguments.dry_run == "no":
        _confirm(arguments, names, fields.get("os_type"))

    def operation(name: str) -> dict[str, Any]:
        return {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": name, **fields}

    return selection.run_each(arguments, "Reinstall", operation, secret, names)


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.select_os and arguments.os_type:
        raise Usage("give -o or --select-os, not both")
    private = arguments.os_parameters_private or ""
    found: dict[str, Any] = {
        "force_variant": arguments.force_variant,
        "osparams": values.texts(arguments.os_parameters or "", "-O"),
        "osparams_private": values.texts(private, "--os-parameters-private"),
        "debug_level": arguments.debug,
        "store_osparams": arguments.store_os_parameters,
        **shared.given(arguments, "os_type", "helper_startup_timeout", "helper_shutdown_timeout"),
    }
    if arguments.select_os:
        found["os_type"] = _chosen()
    return found


def _confirm(arguments: argparse.Namespace, names: list[str], os_type: str | None) -> None:
    """As Ganeti asks: --force-multiple is the stronger of the two."""
    several = len(names) > 1 or bool(selection.chosen(arguments))
    what = f" with {os_type}" if os_type else ""
    confirm.ask(
        f"This will reinstall {', '.join(names)}{what}: all data on the disks is lost.\nContinue?",
        arguments.force_multiple or (arguments.force and not several),
        "--force-multiple" if several else "-f",
    )


def _chosen() -> str:
    """The OS that the operator picks from those that can be installed."""
    listed = [name for one in Connection().get("os") for name in one["listed_names"]]
    if not listed:
        raise Usage("no OS definition is valid on all nodes", "gnt-os diagnose says why")
    if not sys.stdin.isatty():
        raise Usage("--select-os asks on a terminal, and there is none", "give the OS with -o")
    sys.stderr.write("".join(f"{number:3}: {name}\n" for number, name in enumerate(listed)))
    sys.stderr.write("Enter OS number (or x to abort): ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if answer.isascii() and answer.isdecimal() and int(answer) < len(listed):
        return str(listed[int(answer)])
    if answer in ("", "x"):
        raise Declined
    raise Usage(f"{answer!r} is not one of the numbers", "see gnt-os list")
