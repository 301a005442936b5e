"""What the resources of conversations share: finding things, checks, who is told."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.forms import Form
from gateway.api.http.resources import Call
from gateway.conversations.events import AFTER, BEFORE, Pairs, Source
from gateway.routing.destination import parse_destination
from storage import conversation_messages as message_rows
from storage import conversation_settings as setting_rows
from storage import conversations as rows
from storage.conversations import ConversationRow

NAME_LIMIT: Final = 256
ATTRIBUTES_LIMIT: Final = 16 * 1024  # octets
FILTERS: Final = BEFORE | AFTER
METHODS: Final = ("GET", "POST")
MOST_FILTERS: Final = 50


async def settings_of(call: Call) -> setting_rows.ConversationSettingsRow:
    """The account's settings, with its default chat service."""
    return await setting_rows.settings(call.deps.pool, call.account.id, call.new_sid("IS"))


async def conversation_of(call: Call) -> ConversationRow:
    """The conversation of the path, by SID or unique name. Raises ApiError 50350."""
    settings = await settings_of(call)
    name = str(call.request.path_params["conversation"])
    row = await rows.by_name(
        call.deps.pool, call.account.id, settings["chat_service_id"], normal_sid(name, "CH")
    )
    if row is None:
        raise ApiError(50350, f"Conversation {name[:256]} not found")
    return row


async def message_of(
    call: Call, conversation: ConversationRow
) -> message_rows.ConversationMessageRow:
    sid = normal_sid(str(call.request.path_params["message"]), "IM")
    return call.found(await message_rows.one(call.deps.pool, conversation["id"], sid))


def normal_sid(text: str, prefix: str) -> str:
    """A SID in its usual spelling; anything else as it is."""
    if len(text) == 34 and text[:2].upper() == prefix:
        return prefix + text[2:].lower()
    return text.replace("\x00", "")


def path_sid(call: Call, prefix: str) -> str:
    return normal_sid(str(call.request.path_params["sid"]), prefix)


def is_told(call: Call) -> bool:
    """Whether webhooks fire for what this request does."""
    return call.request.headers.get("x-twilio-webhook-enabled", "").lower() == "true"


async def allowed(call: Call, name: str, parameters: Pairs) -> dict[str, str]:
    """Ask the app before; what it changes. Raises ApiError 20403 when it says no."""
    if not is_told(call):
        return {}
    settings = await settings_of(call)
    verdict = await call.deps.conversations.pre_events.ask(settings, name, parameters, Source.API)
    if not verdict.allowed:
        raise ApiError(20403, f"the webhook of {name} refused this")
    return verdict.changes


def text_of(form: Form, name: str, limit: int = NAME_LIMIT) -> str | None:
    """A text of at most `limit` characters. Raises ApiError 20001."""
    text = form.get(name)
    if text is not None and (len(text) > limit or "\x00" in text):
        raise ApiError(20001, f"{name} has at most {limit} characters")
    return text


def attributes_of(form: Form) -> str | None:
    """`Attributes`, a JSON text. Raises ApiError 20001."""
    text = form.get("Attributes")
    if text is None:
        return None
    if text == "":
        return "{}"
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ApiError(20001, "Attributes must be JSON") from None
    if len(text.encode()) > ATTRIBUTES_LIMIT:
        raise ApiError(20001, f"Attributes has at most {ATTRIBUTES_LIMIT} octets")
    return text


def method_of(form: Form, name: str) -> str | None:
    """GET or POST in any case. Raises ApiError 21403."""
    method = form.get(name)
    if method is not None and method.upper() not in METHODS:
        raise ApiError(21403)
    return method.upper() if method is not None else None


def filters_of(form: Form, name: str) -> list[str] | None:
    """Event names; an empty one clears. Raises ApiError 20001."""
    if name not in form:
        return None
    filters = [text for text in form.all(name) if text]
    unknown = [text for text in filters if text not in FILTERS]
    if unknown or len(filters) > MOST_FILTERS:
        raise ApiError(20001, f"{name}: there is no event {unknown[0][:64] if unknown else ''}")
    return list(dict.fromkeys(filters))


def number_of(text: str | None, code: int) -> str:
    """E.164. Raises ApiError `code`."""
    number = parse_destination(text or "")
    if number is None:
        raise unreadable(code, text or "")
    return number.e164
