"""Everything about one node: what is stored, and what its agent last said."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gantry.api.query import node as fields
from gantry.api.query.view import View
from gantry.model.entities import Node
from gantry.model.live import NodeFacts

_ROLES: Final = {
    "M": "master",
    "C": "master candidate",
    "R": "regular",
    "D": "drained",
    "O": "offline",
}


def document(view: View, node: Node) -> dict[str, Any]:
    """Sizes in MiB; ``resources`` and ``hypervisors`` are None where the node never answered."""
    live = view.live(node.uuid)
    group = view.cluster.groups.get(node.group)
    ndparams = fields.filled(view, node)
    return {
        "name": node.name,
        "uuid": node.uuid,
        "role": _ROLES[fields.role(view, node)],
        "primary_ip": node.primary_ip,
        "secondary_ip": node.secondary_ip,
        "port": node.port,
        "group": group.name if group else None,
        "offline": node.offline,
        "drained": node.drained,
        "master_candidate": node.master_candidate,
        "master_capable": node.master_capable,
        "vm_capable": node.vm_capable,
        "powered": node.powered if ndparams["oob_program"] else None,
        "reachable": live.reachable and not node.offline,
        "problem": live.problem or None,
        "since": live.since or None,
        "warnings": list(live.facts.problems) if live.facts else [],
        "resources": _resources(live.facts),
        "hypervisors": _hypervisors(live.facts),
        "os": [one.name for one in live.facts.oses] if live.facts else None,
        "bridges": list(live.facts.bridges) if live.facts else None,
        "pinst_list": list(view.primaries.get(node.uuid, ())),
        "sinst_list": list(view.secondaries.get(node.uuid, ())),
        "ndparams": ndparams,
        "custom_ndparams": node.ndparams,
        "tags": sorted(node.tags),
        "ctime": node.ctime,
        "mtime": node.mtime,
        "serial_no": node.serial_no,
    }


def _resources(facts: NodeFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "memory_total": facts.memory_total,
        "memory_node": facts.memory_node,
        "memory_free": facts.memory_free,
        "disk_total": facts.disk_total,
        "disk_free": facts.disk_free,
        "cpus": facts.cpus,
        "cpu_sockets": facts.cpu_sockets,
        "version": facts.version,
        "boot_id": facts.boot_id,
        "root": facts.root,
        "certificate_expires": facts.certificate_expires or None,
    }


def _hypervisors(facts: NodeFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {name: msgspec.structs.asdict(one) for name, one in sorted(facts.hypervisors.items())}
