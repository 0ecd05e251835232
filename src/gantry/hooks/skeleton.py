"""The beginning of a hook script: it does what every script should, and says what to fill in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SHOWN: Final = 12
"""Variables that are named in it."""
_COMMON: Final = ("PATH", "GANETI_HOOKS_", "GANETI_OP_", "GANETI_OBJECT_", "GANETI_DATA_DIR",
                  "GANETI_POST_", "GANETI_CLUSTER", "GANETI_MASTER")  # fmt: skip

_SH: Final = """\
#!/bin/sh
# {name}: {what}
#
# {when}
# It may be run again for the same operation, after a crash: GANTRY_RUN_ID is then the same, and
# GANTRY_ATTEMPT counts. So let it come to the same end when it is run twice.
#
# What it is told (all of it: gnt-hook test {name} --show-environment):
{variables}
#   GANTRY_CONTEXT   a file: the same and more as JSON, with the object before and after
#   GANTRY_VERDICT   a file to write to: {{"message": "…", "warnings": ["…"]}}
# Its arguments are none, its input is empty; $GANTRY_ROOT/bin has the gnt-* commands.
set -eu

# It is written for both versions of the interface; another one may mean other things.
case "$GANETI_HOOKS_VERSION" in
1 | 2) ;;
*)
    echo "{name} does not know version $GANETI_HOOKS_VERSION of the hook interface" >&2
    exit 1
    ;;
esac

{body}
exit 0
"""
_SH_BODY: Final = {
    "pre": """\
# Only tried (--dry-run=hooks): check, and change nothing.
# [ -z "${{GANTRY_DRY_RUN:-}}" ] || dry_run=yes

# To deny the operation, say why and end with any status but 0. Example:
# case " ${{GANETI_INSTANCE_TAGS:-}} " in
# *" owner:"*) ;;
# *)
#     echo "${{GANETI_INSTANCE_NAME:-it}} has no owner: add a tag such as owner:me"
#     exit 1
#     ;;
# esac
""",
    "post": """\
# The operation has succeeded. A status other than 0 becomes a warning in the job's log.
# Write anew instead of appending, and look before adding. Example:
# logger -t hooks "$GANETI_OP_CODE of ${{GANETI_OP_TARGET:-$GANETI_CLUSTER}} is done"
""",
    "fail": """\
# The operation has not succeeded: take back what your pre script did. GANTRY_FAILURE says why
# (denied, failed, cancelled, unwound), GANTRY_FAILURE_MESSAGE in words. Example:
# logger -t hooks "$GANETI_OP_CODE of ${{GANETI_OP_TARGET:-$GANETI_CLUSTER}} has failed"
""",
}
_PYTHON: Final = '''\
#!/usr/bin/env python3
"""{name}: {what}

{when}
It may be run again for the same operation, after a crash: GANTRY_RUN_ID is then the same, and
GANTRY_ATTEMPT counts. So let it come to the same end when it is run twice.

What it is told (all of it: gnt-hook test {name} --show-environment):
{variables}
  GANTRY_CONTEXT   a file: the same and more as JSON, with the object before and after
  GANTRY_VERDICT   a file to write to: {{"message": "…", "warnings": ["…"]}}
Its arguments are none, its input is empty; $GANTRY_ROOT/bin has the gnt-* commands.
"""

import json
import os
import sys


def main() -> int:
    """The exit status."""
    version = os.environ["GANETI_HOOKS_VERSION"]
    if version not in ("1", "2"):
        # Another version may mean other things.
        print(f"{name} does not know version {{version}} of the hook interface", file=sys.stderr)
        return 1
    context = {{}}
    if "GANTRY_CONTEXT" in os.environ:
        with open(os.environ["GANTRY_CONTEXT"], encoding="utf-8") as stream:
            context = json.load(stream)
{body}
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''
_PYTHON_BODY: Final = {
    "pre": """\
    # Only tried (--dry-run=hooks) where GANTRY_DRY_RUN is set: check, and change nothing.
    # To deny the operation, say why and return any status but 0. Example:
    # if not any(tag.startswith("owner:") for tag in os.environ["GANETI_INSTANCE_TAGS"].split()):
    #     print("it has no owner: add a tag such as owner:me")
    #     return 1
    del context  # use it, or take it out
""",
    "post": """\
    # The operation has succeeded. A status other than 0 becomes a warning in the job's log.
    # Write anew instead of appending, and look before adding.
    del context  # use it, or take it out
""",
    "fail": """\
    # The operation has not succeeded: take back what your pre script did. context["failure"]
    # says why.
    del context  # use it, or take it out
""",
}
_WHAT: Final = {
    "pre": "says whether an operation may be done",
    "post": "does what should follow an operation",
    "fail": "tidies up after an operation that did not succeed",
}
_WHEN: Final = {
    "pre": "Runs before {operation}. Status 0 allows it, any other one denies it; it denies "
    "nothing\n{lead}where its node does not answer.",
    "post": "Runs after {operation} has succeeded. Nothing can be denied any more.",
    "fail": "Runs when {operation} was denied, failed or was cancelled, once its pre scripts "
    "had\n{lead}begun.",
}


_WATCHER_TOLD: Final = """\
{lead}PATH and LC_ALL=C; GANTRY_ROOT is the node's root, {root}; GANTRY_RUN_ID
{lead}is another one each time. There is no operation, and maybe no master: a gnt-* command can
{lead}fail. What it prints, and any status but 0, is in the agent's log.
"""
_WATCHER_SH: Final = """\
#!/bin/sh
# {name}: looks after this node
#
# Runs when the node's agent starts, and then every five minutes; of the cluster it is told
# nothing:
{told}# Its arguments are none, its input is empty; $GANTRY_ROOT/bin has the gnt-* commands.
set -eu

# Say what is wrong and end with any status but 0. Example:
# used=$(df -P "$GANTRY_ROOT/var" | awk 'NR == 2 {{print $5 + 0}}')
# [ "$used" -lt 90 ] || {{ echo "the disk of $GANTRY_ROOT/var is $used % full"; exit 1; }}

exit 0
"""
_WATCHER_PYTHON: Final = '''\
#!/usr/bin/env python3
"""{name}: looks after this node

Runs when the node's agent starts, and then every five minutes; of the cluster it is told nothing:
{told}Its arguments are none, its input is empty; $GANTRY_ROOT/bin has the gnt-* commands.
"""

import sys


def main() -> int:
    """The exit status."""
    # Say what is wrong (print), and return any status but 0.
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''


def of_watcher(name: str, language: str) -> str:
    """The same of a script that each node runs by itself."""
    python = language == "python"
    told = _WATCHER_TOLD.format(lead="  " if python else "#   ", root="/ on a real one")
    return (_WATCHER_PYTHON if python else _WATCHER_SH).format(name=name, told=told)


def text(name: str, phase: str, environment: Mapping[str, str], language: str) -> str:
    """The whole file, in ``sh`` or ``python``; ``environment`` is an example of what it gets."""
    python = language == "python"
    lead = "" if python else "# "
    operation = environment["GANETI_HOOKS_PATH"]
    template, bodies = (_PYTHON, _PYTHON_BODY) if python else (_SH, _SH_BODY)
    return template.format(
        name=name,
        what=_WHAT[phase],
        when=_WHEN[phase].format(operation=operation, lead=lead),
        variables=_variables(environment, lead),
        body=bodies[phase].format().rstrip("\n"),
    )


def _variables(environment: Mapping[str, str], lead: str) -> str:
    own = [one for one in environment if not one.startswith(_COMMON)]
    usual = [one for one in own if one.startswith("GANETI_")]
    short = sorted(usual, key=lambda one: (one.count("_"), one))[:_SHOWN]
    names = ["GANETI_HOOKS_PHASE", "GANETI_OP_CODE", "GANETI_MASTER", *sorted(short)]
    width = max(map(len, names))
    return "\n".join(
        f"{lead}  {one:<{width}}  such as {environment[one]}".rstrip() for one in names
    )
