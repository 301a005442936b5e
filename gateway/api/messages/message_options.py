"""The create parameters that few messages have (docs/spec/twilio-api.md#create-parameters), read
when one is there."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.values import read_time
from gateway.messages.message import Flag

NAMES: Final = frozenset(
    {
        "AddressRetention",
        "ApplicationSid",
        "Attempt",
        "ContentRetention",
        "ContentSid",
        "ContentVariables",
        "FallbackFrom",
        "ForceDelivery",
        "MaxPrice",
        "MessageIntent",
        "PersistentAction",
        "ProvideFeedback",
        "RiskCheck",
        "ScheduleType",
        "SendAsMms",
        "SendAt",
        "ShortenUrls",
        "Tags",
        "TrafficType",
    }
)
NO_FLAGS: Final = 0
MOST_TAGS, LONGEST_TAG_NAME, LONGEST_TAG = 10, 128, 256
MOST_ACTIONS, LONGEST_VALUE = 10, 1_000
PRICE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
ATTEMPT: Final = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. `kept` is stored with the message, by API field name."""

    flags: int = NO_FLAGS  # of Flag
    kept: dict[str, Any] | None = None
    application_sid: str | None = None
    schedule_type: str | None = None
    send_at: str | None = None
    shorten_urls: bool = False

    @property
    def scheduled(self) -> bool:
        return self.schedule_type is not None or self.send_at is not None

    def with_media(self, urls: Sequence[str], smart: bool | None) -> Options:
        """The same for a message with media. `smart` counts if it becomes an SMS after all."""
        kept = {**(self.kept or {}), "media_urls": list(urls)}
        if smart is not None:
            kept["smart"] = smart
        return replace(self, flags=self.flags | Flag.MEDIA | Flag.AWAITS_MEDIA, kept=kept)


NONE: Final = Options()


def read_options(form: Form) -> Options:
    """Read them, in the order of the table. Raises ApiError with the code of each."""
    if form.lacks(NAMES):
        return NONE
    _templates(form)
    schedule_type = form.get("ScheduleType") or None
    send_at = form.get("SendAt") or None
    if schedule_type not in (None, "fixed") or (send_at and schedule_type is None):
        raise ApiError(35126)
    if schedule_type is not None and send_at is None:
        raise ApiError(35111)
    flags, kept = _retention(form), _kept(form)
    if form.flag("SendAsMms"):
        flags |= Flag.MEDIA
    if kept.get("provide_feedback"):
        flags |= Flag.PROVIDE_FEEDBACK
    return Options(
        flags=flags,
        kept=kept or None,
        application_sid=form.get("ApplicationSid") or None,
        schedule_type=schedule_type,
        send_at=send_at,
        shorten_urls=bool(form.flag("ShortenUrls")),
    )


def send_time(text: str) -> float:
    """`SendAt`, ISO 8601; without a zone UTC. Raises ApiError 35114."""
    at = read_time(text)
    if at is None:
        raise ApiError(35114, f"SendAt {text[:40]} is not an ISO 8601 time")
    return at.timestamp()


def _templates(form: Form) -> None:
    """Variables are those of a template. Raises ApiError 21654."""
    if form.get("ContentVariables") and not form.get("ContentSid"):
        raise ApiError(21654)


def _retention(form: Form) -> int:
    flags = NO_FLAGS
    for name, forget, flag, code in (
        ("ContentRetention", "discard", Flag.FORGET_TEXT, 30029),
        ("AddressRetention", "obfuscate", Flag.FORGET_RECIPIENT, 30030),
    ):
        value = form.get(name)
        if value and value not in ("retain", forget):
            raise ApiError(code, f"{name} must be retain or {forget}")
        if value == forget:
            flags |= flag
    return flags


def _kept(form: Form) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    price = form.get("MaxPrice")
    if price:
        if not PRICE.fullmatch(price) or not float(price) > 0 or math.isinf(float(price)):
            raise ApiError(21627)
        kept["max_price"] = price
    for name, key in (("ProvideFeedback", "provide_feedback"), ("ForceDelivery", "force_delivery")):
        if form.flag(name):
            kept[key] = True
    if attempt := form.get("Attempt"):
        if not ATTEMPT.fullmatch(attempt):
            raise ApiError(20422, "Attempt must be a whole number")
        kept["attempt"] = int(attempt)
    for name, key, choices in (
        ("TrafficType", "traffic_type", ("free",)),
        ("RiskCheck", "risk_check", ("enable", "disable")),
    ):
        if value := form.get(name):
            if value not in choices:
                raise ApiError(20001, f"{name} must be {' or '.join(choices)}")
            kept[key] = value
    for name, key in (("MessageIntent", "message_intent"), ("FallbackFrom", "fallback_from")):
        if value := form.get(name):
            kept[key] = _short(name, value)
    if actions := form.all("PersistentAction"):
        if len(actions) > MOST_ACTIONS:
            raise ApiError(21658, f"at most {MOST_ACTIONS} PersistentAction")
        kept["persistent_action"] = [_short("PersistentAction", action) for action in actions]
    if tags := form.get("Tags"):
        kept["tags"] = _tags(tags)
    return kept


def _short(name: str, value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise ApiError(21658, f"{name} is longer than {LONGEST_VALUE} characters")
    if "\x00" in value:
        raise ApiError(20001, f"{name} contains a NUL character")
    return value


def _tags(text: str) -> dict[str, str]:
    """Raises ApiError 20422."""
    try:
        tags = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ApiError(20422, "Tags must be a JSON object") from None
    if not isinstance(tags, dict) or len(tags) > MOST_TAGS:
        raise ApiError(20422, f"Tags must be a JSON object of at most {MOST_TAGS} pairs")
    for name, value in tags.items():
        if not isinstance(value, str) or "\x00" in name + value:
            raise ApiError(20422, "the values of Tags must be strings")
        if not 0 < len(name) <= LONGEST_TAG_NAME or len(value) > LONGEST_TAG:
            raise ApiError(
                20422,
                f"the names of Tags have at most {LONGEST_TAG_NAME} characters, their values"
                f" {LONGEST_TAG}",
            )
    return tags
