"""Where a client finds the master below its node's root, and why it may not be there."""

from __future__ import annotations

import os

from gantry.client.errors import ClientError, MasterDown, NoAccess, NoCluster, NotMaster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_SOCKET = "/run/gantry/master.sock"
_AGENT = "etc/gantry/agent.json"
_SSCONF_MASTER = "var/lib/ganeti/ssconf_master_node"


def root_of(root: str | None) -> str:
    """``root``, else ``$GANTRY_ROOT``, else ``/``."""
    return root or os.environ.get("GANTRY_ROOT") or "/"


def socket_path(root: str) -> str:
    """The master's socket below ``root``."""
    return root.rstrip("/") + _SOCKET


def master_name(root: str) -> str:
    """The master's name as this node knows it, also while the master is down; or NoCluster."""
    from pathlib import Path

    name = _text(Path(root) / _SSCONF_MASTER)
    if not name:
        raise NoCluster(
            "this machine is not part of a cluster",
            "gnt-cluster init makes one; gantry join joins one",
        )
    return name


def own_name(root: str) -> str:
    """This node's name, or NoCluster."""
    from pathlib import Path

    name = _name(_text(Path(root) / _AGENT))
    if not name:
        raise NoCluster("this machine is not part of a cluster", "gantry join joins one")
    return name


def unreachable(root: str, reason: OSError) -> ClientError:
    """Why there is nobody at the socket, and what to do."""
    from pathlib import Path  # costs 10 ms, and only who goes wrong pays

    path, agent = socket_path(root), Path(root) / _AGENT
    if isinstance(reason, PermissionError):
        return NoAccess(
            f"you may not use the master's socket {path}",
            "be root; on the master's own node a member of the group gantry will do",
        )
    if isinstance(reason, FileNotFoundError) and not agent.exists():
        return NoCluster(
            "this machine is not part of a cluster",
            "gnt-cluster init makes one; gantry join joins one; "
            'for a local one: eval "$(gantry local env --dir DIR)"',
        )
    master, here = _text(Path(root) / _SSCONF_MASTER), _name(_text(agent))
    if here and not master:
        return NotMaster(
            "",
            "this machine has joined, and no master has told it yet of a cluster",
            f"on the master: gnt-node add {here}",
        )
    if here and master != here:
        return NotMaster(master, f"this is not the master node: {master} is", f"ssh {master}")
    start = "systemctl start gantry-master" if root == "/" else "gantry local up --dir DIR"
    why = reason.strerror or str(reason)
    return MasterDown(f"the master does not answer at {path}: {why}", f"start it: {start}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _name(agent: str) -> str:
    import json

    try:
        return str(json.loads(agent)["name"])
    except (ValueError, KeyError, TypeError):
        return ""
