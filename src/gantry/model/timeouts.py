"""All time limits of the system, in seconds, in one place.

The classes follow those that operators of Ganeti know: urgent, fast, normal, slow.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The import takes 5 ms of every command's start.
    from typing import Final

CONNECT: Final = 5.0
"""Opening a connection to an agent."""
HANDSHAKE: Final = 5.0
"""TLS's first and last words of a client, who may be anybody."""
IDLE: Final = 60.0
"""A client of the API that keeps a connection open and asks nothing, or not to the end."""
URGENT: Final = 60.0
FAST: Final = 300.0
NORMAL: Final = 900.0
SLOW: Final = 3600.0
OS_CREATE: Final = 86400.0
"""An OS definition's create script: a real installation takes as long as it takes."""
HELPER_STARTUP: Final = 300.0
"""From the start of an installation guest to its first word; unless the operator says otherwise."""
HELPER_SHUTDOWN: Final = 7200.0
"""From there to its end; the same."""
IMAGE_FETCH: Final = 7200.0
"""An image that a node does not have yet."""
OS_VERIFY: Final = 300.0
OS_RENAME: Final = 3600.0
TRANSFER: Final = 86400.0
"""All bytes of one disk from one node to another."""
TRANSFER_SILENCE: Final = 60.0
"""The other end acknowledges nothing of what it is sent: the network is cut, the machine dead."""
TRANSFER_STILL: Final = 180.0
"""Nothing at all moves between two programs of which no third one holds anything up."""
TRANSFER_SCRIPT_STILL: Final = 7200.0
"""The same where a script is at an end, or may be: it may compute for long, but not for ever."""
TRANSFER_LOOK: Final = 5.0
"""Between two looks at that."""
TRANSFER_REPORT: Final = 4.0
"""Between two lines about how far a transfer is."""

AGENT_AWAY: Final = 30.0
"""For which an agent is waited for that went away while a guest was moved."""
MIGRATION: Final = 3600.0
"""All of a running guest from one node to another, unless the operator says otherwise."""
MIGRATION_REPORT: Final = 2.0
"""Between two lines about how far that is."""
MIGRATION_END: Final = 5.0
"""Between the last byte that one end has sent and the other end's having all of it."""
HOOK_SCRIPT: Final = 600.0
"""One hook script; then its process group is ended, and that counts as its error."""
HOOK_PHASE: Final = 86400.0
"""All hook scripts of a node in one phase. Longer than any number of them takes: a phase that
this ended would count as a node that does not answer, and not as a denial."""
WEBHOOK: Final = 10.0
"""One request to a webhook's server."""
WEBHOOK_PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds between the attempts to tell a webhook of an event; the last one again and again."""
POWER: Final = 60.0
"""One call of a site's program that switches power; and, beside it, until the power is so."""
POWER_LOOK: Final = 1.0
"""Between two questions to it whether the power is as it should be."""
WATCHER: Final = 300.0
"""From the end of one run of a node's ``watcher`` directory of scripts to the next."""
KILL_GRACE: Final = 5.0
"""Between SIGTERM and SIGKILL to a process group."""
EXEC: Final = 0.5
"""In which a process that is being replaced by another program shows its environment again."""
SHUTDOWN: Final = 120.0
"""A guest's orderly shutdown, unless the operator says otherwise; then power-off."""

MASTER_LEASE: Final = 10.0
EVENT_HEARTBEAT: Final = 3.0
"""An agent's event stream is never silent for longer."""
NODE_DOWN_AFTER: Final = 10.0
"""An event stream that is gone for so long shows its node as down."""
STILL_THERE: Final = 5.0
"""An agent that is asked whether it is still there; longer than it is ever silent."""
KNOCK: Final = 1.0
"""Finding out whether a node's machine answers, before its event stream is opened."""
LISTEN_AGAIN: Final = 0.5
"""Between two attempts to open an agent's event stream."""
RECONNECT: Final = 1.0
"""Between two attempts to reach a node that is needed."""
AGENT_RESTART: Final = 20.0
"""From the end of an agent that was told to end to the next one's start. Until then jobs wait."""
FAREWELL: Final = 1.0
"""Between the end of a cluster and that of its master."""
FILES_PAUSE: Final = 10.0
"""The longest time for which nodes' ssconf files may lag behind a change, where writing them to
all nodes takes long."""
LOOK_AGAIN: Final = 3.0
"""After which supervision looks again at a guest that a job was about."""
RESTART_PAUSES: Final = (0.0, 10.0, 60.0, 300.0, 900.0)
"""Seconds between a try to start a guest again and the one before it; so many tries there are."""
MIRROR_LOOK: Final = 1.0
"""Between two looks at a copy that somebody waits for."""
MIRROR_MISSING: Final = 10.0
"""Nothing is mirrored where something should be for so long: then it is not."""
SYNC_PAUSES: Final = (0.0, 10.0, 60.0, 300.0, 900.0)
"""Seconds between a try to mirror a disk anew and the one before it; then the last one always."""
OWED_PAUSES: Final = (30.0, 60.0, 300.0, 900.0)
"""Seconds between the tries of an order that is owed to a node which answers."""
FILES_LOOK: Final = 30.0
"""Between two looks of a master at its own files, which candidates have copies of."""
TOKEN_LIFETIME: Final = 3600.0
RESTART_WINDOW: Final = 8 * 3600.0
"""A guest that should be up is started again at most 5 times in this time."""
UNPLUG: Final = 30.0
"""Until a guest lets go of a disk that it was asked to."""
QMP: Final = 20.0
REPLICA_PROBE: Final = 2.0
"""Between two looks whether a replica's export answers; and how long one such look may take."""
REPLICA_ANSWERED: Final = 1.0
"""For which one that has answered is taken to be there while a guest stands still."""
REPLICA_LOST: Final = 5.0
"""A replica whose export has not answered for so long is lost."""
REPLICA_STANDS: Final = 60.0
"""One that answers, but that nothing gets to, is connected to anew at least so often."""
REPLICA_SERVED: Final = 20.0
"""A storage daemon from its start until it answers."""
REPLICA_AGAIN: Final = (0.0, 0.2, 1.0, 2.0, 5.0)
"""Seconds before a storage daemon that ended is started again; the last one again and again."""
BITMAP_TURN: Final = 60.0
"""For which each of the two bitmaps counts at least what was written to a mirrored disk."""
BITMAPS_KEPT: Final = 10.0
"""For QEMU, before it ends, to write down what was written to mirrored disks."""
MIRROR_TOLD: Final = 3.0
"""Between two words about how far the copy to a replica is."""
GUEST_START: Final = 60.0
GUEST_AGENT: Final = 3.0
"""A short answer of the agent inside a guest."""
GUEST_FREEZE: Final = 5.0
"""Its file systems, which it writes out first; whoever writes in the guest waits meanwhile."""
GUEST_AGENT_PAUSES: Final = (1.0, 5.0, 15.0, *(60.0,) * 60)
"""Between the tries to have a guest thaw that has not said so."""
MASTER_CONNECT: Final = 3.0
"""A command that looks for the master on another node, for each node that it asks."""
MASTER_INSIST: Final = 10.0
"""A command in a hook that finds no master, until it gives up: the hook's job has one."""
MASTER_TAKEOVER: Final = 5.0
"""The same of any command where another candidate takes over by itself, from the lease's end on."""
MASTER_SEARCH: Final = 60.0
"""A command whose master went away, until it gives up looking for the one that takes over."""
MASTER_LOOK: Final = 0.5
"""Between two looks of such a command."""
STREAM_READ: Final = 10.0
"""A client that follows something: a master that lives says something every 3 s."""
READ: Final = 20.0
"""Asking nodes for what a client waits for: shorter than the client waits."""
CLIENT_READ: Final = 30.0
"""A client waiting for an answer that is not a job's end."""
STORE_UNAVAILABLE: Final = 20.0
"""A store of several servers none of which answers for so long is given up."""
STORE_TRIES: Final = (1.0, 2.0, 4.0)
"""The first tries of one request to such a store; the last one's time is that of all further."""
STORE_PAUSES: Final = (0.02, 0.1, 0.25, 0.5)
"""Before the servers of a store that all failed are asked once more."""
STORE_SILENCE: Final = 3.0
"""A watch of such a store that says nothing for so long is looked after."""
STORE_WATCH: Final = 60.0
"""And opened anew, lest its connection be dead."""
