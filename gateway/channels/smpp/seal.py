"""Carrier passwords at rest: encrypted with a key from the environment, or not kept at all.

Fernet (AES-128-CBC with an HMAC-SHA256 of everything), under a key that scrypt makes of
`TANDEM_SECRET_KEY`. Several secrets, separated by commas, let one be replaced: the first
encrypts, all decrypt.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

SHORTEST_SECRET: Final = 16
# The secret should be random; scrypt makes a poor one cost its guesser something.
_SALT: Final = b"tandem carrier passwords"


class SealBroken(Exception):
    """None of our secrets opens it; the text says why."""


def check_secrets(secrets: str) -> list[str]:
    """The secrets, one by one. Raises ValueError for one that is too short."""
    parts = [part.strip() for part in secrets.split(",")]
    for part in parts:
        if len(part) < SHORTEST_SECRET:
            raise ValueError(f"a secret key has at least {SHORTEST_SECRET} characters")
    return parts


class Seal:
    """Encrypts and decrypts short secrets. Raises ValueError for a secret that is too short."""

    def __init__(self, secrets: str) -> None:
        self._fernet = MultiFernet([Fernet(_key_of(part)) for part in check_secrets(secrets)])

    def close(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Raises SealBroken."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise SealBroken("was encrypted with another TANDEM_SECRET_KEY") from None


def _key_of(secret: str) -> bytes:
    return base64.urlsafe_b64encode(
        hashlib.scrypt(secret.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)
    )
