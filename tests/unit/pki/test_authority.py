"""What is in the certificates that the cluster's CA makes."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gantry.model.errors import Rejected
from gantry.model.identity import node_host, parse
from gantry.model.names import Uuid
from gantry.pki import authority, files, joining
from gantry.pki.authority import Authority

CLUSTER = Uuid("11111111-2222-4333-8444-555555555555")
NODE = Uuid("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.create(CLUSTER, "cluster.example.com", NOW)


def names(pem: str) -> x509.SubjectAlternativeName:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def usages(pem: str) -> list[Any]:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_nodes_certificate_names_cluster_and_node(ca: Authority) -> None:
    pem = ca.issue_node(NODE, "node1.example.com", NOW).certificate
    uris = names(pem).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"gantry://{CLUSTER}/node/{NODE}"]
    assert names(pem).get_values_for_type(x509.DNSName) == [node_host(CLUSTER, NODE)]


def test_only_the_masters_certificate_is_the_masters(ca: Authority) -> None:
    found = {
        role: parse(
            names(issued.certificate).get_values_for_type(x509.UniformResourceIdentifier)[0]
        )
        for role, issued in {
            "master": ca.issue_master(NOW),
            "api": ca.issue_api(["localhost", "127.0.0.1"], NOW),
            "client": ca.issue_client("admin", NOW),
            "node": ca.issue_node(NODE, "node1", NOW),
        }.items()
    }
    assert {role: who.role.value if who else None for role, who in found.items()} == {
        role: role for role in found
    }


def test_a_master_cannot_serve_and_the_api_cannot_ask(ca: Authority) -> None:
    assert usages(ca.issue_master(NOW).certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert usages(ca.issue_api(["localhost"], NOW).certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_terms_are_twenty_and_five_years(ca: Authority) -> None:
    year = 365 * 86400
    assert authority.expires(ca.certificate) == NOW + 20 * year
    assert authority.expires(ca.issue_node(NODE, "node1", NOW).certificate) == NOW + 5 * year


def test_nothing_but_the_key_is_taken_from_a_request(ca: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "master")]))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"gantry://{CLUSTER}/master")]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    csr = greedy.public_bytes(serialization.Encoding.PEM).decode()
    pem = ca.sign_node(NODE, "node1", csr, NOW)
    assert names(pem).get_values_for_type(x509.UniformResourceIdentifier) == [
        f"gantry://{CLUSTER}/node/{NODE}"
    ]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize("csr", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_request_that_is_none_is_refused(csr: str) -> None:
    request = joining.JoinRequest(secret="s", csr=csr, address="127.0.0.1", port=1811)
    with pytest.raises(Rejected):
        joining.check(request)


def test_a_request_with_another_kind_of_key_is_refused(ca: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(Rejected, match="P-256"):
        ca.sign_node(NODE, "node1", csr, NOW)


def test_renewing_keeps_key_and_names(ca: Authority) -> None:
    issued = ca.issue_node(NODE, "node1", NOW)
    renewed = ca.renew(issued.certificate, NOW + 1000.0)
    assert authority.expires(renewed) == authority.expires(issued.certificate) + 1000.0
    assert names(renewed) == names(issued.certificate)
    old, new = (
        x509.load_pem_x509_certificate(pem.encode()).public_key()
        for pem in (issued.certificate, renewed)
    )
    assert old == new


def test_renewing_says_which_node_it_is_where_an_earlier_state_did_not(
    ca: Authority, tmp_path: Path
) -> None:
    ca.save(tmp_path)
    key = serialization.load_pem_private_key(files.key(tmp_path, files.CA).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issued = ca.issue_node(NODE, "node1", NOW).certificate
    known = x509.load_pem_x509_certificate(issued.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node1")]))
        .issuer_name(known.issuer)
        .public_key(known.public_key())
        .serial_number(known.serial_number)
        .not_valid_before(known.not_valid_before_utc)
        .not_valid_after(known.not_valid_after_utc)
    )
    for extension in known.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    old = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    renewed = x509.load_pem_x509_certificate(ca.renew(old, NOW).encode())
    assert renewed.subject == known.subject
    assert NODE in renewed.subject.rfc4514_string()


def test_a_foreign_certificate_is_not_renewed(ca: Authority) -> None:
    foreign = Authority.create(CLUSTER, "cluster.example.com", NOW)
    with pytest.raises(Rejected, match="not of this cluster"):
        ca.renew(foreign.issue_master(NOW).certificate, NOW)


def test_a_saved_ca_is_the_same_again_and_only_its_owners(ca: Authority, tmp_path: Path) -> None:
    ca.save(tmp_path)
    again = Authority.load(tmp_path)
    assert (again.cluster, again.fingerprint) == (CLUSTER, ca.fingerprint)
    assert authority.fingerprint(ca.certificate) == ca.fingerprint
    assert files.key(tmp_path, files.CA).stat().st_mode & 0o777 == 0o600


def test_a_machine_without_ca_says_where_certificates_are_made(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cannot be read") as caught:
        Authority.load(tmp_path)
    assert "master" in caught.value.hint


def test_openssl_accepts_the_chain_strictly(tmp_path: Path) -> None:
    made = Authority.create(CLUSTER, "cluster.example.com", time.time())
    issued = made.issue_node(NODE, "node1", time.time())
    (tmp_path / "key").write_text(issued.key)
    (tmp_path / "pem").write_text(issued.certificate)
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    server.load_cert_chain(tmp_path / "pem", tmp_path / "key")
    client.load_verify_locations(cadata=made.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    _handshake(server, client, node_host(CLUSTER, NODE))


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].version() == "TLSv1.3"
    assert ends[0].getpeercert()
