"""Many recipients in one request, accepted as one (docs/spec/twilio-api.md#bulk-and-newer-apis).

Each becomes an ordinary message by the same validation as a single send; all are stored by one
transaction, or none is. An error that is a recipient's own leaves that recipient out; any other
refuses the whole request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from gateway.acceptance.acceptor import Overloaded, Unavailable
from gateway.acceptance.committer import Also
from gateway.acceptance.draft import Draft
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.messages.addresses import read_destination
from gateway.api.messages.create_message import CheckedRequest, Text, accept_error, read_who
from gateway.api.resources import Call
from storage.idempotency import IdempotencyKey

PAUSE_S: Final = 0.005  # a request with many recipients lets others have their turn so often
LONGEST_SHOWN: Final = 64  # characters of an address that is none
# Errors that are about a recipient, and not about the request.
RECIPIENTS_OWN: Final = frozenset(
    {
        *(21211, 21265, 21266, 21268, 21408, 21602, 21604, 21610, 21612, 21614, 21617, 21657),
        *(21703, 21910, 63007),
    }
)


class RefusedRecipient(NamedTuple):
    """A recipient for whom no message is made: no exception, which would keep all its frames."""

    to: str
    code: int
    message: str


class Recipient(NamedTuple):
    """Whom a message goes to, and what it says; None: what all are told."""

    to: str
    # Makes the text when its turn has come, so that no request is many texts at once.
    body: Callable[[], str] | None


@dataclass(slots=True)
class BulkDrafts:
    drafts: list[Draft] = field(default_factory=list)
    refusals: list[RefusedRecipient] = field(default_factory=list)


async def drafts_of(
    call: Call, shared: dict[str, list[str]], recipients: Iterable[Recipient]
) -> BulkDrafts:
    """Validate each recipient with the parameters that all share. Raises ApiError."""
    creation, account, batch = call.deps.creation, call.account, BulkDrafts()
    who = read_who(Form(shared))
    checked: CheckedRequest | None = None  # with the first recipient that has a text
    text: Text | None = None  # that of all who bring none of their own
    clock = asyncio.get_running_loop().time
    pause_at = clock() + PAUSE_S
    for to, own in recipients:
        if clock() >= pause_at:  # by the time and for whoever is refused, too
            await asyncio.sleep(0)
            pause_at = clock() + PAUSE_S
        try:
            if own is not None:
                said = creation.text(account, Form({**shared, "Body": [own()]}))
            else:
                said = text = text or creation.text(account, Form(shared))
            if not to:
                raise ApiError(21604)
            destination = read_destination(to, who.sender)
            if checked is None:
                checked = creation.shared(account, Form(shared), who, said)
            draft = creation.addressed(checked, to, destination, said.body)
        except ApiError as error:
            if error.code not in RECIPIENTS_OWN:
                raise
            batch.refusals.append(
                RefusedRecipient(_kept(to[:LONGEST_SHOWN]), error.code, _kept(error.message))
            )
            continue
        draft.told_at_once = False  # a blocked recipient fails by itself
        batch.drafts.append(draft)
    return batch


async def relayed(
    call: Call, shared: dict[str, list[str]], recipients: Sequence[Recipient]
) -> Response | None:
    """The answer of the worker whose the pool is; None where that is this one."""
    to = [recipients[0].to] if recipients else []
    return await call.relayed(call.deps.forwarded.place(call.account, Form({**shared, "To": to})))


async def accept(
    call: Call,
    drafts: Sequence[Draft],
    also: Also | None = None,
    key: IdempotencyKey | None = None,
) -> None:
    """Store them all, in one transaction with `also`. Raises ApiError when none is."""
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(accept_error(error))
        else:
            outcome.set_result(None)

    try:
        call.deps.creation.acceptor.submit(drafts, done, also, key, call.client)
    except (Overloaded, Unavailable) as error:
        raise accept_error(error) from None
    await outcome


def _kept(text: str) -> str:
    """What somebody gave for an address, as far as it can be stored."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def text_list(value: Any, name: str) -> list[str]:
    """One text or several, as a parameter's values. Raises ApiError 20001."""
    values = value if isinstance(value, list) else [value]
    for item in values:
        if not isinstance(item, str | int | float | bool):
            raise ApiError(20001, f"{name} must be a text")
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
