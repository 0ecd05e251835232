"""``config.ini`` of an export: ours and Ganeti's."""

from __future__ import annotations

import configparser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.model.errors import Rejected
from gantry.model.export_config import ExportConfig, ExportedDisk, ExportedNic, kept, parse, write

GANETI = """\
[export]
version = 0
timestamp = 1795189954
source = node1.example.com
os = capture+default
compression = none

[instance]
name = web2.example.com
maxmem = 64
minmem = 64
memory = 64
vcpus = 1
disk_template = file
hypervisor = fake
nic0_mac = aa:00:00:0f:42:5b
nic0_ip = None
nic0_network = None
nic0_name = None
nic0_mode = bridged
nic0_link = br0
nic0_vlan =
nic_count = 1
disk0_ivname = disk/0
disk0_dump = 5263bb96-f28c-4b32-be4a-6e2d11848fc9
disk0_size = 64
disk0_name = None
disk_count = 1
tags = env:prod tier:1

[hypervisor]
acpi = True

[backend]
always_failover = False
auto_balance = True
maxmem = 64
minmem = 64
spindle_use = 1
vcpus = 1

[os]
release = 100%% bookworm

[os_private]
password = s3cret
"""
"""As Ganeti 3.0 writes it (OS interface, section 4)."""

# What configparser keeps: no line ends, no blanks around.
TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z")), max_size=12
)
NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,10}", fullmatch=True)
PARAMETERS = st.dictionaries(NAMES, TEXT, max_size=4)
OPTIONAL = st.none() | TEXT.filter(lambda text: text not in ("", "None"))
CONFIGS = st.builds(
    ExportConfig,
    timestamp=st.integers(0, 2**40),
    source=TEXT,
    os=TEXT.filter(lambda text: text != "None"),
    name=TEXT,
    maxmem=st.integers(1, 2**30),
    minmem=st.integers(1, 2**30),
    vcpus=st.integers(1, 64),
    disk_template=TEXT,
    hypervisor=TEXT,
    tags=st.lists(TEXT.filter(bool), max_size=3).map(tuple),
    disks=st.lists(
        st.builds(
            ExportedDisk,
            name=OPTIONAL,
            size=st.integers(1, 2**40),
            dump=st.uuids().map(str),
            visible=st.just("disk/0"),
        ),
        max_size=3,
    ).map(tuple),
    nics=st.lists(
        st.builds(ExportedNic, mac=st.just("aa:00:00:00:00:01"), ip=OPTIONAL, name=OPTIONAL),
        max_size=3,
    ).map(tuple),
    hvparams=PARAMETERS,
    beparams=PARAMETERS,
    osparams=PARAMETERS,
    osparams_private=PARAMETERS,
)


def test_reads_what_ganeti_wrote() -> None:
    found = parse(GANETI)
    assert (found.name, found.os, found.maxmem, found.vcpus) == (
        "web2.example.com",
        "capture+default",
        64,
        1,
    )
    assert found.disks == (
        ExportedDisk(
            name=None, size=64, dump="5263bb96-f28c-4b32-be4a-6e2d11848fc9", visible="disk/0"
        ),
    )
    assert found.nics == (ExportedNic(mac="aa:00:00:0f:42:5b", mode="bridged", link="br0"),)
    assert found.tags == ("env:prod", "tier:1")
    assert found.osparams == {"release": "100% bookworm"}
    assert found.osparams_private == {"password": "s3cret"}
    assert found.beparams["auto_balance"] == "True"


def test_what_is_written_is_what_ganeti_s_own_parser_reads() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(write(parse(GANETI)))
    theirs = configparser.ConfigParser()
    theirs.read_string(GANETI)
    assert {name: dict(parser[name]) for name in parser} == {
        name: {
            key: value or "None" if key == "nic0_vlan" else value
            for key, value in theirs[name].items()
        }
        for name in theirs
    }


@given(CONFIGS)
def test_what_was_written_is_read_again(config: ExportConfig) -> None:
    assert parse(write(config)) == config


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 0", "version = 1"),
        ("[instance]", "[other]"),
        ("vcpus = 1\ndisk_template", "disk_template"),
        ("disk0_size = 64", "disk0_size = big"),
        ("disk_count = 1", "disk_count = 99999"),
        ("disk_count = 1", "disk_count = 2"),
        ("[export]", "export"),
        ("release = 100%%", "release = 100%"),
        ("release = 100%%", "other = 1\nrelease = %(other)s"),
        ("timestamp = 1795189954", "timestamp = 1e400"),
        ("timestamp = 1795189954", "timestamp = 1e300"),
        ("maxmem = 64\nminmem", "maxmem = -1\nminmem"),
        ("disk0_size = 64", f"disk0_size = {10**30}"),
    ],
)
def test_says_what_it_does_not_understand(old: str, new: str) -> None:
    assert old in GANETI
    with pytest.raises(Rejected, match="cannot be understood"):
        parse(GANETI.replace(old, new))


def test_values_that_refer_to_each_other_do_not_fill_the_memory() -> None:
    laughs = "\n".join(f"l{n} = " + f"%(l{n + 1})s" * 40 for n in range(9)) + "\nl9 = haha\n"
    with pytest.raises(Rejected, match="cannot be understood"):
        parse(GANETI.replace("release = 100%% bookworm", laughs))


@given(st.dictionaries(NAMES, st.text(), max_size=3))
def test_what_is_kept_of_any_text_is_what_is_read(values: dict[str, str]) -> None:
    config = msgspec.structs.replace(parse(GANETI), osparams=values)
    assert parse(write(config)).osparams == kept(values)


def test_lines_are_not_kept_as_they_are() -> None:
    assert kept({"a": "x", "b": "x\n  y\n# z"}) == {"a": "x", "b": "x\ny"}


def test_a_disk_of_which_ganeti_had_no_snapshot_is_left_out() -> None:
    """Its number is missing, and the others keep theirs."""
    found = parse(GANETI.replace("disk0_", "disk1_"))
    assert [disk.size for disk in found.disks] == [64]
    with pytest.raises(Rejected, match="disk1_size is missing"):
        parse(GANETI.replace("disk_count = 1", "disk_count = 2"))


def test_what_ganeti_takes_of_clusters_alone_is_not_written() -> None:
    config = msgspec.structs.replace(
        parse(GANETI), hvparams={"kernel_args": "ro", "migration_mode": "live"}
    )
    assert parse(write(config)).hvparams == {"kernel_args": "ro"}
