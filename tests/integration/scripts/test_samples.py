"""The sample hooks do what they say: in both versions, and when they are run again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gantry.cli.bundle import directory
from gantry.hooks.lint import check
from gantry.main.bench import LocalBench

SAMPLES = Path(__file__).parents[3] / "examples/hooks"
NAMES = ("cmdb", "approval", "dns", "ethers", "monitoring", "notify")
WEB = "web1.example.com"
PHASES = {"1": {"pre": "PRE", "post": "POST", "fail": "FAIL"}, "2": {}}


class Server:
    """Answers by path and keeps what came; Alertmanager's silences are kept, too."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.came: list[tuple[str, str, Any, dict[str, str]]] = []
        self.silences: dict[str, Any] = {}

    def answer(self, method: str, path: str, document: Any) -> tuple[int, Any]:
        plain = path.partition("?")[0]
        if method == "POST" and plain.endswith("/silences"):
            number = f"s{len(self.silences)}"
            state = {"state": "active"}
            self.silences[number] = {**document, "id": number, "status": state}
            return 200, {"silenceID": number}
        if method == "DELETE":
            self.silences.pop(plain.rpartition("/")[2], None)
            return 200, {}
        if plain.endswith("/silences"):
            return 200, list(self.silences.values())
        return self.answers.get(plain, (200, {}))


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            document = json.loads(self.rfile.read(length)) if length else None
            found.came.append((self.command, self.path, document, dict(self.headers)))
            status, answer = found.answer(self.command, self.path, document)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_DELETE = _do  # noqa: N815 - their names are the library's

        def log_message(self, *_: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield found, f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()
    thread.join()


class Site:
    """The samples on a node, with settings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hooks = root / "etc/ganeti/hooks"
        shutil.copytree(SAMPLES, self.hooks, symlinks=True)
        self.context = root / "context.json"
        self.context.write_text(json.dumps({"node": "node1.example.com"}))

    def switch_on(self, name: str, **settings: str) -> None:
        lines = {"enabled": "yes", **settings}.items()
        text = "".join(f"{key} = {value}\n" for key, value in lines)
        (self.hooks / f"site/{name}.conf").write_text(text)

    def run(
        self, script: str, version: str = "1", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """One script, as an operation on web1 would run it."""
        path = self.hooks / script
        operation, _, phase = path.parent.name.removesuffix(".d").rpartition("-")
        given = {
            "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
            "GANETI_HOOKS_VERSION": version,
            "GANETI_HOOKS_PHASE": PHASES[version].get(phase, phase),
            "GANETI_HOOKS_PATH": operation,
            "GANETI_OP_TARGET": WEB,
            "GANETI_CLUSTER": "cluster.example.com",
            "GANETI_MASTER": "node1.example.com",
            "GANETI_INSTANCE_NAME": WEB,
            "GANETI_INSTANCE_TAGS": "",
            "GANETI_INSTANCE_NIC_COUNT": "1",
            "GANETI_INSTANCE_NIC0_MAC": "AA:00:00:00:00:01",
            "GANETI_INSTANCE_NIC0_IP": "192.0.2.7",
            "GANTRY_ROOT": str(self.root),
            "GANTRY_CONTEXT": str(self.context),
            "GANTRY_JOB": "7",
            "GANTRY_RUN_ID": "run-1",
            **variables,
        }
        return subprocess.run(
            [path], env=given, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(params=["1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_they_can_be_pushed_as_they_are() -> None:
    files = directory.read(str(SAMPLES))
    assert {f"site/{name}" for name in NAMES} <= {one.path for one in files}
    findings = [
        one
        for number in (1, 2)
        for one in check(LocalBench().inventory(str(SAMPLES), number), number)
    ]
    assert findings == []


def test_none_does_anything_before_it_is_switched_on(site: Site, version: str) -> None:
    programs = {path.resolve().name: path for path in site.hooks.glob("*.d/*")}
    assert programs.keys() == set(NAMES)
    for script in programs.values():
        done = site.run(str(script.relative_to(site.hooks)), version)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), script


@pytest.mark.parametrize("script", ["instance-add-pre.d/20-cmdb", "instance-add-post.d/40-dns"])
def test_an_unknown_version_is_refused(site: Site, script: str) -> None:
    done = site.run(script, "1", GANETI_HOOKS_VERSION="3")
    assert done.returncode == 1
    assert "made for hook versions 1 and 2" in done.stderr


def test_the_cmdb_knows_what_may_be_added(
    site: Site, server: tuple[Server, str], version: str
) -> None:
    found, url = server
    path = f"/api/{WEB}"
    site.switch_on("cmdb", url=f"{url}/api/NAME", token="t0k", state="approved")
    script = "instance-add-pre.d/20-cmdb"
    found.answers[path] = (200, {"state": "approved"})
    for _ in range(2):
        assert site.run(script, version).returncode == 0
    assert found.came[0][3]["Authorization"] == "Bearer t0k"
    for answer, said in (
        ((404, {}), "is not in the database"),
        ((200, {"state": "draft"}), "must be 'approved'"),
        ((500, {}), "has no word"),
    ):
        found.answers[path] = answer
        done = site.run(script, version)
        assert done.returncode == 1
        assert said in done.stderr
    seen = len(found.came)
    other = site.run(script, version, GANETI_MASTER="node9.example.com")
    assert (other.returncode, len(found.came)) == (0, seen), "only the master asks"
    site.switch_on("cmdb", url="http://127.0.0.1:1/NAME", without_answer="allow")
    assert site.run(script, version).returncode == 0


def test_a_protected_instance_needs_an_approval(site: Site, version: str) -> None:
    site.switch_on("approval", protected="env:prod tier:1", approval="approved")
    for directory_, verb in (("instance-remove", "remove"), ("instance-shutdown", "shutdown")):
        script = f"{directory_}-pre.d/30-approval"
        assert site.run(script, version, GANETI_INSTANCE_TAGS="env:test").returncode == 0
        denied = site.run(script, version, GANETI_INSTANCE_TAGS="env:prod approved:start:bob")
        assert denied.returncode == 1
        assert f"add-tags {WEB} approved:{verb}:WHO" in denied.stderr
        tags = f"tier:1 approved:{verb}:alice"
        allowed = site.run(script, version, GANETI_INSTANCE_TAGS=tags)
        assert (allowed.returncode, allowed.stdout) == (0, f"{verb} approved by alice\n")


def test_names_come_into_the_dns_and_go(site: Site, version: str) -> None:
    fake = site.root / "nsupdate"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {site.root}/said\ncat >> {site.root}/said\n')
    fake.chmod(0o755)
    site.switch_on("dns", zone="example.com", key="/k", nsupdate=str(fake), server="ns1")
    said = site.root / "said"
    new = {"GANETI_POST_INSTANCE_NIC_COUNT": "1", "GANETI_POST_INSTANCE_NIC0_IP": "2001:db8::7"}
    cases: list[tuple[str, dict[str, str], list[str]]] = [
        ("instance-add", {}, [f"update add {WEB}. 300 A 192.0.2.7"]),
        ("instance-modify", new, [f"update add {WEB}. 300 AAAA 2001:db8::7"]),
        ("instance-remove", {}, []),
    ]
    for operation, variables, added in cases:
        for _ in range(2):
            said.unlink(missing_ok=True)
            done = site.run(f"{operation}-post.d/40-dns", version, **variables)
            assert done.returncode == 0, done.stderr
            assert said.read_text().splitlines() == [
                "-k /k", "server ns1", "zone example.com.",
                f"update delete {WEB}. A", f"update delete {WEB}. AAAA", *added, "send",
            ]  # fmt: skip
    said.unlink()
    site.run("instance-add-post.d/40-dns", version, GANETI_INSTANCE_NAME="web1.example.net")
    assert not said.exists(), "another zone"
    fake.write_text("#!/bin/sh\necho REFUSED >&2\nexit 2\n")
    failed = site.run("instance-add-post.d/40-dns", version)
    assert failed.returncode == 1
    assert "REFUSED" in failed.stderr


def test_ethers_have_a_line_for_each_nic(site: Site, version: str) -> None:
    file = site.root / "etc/ethers"
    file.write_text("00:11:22:33:44:55 printer\n")
    reload = site.root / "reload"
    reload.write_text(f"#!/bin/sh\necho x >> {site.root}/reloaded\n")
    reload.chmod(0o755)
    site.switch_on("ethers", file="/etc/ethers", reload=str(reload))
    for _ in range(2):
        assert site.run("instance-add-post.d/50-ethers", version).returncode == 0
    other = {
        "GANETI_INSTANCE_NAME": "a.example.com",
        "GANETI_INSTANCE_NIC0_MAC": "aa:00:00:00:00:09",
    }
    assert site.run("instance-add-post.d/50-ethers", version, **other).returncode == 0
    block = ["aa:00:00:00:00:01 web1.example.com", "aa:00:00:00:00:09 a.example.com"]
    kept = ["00:11:22:33:44:55 printer", "# begin gantry"]
    assert file.read_text().splitlines() == [*kept, *block, "# end gantry"]
    assert (site.root / "reloaded").read_text().split() == ["x", "x"], "only where it changed"
    new = {"GANETI_POST_INSTANCE_NIC_COUNT": "0"}
    assert site.run("instance-modify-post.d/50-ethers", version, **new).returncode == 0
    assert file.read_text().splitlines() == [*kept, block[1], "# end gantry"]
    for _ in range(2):
        assert site.run("instance-remove-post.d/50-ethers", version, **other).returncode == 0
    assert file.read_text().splitlines() == [*kept, "# end gantry"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_monitoring_is_silent_while_an_instance_is_down(
    site: Site, server: tuple[Server, str], version: str
) -> None:
    found, url = server
    site.switch_on("monitoring", url=url, minutes="5", label="host")
    for _ in range(2):
        assert site.run("instance-shutdown-pre.d/60-monitoring", version).returncode == 0
    [silence] = found.silences.values()
    assert silence["matchers"] == [
        {"name": "host", "value": WEB, "isRegex": False, "isEqual": True}
    ]
    assert silence["createdBy"] == "gantry"
    found.silences["theirs"] = {**silence, "id": "theirs", "createdBy": "alice"}
    for _ in range(2):
        assert site.run("instance-start-post.d/60-monitoring", version).returncode == 0
    assert list(found.silences) == ["theirs"]
    site.switch_on("monitoring", url="http://127.0.0.1:1")
    done = site.run("instance-shutdown-pre.d/60-monitoring", version)
    assert done.returncode == 0, "it keeps nobody from working"
    assert "monitoring was not told" in done.stdout


def test_a_trial_silences_nothing(site: Site, server: tuple[Server, str]) -> None:
    site.switch_on("monitoring", url=server[1])
    site.run("instance-shutdown-pre.d/60-monitoring", GANTRY_DRY_RUN="1")
    assert not server[0].came


def test_the_chat_hears_of_each_operation_once(
    site: Site, server: tuple[Server, str], version: str
) -> None:
    found, url = server
    site.switch_on("notify", url=f"{url}/in", field="text")
    found.answers["/in"] = (500, {})
    assert site.run("instance-add-post.d/90-notify", version).returncode == 1
    found.answers.clear()
    for _ in range(3):
        assert site.run("instance-add-post.d/90-notify", version).returncode == 0
    assert len(found.came) == 2
    assert found.came[1][2] == {"text": f"cluster.example.com: instance-add {WEB}"}
    failed = {"GANTRY_FAILURE": "denied", "GANTRY_FAILURE_MESSAGE": "not today"}
    site.run("instance-add-fail.d/90-notify", version, **failed)
    assert found.came[2][2]["text"].endswith(f"instance-add {WEB} denied: not today")
    site.run("instance-add-post.d/90-notify", version, GANTRY_RUN_ID="run-2")
    assert len(found.came) == 4
