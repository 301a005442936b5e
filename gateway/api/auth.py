"""Who is asking: HTTP Basic with an account's SID and token (twilio-api §2.2)."""

from __future__ import annotations

import binascii
from base64 import b64decode

from gateway.api.errors import ApiError
from gateway.dispatch.directory import Account, Directory

# What an unknown SID is compared against, so that it takes as long as a wrong token.
_NOBODY = "0" * 32


def authenticate(directory: Directory, authorization: bytes | None) -> Account:
    """The account whose credentials these are. Raises ApiError 20003 (401) for all else."""
    if authorization is None or authorization[:6].lower() != b"basic ":
        raise ApiError(20003)
    try:
        user, separator, secret = (
            b64decode(authorization[6:], validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        raise ApiError(20003) from None
    account = directory.accounts.get(user.replace("Ac", "AC", 1) if user[:2] == "Ac" else user)
    if account is None:
        _compare_nothing(secret)
        raise ApiError(20003)
    if not separator or not account.knows(secret):
        raise ApiError(20003)
    return account


def acting_account(
    directory: Directory, authorization: bytes | None, account_sid: str | None
) -> Account:
    """The account that a request acts for: of the path, or (v1) the credential's own.

    An unknown or foreign account in the path is answered like a wrong password. Raises
    ApiError 20003 (401), or 20005 (403) when the account is suspended or closed.
    """
    credential = authenticate(directory, authorization)
    account: Account | None = credential
    if account_sid is not None:
        account = directory.acts_for(credential, account_sid)
    if account is None:
        raise ApiError(20003)
    if not (account.active and credential.active):
        raise ApiError(20005)
    return account


def _compare_nothing(secret: str) -> None:
    from hmac import compare_digest

    compare_digest(_NOBODY.encode(), secret.encode())
