"""Heads of requests that came before: what the parser made of them holds for the same octets.

An app sends the same head with each message, but for the length of its body. So the digits of
Content-Length are no part of what a head is known by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.api.http.auth import Credential
from gateway.directory.directory import Account
from gateway.runtime.second_sight import SecondSight

LENGTH_NAMES: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
MOST_DIGITS: Final = 7
MOST_CREDENTIALS_OF_ACCOUNT: Final = 64


class KnownHead(NamedTuple):
    """What a request says of itself before its body."""

    account_sid: str
    authorization: bytes | None
    content_type: bytes
    keep_alive: bool
    headers: list[tuple[bytes, bytes]]


class CutHead(NamedTuple):
    """A head that is here whole."""

    key: bytes  # without the digits of its length
    length: int  # of the body
    end: int  # octets of the head


class KnownRequests:
    """What one process knows of heads, and of the credentials in them."""

    def __init__(self, *, on: bool = True) -> None:
        self.heads: SecondSight[bytes, KnownHead] = SecondSight(on=on)
        # By the header Authorization and the account in the path.
        self.credentials: SecondSight[tuple[bytes, str], tuple[Credential, Account]] = SecondSight(
            most_of_owner=MOST_CREDENTIALS_OF_ACCOUNT, on=on
        )


def cut_head(data: bytes) -> CutHead | None:
    """The head that `data` begins with; None where it is not whole, or says no plain length."""
    end = data.find(b"\r\n\r\n")
    for name in LENGTH_NAMES:
        at = data.find(name, 0, end) if end >= 0 else -1
        if at >= 0:
            break
    else:
        return None
    at += len(name)
    line_end = data.find(b"\r\n", at, at + MOST_DIGITS + 2)
    digits = data[at:line_end]
    if line_end < 0 or not digits.isdigit():
        return None
    return CutHead(data[:at] + data[line_end:end], int(digits), end + 4)


def is_head(octets: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether these are the octets of a POST that the parser read so, and no other: a head may end
    where the parser does not see its end.
    """
    lines = [b"post %b http/1.1" % url, *(b"%b: %b" % pair for pair in headers), b"", b""]
    return b"\r\n".join(lines).lower() == octets.lower()
