"""What the files of a fake export say."""

from __future__ import annotations

from gantry.model import export_config, export_facts, names
from gantry.model.backup_orders import CONFIG, FACTS, DumpFile, Place, ScriptedDisk, config_digest
from gantry.model.errors import Rejected
from gantry.model.export_facts import DumpFacts, Facts
from gantry.model.orders import DiskSpec

Files = dict[str, str]


def chain(name: str, disk: str, mark: str, stamp: str = "", instance: str = "") -> Files:
    """An export of ``name``: a full point, and one upon it that QEMU calls ``mark``.

    ``stamp`` is the disk's then, where no guest had it open; ``instance`` is the uuid.
    """
    files = exported(disk, "")
    config = files[CONFIG].replace("web7.example.com", name)
    one = DumpFacts(name=disk, scripted=False)
    two = DumpFacts(name=f"{disk}.2", scripted=False, below=disk)
    return {
        **files,
        CONFIG: config,
        FACTS: export_facts.encode(Facts(mark="gone", dumps=(one,))),
        f"2.{CONFIG}": config.replace(f"dump = {disk}", f"dump = {disk}.2"),
        f"2.{FACTS}": export_facts.encode(
            Facts(
                point=2,
                instance=instance,
                mark=mark,
                dumps=(two,),
                stamps={disk: stamp} if stamp else {},
            )
        ),
        f"{disk}.2": "changes",
    }


def exported(disk: str, os: str = "noop") -> Files:
    """An export of web7 with one disk of 128 MiB, whose dump is called ``disk``."""
    config = export_config.ExportConfig(
        timestamp=1,
        source="node1.example.com",
        os=os,
        name="web7.example.com",
        maxmem=128,
        minmem=128,
        vcpus=1,
        disk_template="file",
        hypervisor="fake",
        disks=(export_config.ExportedDisk(name=None, size=128, dump=disk),),
        nics=(export_config.ExportedNic(mac="aa:00:00:00:00:07", mode="user"),),
        beparams={"maxmem": "128", "minmem": "128"},
    )
    dump = DumpFacts(name=disk, scripted=bool(os), sha256="digest of a dump")
    return {
        CONFIG: export_config.write(config),
        FACTS: export_facts.encode(Facts(dumps=(dump,))),
        disk: "a dump",
    }


def disk_of(place: Place) -> DiskSpec:
    """The disk of an end of a transfer."""
    assert not isinstance(place, DumpFile)
    return place.run.disks[place.index] if isinstance(place, ScriptedDisk) else place.disk


def points_of(files: Files) -> tuple[int, ...]:
    """The numbers of the points."""
    if not files:
        return ()
    first = facts_of(files, 1, 1).point
    return (first, *export_facts.later_points(files, first))


def facts_of(files: Files, point: int, first: int) -> Facts:
    """What ``gantry.json`` of a point says."""
    try:
        return export_facts.decode(files[export_facts.names(point, first)[1]])
    except (KeyError, Rejected):
        return Facts()


def of_another(files: Files, owner: str) -> bool:
    """Whether it says that it is another instance's."""
    points = points_of(files)
    found = facts_of(files, points[-1], points[0]).instance
    return bool(owner and found) and found != owner


def config_of(files: Files) -> str:
    """``config.ini`` of the last point."""
    if not files:
        return ""
    points = points_of(files)
    return files.get(export_facts.names(points[-1], points[0])[0], "")


def digest_of(files: Files) -> str:
    """What tells it from others."""
    return config_digest(config_of(files), points_of(files)[-1]) if files else ""


def indexes_of(disks: tuple[DiskSpec, ...]) -> tuple[int, ...]:
    """By which disks are known."""
    return tuple(disk.index for disk in disks)


def time_of(config: str) -> int:
    """When it was made."""
    try:
        return export_config.parse(config).timestamp
    except Rejected:
        return 0


def name_of(instance: str) -> str:
    """The instance's name, checked."""
    return names.host_name(instance, "the name of an instance")
