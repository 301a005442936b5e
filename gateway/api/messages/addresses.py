"""`To` and `From` of a send call: their forms, and the channel a prefix names
(docs/spec/twilio-api.md#create-parameters).

Plain numbers and sender IDs are SMS; `whatsapp:` and `rcs:` name channels that nothing carries yet.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from gateway.api.http.errors import ApiError, unreadable
from gateway.routing.alpha import is_alpha_sender
from gateway.routing.destination import Destination, country_of, parse_destination

SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")
LONGEST_SHORT_CODE_TO: Final = 6  # as To, more digits are a number without its plus
KEPT_LENGTH: Final = 32  # of a From whose form is remembered
PREFIX: Final = re.compile(r"^(whatsapp|rcs):")


def channel_of(text: str) -> str:
    """The channel prefix of an address; "" for SMS."""
    match = PREFIX.match(text) if ":" in text else None
    return match[1] if match else ""


def read_destination(text: str, sender: str | None) -> Destination:
    """`To` as a destination; its channel prefix is the caller's to look at.

    A number without a plus takes the country of a `From` in E.164, if it is one there. Raises
    ApiError 21265 (a short code), 21211.
    """
    if text[:1] == "+" and (destination := parse_destination(text)) is not None:
        return destination  # nearly all of them: neither a channel's nor a short code
    number = text
    if channel := channel_of(text):
        number = text[len(channel) + 1 :]
    elif SHORT_CODE.fullmatch(text) and len(text) <= LONGEST_SHORT_CODE_TO:
        raise ApiError(21265)
    if ":" in number:  # a URI (`tel:`, `sms:`) is no number here, though libraries read it as one
        raise _bad_destination(text)
    destination = parse_destination(number)
    if destination is None and sender is not None and sender[:1] == "+":
        destination = parse_destination(number, country_of(sender) or None)
    if destination is None:
        raise _bad_destination(text)
    return destination


def _bad_destination(text: str) -> ApiError:
    return unreadable(21211, text, f"The 'To' number {text[:40]} is not a valid phone number.")


def check_channels(recipient: str, sender: str | None) -> str:
    """The channel of a send; `sender` is a `From`. Raises ApiError 21910 when the two differ."""
    channel = channel_of(recipient)
    if sender is not None and channel_of(sender) != channel:
        raise ApiError(21910)
    return channel


def is_sender(text: str) -> bool:
    """Whether a `From` has a form that a sender can have (else 21212)."""
    if channel_of(text):
        return True  # its channel decides
    if text.isdigit() and SHORT_CODE.fullmatch(text):
        return True
    return normal_sender(text) is not None


def normal_sender(text: str) -> str | None:
    """A `From` as senders are filed: E.164, short code, or the alphanumeric ID as it is."""
    return _filed(text) if len(text) <= KEPT_LENGTH else _filed.__wrapped__(text)


@lru_cache(maxsize=4096)  # an app sends from few; what is long is somebody's mistake, and not kept
def _filed(text: str) -> str | None:
    if SHORT_CODE.fullmatch(text) or is_alpha_sender(text):
        return text
    number = parse_destination(text if text.startswith("+") else "+" + text.lstrip("0"))
    return number.e164 if number is not None else None
