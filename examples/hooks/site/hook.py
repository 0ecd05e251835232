"""What the sample hooks share: settings, the variables of both versions, who runs where."""

import json
import os
import pathlib
import socket
import sys
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = 10


def begin(name):
    """The settings of a sample; ends the script where it is off or in an unknown version."""
    if os.environ.get("GANETI_HOOKS_VERSION") not in ("1", "2"):
        stop(f"{name}: made for hook versions 1 and 2")
    settings = read(HERE / f"{name}.conf")
    if settings.get("enabled", "no") != "yes":
        raise SystemExit(0)
    return settings


def read(path):
    """NAME = VALUE a line; lines that begin with # are comments."""
    found = {}
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            found[name.strip()] = value.strip()
    return found


def stop(why):
    """Say why on standard error, and fail: in a pre phase that denies."""
    sys.stderr.write(f"{why}\n")
    raise SystemExit(1)


def phase():
    """pre, post or fail, in either version's words."""
    return os.environ.get("GANETI_HOOKS_PHASE", "").lower()


def operation():
    """The directory's prefix, a shutdown under one name in both versions."""
    found = os.environ.get("GANETI_HOOKS_PATH", "")
    return "instance-shutdown" if found == "instance-stop" else found


def before(name, default=""):
    """A variable as it was before the operation."""
    return os.environ.get(f"GANETI_{name}", default)


def now(name, default=""):
    """A variable as it is now: after the operation where there is such a value."""
    return os.environ.get(f"GANETI_POST_{name}", before(name, default))


def tags():
    """The instance's tags."""
    return before("INSTANCE_TAGS").split()


def nics():
    """(MAC, IP or "") of each NIC as it is now."""
    count = now("INSTANCE_NIC_COUNT", "0")
    return [
        (now(f"INSTANCE_NIC{n}_MAC").lower(), now(f"INSTANCE_NIC{n}_IP"))
        for n in range(int(count) if count.isdigit() else 0)
    ]


def on_master():
    """Whether this node is the master: what must be done once is done there."""
    context = os.environ.get("GANTRY_CONTEXT")
    here = json.loads(pathlib.Path(context).read_text()).get("node") if context else None
    return (here or socket.getfqdn()) == before("MASTER")


def trial():
    """Whether the operation is only tried."""
    return os.environ.get("GANTRY_DRY_RUN") == "1"


def rooted(path):
    """A path of the node: below its root where that is not /."""
    return pathlib.Path(os.environ.get("GANTRY_ROOT", "/")) / path.lstrip("/")


def http(method, url, document=None, headers=None):
    """(status, JSON or None) of a request; OSError where there is no answer."""
    data = None if document is None else json.dumps(document).encode()
    if not url.startswith(("http://", "https://")):
        stop(f"{url!r} is no address: http:// or https://")
    request = urllib.request.Request(  # noqa: S310 - looked at above
        url, data=data, method=method, headers=headers or {}
    )
    request.add_header("Accept", "application/json")
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return answer.status, _json(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def _json(data):
    try:
        return json.loads(data)
    except ValueError:
        return None
