"""Change the cluster's parameters: ``gnt-cluster modify``, ``gnt-os modify``."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import image_location, locks, names, timeouts
from gantry.model.entities import (
    Cluster,
    DiskTemplate,
    HypervisorName,
    NicMode,
    Node,
    Parameters,
    ParameterValue,
)
from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.orders import OsVerify
from gantry.model.parameters import BACKEND, HYPERVISOR, NIC, NODE, check, merge, os_parameters
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import candidates, checks, oses
from gantry.ports.steps import Outcome, Steps

_PREFIX = re.compile(r"[0-9a-f][02468ace]:[0-9a-f]{2}:[0-9a-f]{2}")


class ClusterModifyPlan(Plan, frozen=True, kw_only=True):
    """The cluster as it was and as it will be; ``promoted`` fill a pool that has grown."""

    before: Cluster
    after: Cluster
    promoted: tuple[Node, ...] = ()
    candidates: int = 0


class ClusterModify(Operation[ClusterModifyPlan], frozen=True, kw_only=True):
    """What is None or empty stays; a parameter's value ``default`` takes a setting away.

    ``hidden_os`` and ``blacklisted_os`` are lists of (``add`` or ``remove``, OS) pairs.
    """

    opcode: ClassVar[str] = "OP_CLUSTER_SET_PARAMS"
    plan_type: ClassVar[type[Plan]] = ClusterModifyPlan

    force: bool = False
    hooks_version: int | None = None
    enabled_hypervisors: tuple[str, ...] | None = None
    enabled_disk_templates: tuple[str, ...] | None = None
    hvparams: dict[str, dict[str, ParameterValue]] = {}
    beparams: dict[str, ParameterValue] = {}
    nicparams: dict[str, ParameterValue] = {}
    ndparams: dict[str, ParameterValue] = {}
    os_hvp: dict[str, dict[str, dict[str, ParameterValue]]] = {}
    osparams: dict[str, dict[str, str]] = {}
    osparams_private_cluster: dict[str, dict[str, str]] = {}
    candidate_pool_size: int | None = None
    max_running_jobs: int | None = None
    master_lease: int | None = None
    mac_prefix: str | None = None
    hidden_os: tuple[tuple[str, str], ...] = ()
    blacklisted_os: tuple[tuple[str, str], ...] = ()
    file_storage_dir: str | None = None
    shared_file_storage_dir: str | None = None
    install_image: str | None = None
    """``""`` and ``none`` take it away."""
    maintain_node_health: bool | None = None
    name_check: bool | None = None
    ip_check: bool | None = None

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.CLUSTER])

    def changed(self, before: Cluster) -> Cluster:
        """The cluster with all that was asked for, or Rejected; also for a new one."""
        changes = {
            **self._numbers(),
            **self._settings(),
            **self._lists(before),
            **self._parameters(before),
        }
        return msgspec.structs.replace(before, **changes)

    def check(self, cluster: Snapshot, given: Given) -> ClusterModifyPlan:
        before = cluster.cluster
        after = self.changed(before)
        if after == before and not (self.osparams or self.osparams_private_cluster):
            raise Rejected(
                "nothing to change: the cluster is like that already",
                "see gnt-cluster modify --help for what can be set",
            )
        used = {one.hypervisor for one in cluster.instances.values()}
        missing = sorted(used - set(after.enabled_hypervisors))
        if missing:
            raise Rejected(f"instances use hypervisor {', '.join(missing)}: it must stay enabled")
        kept = {one.disk_template for one in cluster.instances.values()}
        gone = set(before.enabled_disk_templates) - set(after.enabled_disk_templates)
        if gone & kept:
            names_of = ", ".join(sorted(gone & kept))
            raise Rejected(f"instances use disk template {names_of}: it must stay enabled")
        grown = after.candidate_pool_size > before.candidate_pool_size
        size = after.candidate_pool_size if grown else 0
        return ClusterModifyPlan(
            before=before,
            after=checks.changed(after, given.now),
            promoted=candidates.promoted(cluster, given.now, size=size),
            candidates=len(candidates.others(cluster)),
        )

    async def examine(
        self, plan: ClusterModifyPlan, cluster: Snapshot, ask: Examiner
    ) -> ClusterModifyPlan:
        for os in sorted({*self.osparams, *self.osparams_private_cluster}):
            public, private = plan.after.osparams, plan.after.osparams_private
            for one in oses.same_base(os, public, private):
                oses.disjoint(os_parameters(public, one, {}), os_parameters(private, one, {}))
            verify = OsVerify(
                os=os,
                parameters=os_parameters(plan.after.osparams, os, {}),
                private_parameters=os_parameters(plan.after.osparams_private, os, {}),
                required=False,
                force_variant=True,
            )
            await ask.ask(cluster.master.uuid, verify, timeouts.OS_VERIFY)
        return plan

    def subject(self, plan: ClusterModifyPlan, cluster: Snapshot) -> Subject:
        return Subject(kind=SubjectKind.CLUSTER, values={"NEW_VG_NAME": None})

    async def run(self, plan: ClusterModifyPlan, steps: Steps) -> Outcome:
        if plan.promoted:
            steps.log(candidates.words(plan.promoted))
        size = plan.after.candidate_pool_size
        if plan.candidates > size != plan.before.candidate_pool_size:
            steps.log(
                f"{plan.candidates} nodes are master candidates, more than {size}: "
                "gnt-node modify -C no NODE takes one out"
            )
        return Outcome(put=(plan.after, *plan.promoted))

    def _numbers(self) -> dict[str, Any]:
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "hooks_version",
                "candidate_pool_size",
                "max_running_jobs",
                "master_lease",
                "mac_prefix",
            )
            if getattr(self, name) is not None
        }
        if changes.get("hooks_version", 1) not in (1, 2):
            raise Rejected(f"the hooks version is 1 or 2, not {self.hooks_version}")
        for name in ("candidate_pool_size", "max_running_jobs"):
            if changes.get(name, 1) < 1:
                raise Rejected(f"{name} must be at least 1")
        if not 2 <= changes.get("master_lease", 2) <= 60:
            raise Rejected(f"a master's lease is of 2 to 60 seconds, not {self.master_lease}")
        if self.mac_prefix is not None:
            changes["mac_prefix"] = self.mac_prefix.lower()
        if not _PREFIX.fullmatch(changes.get("mac_prefix", "aa:00:00")):
            raise Rejected(
                f"{self.mac_prefix!r} cannot be a MAC prefix",
                "three bytes such as aa:00:00, the first of them even",
            )
        return changes

    def _settings(self) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for name in ("file_storage_dir", "shared_file_storage_dir"):
            if path := getattr(self, name):
                changes[name] = names.absolute_path(path, name)
        if self.install_image is not None:
            given = self.install_image
            none = given in ("", "none")
            changes["install_image"] = (
                "" if none else image_location.public(given, "the install image")
            )
        for name, field in (
            ("maintain_node_health", "maintain"),
            ("name_check", "name_check"),
            ("ip_check", "ip_check"),
        ):
            if getattr(self, name) is not None:
                changes[field] = getattr(self, name)
        return changes

    def _lists(self, before: Cluster) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if self.enabled_hypervisors is not None:
            changes["enabled_hypervisors"] = _choices(
                self.enabled_hypervisors, HypervisorName, "hypervisor"
            )
        if self.enabled_disk_templates is not None:
            changes["enabled_disk_templates"] = _choices(
                self.enabled_disk_templates, DiskTemplate, "disk template"
            )
        for name in ("hidden_os", "blacklisted_os"):
            found = set(getattr(before, name))
            for action, os in getattr(self, name):
                names.os_name(os)
                if action not in ("add", "remove"):
                    raise Rejected(f"{name}: {action!r} is neither add nor remove")
                (found.add if action == "add" else found.discard)(os)
            changes[name] = tuple(sorted(found))
        return changes

    def _parameters(self, before: Cluster) -> dict[str, Any]:
        nicparams = merge(before.nicparams, check(self.nicparams, NIC, "a NIC"))
        if nicparams.get("mode", NicMode.BRIDGED) not in (NicMode.BRIDGED, NicMode.USER):
            raise Rejected(f"NIC mode {nicparams['mode']} is not supported", "bridged or user")
        beparams = merge(before.beparams, check(self.beparams, BACKEND, "an instance"))
        memory = {name: {**BACKEND, **beparams}[name] for name in ("minmem", "maxmem")}
        if int(memory["minmem"] or 0) > int(memory["maxmem"] or 0):
            raise Rejected(f"minmem {memory['minmem']} is more than maxmem {memory['maxmem']}")
        return {
            "hvparams": _by_hypervisor(before.hvparams, self.hvparams),
            "beparams": beparams,
            "nicparams": nicparams,
            "ndparams": merge(before.ndparams, check(self.ndparams, NODE, "a node")),
            "os_hvp": {
                **before.os_hvp,
                **{
                    names.os_name(os): _by_hypervisor(before.os_hvp.get(os, {}), by)
                    for os, by in self.os_hvp.items()
                },
            },
            "osparams": _by_os(before.osparams, self.osparams),
            "osparams_private": _by_os(before.osparams_private, self.osparams_private_cluster),
        }


def _by_hypervisor(
    before: dict[str, Parameters], given: dict[str, dict[str, ParameterValue]]
) -> dict[str, Parameters]:
    after = dict(before)
    for name, values in given.items():
        if name not in HypervisorName.__members__.values():
            raise Rejected(
                f"there is no hypervisor {name!r}", "known are " + ", ".join(HypervisorName)
            )
        checked = check(values, HYPERVISOR[HypervisorName(name)], f"hypervisor {name}")
        after[name] = merge(after.get(name, {}), checked)
    return after


def _by_os(
    before: dict[str, dict[str, str]], given: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    after = dict(before)
    for os, values in given.items():
        names.os_name(os)
        for name in values:
            names.parameter(name, "an OS parameter")
        merged = {**after.get(os, {}), **values}
        after[os] = {name: value for name, value in merged.items() if value != "default"}
    return {os: values for os, values in after.items() if values}


def _choices(given: tuple[str, ...], kind: type[Any], what: str) -> tuple[Any, ...]:
    if not given:
        raise Rejected(f"at least one {what} must be enabled")
    try:
        return tuple(dict.fromkeys(kind(one) for one in given))
    except ValueError as error:
        raise Rejected(
            f"no such {what}: {error}", "known are " + ", ".join(str(one) for one in kind)
        ) from None
