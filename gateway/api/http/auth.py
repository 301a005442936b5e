"""Who is asking: HTTP Basic with an account's token or an API key
(docs/spec/twilio-api.md#authentication)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from hmac import compare_digest
from typing import NamedTuple

from gateway.api.http.errors import ApiError
from gateway.directory.directory import Account, ApiKey, Directory

# What an unknown SID is compared against, so that it takes as long as a wrong token.
_NOBODY = b"0" * 32


class Credential(NamedTuple):
    """Proven: the account whose token this is, or that the key belongs to."""

    account: Account
    key: ApiKey | None = None
    test: bool = False  # the account's test credentials: nothing may happen

    @property
    def manages(self) -> bool:
        """Whether it may see and change accounts, tokens and keys: Standard keys may not."""
        return self.key is None or self.key.main


def authenticate(directory: Directory, authorization: bytes | None) -> Credential:
    """Whose credentials these are. Raises ApiError 20003 (401) for everything wrong with them."""
    if authorization is None or authorization[:6].lower() != b"basic ":
        raise ApiError(20003)
    try:
        user, separator, secret = (
            b64decode(authorization[6:], validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        raise ApiError(20003) from None
    if user[1:2] in "ck":  # SIDs are matched without regard to case
        user = user[:2].upper() + user[2:]
    if user[:2] == "SK":
        key = directory.keys.get(user)
        if key is not None and separator and key.knows(secret):
            return Credential(directory.accounts_by_id[key.account_id], key)
        if key is None:
            compare_digest(_NOBODY, secret.encode())
        raise ApiError(20003)
    account = directory.accounts.get(user)
    if account is None and user in directory.testers:
        account = directory.testers[user]
        if separator and account.knows_test(secret):
            return Credential(account, test=True)
        raise ApiError(20003)
    if account is None:
        compare_digest(_NOBODY, secret.encode())
        raise ApiError(20003)
    if not separator or not account.knows(secret):
        raise ApiError(20003)
    return Credential(account)


def acting_account(
    directory: Directory, credential: Credential, account_sid: str | None
) -> Account:
    """The account that a request acts for: of the path, or (v1) the credential's own.

    An unknown or foreign account in the path is answered like a wrong password; an API key acts
    for its own account only. Raises ApiError 20003 (401), or 20005 (403) when the account
    is suspended or closed.
    """
    account: Account | None = credential.account
    if credential.test:
        if account_sid not in (None, credential.account.test_sid):
            raise ApiError(20003)
    elif account_sid is not None:
        account = directory.acts_for(credential.account, account_sid)
        if credential.key is not None and account is not credential.account:
            account = None
    if account is None:
        raise ApiError(20003)
    if not (account.active and credential.account.active):
        raise ApiError(20005)
    return account
