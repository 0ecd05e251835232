"""Orders for trying one script: made up from the example cluster, or as they were recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gantry.hooks import catalogue, context, example, failure, watcher
from gantry.hooks.context import Asked, Failed, Moment
from gantry.hooks.entry import Phase
from gantry.hooks.failure import FailureKind
from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.table import CONFIG_UPDATE, ROWS
from gantry.model.errors import Rejected
from gantry.model.hook_orders import HookDirectory, HooksRun

_ASKED: Final = Asked(job=1, requester="root", received=example.NOW)
_FAILURE: Final = FailureKind.FAILED
_MESSAGE: Final = "the operation failed, in this example"
RUN_ID: Final = "00000000-0000-4000-8000-00000000abcd"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_OWN: Final = ("GANETI_", "GANTRY_", "PATH")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]+")


def made_up(
    operation: str,
    phase: Phase,
    version: int,
    settings: Mapping[str, str],
    directory: str = "",
) -> HooksRun:
    """What the master node of the example cluster would be told; of one directory.

    Where an operation has two, it is the one called ``directory``, or else that of ``version``.
    ``settings`` are variables to be set, with or without ``GANETI_``. Rejected where there is
    no such operation, or where it has no such phase.
    """
    run, document = _run(operation, phase, version)
    named = [one for one in run.directories if one.name == directory]
    usual = [one for one in run.directories if one.version == version]
    order = HooksRun(
        directories=(*named, *usual, *run.directories)[:1],
        environments=run.environments,
        main_version=version,
        job=1,
        run_id=RUN_ID,
        attempt=1,
        about=run.about,
        context=msgspec.Raw(msgspec.json.encode({**document, "node": "node1.example.com"})),
        extra=failure.variables(_FAILURE, _MESSAGE) if phase is Phase.FAIL else {},
    )
    return changed(order, settings)


def of_watcher(version: int, settings: Mapping[str, str]) -> HooksRun:
    """What a node tells the scripts of its directory ``watcher``."""
    return changed(watcher.order(RUN_ID, version), settings)


def changed(order: HooksRun, settings: Mapping[str, str]) -> HooksRun:
    """The order with those variables set; Rejected where a name is none."""
    own = {_variable(name): value for name, value in settings.items()}
    environments = {
        version: {**environment, **own} for version, environment in order.environments.items()
    }
    return msgspec.structs.replace(order, environments=environments)


def of_directory(order: HooksRun, directory: str, version: int) -> HooksRun:
    """A recorded order, for the scripts of one directory alone."""
    return msgspec.structs.replace(
        order, directories=(HookDirectory(name=directory, version=version),)
    )


def unknown(order: HooksRun, settings: Mapping[str, str], operation: str) -> list[str]:
    """Those of the settings that the operation does not send by itself."""
    row = catalogue.find(operation) if operation != CONFIG_UPDATE else None
    usual, _ = _run(operation, _phase(order), order.main_version)
    known = {name for variables in usual.environments.values() for name in variables}
    known |= {f"GANETI_{name}" for name in (row.flags if row is not None else ())}
    return sorted(name for name in settings if _variable(name) not in known)


def runnable_name(name: str) -> str:
    """The name under which a script can be tried whose own would keep it from running."""
    return _FOREIGN.sub("-", name).strip("-") or "script"


def _run(operation: str, phase: Phase, version: int) -> tuple[NodeRun, dict[str, Any]]:
    """What the first node is told, and the context."""
    if operation == CONFIG_UPDATE:
        if phase is not Phase.POST:
            raise Rejected(f"{CONFIG_UPDATE} has no phase {phase}", "it has post alone")
        cluster = example.cluster(version)
        here = Moment(cluster=cluster, subject=None)
        code = "OP_CLUSTER_SET_PARAMS"
        told = context.document(ROWS[code], code, phase, _ASKED, here, here)
        return config_update(code, cluster, None), told
    row = catalogue.find(operation)
    (cluster, subject), after = example.moments(row, version)
    runs = phase_runs(row.opcode, phase, cluster, subject, *(after if phase is Phase.POST else ()))
    if not runs:
        has = sorted({one.phase.value for one in catalogue.readings(version, operation)})
        raise Rejected(
            f"{operation} has no phase {phase} in version {version} of the interface",
            f"it has {' and '.join(has)}",
        )
    failed = Failed(kind=_FAILURE.value, message=_MESSAGE) if phase is Phase.FAIL else None
    before = Moment(cluster=cluster, subject=subject)
    later = Moment(cluster=after[0], subject=after[1]) if phase is Phase.POST else None
    return runs[0], context.document(row, row.op_code, phase, _ASKED, before, later, failed)


def _phase(order: HooksRun) -> Phase:
    return Phase(order.directories[0].name.rpartition("-")[2].removesuffix(".d"))


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Rejected(
            f"{name!r} is not the name of a variable",
            "such as INSTANCE_NAME=web9.example.com",
        )
    return name if name.startswith(_OWN) else f"GANETI_{name}"
