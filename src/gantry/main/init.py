"""``gnt-cluster init``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from gantry.cli import errors
from gantry.cli.cluster import init as command
from gantry.cli.cluster import modify
from gantry.cli.program import parser_of
from gantry.cli.programs import PROGRAMS
from gantry.main.bootstrap import Settings, init, root_directory, to_stderr
from gantry.model.errors import GantryError


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
