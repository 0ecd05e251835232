"""How the members of etcd are, each asked for itself; for people, nothing depends on it."""

from __future__ import annotations

import asyncio

import msgspec

from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.store.etcd import wire
from gantry.store.etcd.access import Access
from gantry.store.etcd.gateway import Gateway, Patience
from gantry.store.etcd.problems import Fault

_PATIENCE = Patience(tries=(timeouts.STORE_TRIES[1],), whole=timeouts.STORE_TRIES[1])


class MemberHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One address of ``store.json``; ``problem`` is empty where all is well, sizes are MiB."""

    url: str
    version: str = ""
    leader: bool = False
    size: int = 0
    in_use: int = 0
    problem: str = ""


async def members(access: Access) -> list[MemberHealth]:
    """All of them, in the order of the addresses; those that are silent cost 2 s."""
    gateway = Gateway(access, _PATIENCE)
    try:
        found = await asyncio.gather(*(_one(gateway, url) for url in gateway.endpoints))
        alarms = await _alarms(gateway)
    finally:
        await gateway.close()
    return [
        msgspec.structs.replace(each, problem=alarms[member]) if alarms.get(member) else each
        for member, each in found
    ]


async def _one(gateway: Gateway, url: str) -> tuple[int, MemberHealth]:
    try:
        said = await gateway.ask(url, wire.STATUS, wire.Nothing(), wire.Status)
    except Fault as fault:
        return 0, MemberHealth(url=url, problem=fault.why)
    except GantryError as error:
        return 0, MemberHealth(url=url, problem=error.message)
    member = said.header.member_id
    return member, MemberHealth(
        url=url,
        version=said.version,
        leader=said.leader == member,
        size=said.dbSize // 2**20,
        in_use=said.dbSizeInUse // 2**20,
        problem="; ".join(said.errors) or ("" if said.leader else "it knows no leader"),
    )


async def _alarms(gateway: Gateway) -> dict[int, str]:
    try:
        said = await gateway.call(wire.ALARM, wire.AlarmRequest("GET"), wire.AlarmAnswer)
    except GantryError:
        return {}
    return {each.memberID: f"alarm {each.alarm}" for each in said.value.alarms}
