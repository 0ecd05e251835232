"""Which command of which program is in which module: looked up, never imported eagerly."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Command:
    """Where a command is (a module below ``gantry.cli``), and its one line in ``--help``."""

    __slots__ = ("help", "module")

    def __init__(self, module: str, help: str) -> None:
        self.module = module
        self.help = help


def _tags(kind: str) -> dict[str, Command]:
    return {
        "list-tags": Command("tags.show", f"Show the tags of {kind}"),
        "add-tags": Command("tags.add", f"Add tags to {kind}"),
        "remove-tags": Command("tags.remove", f"Remove tags from {kind}"),
    }


PROGRAMS: Final[dict[str, dict[str, Command]]] = {
    "gnt-cluster": {
        "init": Command("cluster.init", "Make a cluster, with this machine as its master"),
        "info": Command("cluster.info", "Show the cluster's parameters"),
        "modify": Command("cluster.modify", "Change the cluster's parameters"),
        "verify": Command("cluster.verify", "Check that everything is as it should be"),
        "verify-disks": Command("cluster.verify_disks", "Check that all disks are there"),
        "epo": Command("cluster.epo", "Emergency: stop all guests, power nodes off; and on again"),
        "repair": Command("cluster.repair", "Mend what can be mended without losing anything"),
        "search-tags": Command("cluster.search_tags", "Find tags on all objects"),
        "destroy": Command("cluster.destroy", "End the cluster"),
        "master-failover": Command("cluster.master_failover", "Make another node the master"),
        "master-ping": Command("cluster.master_ping", "See whether the master answers"),
        "getmaster": Command("cluster.getmaster", "Show the name of the master node"),
        "version": Command("cluster.version", "Show the version of Gantry"),
        **_tags("the cluster"),
    },
    "gnt-node": {
        "list": Command("node.list", "Show the nodes"),
        "list-fields": Command("node.list_fields", "Show the fields that list knows"),
        "info": Command("node.info", "Show all about nodes"),
        "add": Command("node.add", "Make a machine that has joined a node"),
        "remove": Command("node.remove", "Take a node out of the cluster"),
        "modify": Command("node.modify", "Change a node's role or parameters"),
        "power": Command("node.power", "Switch nodes on and off, or show whether they are on"),
        "health": Command("node.health", "Show how nodes' machines are"),
        "migrate": Command("node.migrate", "Migrate all instances of a node"),
        "failover": Command("node.failover", "Fail over all instances of a node"),
        "evacuate": Command("node.evacuate", "Bring all instances of a node elsewhere"),
        "end-guest": Command("node.end_guest", "End a guest that belongs to no instance"),
        **_tags("a node"),
    },
    "gnt-instance": {
        "list": Command("instance.list", "Show the instances"),
        "list-fields": Command("instance.list_fields", "Show the fields that list knows"),
        "info": Command("instance.info", "Show all about instances"),
        "add": Command("instance.add", "Make an instance, install and start it"),
        "startup": Command("instance.startup", "Start instances"),
        "shutdown": Command("instance.shutdown", "Stop instances"),
        "reboot": Command("instance.reboot", "Reboot instances"),
        "modify": Command("instance.modify", "Change an instance's parameters"),
        "rename": Command("instance.rename", "Give an instance another name"),
        "reinstall": Command("instance.reinstall", "Install instances again, or another OS"),
        "add-mirror": Command("instance.add_mirror", "Add a further replica of a disk"),
        "remove-mirror": Command("instance.remove_mirror", "Take a replica of a disk away"),
        "replace-disks": Command("instance.replace_disks", "Make replicas of disks anew"),
        "sync-disks": Command("instance.sync_disks", "Mirror again what has fallen behind"),
        "failover": Command("instance.failover", "Stop an instance, start it on another node"),
        "migrate": Command("instance.migrate", "Bring a running instance to another node"),
        "move": Command("instance.move", "Copy an instance's disks to another node"),
        "grow-disk": Command("instance.grow_disk", "Make a disk larger, also while it runs"),
        "recreate-disks": Command(
            "instance.recreate_disks", "Make disks that are lost anew, empty"
        ),
        "activate-disks": Command("instance.activate_disks", "Make disks usable on their node"),
        "deactivate-disks": Command("instance.deactivate_disks", "Take that back"),
        "remove": Command("instance.remove", "Remove an instance and its disks"),
        "console": Command("instance.console", "Connect to an instance's serial console"),
        **_tags("an instance"),
    },
    "gnt-backup": {
        "list": Command("backup.list", "Show the exports on the nodes"),
        "list-fields": Command("backup.list_fields", "Show the fields that list knows"),
        "export": Command("backup.export", "Export an instance into a directory of a node"),
        "import": Command("backup.import_", "Make an instance from an export"),
        "verify": Command(
            "backup.verify", "Read an export again: is it whole, and what was written"
        ),
        "remove": Command("backup.remove", "Remove an instance's export"),
    },
    "gnt-os": {
        "list": Command("os.list", "Show the OS definitions that are valid on all nodes"),
        "diagnose": Command("os.diagnose", "Look at all definitions on all nodes, now"),
        "info": Command("os.info", "Show variants and parameters of OS definitions"),
        "modify": Command("os.modify", "Change an OS's parameters, hide or blacklist it"),
        "lint": Command("os.lint", "Look for what is wrong with an OS definition"),
        "test": Command("os.test", "Run its scripts on a scratch disk, without a cluster"),
        "push": Command("os.push", "Put an OS definition onto nodes, as a whole"),
        "diff": Command("os.diff", "Compare an OS definition with what nodes have"),
        "status": Command("os.status", "Show which version of pushed definitions each node has"),
        "rollback": Command("os.rollback", "Go back to an earlier version of an OS definition"),
    },
    "gnt-hook": {
        "list": Command("hook.list", "Show which hook scripts run where, and in which order"),
        "lint": Command("hook.lint", "Look for what is wrong with hook scripts"),
        "new": Command("hook.new", "Begin a hook script: a file that says what to fill in"),
        "test": Command("hook.test", "Run a script as an operation would, without a cluster"),
        "record": Command("hook.record", "Write down what recorded runs were told"),
        "replay": Command("hook.replay", "Run a script as a recorded run was, without a cluster"),
        "history": Command("hook.history", "Show what hook scripts did, newest first"),
        "show": Command("hook.show", "Show all about one run of a script, with its output"),
        "disable": Command("hook.disable", "Switch hook scripts off, on all nodes"),
        "enable": Command("hook.enable", "Switch hook scripts on again"),
        "push": Command("hook.push", "Put a directory of hooks onto nodes, as a whole"),
        "diff": Command("hook.diff", "Compare a directory of hooks with what nodes have"),
        "status": Command("hook.status", "Show which bundle of hooks each node has"),
        "webhook-add": Command("webhook.add", "Tell a web server of events"),
        "webhook-remove": Command("webhook.remove", "Tell a web server no more"),
        "webhook-list": Command("webhook.list", "Show the webhooks, and how it stands with each"),
        "webhook-test": Command("webhook.test", "Send a webhook one event, now"),
        "rollback": Command("hook.rollback", "Go back to an earlier bundle of hooks"),
    },
    "gnt-job": {
        "list": Command("job.list", "Show the jobs"),
        "list-fields": Command("job.list_fields", "Show the fields that list knows"),
        "info": Command("job.info", "Show all about jobs, with their logs"),
        "wait": Command("job.wait", "Wait for a job's end, silently"),
        "watch": Command("job.watch", "Show a job's log as it comes, until its end"),
        "cancel": Command("job.cancel", "Cancel jobs"),
        "archive": Command("job.archive", "Put ended jobs away"),
        "autoarchive": Command("job.autoarchive", "Put away all jobs that ended long ago"),
        "change-priority": Command("job.change_priority", "Change waiting jobs' priority"),
    },
    "gnt-group": {
        "list": Command("group.list", "Show the node groups"),
        "list-fields": Command("group.list_fields", "Show the fields that list knows"),
        **_tags("a group"),
    },
    "gnt-debug": {
        "delay": Command("debug.delay", "Do nothing for a while, as a job"),
        "locks": Command("debug.locks", "Show who holds and who waits for which lock"),
    },
}

ALIASES: Final[dict[str, dict[str, str]]] = {
    "gnt-cluster": {"masterfailover": "master-failover", "show": "info"},
    "gnt-node": {"show": "info"},
    "gnt-instance": {
        "start": "startup",
        "stop": "shutdown",
        "show": "info",
        "set": "modify",
    },
    "gnt-os": {"show": "info"},
    "gnt-job": {"show": "info"},
}
