"""Webhooks of a real cluster, told to a real web server."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"
SECRET = "0123456789abcdefghijklmnop"
TOKEN = "token-in-the-path"


class Receiver:
    """Takes what comes; checks the signature as the documentation says."""

    def __init__(self) -> None:
        self.events: Queue[dict[str, Any]] = Queue()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in/{TOKEN}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """On the same port every time."""
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mine = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                right = hmac.compare_digest(self.headers["X-Gantry-Signature"], f"sha256={mine}")
                if right:
                    # First: the next one comes as soon as this one is answered, to another thread.
                    events.put(json.loads(body)["event"])
                self.send_response(200 if right else 403)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_port
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def until(self, **fields: Any) -> dict[str, Any]:
        """The next event that has these."""
        while True:
            found = self.events.get(timeout=100)
            if all(found.get(name) == value for name, value in fields.items()):
                return found


@pytest.fixture
def receiver(cluster: Cluster, tmp_path: Path) -> Iterator[Receiver]:
    """Told of everything; removed afterwards."""
    made = Receiver()
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    with made.listening():
        (tmp_path / "url").write_text(f"{made.url}\n")
    cluster.gnt(
        "gnt-hook", "webhook-add", "chat", f"@{tmp_path}/url", "--secret-file", f"{tmp_path}/secret"
    )
    yield made
    cluster.local("up")
    cluster.gnt("gnt-hook", "webhook-remove", "chat")


def _row(cluster: Cluster) -> dict[str, Any]:
    [row] = cluster.rows("gnt-hook", "webhook-list")
    return row


def test_a_denial_is_told_script_by_script(cluster: Cluster, receiver: Receiver) -> None:
    with receiver.listening():
        assert "took the event" in cluster.gnt("gnt-hook", "webhook-test", "chat")
        receiver.until(event="test")
        cluster.hook("instance-add-pre.d", "50-no", "echo not today\nexit 3\n", (2,))
        cluster.refused(
            "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2",
            "-B", "memory=32M", "--no-nics", WEB,
        )  # fmt: skip
        script = receiver.until(event="hook-script")
        assert (script["script"], script["exit_status"], script["node"]) == (
            "50-no", 3, "node2.gantry.test",
        )  # fmt: skip
        denied = receiver.until(event="hooks", state="denied")
        assert (denied["operation"], denied["phase"]) == ("instance-add", "pre")
        ended = receiver.until(event="job", status="error")
        assert ended["error"]["code"] == "hooks-denied"
        assert "not today" in ended["error"]["message"]
        eventually("the account is right", lambda: _row(cluster)["delivered"] > 0)


def test_what_waits_outlives_the_master(cluster: Cluster, receiver: Receiver) -> None:
    cluster.add(WEB)
    eventually("attempts fail", lambda: _row(cluster)["failed"] > 0)
    assert _row(cluster)["last_error"].startswith("cannot connect")
    waiting = _row(cluster)["waiting"]
    assert waiting > 0
    file = cluster.root() / "var/lib/gantry/webhooks.json"
    eventually("it is kept", lambda: file.exists() and WEB in file.read_text())
    cluster.kill("master")
    with receiver.listening():
        cluster.local("up")
        assert receiver.until(event="instance", name=WEB)["status"]


def test_neither_secret_nor_address_is_anywhere_but_in_the_state(
    cluster: Cluster, receiver: Receiver
) -> None:
    cluster.hook("config-update-post.d", "10-env", 'env > "$GANTRY_ROOT/told-env"\n')
    with receiver.listening():
        cluster.add(WEB)
        receiver.until(event="job", status="success")
    said = cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id").split()
    text = "".join(cluster.gnt("gnt-job", "info", "--json", number) for number in said[-4:])
    text += cluster.gnt("gnt-hook", "webhook-list", "--json").replace(receiver.url, "")
    for log in [*cluster.directory.glob("node*/var/log/gantry/*.log"), cluster.root() / "told-env"]:
        text += log.read_text(errors="replace")
    text += (cluster.root() / "var/lib/gantry/webhooks.json").read_text()
    assert SECRET not in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("url", "events", "said"),
    [
        ("ftp://example.com", [], "https://HOST/PATH"),
        ("https://u:p@example.com/", [], "no user"),
        ("https://example.com/", ["--event", "nonsense"], "chooses no event"),
    ],
)
def test_what_is_no_webhook_is_refused(
    cluster: Cluster, tmp_path: Path, url: str, events: list[str], said: str
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    arguments = ("webhook-add", "x", url, "--secret-file", f"{tmp_path}/secret", *events)
    assert said in cluster.refused("gnt-hook", *arguments)
    assert cluster.rows("gnt-hook", "webhook-list") == []
