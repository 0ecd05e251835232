"""The cluster's certificate authority: P-256 keys, certificates with identities in them.

Needs ``cryptography``: import it only where certificates are made. Files are in
``gantry.pki.files``; who is let in is decided in ``gantry.rpc``.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gantry.model.errors import Reason, Rejected
from gantry.model.identity import COMMON_NAME, Identity, Role, node_host, parse
from gantry.model.names import Uuid
from gantry.pki import files

_DAY: Final = 86400.0
CA_DAYS: Final = 20 * 365
ISSUED_DAYS: Final = 5 * 365
WARN_BEFORE: Final = 30 * _DAY
"""Seconds before the end from which on renewing is asked for."""
# Clocks of nodes may differ a little when they join.
_BACKDATED: Final = 3600.0
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_USAGE: Final = {
    Role.NODE: (_SERVER, _CLIENT),
    Role.MASTER: (_CLIENT,),
    Role.API: (_SERVER,),
    Role.CLIENT: (_CLIENT,),
    # Members are clients of each other, and etcd's gateway is one of its own member.
    Role.STORE: (_SERVER, _CLIENT),
}


class Issued(msgspec.Struct, frozen=True):
    """A certificate and its key, both PEM."""

    certificate: str
    key: str


class Authority:
    """A CA that can sign; times are seconds since 1970."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        uri = _uri(certificate)
        if uri is None:
            raise Rejected("the CA's certificate names no cluster", reason=Reason.ENVIRONMENT)
        self.cluster = uri

    @classmethod
    def create(cls, cluster: Uuid, name: str, now: float) -> Authority:
        """A new CA for the cluster ``name``, valid for 20 years."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"Gantry CA of {name}")
        builder = (
            _builder(subject, subject, key.public_key(), now, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(f"gantry://{cluster}/ca")]
                ),
                critical=False,
            )
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, root: Path) -> Authority:
        """The CA of the master with that root; Rejected where its files are not there."""
        try:
            certificate = files.certificate(root, files.CA).read_bytes()
            key = serialization.load_pem_private_key(
                files.key(root, files.CA).read_bytes(), password=None
            )
            found = x509.load_pem_x509_certificate(certificate)
        except (OSError, ValueError) as error:
            raise Rejected(
                f"the cluster's CA in {files.directory(root)} cannot be read: {error}",
                "certificates are made on the master: run this there",
                reason=Reason.ENVIRONMENT,
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Rejected("the CA's key is not of the kind that we make")
        return cls(found, key)

    def save(self, root: Path) -> None:
        """Write ``ca.pem`` and ``ca.key``."""
        files.write(files.key(root, files.CA), _key_pem(self._key))
        files.write(files.certificate(root, files.CA), self.certificate)

    @property
    def certificate(self) -> str:
        """The CA's certificate, PEM."""
        return _pem(self._certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate, 64 hexadecimal digits."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def issue_node(self, node: Uuid, name: str, now: float) -> Issued:
        """A certificate for a node whose key is made here (local clusters, the first node)."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Issued(self._node(node, name, key.public_key(), now), _key_pem(key))

    def sign_node(self, node: Uuid, name: str, csr: str, now: float) -> str:
        """A certificate for the node that holds the key of ``csr``; Rejected where it does not.

        Nothing but the public key is taken from the request.
        """
        return self._node(node, name, request_key(csr), now)

    def issue_master(self, now: float) -> Issued:
        """What a master shows to agents."""
        return self._issue(Identity(self.cluster, Role.MASTER), "Gantry master", now)

    def issue_api(self, hosts: Sequence[str], now: float) -> Issued:
        """What the API shows to clients, under all of these names and addresses."""
        return self._issue(Identity(self.cluster, Role.API), "Gantry API", now, hosts)

    def serves(self, certificate: str, hosts: Sequence[str], now: float) -> bool:
        """Whether it is an API certificate of this CA, for just these hosts, and holds on.

        One that ends within ``WARN_BEFORE`` does not.
        """
        try:
            found = x509.load_pem_x509_certificate(certificate.encode())
            found.verify_directly_issued_by(self._certificate)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        uri = x509.UniformResourceIdentifier(Identity(self.cluster, Role.API).uri)
        ends = found.not_valid_after_utc.timestamp()
        return ends - now > WARN_BEFORE and set(names) == {uri, *map(_general_name, hosts)}

    def issue_client(self, name: str, now: float) -> Issued:
        """What a client of the API shows."""
        return self._issue(Identity(self.cluster, Role.CLIENT, name), f"Gantry client {name}", now)

    def issue_store(self, hosts: Sequence[str], now: float) -> Issued:
        """What a member of etcd shows to clients and other members."""
        return self._issue(Identity(self.cluster, Role.STORE), "Gantry etcd", now, hosts)

    def renew(self, certificate: str, now: float) -> str:
        """The same certificate for the same key, with a new term; Rejected if not of this CA.

        A node's says which node it is as ``issue_node`` has it say now.
        """
        old = x509.load_pem_x509_certificate(certificate.encode())
        try:
            old.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise Rejected("the certificate is not of this cluster's CA") from error
        key = old.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Rejected("the certificate's key is not of the kind that we make")
        subject = _renewed_subject(old)
        builder = _builder(subject, self._certificate.subject, key, now, ISSUED_DAYS)
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def _node(self, node: Uuid, name: str, key: ec.EllipticCurvePublicKey, now: float) -> str:
        identity = Identity(self.cluster, Role.NODE, node)
        return self._sign(identity, name, key, now, [node_host(self.cluster, node)])

    def _issue(
        self, identity: Identity, common_name: str, now: float, hosts: Sequence[str] = ()
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        return Issued(
            self._sign(identity, common_name, key.public_key(), now, hosts), _key_pem(key)
        )

    def _sign(
        self,
        identity: Identity,
        common_name: str,
        key: ec.EllipticCurvePublicKey,
        now: float,
        hosts: Iterable[str],
    ) -> str:
        names = [x509.UniformResourceIdentifier(identity.uri), *map(_general_name, hosts)]
        builder = (
            _builder(_name(common_name, identity), self._certificate.subject, key, now, ISSUED_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(x509.ExtendedKeyUsage(_USAGE[identity.role]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return _pem(builder.sign(self._key, hashes.SHA256()))


def make_request(key: str | None = None) -> tuple[str, str]:
    """A node's key (a new one, unless given) and a request to sign it, both PEM."""
    made = ec.generate_private_key(ec.SECP256R1())
    if key is not None:
        loaded = serialization.load_pem_private_key(key.encode(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise Rejected("the node's key is not of the kind that we make")
        made = loaded
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name("Gantry node"))
        .sign(made, hashes.SHA256())
    )
    return _key_pem(made), request.public_bytes(serialization.Encoding.PEM).decode()


def request_key(csr: str) -> ec.EllipticCurvePublicKey:
    """The public key of a request; Rejected where it is none, or not signed by its own key."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
    except ValueError as error:
        raise Rejected("the certificate request cannot be read") from error
    key = request.public_key()
    known = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not known or not request.is_signature_valid:
        raise Rejected("the certificate request is not a P-256 one, signed by its own key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def fingerprint(certificate: str) -> str:
    """SHA-256 of a PEM certificate, 64 hexadecimal digits."""
    return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256()).hex()


def expires(certificate: str) -> float:
    """When a PEM certificate ends, in seconds since 1970."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: float,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - _BACKDATED))
        .not_valid_after(_time(now + days * _DAY))
    )


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _name(common_name: str, identity: Identity | None = None) -> x509.Name:
    """As ``identity.node_subject`` says where it is a node's."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:COMMON_NAME])]
    if identity is not None and identity.role is Role.NODE:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, identity.who))
    return x509.Name(parts)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _uri(certificate: x509.Certificate) -> Uuid | None:
    for uri in _uris(certificate):
        cluster = uri.removeprefix("gantry://").removesuffix("/ca")
        if uri == f"gantry://{cluster}/ca":
            return Uuid(cluster)
    return None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def _renewed_subject(old: x509.Certificate) -> x509.Name:
    names = old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    for uri in _uris(old):
        identity = parse(uri)
        if identity is not None and names:
            return _name(str(names[0].value), identity)
    return old.subject


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
