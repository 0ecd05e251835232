"""The client against a socket that says what the test wants."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gantry.client import paths
from gantry.client.connection import Connection, quoted
from gantry.client.errors import ApiError, MasterDown, MasterLost, NoCluster, NotMaster
from gantry.client.jobs import submission

OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


class Peer:
    """One connection: keeps what was asked, answers with ``answer``."""

    def __init__(self, root: Path, answer: bytes) -> None:
        path = Path(paths.socket_path(str(root)))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.asked = b""
        self.hold: threading.Event | None = None
        """Until it is set, the connection stays open after the answer."""
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, self._listening:
            self.asked = connection.recv(65536)
            connection.sendall(self._answer)
            if self.hold is not None:
                self.hold.wait(100)


@pytest.fixture
def peer(tmp_path: Path) -> Callable[[bytes], Peer]:
    return lambda answer: Peer(tmp_path, answer)


def test_names_are_quoted_and_bodies_are_json(
    peer: Callable[[bytes], Peer], tmp_path: Path
) -> None:
    there = peer(OK + b'{"a": 1}')
    assert Connection(str(tmp_path)).get("query/instance", filter='a == "ü&"') == {"a": 1}
    there.thread.join()
    line = there.asked.split(b"\r\n")[0]
    assert line == b"GET /gantry/1/query/instance?filter=a%20%3D%3D%20%22%C3%BC%26%22 HTTP/1.0"


def test_a_path_cannot_carry_a_second_request(
    peer: Callable[[bytes], Peer], tmp_path: Path
) -> None:
    there = peer(OK + b"{}")
    Connection(str(tmp_path)).get("nodes/x HTTP/1.0\r\nX: y\r\n\r\n")
    there.thread.join()
    assert there.asked.count(b"\r\n\r\n") == 1
    assert b"%0D%0A" in there.asked


def test_a_body_is_sent_with_its_length(peer: Callable[[bytes], Peer], tmp_path: Path) -> None:
    there = peer(OK + b"null")
    assert Connection(str(tmp_path)).post("jobs", {"ops": []}) is None
    there.thread.join()
    head, _, body = there.asked.partition(b"\r\n\r\n")
    assert json.loads(body) == {"ops": []}
    assert f"Content-Length: {len(body)}".encode() in head


def test_an_error_of_the_master_keeps_all_its_parts(
    peer: Callable[[bytes], Peer], tmp_path: Path
) -> None:
    error = {"code": "rejected", "message": "no", "reason": "wrong_state", "hint": "h", "node": "n"}
    peer(b"HTTP/1.0 409 Conflict\r\n\r\n" + json.dumps({"error": error}).encode())
    with pytest.raises(ApiError) as caught:
        Connection(str(tmp_path)).get("x")
    assert caught.value.info() == {**error, "object": ""}


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", OK, OK + b'{"a": ', b"HTTP/1.0 x\r\n\r\n"],
)
def test_an_answer_that_breaks_off_is_no_traceback(
    peer: Callable[[bytes], Peer], tmp_path: Path, answer: bytes
) -> None:
    peer(answer)
    with pytest.raises(MasterDown):
        Connection(str(tmp_path)).get("x")


def test_an_error_without_a_document_is_still_an_error(
    peer: Callable[[bytes], Peer], tmp_path: Path
) -> None:
    peer(b"HTTP/1.0 502 Bad\r\n\r\n<html>")
    with pytest.raises(ApiError, match="502"):
        Connection(str(tmp_path)).get("x")


def test_lines_come_one_by_one_without_the_signs_of_life(
    peer: Callable[[bytes], Peer], tmp_path: Path
) -> None:
    peer(OK + b'{"job":1}\n\n\n{"entries":[]}\n{"error":{"code":"unavailable","message":"gone"}}\n')
    stream = Connection(str(tmp_path)).stream("POST", "jobs?follow=1", {})
    assert next(stream) == {"job": 1}
    assert next(stream) == {"entries": []}
    with pytest.raises(ApiError, match="gone"):
        next(stream)


def test_a_line_that_breaks_off_is_told(peer: Callable[[bytes], Peer], tmp_path: Path) -> None:
    peer(OK + b'{"entr')
    with pytest.raises(MasterDown, match="broke off"):
        list(Connection(str(tmp_path)).stream("GET", "x"))


def test_a_master_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.CLIENT_READ", 0.01)
    path = Path(paths.socket_path(str(tmp_path)))
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(5)
        with pytest.raises(MasterDown, match="in time"):
            Connection(str(tmp_path)).get("x")
        with pytest.raises(MasterDown, match="in time"):
            Connection(str(tmp_path)).stream("GET", "x")


def test_a_stream_that_goes_silent_is_a_master_that_was_lost(
    peer: Callable[[bytes], Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.STREAM_READ", 0.05)
    there = peer(OK + b'{"job":1}\n')
    there.hold = threading.Event()
    stream = Connection(str(tmp_path)).stream("GET", "x")
    assert next(stream) == {"job": 1}
    with pytest.raises(MasterLost, match="in time"):
        next(stream)
    there.hold.set()
    there.thread.join()


def test_without_a_cluster_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoCluster) as caught:
        Connection(str(tmp_path)).get("version")
    assert "gnt-cluster init" in caught.value.info()["hint"]


def joined(root: Path, master: str) -> None:
    (root / "etc/gantry").mkdir(parents=True)
    (root / "etc/gantry/agent.json").write_text('{"name": "node2"}')
    (root / "var/lib/ganeti").mkdir(parents=True)
    (root / "var/lib/ganeti/ssconf_master_node").write_text(master + "\n")


def test_another_node_is_named_where_it_is_the_master(tmp_path: Path) -> None:
    joined(tmp_path, "node1")
    with pytest.raises(NotMaster) as caught:
        Connection(str(tmp_path)).get("version")
    assert caught.value.master == "node1"


def test_a_master_that_is_down_is_told_with_the_way_to_start_it(tmp_path: Path) -> None:
    joined(tmp_path, "node2")
    with pytest.raises(MasterDown) as caught:
        Connection(str(tmp_path)).get("version")
    assert "start it" in caught.value.hint


def test_a_socket_that_nobody_listens_on_is_a_master_that_is_down(tmp_path: Path) -> None:
    path = Path(paths.socket_path(str(tmp_path)))
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    with pytest.raises(MasterDown, match="refused"):
        Connection(str(tmp_path)).get("version")


def test_the_root_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRY_ROOT", str(tmp_path))
    assert Connection().root == str(tmp_path)
    assert Connection("/x").root == "/x"
    monkeypatch.delenv("GANTRY_ROOT")
    assert Connection().root == "/"


def test_a_submission_has_a_random_id_and_says_in_which_job_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GANTRY_JOB", raising=False)
    first, second = submission([{"OP_ID": "X"}], priority=None), submission([{"OP_ID": "X"}])
    assert first["request_id"] != second["request_id"]
    assert set(first) == {"ops", "request_id"}
    monkeypatch.setenv("GANTRY_JOB", "17")
    assert submission([], dry_run="yes") | {"request_id": ""} == {
        "ops": [],
        "request_id": "",
        "dry_run": "yes",
        "within_job": 17,
    }
    monkeypatch.setenv("GANTRY_JOB", "x")
    assert "within_job" not in submission([])


def test_quoting_leaves_nothing_that_ends_a_part() -> None:
    assert quoted("a b/c?d#e%") == "a%20b%2Fc%3Fd%23e%25"


def test_the_client_imports_nothing_heavy() -> None:
    """Every command pays for it."""
    program = (
        "import sys, gantry.client.connection, gantry.client.jobs\n"
        "heavy = {'asyncio','ssl','http','http.client','msgspec','typing','pathlib','aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
