"""A private certificate authority that vouches for `*.twilio.com`, and for nothing else.

Its own certificate carries a name constraint, so that whoever gets hold of its key can not pose as
any other site to the apps that trust it. Leaves are made when a name is first asked for and kept in
memory only.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOMAIN: Final = "twilio.com"
_HOST: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,62}(?<!-)\.){1,4}twilio\.com")
CERTIFICATE, KEY = "ca.pem", "ca.key"
YEARS: Final = 10
LEAF_DAYS: Final = 90
RENEW_DAYS: Final = 30  # before its end
MOST_LEAVES: Final = 100


class AuthorityError(Exception):
    """The authority's files can't be used; the text says which and why."""


def is_ours(host: str) -> bool:
    """Whether a host name is one that we stand in for."""
    return len(host) <= 253 and _HOST.fullmatch(host.lower().rstrip(".")) is not None


def create(folder: Path, now: datetime) -> Path:
    """Make a new authority in `folder`; the path of its certificate.

    Raises AuthorityError when there is one already, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / KEY).exists():
            raise AuthorityError(f"{folder / KEY} is there already; remove it to begin anew")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tandem private CA")])
        certificate = (
            _builder(name, name, key.public_key(), now, now + timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.NameConstraints(
                    permitted_subtrees=[x509.DNSName(DOMAIN)], excluded_subtrees=None
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        _write(folder / KEY, _key_bytes(key), 0o600)
        _write(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise AuthorityError(f"{folder}: {error.strerror or error}") from None
    return folder / CERTIFICATE


class Authority:
    """An authority that is there; makes TLS contexts by server name."""

    def __init__(self, folder: Path) -> None:
        """Raises AuthorityError."""
        try:
            self._pem = (folder / CERTIFICATE).read_bytes()
            self._certificate = x509.load_pem_x509_certificate(self._pem)
            key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
        except FileNotFoundError as error:
            raise AuthorityError(
                f"{error.filename} is not there: `tandem ca init` makes it"
            ) from None
        except (OSError, ValueError, TypeError) as error:
            raise AuthorityError(f"{folder}: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthorityError(f"{folder / KEY} is not one that `tandem ca init` made")
        self._key = key
        self._leaves: OrderedDict[str, tuple[datetime, ssl.SSLContext]] = OrderedDict()

    def server_context(self) -> ssl.SSLContext:
        """A context for a listener: it answers to names of ours with their certificates."""
        context = self.context_for(f"api.{DOMAIN}")  # for clients that name no server

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            if name is None:
                return None
            if not is_ours(name):
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            connection.context = self.context_for(name.lower().rstrip("."))
            return None

        context.sni_callback = choose
        return context

    def context_for(self, host: str) -> ssl.SSLContext:
        """The context of one name of ours."""
        now = datetime.now(UTC)
        known = self._leaves.get(host)
        if known is not None and known[0] > now:
            self._leaves.move_to_end(host)
            return known[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load_leaf(context, host, now)
        self._leaves[host] = (now + timedelta(days=LEAF_DAYS - RENEW_DAYS), context)
        if len(self._leaves) > MOST_LEAVES:
            self._leaves.popitem(last=False)
        return context

    def _load_leaf(self, context: ssl.SSLContext, host: str, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        issuer = self._certificate.subject
        end = min(now + timedelta(days=LEAF_DAYS), self._certificate.not_valid_after_utc)
        leaf = (
            _builder(name, issuer, key.public_key(), now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        # The ssl module reads certificates from files only; this one lives for a moment.
        with tempfile.NamedTemporaryFile() as file:
            file.write(leaf.public_bytes(serialization.Encoding.PEM) + self._pem + _key_bytes(key))
            file.flush()
            context.load_cert_chain(file.name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # an app's clock may be behind
        .not_valid_after(end)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
