"""`/v1/SafeList/Numbers`: numbers that pumping protection never blocks (accounts v1)."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.routing.destination import spelled_block
from storage import protection
from storage.database import UniqueViolation

# A number, or the beginning of a block of them.
NUMBER: Final = re.compile(r"\+[1-9][0-9]{3,14}")


async def create(call: Call) -> Response:
    number = _number(call.form.get("PhoneNumber"))
    sid = call.new_sid("GN")
    values = {"sid": sid, "account_id": call.account.id, "phone_number": number}
    add = adding(
        call.deps, lambda c: protection.add_safe(c, values), call.account.id, "safe_numbers"
    )
    try:
        await change(call.deps, add)
    except UniqueViolation:
        raise ApiError(20409, f"{number} is on the list already") from None
    return json_response({"sid": sid, "phone_number": number}, 201)


async def fetch(call: Call) -> Response:
    number, sid = _found(call)
    return json_response({"sid": sid, "phone_number": number})


async def delete(call: Call) -> Response:
    number, _ = _found(call)
    account_id = call.account.id
    await change(call.deps, lambda c: protection.remove_safe(c, account_id, number))
    return gone()


def _found(call: Call) -> tuple[str, str]:
    number = _number(call.filter("PhoneNumber"))
    sid = call.deps.directory.safe_numbers.get(call.account.id, {}).get(number)
    return number, call.found(sid)


def _number(text: str | None) -> str:
    """In the one spelling that recipients have. Raises ApiError 20001."""
    number = spelled_block(text) if text is not None and NUMBER.fullmatch(text) else ""
    if not NUMBER.fullmatch(number):
        raise unreadable(20001, text or "", "PhoneNumber must be + and 4 to 15 digits")
    return number
