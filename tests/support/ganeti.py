"""Ganeti's own code, out of Debian's package: what it writes and what it reads of an export.

It is fetched when a test needs it, and nothing of it is installed. What it imports of others'
and is not here (OpenSSL, pycurl, …) is replaced by names that stand for nothing: reading and
writing a description needs none of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

_MISSING: Final = '''
import importlib.abc, importlib.machinery, json, sys, types

def of(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return (99,) if name == "version_info" else Anything

class Attributes(type):
    def __getattr__(cls, name):
        return of(name)

class Anything(Exception, metaclass=Attributes):
    """A class, an exception, a function."""
    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

class Module(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        return of(name)

class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last, for what nobody else has."""
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "ganeti":
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return Module(spec.name)
    def exec_module(self, module):
        pass

sys.path.insert(0, sys.argv[1])
sys.meta_path.append(Missing())
given = json.load(sys.stdin)
from types import SimpleNamespace as Plain
from ganeti import constants, hypervisor, objects, pathutils, serializer, utils
'''
"""Before all else."""
_READ: Final = """
from ganeti.cmdlib.common import CheckParamsNotGlobal
from ganeti.cmdlib.instance_create import LUInstanceCreate
from ganeti.cmdlib.instance_utils import ComputeNics

op = Plain(os_type=None, disks=[], nics=[], tags=[], hypervisor=None, disk_template="file",
           hvparams={}, beparams={}, osparams={}, osparams_private={})
einfo = objects.SerializableConfigParser.Loads(given)
LUInstanceCreate._ReadExportParams(Plain(op=op), einfo)
# What it goes on to do with what it has read.
CheckParamsNotGlobal(op.hvparams, constants.HVC_GLOBALS, "hypervisor", "instance", "cluster")
utils.ForceDictType(op.hvparams, constants.HVS_PARAMETER_TYPES)
utils.ForceDictType(op.beparams, constants.BES_PARAMETER_COMPAT)
filled = {**constants.HVC_DEFAULTS[op.hypervisor], **op.hvparams}
hypervisor.GetHypervisorClass(op.hypervisor).CheckParameterSyntax(filled)
for tag in op.tags:
    objects.TaggableObject.ValidateTag(tag)
cluster = objects.Cluster(nicparams={constants.PP_DEFAULT: constants.NICC_DEFAULTS})
config = Plain(ReserveMAC=lambda mac, _: None, LookupNetwork=lambda name: name,
               GenerateUniqueID=lambda _: "new")
nics = ComputeNics(op, cluster, None, config, "job")
found = vars(op)
found["nics"] = [
    {name: getattr(nic, name) for name in ("mac", "ip", "name", "network", "nicparams")}
    for nic in nics
]
found["osparams_private"] = {name: one.Get() for name, one in op.osparams_private.items()}
found["version"] = int(einfo.get(constants.INISECT_EXP, "version")) == constants.EXPORT_VERSION
found["name"] = einfo.get(constants.INISECT_INS, "name")
found["dumps"] = [
    einfo.get(constants.INISECT_INS, "disk%d_dump" % number) for number in range(len(op.disks))
]
json.dump(found, sys.stdout)
"""
_WRITE: Final = """
import os
# It builds a parser when it is loaded, with one of the things that are not here.
sys.modules["ganeti.storage.drbd"] = Module("ganeti.storage.drbd")
from ganeti import backend

def disk(fields):
    return objects.Disk(dev_type=constants.DT_FILE, **fields) if fields else None

pathutils.EXPORT_DIR = given.pop("directory")
name = given["name"]
os.makedirs(os.path.join(pathutils.EXPORT_DIR, name + ".new"))
disks = [disk(fields) for fields in given.pop("disks")]
private = given.pop("osparams_private")
instance = objects.Instance(
    nics=[objects.NIC(**fields) for fields in given.pop("nics")],
    osparams_private=serializer.PrivateDict(
        {key: serializer.Private(value, descr=key) for key, value in private.items()}
    ),
    tags=set(given.pop("tags")),
    **given,
)
backend.FinalizeExport(instance, disks)
"""


class Ganeti:
    """Its modules, below ``place``."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def imported(self, config: str) -> dict[str, Any]:
        """What it would make of a ``config.ini``; GanetiRefuses where it would make nothing.

        Its own parser, the code with which an import takes its parameters from there, and the
        checks that follow.
        """
        found: dict[str, Any] = json.loads(self._run(_READ, config))
        return found

    def exports(self, directory: Path, **instance: Any) -> Path:
        """The directory of an export below ``directory``, with its description and no dumps."""
        self._run(_WRITE, {"directory": str(directory), **instance})
        return directory / str(instance["name"])

    def _run(self, code: str, given: Any) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _MISSING + code, self._place],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise GanetiRefuses(done.stderr)
        return done.stdout


class GanetiRefuses(Exception):
    """With the end of its traceback."""


@pytest.fixture(scope="session")
def ganeti(tmp_path_factory: pytest.TempPathFactory) -> Ganeti:
    """Fetched from Debian and unpacked."""
    place = tmp_path_factory.mktemp("ganeti")
    # apt drops its rights to a user who may not write into a private directory.
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "ganeti-3.0"],
        cwd=place,
        check=True,
        timeout=120,
    )
    [package] = place.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, place / "root"], check=True, timeout=60)
    return Ganeti(place / "root/usr/share/ganeti/3.0")
