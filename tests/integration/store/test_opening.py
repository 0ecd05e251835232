"""``gnt-cluster init --store etcd=…`` and what opens the store afterwards."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.support.etcd import Etcd

from gantry.main import store as stores
from gantry.main.bootstrap import Settings, StoreWish, init
from gantry.main.store import StoreKind
from gantry.model.codec import decode, encode
from gantry.model.entities import CLUSTER_KEY, Cluster
from gantry.model.errors import Rejected
from gantry.ports.store import Put, StoreUnavailable


def settings(wish: StoreWish | None, name: str = "cluster.example.com") -> Settings:
    return Settings(
        cluster_name=name, node_name="node1.example.com", primary_ip="127.0.0.1", store=wish
    )


def quiet(text: str) -> None:
    del text


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


async def test_the_state_is_in_etcd_below_the_clusters_name(tmp_path: Path, members: Etcd) -> None:
    await init(tmp_path, settings(StoreWish(endpoints=members.urls), "one.example.com"), quiet)
    assert stores.kind(tmp_path) is StoreKind.ETCD
    assert not (tmp_path / stores.STATE).exists()
    assert stores.access(tmp_path).prefix == "/gantry/one.example.com/"
    store = await stores.open_store(tmp_path)
    item = await store.get(CLUSTER_KEY)
    await store.close()
    assert item is not None
    found = decode(CLUSTER_KEY, item.value)
    assert isinstance(found, Cluster)
    assert found.name == "one.example.com"


async def test_two_clusters_share_an_etcd_but_not_a_prefix(tmp_path: Path, members: Etcd) -> None:
    wish = StoreWish(endpoints=members.urls, prefix="/shared/")
    await init(tmp_path / "a", settings(wish), quiet)
    with pytest.raises(Rejected, match="has a cluster below /shared/ already"):
        await init(tmp_path / "b", settings(wish), quiet)
    assert not (tmp_path / "b").exists()
    other = StoreWish(endpoints=members.urls, prefix="/shared/too/")
    await init(tmp_path / "b", settings(other, "b.example.com"), quiet)
    store = await stores.open_store(tmp_path / "a")
    keys = [item.key for item in (await store.range("")).items]
    await store.close()
    assert len(keys) == 3


async def test_a_destroyed_cluster_makes_room_for_a_new_one(tmp_path: Path, members: Etcd) -> None:
    wish = StoreWish(endpoints=members.urls, prefix="/again/")
    made = await init(tmp_path, settings(wish), quiet)
    with pytest.raises(Rejected, match="there is a cluster on this machine already"):
        await init(tmp_path, settings(wish), quiet)
    store = await stores.open_store(tmp_path)
    cluster = made.cluster
    gone = Cluster(
        uuid=cluster.uuid, name=cluster.name, ctime=0, mtime=0,
        master_node=cluster.master_node, destroyed=True,
    )  # fmt: skip
    await store.txn([], [Put(CLUSTER_KEY, encode(gone)), Put("jobs/1", b"{}")])
    await store.close()
    stores.put_away(tmp_path, 17)
    assert stores.kind(tmp_path) is StoreKind.SQLITE
    assert "etc/gantry/store.json.destroyed-17" in names(tmp_path)
    await init(tmp_path, settings(wish), quiet)
    store = await stores.open_store(tmp_path)
    assert await store.get("jobs/1") is None
    await store.close()


async def test_without_etcd_it_is_a_file(tmp_path: Path) -> None:
    await init(tmp_path, settings(None), quiet)
    assert stores.kind(tmp_path) is StoreKind.SQLITE
    assert stores.belongings(tmp_path) == ()
    store = await stores.open_store(tmp_path)
    assert await store.get(CLUSTER_KEY) is not None
    await store.close()


async def test_files_to_log_in_are_copied_where_only_their_owner_reads_them(
    tmp_path: Path, members: Etcd
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("xyzzy\n")
    wish = StoreWish(endpoints=members.urls, prefix="/login/", user="gantry", password_file=secret)
    # These members have no users, and take everybody.
    await init(tmp_path / "node", settings(wish), quiet)
    secret.unlink()
    places = stores.belongings(tmp_path / "node")
    assert [str(place) for place in places] == [
        "etc/gantry/store.json",
        "etc/gantry/store/password",
    ]
    for place in places:
        assert stat.S_IMODE((tmp_path / "node" / place).stat().st_mode) == 0o600
    assert "xyzzy" not in (tmp_path / "node" / stores.CONFIGURATION).read_text()
    store = await stores.open_store(tmp_path / "node")
    await store.close()


async def test_what_cannot_be_meant_changes_nothing(tmp_path: Path, members: Etcd) -> None:
    url = members.urls[0]
    for wish, words in (
        (StoreWish(endpoints=("ftp://a",)), "no address of etcd"),
        (StoreWish(endpoints=("http://u:p@a:1",)), "must not hold a user"),
        (StoreWish(endpoints=(url, url)), "given twice"),
        (StoreWish(endpoints=(url, "https://a:1")), "or none"),
        (StoreWish(endpoints=(url,), user="a"), "needs a password file"),
        (StoreWish(endpoints=(url,), prefix="a b/"), "cannot be the prefix"),
        (StoreWish(endpoints=(url,), prefix="/a"), "cannot be the prefix"),
        (StoreWish(endpoints=("https://a:1",), ca=tmp_path / "no"), "the CA certificate, .*/no"),
    ):
        with pytest.raises(Rejected, match=words):
            await init(tmp_path / "node", settings(wish), quiet)
        assert not (tmp_path / "node").exists()


async def test_says_which_member_does_not_answer_and_why(tmp_path: Path, members: Etcd) -> None:
    host = members.members[0].host
    wish = StoreWish(endpoints=(f"http://{host}:1", f"http://{host}:2"))
    with pytest.raises(StoreUnavailable) as caught:
        await init(tmp_path / "node", settings(wish), quiet)
    assert caught.value.message.count("Connection refused") == 2
    assert f"http://{host}:1" in caught.value.message
    assert "is etcd running" in caught.value.hint
    assert not (tmp_path / "node").exists()


async def test_a_damaged_store_json_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / stores.CONFIGURATION
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(Rejected, match=r"store\.json cannot be read"):
        await stores.open_store(tmp_path)
