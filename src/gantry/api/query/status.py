"""The status of an instance in one word: Ganeti's words, from what is wanted and what is true."""

from __future__ import annotations

import enum

from gantry.api.query.view import View
from gantry.model.entities import AdminState, Instance
from gantry.model.live import GuestLive, GuestState


class InstanceStatus(enum.StrEnum):
    """What listings show."""

    RUNNING = "running"
    ADMIN_DOWN = "ADMIN_down"
    ADMIN_OFFLINE = "ADMIN_offline"
    ERROR_DOWN = "ERROR_down"
    ERROR_UP = "ERROR_up"
    ERROR_NODEDOWN = "ERROR_nodedown"
    ERROR_NODEOFFLINE = "ERROR_nodeoffline"
    ERROR_WRONGNODE = "ERROR_wrongnode"
    USER_DOWN = "USER_down"


def of(view: View, instance: Instance) -> InstanceStatus:
    """What is to be said of an instance now."""
    node = view.node(instance.primary_node)
    if node is None or node.offline:
        return InstanceStatus.ERROR_NODEOFFLINE
    live = view.live(instance.primary_node)
    if not live.reachable:
        return InstanceStatus.ERROR_NODEDOWN
    if instance.uuid in view.elsewhere:
        return InstanceStatus.ERROR_WRONGNODE
    guest = live.guests.get(instance.uuid)
    if guest is not None and guest.up:
        up = instance.admin_state is AdminState.UP
        return InstanceStatus.RUNNING if up else InstanceStatus.ERROR_UP
    return _down(instance, guest)


def _down(instance: Instance, guest: GuestLive | None) -> InstanceStatus:
    match instance.admin_state:
        case AdminState.OFFLINE:
            return InstanceStatus.ADMIN_OFFLINE
        case AdminState.DOWN:
            by_user = instance.admin_state_source == "user"
            return InstanceStatus.USER_DOWN if by_user else InstanceStatus.ADMIN_DOWN
        case AdminState.UP:
            by_user = guest is not None and guest.state is GuestState.SHUT_DOWN
            return InstanceStatus.USER_DOWN if by_user else InstanceStatus.ERROR_DOWN
