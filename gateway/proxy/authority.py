"""A private certificate authority that vouches for `*.twilio.com`, and for nothing else.

Its own certificate carries name constraints, so that whoever gets hold of its key can not pose as
any other site to the apps that trust it. One leaf, kept in memory only, stands for all the names
that SDKs make of a product, an edge and a region: making one costs milliseconds, and a name is
whatever a client says that connects.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import tempfile
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
RENEW_DAYS: Final = 30  # how old a leaf is when another takes its place
REGIONS: Final = ("us1", "us2", "ie1", "au1", "de1", "jp1", "sg1", "br1", "in1", "gb1")
EDGES: Final = (
    *("ashburn", "dublin", "frankfurt", "roaming", "sao-paulo", "singapore", "sydney", "tokyo"),
    *("umatilla", "ashburn-ix", "london-ix", "frankfurt-ix", "san-jose-ix", "singapore-ix"),
)


# A constraint holds for names of its own kind only. So addresses are shut out by themselves, and
# mail and URIs have a host to be at that nobody has (RFC 2606 §2): no other is permitted then.
NO_HOST: Final = "invalid"
PERMITTED: Final = (
    x509.DNSName(DOMAIN),
    x509.RFC822Name(NO_HOST),
    x509.UniformResourceIdentifier(NO_HOST),
)
EXCLUDED: Final = (
    x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
    x509.IPAddress(ipaddress.ip_network("::/0")),
)


class AuthorityError(Exception):
    """The authority's files can't be used; the text says which and why."""


def is_ours(host: str) -> bool:
    """Whether a host name is one that we stand in for."""
    return len(host) <= 253 and _HOST.fullmatch(host.lower().rstrip(".")) is not None


def create(folder: Path, now: datetime, *, anew: bool = False) -> Path:
    """Make a new authority in `folder`; the path of its certificate.

    `anew`: in place of one that is there, which apps then trust no more. Raises AuthorityError
    when there is one already, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if anew:
            for file in (KEY, CERTIFICATE):
                (folder / file).unlink(missing_ok=True)
        elif (folder / KEY).exists():
            raise AuthorityError(
                f"{folder / KEY} is there already; with --force another takes its place"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tandem private CA")])
        certificate = (
            _builder(name, name, key.public_key(), now, now + timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.NameConstraints(permitted_subtrees=PERMITTED, excluded_subtrees=EXCLUDED),
                critical=True,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
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

    def server_context(self) -> ssl.SSLContext:
        """A context for a listener: it answers to names of ours, and to no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            """Without a name it is a client that asks for none."""
            ours = name is None or is_ours(name)
            return None if ours else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        context.sni_callback = choose
        self.renew(context)
        return context

    def renew(self, context: ssl.SSLContext) -> None:
        """Give the context a new leaf, for connections from now on. Takes milliseconds."""
        now = datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{DOMAIN}")])
        issuer = self._certificate.subject
        end = min(now + timedelta(days=LEAF_DAYS), self._certificate.not_valid_after_utc)
        names = [x509.DNSName(name) for name in _names()]
        leaf = (
            _builder(subject, issuer, key.public_key(), now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
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


def _names() -> list[str]:
    """What the leaf stands for: `product.edge.region`, each of the last two with or without."""
    places = ["", *REGIONS, *EDGES, *(f"{edge}.{region}" for edge in EDGES for region in REGIONS)]
    return [DOMAIN, *(f"*.{place}.{DOMAIN}".replace("..", ".") for place in places)]


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
