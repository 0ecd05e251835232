"""Bringing a copy back into etcd: all of it, or a store that nobody uses until it is done again.

A marker beside the store's keys is put first and taken away last. While it is there, every
request of a writer is refused, and the store cannot be opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from gantry.model.errors import Reason, Rejected
from gantry.ports.store import (
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    Item,
    Put,
    Range,
    StoreUnavailable,
)
from gantry.store.etcd import wire
from gantry.store.etcd.access import Access
from gantry.store.etcd.slot import new_name
from gantry.store.etcd.store import EtcdStore, open_etcd


async def restore(
    access: Access,
    items: Sequence[Item],
    busy: str,
    keep: Callable[[Range], Awaitable[None]],
) -> None:
    """Put these items in the place of all that is there, which ``keep`` gets before, if whole.

    Rejected where the key ``busy`` is held by a lease: then a master runs. Raises
    StoreUnavailable; what was begun then is to be repeated.
    """
    token = new_name()
    store = await open_etcd(access, guard=token)
    try:
        whole = await _begin(store, token, busy)
        if whole:
            await _keep(store, token, keep)
        await _empty(store, token)
        for batch in batches(items):
            await store.txn([], [Put(each.key, each.value) for each in batch])
        await _check(store, items)
        await _end(store, token)
    finally:
        await store.close()


async def _keep(store: EtcdStore, token: bytes, keep: Callable[[Range], Awaitable[None]]) -> None:
    before = await store.lasting()
    if not before.items:
        return
    try:
        await keep(before)
    except BaseException:
        # Nothing was changed yet.
        await _end(store, token)
        raise


def batches(items: Iterable[Item]) -> Iterable[list[Item]]:
    """In pieces that fit into a transaction."""
    batch: list[Item] = []
    size = 0
    for each in items:
        size += len(each.key) + len(each.value)
        if batch and (len(batch) == MAX_OPERATIONS or size > MAX_TRANSACTION_BYTES):
            yield batch
            batch, size = [], len(each.key) + len(each.value)
        batch.append(each)
    if batch:
        yield batch


async def _begin(store: EtcdStore, token: bytes, busy: str) -> bool:
    """Whether what is there is whole, and not left by a restore that was cut off."""
    held = wire.RangeRequest(store.data + busy.encode())
    found = (await store.gateway.call(wire.RANGE, held, wire.RangeAnswer)).value
    if any(each.lease for each in found.kvs):
        raise Rejected(
            "a master runs, and its state is in this etcd",
            "stop the masters of all candidates first: systemctl stop gantry-master",
            reason=Reason.STATE,
        )
    read = wire.RangeRequest(store.marker)
    left = (await store.gateway.call(wire.RANGE, read, wire.RangeAnswer)).value.kvs
    put = wire.TxnRequest(success=(wire.Op(request_put=wire.PutRequest(store.marker, token)),))
    await store.gateway.call(wire.TXN, put, wire.TxnAnswer)
    return not left


async def _empty(store: EtcdStore, token: bytes) -> None:
    everything = wire.DeleteRequest(store.data, wire.end_of(store.data))
    await _guarded(store, token, wire.Op(request_delete_range=everything))


async def _end(store: EtcdStore, token: bytes) -> None:
    away = wire.DeleteRequest(store.marker)
    request = wire.TxnRequest(
        compare=(wire.Comparison(store.marker, "VALUE", value=token),),
        success=(wire.Op(request_delete_range=away),),
    )
    answer = await store.gateway.call(wire.TXN, request, wire.TxnAnswer)
    # Where an answer was lost, the marker is gone already.
    if not answer.value.succeeded and not answer.doubtful:
        raise _overtaken()


async def _guarded(store: EtcdStore, token: bytes, op: wire.Op) -> None:
    request = wire.TxnRequest(
        compare=(wire.Comparison(store.marker, "VALUE", value=token),), success=(op,)
    )
    answer = await store.gateway.call(wire.TXN, request, wire.TxnAnswer)
    if not answer.value.succeeded:
        raise _overtaken()


async def _check(store: EtcdStore, items: Sequence[Item]) -> None:
    found = await store.range("")
    there = {each.key: each.value for each in found.items}
    if there != {each.key: each.value for each in items}:
        raise StoreUnavailable(
            "what is in etcd now is not what the copy has", "repeat gantry state restore"
        )


def _overtaken() -> StoreUnavailable:
    return StoreUnavailable(
        "another restore began meanwhile, and this one has ended", "see to the other one"
    )
