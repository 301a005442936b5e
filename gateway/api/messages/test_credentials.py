"""Test credentials: every check of the real ones, answers by magic number, and nothing happens.

Creating messages and numbers works with them; everything else is 20008
(docs/spec/twilio-api.md#test-credentials).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.forms import Form
from gateway.api.http.render import created_message
from gateway.api.messages.addresses import (
    check_channels,
    is_sender,
    normal_sender,
    read_destination,
)
from gateway.api.messages.create_message import read_body
from gateway.api.messages.message_options import read_options
from gateway.api.numbers import numbers
from gateway.api.numbers.inventory import national
from gateway.api.resources import Call, change, json_octets, json_response
from gateway.content.encoding import encode
from gateway.directory.directory import Account, SenderRecord
from gateway.messages.message import Message
from gateway.routing.sender_pool import Sender, SenderKind
from storage import config as config_rows
from storage.ids import Id

GOOD: Final = "+15005550006"
FROM: Final = {"+15005550001": 21212, "+15005550008": 21611}  # every other: 21606
TO: Final = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
NUMBER: Final = {"+15005550000": 21422}  # every other but the good one: 21421
GOOD_AREA_CODE: Final = "500"


def message(account: Account, form: Form, next_id: Callable[[], Id]) -> bytes:
    """The body of a 201, of a message that nobody will see again. Raises ApiError."""
    recipient, sender = form.get("To"), form.get("From")
    if not recipient:
        raise ApiError(21604)
    if not sender:
        raise ApiError(21606 if form.get("MessagingServiceSid") else 21603)
    body = read_body(form)
    destination = read_destination(recipient, sender)
    if not is_sender(sender):
        raise unreadable(21212, sender)
    if check_channels(recipient, sender):
        raise ApiError(63007)
    read_options(form)
    for refusal in (
        21211 if destination.e164 == "+15005550001" else 0,
        0 if normal_sender(sender) == GOOD else FROM.get(normal_sender(sender) or "", 21606),
        TO.get(destination.e164, 0),
    ):
        if refusal:
            raise ApiError(refusal)
    made = Message(next_id(), account.id, destination.e164, body)
    made.sender_address = GOOD
    made.segments = len(encode(body, smart=False).parts)
    return created_message(made, account.test_sid or "", None)


async def create_message(call: Call) -> Response:
    return json_octets(message(call.account, call.form, call.deps.creation.next_id), 201)


async def create_number(call: Call) -> Response:
    """Raises ApiError 21421, 21422, 21452."""
    number, area_code = call.form.get("PhoneNumber"), call.form.get("AreaCode")
    if number:
        if number != GOOD:
            raise unreadable(NUMBER.get(number, 21421), number)
    elif not area_code:
        raise ApiError(20001, "Missing required parameter PhoneNumber in the post body")
    elif area_code != GOOD_AREA_CODE:
        raise ApiError(21452)
    now = datetime.now(UTC)
    record = SenderRecord(
        sender=Sender(0, call.new_sid("PN"), SenderKind.LONG_CODE, GOOD, "US"),
        account_id=call.account.id,
        friendly_name=call.form.get("FriendlyName") or national(GOOD),
        voice=False,
        settings=numbers.read_settings(call, {}),
        created_at=now,
        updated_at=now,
    )
    return json_response(numbers.render(record, call.account.test_sid or ""), 201)


# How an account gets them (an extension) ---------------------------------------------------


async def fetch(call: Call) -> Response:
    call.managers_only()
    if call.account.test_sid is None:
        raise call.missing()
    return json_response(_render(call.account))


async def create(call: Call) -> Response:
    """Make them, or make new ones in their place."""
    call.managers_only()
    values = {
        "test_sid": call.new_sid("AC"),
        "test_token": f"{call.deps.random.getrandbits(128):032x}",
    }
    account_id = call.account.id
    await change(call.deps, lambda c: config_rows.update_account(c, account_id, values))
    return json_response(_render(call.deps.directory.accounts[call.account.sid]), 201)


def _render(account: Account) -> dict[str, Any]:
    return {
        "owner_account_sid": account.sid,
        "account_sid": account.test_sid,
        "auth_token": account.test_token,
    }
