"""The requests of a row: all alike, or each with something of its own.

An app that sends one text from one number with one head is what a cache is best at. So there are
rows in which a header, the text or the callback's URL comes once only, and others with hundreds of
accounts, or recipients who come again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlencode

from gateway.loadtest.sends import (
    DIGITS,
    RECIPIENTS,
    BulkSends,
    LoadMessage,
    Recipients,
    Sends,
    SingleSends,
    fields_of,
    head_of,
)

BODY: Final = "Revenge of the Sith was clearly the best of the prequel trilogy."
# Where the number of a request stands in it: eight digits, as in its recipient.
OWN: Final = "OWNDIGIT"
OWN_BODY: Final = f"{BODY} {OWN}"
OWN_HEADER: Final = f"X-Request-Id: 5f0c2a10-7d3e-4b6c-9a21-0000{OWN}\r\n"
OWN_QUERY: Final = f"?order={OWN}"


class Work(Protocol):
    """What a row sends."""

    bulk: int
    callbacks: bool
    through_service: bool
    # What no other request of the run has.
    own_header: bool
    own_text: bool
    own_query: bool
    # Recipients who come again and again, so many; 0: each comes once.
    returning: int
    # Accounts that take turns, each with a sender; 0: the one.
    accounts: int


# The gateway's URL, an account's SID and its token.
Who = tuple[str, str, str]


def message_of(
    work: Work, sender: str | None, service_sid: str | None, callback_url: str
) -> LoadMessage:
    """What the messages of a row are, for `sends_of`."""
    callback = callback_url + OWN_QUERY * work.own_query if work.callbacks else None
    return LoadMessage(OWN_BODY if work.own_text else BODY, sender, service_sid, callback)


def sends_of(who: Who, work: Work, message: LoadMessage, recipients: Recipients) -> Sends:
    """The requests of a row, from one account."""
    if work.bulk > 1:
        return BulkSends(*who, message, recipients, work.bulk)
    if work.own_header or work.own_text or work.own_query or work.returning:
        return OwnSends(
            *who, message, recipients, own_header=work.own_header, returning=work.returning
        )
    return SingleSends(*who, message, recipients)


class OwnSends:
    """`POST …/Messages.json`, with the digits of a request wherever `OWN` stands."""

    bulk = 1

    def __init__(
        self,
        base_url: str,
        account_sid: str,
        token: str,
        message: LoadMessage,
        recipients: Recipients,
        *,
        own_header: bool = False,
        returning: int = 0,
    ) -> None:
        """With `returning`, so many recipients in turn, whatever came before."""
        body = urlencode(fields_of(message) | {"To": f"+{recipients.prefix}"})
        head = head_of(base_url, account_sid, token).decode()
        first_line, _, headers = head.partition("\r\n")
        own = OWN_HEADER if own_header else ""
        # The marks are as long as the digits that take their places.
        before = f"{first_line}\r\n{own}{headers}{len(body) + DIGITS}\r\n\r\n{body}"
        # "%" of the escapes is doubled, so that the digits can be put in by "%".
        marked = before.replace("%", "%%")
        self._marks = marked.count(OWN)
        self._request = (marked.replace(OWN, "%08d") + "%08d").encode()
        self._start = recipients.start
        self._returning = returning

    def render(self, first: int, messages: int) -> bytes:
        own = recipient = (self._start + first) % RECIPIENTS
        if self._returning:
            recipient = first % self._returning
        return self._request % (*(own,) * self._marks, recipient)

    def accepted(self, status: int) -> bool:
        return status == 201


class Turns:
    """The first, the second, … and the first again."""

    bulk = 1

    def __init__(self, sends: Sequence[Sends]) -> None:
        self._sends = sends

    def render(self, first: int, messages: int) -> bytes:
        return self._sends[first % len(self._sends)].render(first, messages)

    def accepted(self, status: int) -> bool:
        return status == 201
