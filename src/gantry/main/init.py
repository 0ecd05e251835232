"""``gnt-cluster init``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gantry.cli import errors
from gantry.cli.cluster import init as command
from gantry.cli.cluster import modify
from gantry.cli.program import parser_of
from gantry.cli.programs import PROGRAMS
from gantry.main.bootstrap import Settings, StoreWish, init, root_directory, to_stderr
from gantry.model.errors import GantryError, Rejected


def main(argv: Sequence[str]) -> int:
    """Parse, make the cluster, say what to do next; the exit status."""
    program = "gnt-cluster"
    parser = parser_of(program, "init", PROGRAMS[program]["init"], command)
    arguments = parser.parse(argv)
    arguments.program, arguments.command = program, "init"
    try:
        settings = Settings(
            cluster_name=arguments.name,
            node_name=arguments.node_name,
            primary_ip=arguments.primary_ip,
            secondary_ip=arguments.secondary_ip,
            port=arguments.port,
            api_port=arguments.api_port,
            parameters=modify.fields(arguments),
            store=_store(arguments),
        )
        snapshot = asyncio.run(init(root_directory(), settings, to_stderr))
    except GantryError as error:
        info = {"code": error.code, "message": error.message, "hint": error.hint}
        text = json.dumps({"error": info}) if arguments.json else errors.failure(info)
        sys.stderr.write(text + "\n")
        return errors.FAILURE
    except errors.Usage as error:
        return errors.report(error, arguments.json)
    if arguments.json:
        made = {"cluster": snapshot.cluster.name, "master": snapshot.master.name}
        sys.stdout.write(json.dumps(made) + "\n")
    else:
        to_stderr("now start the daemons: systemctl enable --now gantry-agent gantry-master")
    return 0


def _store(given: argparse.Namespace) -> StoreWish | None:
    """What the options say of the store; None for a file."""
    kind, _, urls = (given.store or "sqlite").partition("=")
    rest = {
        "prefix": given.store_prefix,
        "user": given.store_user,
        **{
            name: Path(path).absolute() if path else None
            for name, path in (
                ("ca", given.store_ca),
                ("certificate", given.store_cert),
                ("key", given.store_key),
                ("password_file", given.store_password_file),
            )
        },
    }
    if given.store in (None, "sqlite"):
        if any(rest.values()):
            raise Rejected("--store-… says how to log in to etcd", "--store etcd=URL[,URL...]")
        return None
    if kind != "etcd" or not urls:
        raise Rejected(
            f"{given.store!r} is no store", "--store etcd=URL[,URL...], or leave it out for a file"
        )
    return StoreWish(endpoints=tuple(urls.split(",")), **rest)
