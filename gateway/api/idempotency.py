"""`Idempotency-Key` on `POST Messages`: a repeat gets the first answer, and sends nothing.

An extension (docs/spec/twilio-api.md#rate-limiting-and-response-headers). The key is stored by the
transaction that stores the message, so it holds across restarts and between processes. Nothing of
the answer is: it is made from the message again, so that what was redacted stays redacted.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from starlette.responses import Response

from gateway.api.http.errors import REPEATED, RETRY_AFTER_S, ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import created_message
from gateway.api.resources import Call, json_octets
from gateway.content.shortening import codes_in
from gateway.directory.directory import Service
from gateway.messages.message import Message
from gateway.messages.rows import from_row, seconds
from storage import idempotency as key_rows
from storage import messages as message_rows
from storage import short_links as link_rows
from storage.ids import Id

HEADERS: Final = ("idempotency-key", "i-twilio-idempotency-token")
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
REPLAYED: Final = "Idempotent-Replayed"


def key_of(call: Call) -> str | None:
    """The key of a request. Raises ApiError 20001 for one that can be none."""
    for name in HEADERS:
        key = call.request.headers.get(name)
        if key:
            if not KEY.fullmatch(key):
                raise ApiError(20001, f"{name} must be 1 to 255 visible characters")
            return key
    return None


def digest_of(form: Form) -> bytes:
    """What makes two requests the same: their parameters, in whatever order."""
    hashed = sha256()
    for name, values in sorted(form.items()):
        for text in (name, *values):
            data = text.encode()
            hashed.update(b"%d:" % len(data) + data)
        hashed.update(b";")
    return hashed.digest()


Answer = Callable[[], Awaitable[Response | None]]


async def once(first_answer: Answer, accepted: Callable[[], Awaitable[Response]]) -> Response:
    """The first answer to a key, or that of accepting the request with it. Raises ApiError."""
    first = await first_answer()
    if first is not None:
        return first
    try:
        return await accepted()
    except ApiError as error:
        if error.code != REPEATED:
            raise
        first = await first_answer()  # somebody else was faster with the same key
        if first is None:  # it was taken back after all
            raise ApiError(20503, headers=RETRY_AFTER_S) from None
        return first


async def first_of(call: Call, key: str, digest: bytes) -> Id | None:
    """What the first request with this key stored; None when there was none.

    Raises ApiError 20409 when that was another request; 20503 while nobody can say.
    """
    acceptor = call.deps.creation.acceptor
    if not (acceptor.available and acceptor.confirmed()):
        # What the last batch stored may still be taken back (`Acceptor`).
        raise ApiError(20503, headers=RETRY_AFTER_S)
    found = await key_rows.find(call.deps.pool, call.account.id, key)
    if found is None:
        return None
    first_digest, first = found
    if first_digest != digest:
        raise ApiError(20409, "this idempotency key was used with other parameters")
    return first


async def first_answer(call: Call, key: str) -> Response | None:
    """The answer to the first send with this key; None when there was none.

    Raises ApiError as `first_of`, and 20409 where its message is gone.
    """
    message_id = await first_of(call, key, digest_of(call.form))
    if message_id is None:
        return None
    row = await message_rows.fetch(call.deps.pool, call.account.id, message_id)
    if row is None:
        raise ApiError(20409, "the message of this idempotency key was deleted")
    message = from_row(row)
    message.send_at = seconds(row["send_at"])
    service = call.deps.directory.services_by_id.get(message.service_id or 0)
    service_sid = service.sid if service is not None else None
    shown = await _long(call, message, service)
    response = json_octets(created_message(message, call.account.sid, service_sid, shown), 201)
    response.headers[REPLAYED] = "true"
    return response


async def _long(call: Call, message: Message, service: Service | None) -> str:
    """The text as it was given: of a message with short links, with the long ones."""
    body = message.submitted_body
    domain = service.link_domain if service is not None else None
    if domain is None or not call.form.flag("ShortenUrls"):
        return body
    codes = codes_in(body, domain.base)
    for code, url in (await link_rows.urls(call.deps.pool, call.account.id, codes)).items():
        body = body.replace(domain.base + code, url)
    return body
