"""TLS with client certificates, and users of etcd with passwords."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.etcd import Etcd, etcd

from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.pki.authority import Authority
from gantry.ports.store import Put, StoreUnavailable
from gantry.store.etcd import Access, Patience, health, open_etcd

SHORT = Patience(tries=(1.0,), whole=4.0)
PREFIX = "/gantry/test/"


class Certified:
    """Members with certificates, and those that clients may show."""

    def __init__(self, directory: Path) -> None:
        self.ca = directory / "ca.pem"
        self._directory = directory
        self._authority = Authority.create(Uuid(str(uuid.uuid4())), "etcd", time.time())
        self.ca.write_text(self._authority.certificate)
        issued = self.client("member", member=True)
        self.etcd = Etcd(
            directory,
            3,
            [
                "--cert-file", str(issued[0]), "--key-file", str(issued[1]),
                "--trusted-ca-file", str(self.ca), "--client-cert-auth",
            ],
            scheme="https",
        )  # fmt: skip
        self.mine = self.client("client")
        self.etcd.tls = ssl.create_default_context(cafile=str(self.ca))
        self.etcd.tls.check_hostname = False
        self.etcd.tls.load_cert_chain(*self.mine)

    def client(self, name: str, *, member: bool = False) -> tuple[Path, Path]:
        """A certificate and its key."""
        hosts = [self.etcd_host, "127.0.0.1"] if member else []
        issued = (
            self._authority.issue_store(hosts, time.time())
            if member
            else self._authority.issue_client(name, time.time())
        )
        files = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        files[0].write_text(issued.certificate)
        files[1].write_text(issued.key)
        return files

    @property
    def etcd_host(self) -> str:
        return Etcd(self._directory, 1).members[0].host

    def access(self, certificate: tuple[Path, Path] | None, ca: Path | None = None) -> Access:
        return Access(
            endpoints=self.etcd.urls,
            prefix=PREFIX,
            ca=ca or self.ca,
            certificate=certificate[0] if certificate else None,
            key=certificate[1] if certificate else None,
        )


@pytest.fixture(scope="module")
def certified() -> Iterator[Certified]:
    directory = Path(tempfile.mkdtemp(prefix="gantry-etcd-"))
    made = Certified(directory)
    try:
        made.etcd.start()
        made.etcd.wait_ready()
        yield made
    finally:
        made.etcd.end()
        shutil.rmtree(directory)


async def test_a_client_certificate_lets_in(certified: Certified) -> None:
    store = await open_etcd(certified.access(certified.mine), patience=SHORT)
    revision = await store.txn([], [Put("a", b"1")])
    (event,) = await anext(store.watch("a", revision - 1))
    assert event.value == b"1"
    await store.close()


async def test_without_or_with_a_strange_certificate_it_says_which_option(
    certified: Certified, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    strange = Certified(tmp_path / "other")
    for certificate in (None, strange.mine):
        with pytest.raises(StoreUnavailable, match="refuses our client certificate") as caught:
            await open_etcd(certified.access(certificate), patience=SHORT)
        assert "--store-cert" in caught.value.hint
    with pytest.raises(StoreUnavailable, match="its certificate is not trusted") as caught:
        await open_etcd(certified.access(certified.mine, strange.ca), patience=SHORT)
    assert "--store-ca" in caught.value.hint


async def test_files_that_are_no_certificates_are_named(
    certified: Certified, tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for access in (
        certified.access(certified.mine, nonsense),
        certified.access((nonsense, certified.mine[1])),
    ):
        with pytest.raises(Rejected, match=r"nonsense\.pem, cannot be used"):
            await open_etcd(access, patience=SHORT)


async def test_tls_on_one_side_only_is_explained(certified: Certified, members: Etcd) -> None:
    plain = tuple(url.replace("https:", "http:") for url in certified.etcd.urls)
    wrapped = tuple(url.replace("http:", "https:") for url in members.urls)
    for urls in (plain, wrapped):
        with pytest.raises(StoreUnavailable, match="closes the connection") as caught:
            await open_etcd(Access(endpoints=urls), patience=Patience(tries=(1.0,), whole=1.0))
        assert "its address begins with https:" in caught.value.hint


def control(made: Etcd, *arguments: str, login: str = "") -> None:
    command = ["etcdctl", "--endpoints", made.urls[0], *arguments]
    if login:
        command += ["--user", login]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    subprocess.run(command, env=environment, check=True, timeout=30, capture_output=True)


@pytest.fixture(scope="module")
def with_users() -> Iterator[Etcd]:
    """``gantry`` may use its prefix only; ``guest`` may do nothing."""
    with etcd() as made:
        for command in (
            ["user", "add", "root:root"],
            ["user", "add", "gantry:open sesame"],
            ["user", "add", "guest:guest"],
            ["role", "add", "root"],
            ["user", "grant-role", "root", "root"],
            ["role", "add", "gantry"],
            ["role", "grant-permission", "--prefix=true", "gantry", "readwrite", PREFIX],
            ["user", "grant-role", "gantry", "gantry"],
            ["auth", "enable"],
        ):
            control(made, *command)
        yield made


def user(made: Etcd, tmp_path: Path, name: str | None, password: str = "") -> Access:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    return Access(
        endpoints=made.urls,
        prefix=PREFIX,
        user=name,
        password_file=file if name else None,
    )


async def test_a_user_needs_rights_on_the_prefix_only(with_users: Etcd, tmp_path: Path) -> None:
    store = await open_etcd(user(with_users, tmp_path, "gantry", "open sesame"), patience=SHORT)
    lease = await store.grant(30.0)
    revision = await store.txn([], [Put("a", b"1", lease.id)])
    await lease.keep_alive()
    (event,) = await anext(store.watch("", revision - 1))
    assert event.key == "a"
    await store.compact(revision)
    await lease.revoke()
    healthy = await health.members(store.access)
    assert [each.problem for each in healthy] == ["", "", ""]
    assert sum(each.leader for each in healthy) == 1
    assert (await store.range("")).items == ()
    await store.close()


async def test_a_login_that_is_over_is_renewed(with_users: Etcd, tmp_path: Path) -> None:
    store = await open_etcd(user(with_users, tmp_path, "gantry", "open sesame"), patience=SHORT)
    revision = await store.txn([], [Put("b", b"1")])
    # Members keep the logins in their memory.
    for member in with_users.members:
        member.kill()
    with_users.start()
    with_users.wait_ready()
    watch = store.watch("b", revision - 1)
    (event,) = await anext(watch)
    assert event.value == b"1"
    await store.txn([], [Put("b", b"2")])
    (event,) = await anext(watch)
    assert event.value == b"2"
    await watch.aclose()
    await store.close()


@pytest.mark.parametrize(
    ("name", "password", "words", "hint"),
    [
        (None, "", "wants a user and a password", "--store-user"),
        ("gantry", "wrong", "refuses the login of user gantry", "is the name right"),
        ("nobody", "x", "refuses the login of user nobody", "etcdctl user passwd"),
        ("guest", "guest", "may not do this", "role grant-permission"),
    ],
)
async def test_a_wrong_login_says_what_to_do(
    with_users: Etcd, tmp_path: Path, name: str | None, password: str, words: str, hint: str
) -> None:
    with pytest.raises(StoreUnavailable, match=words) as caught:
        await open_etcd(user(with_users, tmp_path, name, password), patience=SHORT)
    assert hint in caught.value.hint
    if password:
        assert password not in (str(caught.value) + caught.value.hint).split()
