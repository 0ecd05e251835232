"""Everything about the cluster itself."""

from __future__ import annotations

from typing import Any

from gantry import __version__
from gantry.api.query.view import View
from gantry.model.entities import Cluster
from gantry.model.parameters import BACKEND, HYPERVISOR, NIC, NODE, fill


def document(view: View) -> dict[str, Any]:
    """Parameters are filled in; private OS parameters are named and not shown."""
    one = view.cluster.cluster
    return {
        "name": one.name,
        "uuid": one.uuid,
        "version": __version__,
        "master": view.node_name(one.master_node),
        "master_candidates": sorted(
            node.name
            for node in view.cluster.nodes.values()
            if node.master_candidate and not node.offline
        ),
        "nodes": len(view.cluster.nodes),
        "instances": len(view.cluster.instances),
        "groups": sorted(group.name for group in view.cluster.groups.values()),
        "hooks_version": one.hooks_version,
        "enabled_hypervisors": list(one.enabled_hypervisors),
        "enabled_disk_templates": list(one.enabled_disk_templates),
        "mac_prefix": one.mac_prefix,
        "candidate_pool_size": one.candidate_pool_size,
        "api_port": one.api_port,
        "max_running_jobs": one.max_running_jobs,
        "master_lease": one.master_lease,
        "file_storage_dir": one.file_storage_dir,
        "shared_file_storage_dir": one.shared_file_storage_dir,
        "name_check": one.name_check,
        "ip_check": one.ip_check,
        "install_image": one.install_image or "none",
        "maintain": one.maintain,
        **_parameters(one),
        "hidden_os": list(one.hidden_os),
        "blacklisted_os": list(one.blacklisted_os),
        "tags": sorted(one.tags),
        "ctime": one.ctime,
        "mtime": one.mtime,
        "serial_no": one.serial_no,
    }


def _parameters(one: Cluster) -> dict[str, Any]:
    return {
        "beparams": dict(sorted(fill(BACKEND, one.beparams).items())),
        "hvparams": {
            name: dict(sorted(fill(HYPERVISOR[name], one.hvparams.get(name, {})).items()))
            for name in one.enabled_hypervisors
        },
        "nicparams": dict(sorted(fill(NIC, one.nicparams).items())),
        "ndparams": dict(sorted(fill(NODE, one.ndparams).items())),
        "os_hvp": one.os_hvp,
        "osparams": one.osparams,
        "osparams_private": {
            name: dict.fromkeys(given, "<private>") for name, given in one.osparams_private.items()
        },
    }
