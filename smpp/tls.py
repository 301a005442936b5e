"""TLS for a bind: verified by default, with client certificates, SNI and pinned keys."""

from __future__ import annotations

import hmac
import ssl
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How to speak TLS with a carrier. Paths are PEM files."""

    # Whether the certificate and its name are checked. Off is for test benches.
    verify: bool = True
    # The name to ask for (SNI) and to check; the host's own if empty.
    server_name: str = ""
    # The authorities to trust instead of the system's.
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: str = ""
    # SHA-256 of the certificates (DER) that alone are taken, in hex; any if empty.
    pinned_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pin in self.pinned_sha256:
            if len(_bare(pin)) != 64:
                raise ValueError(f"a SHA-256 fingerprint has 64 hex digits: {pin}")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file without certificate_file")

    def context(self) -> ssl.SSLContext:
        """The context for a connection. Raises OSError or ssl.SSLError for unusable files."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_file:
            context.load_cert_chain(
                self.certificate_file, self.key_file or None, self.key_password or None
            )
        return context

    def accepts(self, certificate: bytes | None) -> bool:
        """Whether the peer's certificate (DER) is a pinned one, or none is pinned."""
        if not self.pinned_sha256:
            return True
        if certificate is None:
            return False
        found = sha256(certificate).hexdigest()
        return any(hmac.compare_digest(found, _bare(pin)) for pin in self.pinned_sha256)


def server_context(
    certificate_file: str, key_file: str = "", client_ca_file: str = ""
) -> ssl.SSLContext:
    """The simulator's context; with `client_ca_file` it demands a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_file, key_file or None)
    if client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca_file)
    return context


def _bare(pin: str) -> str:
    return pin.replace(":", "").lower()
