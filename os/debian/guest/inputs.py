"""The environment that a script gets, checked: nothing in it is trusted."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+")
_KEY_TYPE = (
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
)
_SSH_KEY = re.compile(_KEY_TYPE + r" [A-Za-z0-9+/]{16,}={0,3}( [^\x00-\x1f\x7f]{1,200})?")
# apt takes a hyphen at the end for a wish to remove the package.
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9+._-]{0,126}[A-Za-z0-9+])?")
_PASSWORD = re.compile(r"\$[0-9a-zA-Z]{1,2}\$[A-Za-z0-9./,=$-]{8,250}")


class Fault(Exception):
    """What is wrong, and what to do about it."""


def variable(name: str) -> str:
    """A variable's value, empty if it is not set."""
    return os.environ.get(name, "")


def count(name: str) -> int:
    """A number of things, such as DISK_COUNT."""
    text = variable(name)
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise Fault(f"{name} {text!r} is not a number: this script is to be run by the cluster")
    return int(text)


def instance_name() -> str:
    """INSTANCE_NAME, if it can be the name of a host."""
    name = variable("INSTANCE_NAME")
    if not _HOST_NAME.fullmatch(name):
        raise Fault(f"INSTANCE_NAME {name!r} is not a host name: use letters, digits, '-' and '.'")
    return name


def disk(name: str) -> str:
    """The path of a disk, from a variable such as DISK_0_PATH: a file or a block device."""
    path = variable(name)
    if not path:
        raise Fault(f"{name} is not set: the disk has no path on this node")
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise Fault(f"the disk {path} ({name}): {error.strerror}") from None
    if not (path.startswith("/") and (stat.S_ISREG(mode) or stat.S_ISBLK(mode))):
        raise Fault(f"the disk {path} ({name}) is neither a file nor a block device")
    if not os.access(path, os.R_OK | os.W_OK):
        raise Fault(f"the disk {path} cannot be read and written: check its owner and rights")
    return path


def first_disk() -> str:
    """The path of the instance's first disk."""
    if count("DISK_COUNT") == 0:
        raise Fault("the instance has no disk: this OS needs one")
    return disk("DISK_0_PATH")


def is_address(text: str) -> bool:
    """Whether it is an IP address, without a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def words(text: str) -> list[str]:
    """A list whose members are separated by commas or blanks."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def ssh_keys() -> list[str]:
    """The keys of the parameter ``ssh-keys``, one for each line."""
    lines = (line.strip() for line in variable("OSP_SSH_KEYS").split("\n"))
    return [line for line in lines if line]


def ssh_key_faults() -> Iterator[str]:
    """What is wrong with the parameter ``ssh-keys``."""
    keys = ssh_keys()
    if len(keys) > 100:
        yield f"parameter ssh-keys: {len(keys)} keys; give at most 100"
    for number, key in enumerate(keys, start=1):
        if not _SSH_KEY.fullmatch(key):
            yield (
                f"parameter ssh-keys, line {number}: {key[:40]!r} is not a public key; give it as "
                "in a file .pub, such as 'ssh-ed25519 AAAA… name', one a line, without options"
            )


def package_faults() -> Iterator[str]:
    """What is wrong with the parameter ``packages``."""
    for name in words(variable("OSP_PACKAGES")):
        if not _PACKAGE.fullmatch(name):
            yield (
                f"parameter packages: {name[:40]!r} is not the name of a package; give names "
                "separated by commas or blanks"
            )


def _nameserver_faults() -> Iterator[str]:
    """What is wrong with the parameter ``nameserver``."""
    servers = words(variable("OSP_NAMESERVER"))
    if len(servers) > 3:
        yield f"parameter nameserver: {len(servers)} addresses; give at most 3"
    for server in servers:
        if not is_address(server):
            yield (
                f"parameter nameserver: {server[:60]!r} is not an IP address; "
                "give for example nameserver=192.0.2.53"
            )


def network_faults() -> Iterator[str]:
    """What is wrong with the parameters ``gateway``, ``prefix`` and ``nameserver``."""
    gateway, prefix = variable("OSP_GATEWAY"), variable("OSP_PREFIX")
    if gateway and not is_address(gateway):
        yield f"parameter gateway: {gateway[:60]!r} is not an IP address"
    if prefix and not (prefix.isascii() and prefix.isdigit() and 1 <= int(prefix[:9]) <= 128):
        yield f"parameter prefix: {prefix[:40]!r} is not a length; give for example 26 for a /26"
    yield from _nameserver_faults()


def password_faults() -> Iterator[str]:
    """What is wrong with the parameter ``password-hash``, whose value is never shown."""
    value = variable("OSP_PASSWORD_HASH")
    if value and not _PASSWORD.fullmatch(value):
        yield (
            "parameter password-hash: this is not the hash of a password; give what "
            "'mkpasswd --method=sha512crypt' or 'openssl passwd -6' says"
        )


def check(faults: Iterable[str]) -> None:
    """Fault with all of them, one a line, if there are any."""
    found = "\n".join(faults)
    if found:
        raise Fault(found)


def say(text: str) -> None:
    """Tell the operator something: it goes to the log and the job's progress."""
    sys.stdout.write(f"{variable('OS_NAME') or 'create'}: {text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """The same on standard error, for an export, whose standard output is the dump."""
    for line in text.splitlines():
        sys.stderr.write(f"{variable('OS_NAME') or 'create'}: {line}\n")
    sys.stderr.flush()


def settings(defaults: dict[str, str], *files: Path) -> dict[str, str]:
    """``defaults`` with what files with lines ``NAME=value`` say; missing ones do not count."""
    found = dict(defaults)
    for file in files:
        try:
            lines = file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError) as error:
            raise Fault(f"the settings in {file} cannot be read: {error}") from None
        for number, line in enumerate(lines, start=1):
            name, _, value = line.strip().partition("=")
            if not name or name.startswith("#"):
                continue
            if name not in defaults:
                known = ", ".join(sorted(defaults))
                raise Fault(f"{file}, line {number}: no setting {name[:40]!r}; there are: {known}")
            found[name] = value.strip().strip("\"'")
    return found


def run(script: Callable[[], None]) -> int:
    """Run a script; its exit status. A Fault is said in words, as is what the system refuses."""
    try:
        script()
    except Fault as error:
        complain(str(error))
        return 1
    except BrokenPipeError:
        complain("nobody reads the output any more")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        return 1
    return 0
