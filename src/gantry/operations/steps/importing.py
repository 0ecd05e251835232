"""What an instance made from an export is to be: the export's values, changed by the request's.

Pure. Values of an export that mean nothing here (Ganeti has more parameters) are left out and
named; what the user asked for is strict.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from gantry.model import export_facts, image_location
from gantry.model.backup_orders import ExportContents
from gantry.model.entities import Parameters, ParameterValue
from gantry.model.errors import Reason, Rejected
from gantry.model.export_config import ExportConfig, ExportedNic, parse
from gantry.model.export_facts import DumpFacts, Facts, decode
from gantry.model.image_location import OS_IMAGE
from gantry.model.names import Uuid
from gantry.model.parameters import check
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given
from gantry.operations.steps import exporting
from gantry.operations.steps.nics import NicRequest
from gantry.operations.steps.requests import DiskRequest

_NOTHING: Final = "None"
_MIB: Final = 1024 * 1024


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """Chance, drawn once: from it as much more follows as is needed, the same each time."""

    now: float
    seed: str
    requester: str

    @classmethod
    def of(cls, given: Given) -> Drawn:
        """Draw."""
        return cls(now=given.now, seed=given.random_bytes(32).hex(), requester=given.requester)


class Following:
    """What ``check`` of an operation is given, out of ``Drawn``."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn
        self._count = 0

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._drawn.now

    @property
    def requester(self) -> str:
        """Who asked for it."""
        return self._drawn.requester

    def uuid(self) -> Uuid:
        """One more uuid."""
        return Uuid(str(uuid.UUID(bytes=self.random_bytes(16), version=4)))

    def random_bytes(self, count: int) -> bytes:
        """So many more bytes, at most 64."""
        self._count += 1
        whole = f"{self._drawn.seed} {self._count}".encode()
        return hashlib.blake2b(whole, digest_size=count).digest()


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """An export that was read: ``dumps`` by disk, None where a disk has none.

    ``layers`` are the dumps that each of them rests on, next first.
    """

    config: ExportConfig
    facts: Facts | None
    dumps: tuple[DumpFacts | None, ...]
    layers: tuple[tuple[str, ...], ...]


def source(found: ExportContents) -> Source:
    """What the descriptions say; Rejected where they or the files do not go together."""
    config = parse(found.config)
    facts = _facts(found.facts)
    if facts is not None:
        config = msgspec.structs.replace(
            config,
            hvparams={**config.hvparams, **facts.hvparams},
            osparams=exporting.found_again(config.osparams, facts.osparams),
            osparams_private=exporting.found_again(config.osparams_private, facts.osparams_private),
        )
    known = {one.name: one for one in facts.dumps} if facts is not None else {}
    dumps: list[DumpFacts | None] = []
    layers: list[tuple[str, ...]] = []
    for number, disk in enumerate(config.disks):
        if not disk.dump or disk.dump == "False":
            dumps.append(None)
            layers.append(())
            continue
        below = export_facts.layers(disk.dump, found.dumps)
        missing = [name for name in (disk.dump, *below) if name not in found.files]
        if missing:
            raise Rejected(
                f"the export of {config.name} has no file {missing[0]}, the dump of disk {number}",
                "it is damaged: use another one",
                reason=Reason.STATE,
            )
        usual = DumpFacts(name=disk.dump, scripted=bool(config.os))
        dump = known.get(disk.dump, usual)
        if not dump.scripted and not dump.below and found.files[disk.dump] > (disk.size + 1) * _MIB:
            raise Rejected(
                f"the export of {config.name} has more in {disk.dump} than the {disk.size} MiB "
                f"that disk {number} is said to have",
                "it is damaged: use another one, or mend its config.ini",
                reason=Reason.STATE,
            )
        dumps.append(dump)
        layers.append(below)
    return Source(config=config, facts=facts, dumps=tuple(dumps), layers=tuple(layers))


def disks(
    found: Source,
    asked: tuple[DiskRequest, ...],
    size: Callable[[DiskRequest], int],
    *,
    mirrored: bool,
) -> tuple[DiskRequest, ...]:
    """The disks as exported, or as asked for: never fewer, raw ones never smaller.

    ``mirrored`` ones are raw, whatever they were.
    """
    exported = found.config.disks
    if not asked:
        return tuple(
            DiskRequest(
                size=disk.size,
                name=disk.name,
                format=dump.format if dump and not mirrored else "raw",
                mode=dump.mode if dump else "rw",
            )
            for disk, dump in zip(exported, found.dumps, strict=True)
        )
    if len(asked) < len(exported):
        raise Rejected(
            f"the export has {len(exported)} disks, and {len(asked)} are asked for",
            "give the size of each, or leave the sizes out",
        )
    for number, (disk, dump) in enumerate(zip(exported, found.dumps, strict=True)):
        if dump is not None and not dump.scripted and size(asked[number]) < disk.size:
            raise Rejected(
                f"disk {number} has {disk.size} MiB in the export, more than is asked for",
                "the content is copied as it is: give at least as much",
            )
    return asked


def nics(
    found: Source, name: str, cluster: Snapshot, warn: Callable[[str], None]
) -> tuple[NicRequest, ...]:
    """The NICs as exported. The MAC address goes along only where the instance keeps its name."""
    for number, nic in enumerate(found.config.nics):
        for what, value in (("network", nic.network), ("VLAN", nic.vlan)):
            if value is not None:
                warn(
                    f"NIC {number} was in {what} {value}, which there is not here: see whether "
                    "its link is the right one before you start it"
                )
    return tuple(
        _nic(nic, keep=found.config.name == name and _free(nic, cluster, warn))
        for nic in found.config.nics
    )


def parameters(
    exported: Mapping[str, str],
    own: tuple[str, ...] | None,
    defaults: Mapping[str, ParameterValue],
    known: Mapping[str, ParameterValue],
    what: str,
    warn: Callable[[str], None],
    *,
    identify_defaults: bool,
) -> Parameters:
    """The exported parameters that the instance is to have of its own.

    ``known`` are all with their built-in values, ``defaults`` what the cluster has now. One that
    is as the cluster has it is left out where the instance had it from its cluster, too (``own``
    says which it had itself), or with ``identify_defaults``.
    """
    kept: Parameters = {}
    left: list[str] = []
    for name, text in exported.items():
        if text == _NOTHING:
            continue
        try:
            value = check({name: text}, known, what)
        except Rejected:
            left.append(name)
            continue
        inherited = identify_defaults or (own is not None and name not in own)
        kept.update(
            {key: one for key, one in value.items() if not (inherited and defaults.get(key) == one)}
        )
    if left:
        warn(f"left out, since {what} has no such parameter here: {', '.join(sorted(left))}")
    return kept


def public(osparams: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    """Public OS parameters as they may be kept."""
    if not image_location.has_password(osparams.get(OS_IMAGE, "")):
        return dict(osparams)
    warn(
        f"the URL that is the OS parameter {OS_IMAGE} has a password in it, and is left out: "
        f"--os-parameters-private {OS_IMAGE}=URL keeps it"
    )
    return image_location.untold(osparams)


def _facts(text: str) -> Facts | None:
    return decode(text) if text else None


def _nic(nic: ExportedNic, *, keep: bool) -> NicRequest:
    return NicRequest(
        mac=nic.mac if keep else None,
        ip=nic.ip,
        mode=nic.mode,
        link=nic.link,
        name=nic.name,
    )


def _free(nic: ExportedNic, cluster: Snapshot, warn: Callable[[str], None]) -> bool:
    if nic.mac and nic.mac in cluster.macs:
        warn(f"MAC address {nic.mac} is in use: another one is generated")
        return False
    return bool(nic.mac)
