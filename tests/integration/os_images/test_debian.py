"""The definition debian, as far as no system is built: parameters, apt's sources, what fails."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.definition import (
    DEFINITIONS,
    PATH,
    Definition,
    empty_disk,
    instance,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmV5Lk3 somebody@example.org"
NOWHERE = "http://127.0.0.1:9/debian"


def _variables(disk: Path | None, **more: str) -> dict[str, str]:
    mine = {"OS_NAME": "debian", "OS_VARIANT": "bookworm", "INSTANCE_OS": "debian+bookworm"}
    return instance(disk, **{**mine, **more})


def _said_by(code: str, *arguments: str, **environment: str) -> object:
    """What code of the definition says, in a Python as its scripts have it."""
    start = f"import json, sys; sys.path.insert(0, {str(DEFINITIONS / 'debian')!r}); "
    done = subprocess.run(
        ["/usr/bin/python3", "-IB", "-c", start + code, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return json.loads(done.stdout)


def _archives(apt: Path, **environment: str) -> object:
    code = (
        "from pathlib import Path; from debian_guest.sources import archives; "
        "print(json.dumps(archives(Path(sys.argv[1]))))"
    )
    return _said_by(code, str(apt), **environment)


ONE_LINE = """\
# deb http://commented.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://other.test/apt cloud-sdk-bookworm main
deb cdrom:[Debian]/ bookworm main
deb [arch=amd64] http://one.test/debian/ bookworm main contrib # a comment
deb http://security.test/debian-security bookworm-security main
"""
DEB822 = """\
Types: deb
URIs: https://node.test/node_20.x
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: trixie
Components: main

# A comment
Types: deb deb-src
URIs: http://two.test/debian
Suites: trixie trixie-updates
Components: main non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://not-this.test

Types: deb
URIs: http://two.test/debian-security/
Suites: trixie-security
Components: main
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"sources.list": ONE_LINE, "sources.list.d/debian.sources": DEB822},
            ["http://one.test/debian", "http://security.test/debian-security"],
        ),
        (
            {"sources.list.d/a.list": "# nothing\n", "sources.list.d/debian.sources": DEB822},
            ["http://two.test/debian", "http://two.test/debian-security"],
        ),
        (
            {"sources.list": "deb file:/srv/debian bookworm main\n"},
            ["http://deb.debian.org/debian", "http://deb.debian.org/debian-security"],
        ),
        ({}, ["http://deb.debian.org/debian", "http://deb.debian.org/debian-security"]),
    ],
)
def test_the_mirror_is_the_nodes_own_first_source(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _archives(tmp_path) == expected


def test_parameters_have_priority_over_the_nodes_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    mine = {"OSP_MIRROR": "https://mine.test/debian/", "OSP_SECURITY_MIRROR": "none"}
    assert _archives(tmp_path, **mine) == ["https://mine.test/debian", ""]


def test_a_nic_becomes_a_file_of_networkd() -> None:
    code = (
        "from debian_guest.personal import network_file; from guest.nics import nics; "
        "print(json.dumps([network_file(nic) for nic in nics()]))"
    )
    files = _said_by(
        code,
        NIC_COUNT="5",
        NIC_4_MAC="aa:00:00:00:00:05",
        NIC_4_MODE="bridged",
        NIC_4_IP="10.1.2.3",
        OSP_GATEWAY="10.1.0.1",
        OSP_PREFIX="16",
        NIC_0_MAC="AA:00:00:12:34:56",
        NIC_0_MODE="user",
        NIC_1_MAC="aa:00:00:00:00:02",
        NIC_1_MODE="bridged",
        NIC_1_IP="192.0.2.7",
        NIC_1_NETWORK_SUBNET="192.0.2.0/26",
        NIC_1_NETWORK_GATEWAY="192.0.3.1",
        NIC_2_MAC="aa:00:00:00:00:03",
        NIC_2_MODE="routed",
        NIC_2_IP="192.0.2.9",
        NIC_3_MAC="aa:00:00:00:00:04",
        NIC_3_MODE="bridged",
    )
    match = "[Match]\nMACAddress=aa:00:00:"
    assert files == [
        f"{match}12:34:56\n\n[Network]\nDNS=10.0.2.3\nAddress=10.0.2.15/24\n\n"
        "[Route]\nGateway=10.0.2.2\n",
        f"{match}00:00:02\n\n[Network]\nAddress=192.0.2.7/26\n\n"
        "[Route]\nGateway=192.0.3.1\nGatewayOnLink=yes\n",
        f"{match}00:00:03\n\n[Network]\nAddress=192.0.2.9/32\n\n"
        "[Route]\nDestination=0.0.0.0/0\nScope=link\n",
        f"{match}00:00:04\n\n[Network]\nDHCP=yes\n",
        f"{match}00:00:05\n\n[Network]\nAddress=10.1.2.3/16\n\n[Route]\nGateway=10.1.0.1\n",
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"OS_VARIANT": "buster"}, "there is no variant 'buster'; there are bookworm, trixie"),
        ({"OSP_MIRROR": "ftp://one.test/debian"}, "parameter mirror: 'ftp://one.test/debian' is"),
        ({"OSP_MIRROR": "http://one.test/ bookworm main\ndeb"}, "is not a URI of http or https"),
        ({"OSP_MIRROR": "http://u:p@one.test/"}, "without a password"),
        ({"OSP_SECURITY_MIRROR": "no"}, "parameter security-mirror: 'no' is not a URI"),
        ({"OSP_PACKAGES": "vim-"}, "'vim-' is not the name of a package"),
        ({"OSP_PACKAGES": "vim,--force"}, "'--force' is not the name of a package"),
        ({"OSP_SSH_KEYS": "x"}, "parameter ssh-keys, line 1: 'x' is not a public key"),
        ({"OSP_PASSWORD_HASH": "a:b"}, "this is not the hash of a password"),
        ({"OSP_GATEWAY": "gw"}, "parameter gateway: 'gw' is not an IP address"),
        ({"OSP_PREFIX": "129"}, "parameter prefix: '129' is not a length"),
        ({"OSP_NAMESERVER": "ns"}, "'ns' is not an IP address"),
        ({"OSP_ROOT_SIZE": "1.5g"}, "'1.5g' is not a size"),
        ({"OSP_ROOT_SIZE": "100"}, "100 MiB are too few; give at least 512"),
    ],
)
def test_verify_says_what_is_wrong(
    debian: Definition, parameters: dict[str, str], message: str
) -> None:
    done = debian.run("verify", {"OS_VARIANT": "trixie", **parameters}, "parameters")
    assert done.status == 1
    assert message in done.stderr


def test_verify_takes_good_parameters(debian: Definition) -> None:
    good = {
        "OSP_MIRROR": "https://one.test:8443/debian",
        "OSP_SECURITY_MIRROR": "none",
        "OSP_PACKAGES": "vim, g++ less",
        "OSP_SSH_KEYS": KEY,
        "OSP_ROOT_SIZE": "4G",
    }
    for parameters in ({}, good):
        variables = {"OS_VARIANT": "trixie", **parameters}
        done = debian.run("verify", variables, "parameters", unprivileged=True)
        assert done.status == 0, done.said


@pytest.mark.parametrize(
    ("size", "change", "message"),
    [
        (256, {}, "the disk has 256 MiB, this OS needs at least 600"),
        (700, {"OSP_ROOT_SIZE": "700"}, "parameter root-size: the disk has 700 MiB"),
        (700, {"NIC_0_MAC": "x"}, "NIC_0_MAC 'x' is not a MAC address"),
        (700, {"INSTANCE_NAME": "a b"}, "INSTANCE_NAME 'a b' is not a host name"),
    ],
)
def test_create_refuses_bad_input_before_it_builds(
    debian: Definition, place: Path, size: int, change: dict[str, str], message: str
) -> None:
    disk = empty_disk(place / "target", size << 20)
    done = debian.run("create", _variables(disk, OSP_MIRROR=NOWHERE) | change)
    assert done.status == 1
    assert message in done.stderr
    assert disk.stat().st_blocks == 0
    assert not (place / "cache").exists()


def test_building_needs_the_rights_of_root_and_says_so(debian: Definition, place: Path) -> None:
    disk = empty_disk(place / "target", 700 << 20)
    variables = _variables(disk, OSP_MIRROR=NOWHERE)
    done = debian.run("create", variables, unprivileged=True)
    assert done.status == 1
    assert "building a Debian needs the rights of root" in done.stderr


@pytest.mark.root
def test_a_mirror_that_cannot_be_reached_leaves_nothing(debian: Definition, place: Path) -> None:
    disk = empty_disk(place / "target", 700 << 20)
    done = debian.run("create", _variables(disk, OSP_MIRROR=NOWHERE, OSP_SECURITY_MIRROR="none"))
    assert done.status == 1
    assert "Is the mirror right, and can it be reached?" in done.stderr
    assert [path.suffix for path in (place / "cache").iterdir()] == [".lock"]
    # Others mount things of their own meanwhile.
    assert str(place) not in Path("/proc/self/mountinfo").read_text()
    assert disk.stat().st_blocks == 0


@pytest.mark.root
def test_a_build_that_is_killed_leaves_no_process_and_the_next_one_tidies_up(
    debian: Definition, place: Path
) -> None:
    disk = empty_disk(place / "target", 700 << 20)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/debian"
        variables = _variables(disk, OSP_MIRROR=mirror, OSP_SECURITY_MIRROR="none")
        with subprocess.Popen(
            [debian.directory / "create"],
            env={"PATH": PATH, **variables},
            cwd=debian.directory,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            silent.settimeout(60)
            asking, _ = silent.accept()
            os.killpg(process.pid, signal.SIGKILL)
        asking.settimeout(60)
        # The end of the stream comes when the last process that held the connection has gone.
        with contextlib.suppress(ConnectionError):
            while asking.recv(4096):
                pass
        asking.close()
    assert [path.suffix for path in (place / "cache").glob("*.partial")] == [".partial"]
    done = debian.run("create", _variables(disk, OSP_MIRROR=NOWHERE, OSP_SECURITY_MIRROR="none"))
    assert done.status == 1
    assert not list((place / "cache").glob("*.partial"))


def test_rename_refuses_a_disk_without_the_system(debian: Definition, disk: Path) -> None:
    done = debian.run("rename", _variables(disk))
    assert done.status == 1
    assert "was this OS installed on it?" in done.stderr
