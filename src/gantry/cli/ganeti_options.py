"""Options of Ganeti's that scripts pass and that have nothing to do here: taken, and said so."""

from __future__ import annotations

import argparse

TITLE = "without effect here, taken since scripts for Ganeti pass them"
DESTINATION = "without_effect"
_NO_SSH = "nodes are joined with tokens, not by SSH"
_NO_HELPER = "no helper guest is needed for it"
_NOT_ZEROED = "free space is not zeroed"
_WHY = {
    "--auto-promote": "master candidates stay what they are",
    "--early-release": "old replicas go once the new ones are in sync",
    "--force": "nothing is asked",
    "--helper-shutdown-timeout": _NO_HELPER,
    "--helper-startup-timeout": _NO_HELPER,
    "--ignore-consistency": "disks that cannot be read are not copied",
    "--ignore-hvversions": "machine type and CPU are those of the instance on every node",
    "--ignore-ipolicy": "there are no instance policies",
    "--ignore-soft-errors": "there is no iallocator, which would know some",
    "--long-sleep": "an instance may be down for as long as its export takes",
    "--no-etc-hosts": "/etc/hosts is left alone",
    "--no-hotplug": "a running guest's devices are changed with --hotplug only",
    "--no-hv-param-assessment": "parameters are checked when they are set",
    "--no-node-setup": _NO_SSH,
    "--no-nplus1-mem": "no memory is kept free for failovers",
    "--no-runtime-changes": "a guest's memory is not changed for it",
    "--no-ssh-init": _NO_SSH,
    "--no-ssh-key-check": _NO_SSH,
    "--no-strict": "all that is wrong is reported",
    "--no-wait-for-sync": "no job leaves disks behind that are not in sync",
    "--opportunistic-locking": "instances are made side by side: the locks of nodes are shared",
    "--priority": "it only reads, and is no job",
    "--roman": "numbers are arabic",
    "--verbose": "there is no more to say",
    "--verify-ssh-clutter": _NO_SSH,
    "--zeroing-timeout-fixed": _NOT_ZEROED,
    "--zeroing-timeout-per-mib": _NOT_ZEROED,
}
_SHORT = {"--force": "-f", "--verbose": "-v"}


def without_effect(parser: argparse.ArgumentParser, *names: str, value: bool = False) -> None:
    """Take them, and say in ``--help`` why they have nothing to do.

    ``value``: they take one, which nobody looks at.
    """
    known = [group for group in parser._action_groups if group.title == TITLE]
    group = known[0] if known else parser.add_argument_group(TITLE)
    for name in names:
        options = [_SHORT[name], name] if name in _SHORT else [name]
        if value:
            group.add_argument(*options, metavar="X", dest=DESTINATION, help=_WHY[name])
        else:
            group.add_argument(*options, action="store_true", dest=DESTINATION, help=_WHY[name])


def no_iallocator(parser: argparse.ArgumentParser) -> None:
    """``-I``, which is refused."""
    parser.add_argument("-I", "--iallocator", metavar="NAME", help="refused: there is none")
