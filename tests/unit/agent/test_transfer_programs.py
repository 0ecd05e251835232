"""The programs of a transfer: who is let in, and what is between."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.agent import transfer_programs as programs
from gantry.model.backup_orders import Compression, Peer
from gantry.model.names import Uuid

CLUSTER = Uuid("00000000-0000-4000-8000-000000000001")
PEER = Peer(
    node=Uuid("00000000-0000-4000-8000-000000000002"), name="node2.example.com", host="127.1.0.2"
)
PKI = Path("/etc/gantry/pki")
ONLY_IT = f"commonname={PEER.node}.{CLUSTER}.node.gantry.internal"


def test_both_ends_of_a_stream_accept_one_node_in_tls_1_3() -> None:
    calls = programs.caller(CLUSTER, PEER, 4711, PKI)[-1]
    listens = programs.listener(CLUSTER, PEER, "127.1.0.1", PKI, Path("/inlet"))[-2]
    assert calls.startswith("OPENSSL:127.1.0.2:4711,")
    assert listens.startswith("OPENSSL-LISTEN:0,bind=127.1.0.1,")
    for end in (calls, listens):
        assert {"verify=1", "openssl-min-proto-version=TLS1.3", ONLY_IT} <= set(end.split(","))


def test_addresses_of_ipv6_are_in_brackets() -> None:
    peer = Peer(node=PEER.node, name="node2", host="fd00::2")
    assert (
        "OPENSSL:[fd00::2]:1,connect-timeout=5,pf=ip6,"
        in programs.caller(CLUSTER, peer, 1, PKI)[-1]
    )


def test_both_ends_of_blocks_accept_one_node() -> None:
    server = programs.block_server(PEER, Path("/run/x,y"), Uuid("name"), "/disk", "raw")
    assert f"authz-simple,id=peer,identity=CN=node2.example.com,,serialNumber={PEER.node}" in server
    assert any("verify-peer=on" in one and "dir=/run/x,,y," in one for one in server)
    source = programs.image_file("/disk,1", "raw")
    client = programs.block_client(CLUSTER, PEER, 1, Path("/run"), Uuid("name"), source)
    assert client[-1].endswith(f"tls-hostname={PEER.node}.{CLUSTER}.node.gantry.internal")
    assert client[-3] == "driver=raw,read-only=on,file.driver=file,file.filename=/disk,,1"


@pytest.mark.parametrize("compress", Compression)
def test_the_count_is_of_bytes_before_and_after_compression(compress: Compression) -> None:
    count = programs.copy()
    packing, unpacking = (
        programs.packing(compress, count),
        programs.unpacking(compress, count, Path("/inlet")),
    )
    assert packing[0][-len(count) :] == count
    assert unpacking[-1][-len(count) :] == count
    assert (len(packing) == 1) == (compress is Compression.NONE)
    packer = {one[place] for one, place in ((packing[-1], 4), (unpacking[0], 5))}
    assert packer <= set(programs.needed(compress))


def test_a_program_is_called_by_its_own_name_also_behind_a_shell() -> None:
    server = programs.block_server(PEER, Path("/run"), Uuid("name"), "/disk", "raw")
    assert programs.called(server) == "qemu-nbd"
    assert programs.called(programs.caller(CLUSTER, PEER, 1, PKI)) == "socat"
    count = programs.copy(target="/file")
    for argvs in (
        programs.packing(Compression.NONE, count),
        programs.unpacking(Compression.NONE, count, Path("/a/inlet")),
    ):
        assert [programs.called(each) for each in argvs] == ["dd"]
    assert [programs.called(each) for each in programs.packing(Compression.ZSTD, count)] == [
        "dd",
        "zstd",
    ]
