"""``gnt-os test``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import errors, secrets, table, values
from gantry.cli import options as shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gantry.model.os_trial import Attempt, Trial

EXAMPLES = """
gnt-os test ./debian
gnt-os test ./debian --variant trixie -O mirror=http://deb.example.com/debian
gnt-os test ./debian --script create --show-environment
gnt-os test ./debian --os-parameters-secret @secrets
gnt-os test ./debian --disk-size 4G --keep
gnt-os test ./debian --json
"""
_SCRIPTS = ("verify", "create", "export", "import", "rename", "reinstall")
_MIB = 1 << 20


def options(parser: argparse.ArgumentParser) -> None:
    """What to run, and with what."""
    parser.add_argument(
        "directory", metavar="DIR", help="an OS definition; nothing of it is installed"
    )
    parser.add_argument("--name", metavar="OS", help="the definition's name (that of DIR)")
    parser.add_argument(
        "--script",
        action="append",
        choices=_SCRIPTS,
        help="only this one; may be given several times (all of them, in this order)",
    )
    parser.add_argument("--variant", metavar="NAME", default="", help="(the first that it has)")
    parser.add_argument("-O", "--os-parameters", default="", metavar="NAME=VALUE,…")
    parser.add_argument("--os-parameters-private", default="", metavar="NAME=VALUE,…")
    parser.add_argument("--os-parameters-secret", metavar="…", help=secrets.HELP)
    parser.add_argument(
        "--disk-size",
        metavar="SIZE",
        default="1G",
        help="of each scratch disk (1G)",
    )
    parser.add_argument(
        "--timeout",
        type=shared.whole_number,
        default=3600,
        metavar="SECONDS",
        help="for each script (3600)",
    )
    parser.add_argument(
        "--show-environment", action="store_true", help="also show the variables of each script"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the disks and the dump, and say where they are"
    )


def run(arguments: argparse.Namespace) -> int:
    """0: every script did its work; 1: one failed; 2: it could not be tried."""
    from gantry.cli.os import directory
    from gantry.model.errors import Rejected
    from gantry.model.os_trial import Step, Wanted

    try:
        wanted = Wanted(
            steps=tuple(Step(one) for one in arguments.script or ()),
            variant=arguments.variant,
            parameters=values.texts(arguments.os_parameters, "-O"),
            private_parameters=values.texts(
                arguments.os_parameters_private, "--os-parameters-private"
            ),
            secret_parameters=secrets.read(arguments.os_parameters_secret),
            disk=values.size(arguments.disk_size, "--disk-size"),
            timeout=float(arguments.timeout),
            keep=arguments.keep,
        )
        name = directory.name(arguments, arguments.directory)
        trial = arguments.bench().attempt(
            arguments.directory, name, wanted, lambda one: _tell(arguments, one)
        )
    except Rejected as error:
        raise errors.Usage(error.message, error.hint) from error
    if arguments.json:
        _as_json(trial)
    else:
        _sum(trial)
    return 0 if trial.succeeded else errors.FAILURE


def _tell(arguments: argparse.Namespace, one: Attempt) -> None:
    """As soon as it has ended: a script may take long."""
    if not arguments.json:
        lines = _lines(one, environment=arguments.show_environment)
        sys.stdout.write("".join(f"{table.printable(line)}\n" for line in lines))
        sys.stdout.flush()


def _lines(one: Attempt, *, environment: bool) -> list[str]:
    took = f" after {one.duration:.1f} s" if one.outcome != "skipped" else ""
    lines = [f"{one.step}: {one.outcome}{took} ({one.how})"]
    if one.written is not None:
        lines.append(f"  disk: {one.written / _MIB:.1f} MiB written")
    if one.dump is not None:
        said = "" if one.predicted is None else f", {one.predicted / _MIB:.1f} MiB predicted"
        lines.append(f"  dump: {one.dump / _MIB:.1f} MiB{said}")
    lines += [f"  left behind, and cleared away: {what}" for what in one.left]
    lines += [f"  left behind, and cannot be cleared away: {what}" for what in one.stuck]
    lines += [f"  changed in its own directory: {what}" for what in one.changed]
    if environment:
        lines += [f"  {name}={value}" for name, value in one.environment.items()]
    if one.output:
        lines += [f"  | {line}" for line in one.output.rstrip("\n").split("\n")]
    return lines


def _sum(trial: Trial) -> None:
    parts = [
        f"{sum(one.outcome == name for one in trial.attempts)} {name}"
        for name in ("succeeded", "failed", "skipped")
    ]
    sys.stdout.write(f"{trial.os}, version {trial.api_version}: {', '.join(parts)}\n")
    if trial.kept:
        sys.stdout.write(f"kept: {trial.kept}\n")


def _as_json(trial: Trial) -> None:
    import msgspec

    sys.stdout.write(json.dumps(msgspec.to_builtins(trial), indent=1) + "\n")
