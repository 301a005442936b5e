"""What one status callback says: the form that is posted, and the text that is signed
(docs/spec/twilio-api.md#status-callbacks).

Which parameters there are depends on little: whether there is a sender, a service, an error, a
date. For each of these layouts the form and the text are laid out once, with a place for each
value, so that an event costs two fillings. The places are made with the names, never looked for in
a text: no value can be taken for one. A layout knows no account and no URL, so there are 64 at
most; nothing that a client sends adds one, and they hold for as long as the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from gateway.webhooks.forms import form_of, quoted
from gateway.webhooks.signature import Parameters, text_of

API_VERSION: Final = "2010-04-01"
CARRIERS: Final = "SmppTlv."  # how the names of all parameters of carriers begin
# Names in the order of the form, with the places of their values in `CallbackValues`.
FIELDS: Final = (
    ("ApiVersion", 0),
    ("AccountSid", 1),
    ("MessageSid", 2),
    ("SmsSid", 2),
    ("MessageStatus", 3),
    ("SmsStatus", 3),
    ("To", 4),
    ("From", 5),
    ("MessagingServiceSid", 6),
    ("ErrorCode", 7),
    ("RawDlrDoneDate", 8),
    (CARRIERS, 9),
    ("EventNumber", 10),
    ("EventTimestamp", 11),
)


class CallbackValues(NamedTuple):
    """The values of one event. None: there is no such parameter."""

    api_version: str
    account_sid: str
    message_sid: str
    status: str
    recipient: str
    sender: str | None
    service_sid: str | None
    error_code: str | None
    done_date: str | None
    carriers: Parameters  # named `SmppTlv.…`, each once
    number: str | None  # counts a message's callbacks from 1
    time: str | None  # RFC 2822; there with the number or not at all

    @property
    def parameters(self) -> Parameters:
        """Names and values, in the order of the form."""
        pairs: list[tuple[str, str]] = []
        for name, place in FIELDS:
            value = self[place]
            if name is CARRIERS:
                pairs.extend(self.carriers)
            elif isinstance(value, str):
                pairs.append((name, value))
        return pairs

    def laid_out(self) -> tuple[str, str]:
        """The form, and what is signed behind the URL: those of `parameters`."""
        version, account, sid, status, recipient, sender, service, error, date, more, n, at = self
        layout = _layout(
            sender is not None,
            service is not None,
            error is not None,
            date is not None,
            bool(more),
            n is not None,
        )
        theirs, signed = (form_of(more), text_of(more)) if more else ("", "")
        to, from_ = quoted(recipient), sender and quoted(sender)
        done, time = date and quoted(date), at and quoted(at)
        form = layout.form(
            version, account, sid, status, to, from_, service, error, done, theirs, n, time
        )
        text = layout.text(
            version, account, sid, status, recipient, sender, service, error, date, signed, n, at
        )
        return form, text


class _Layout:
    """The form and the text of all events with the same parameters, to be filled with values."""

    __slots__ = ("form", "text")

    def __init__(self, there: Sequence[tuple[str, int]]) -> None:
        form = "&".join(
            f"{{{place}}}" if name is CARRIERS else f"{name}={{{place}}}" for name, place in there
        )
        text = "".join(
            f"{{{place}}}" if name is CARRIERS else f"{name}{{{place}}}"
            for name, place in sorted(there)
        )
        self.form, self.text = form.format, text.format


@cache
def _layout(
    sender: bool, service: bool, error: bool, date: bool, carriers: bool, number: bool
) -> _Layout:
    """Of events that have these, besides what all have."""
    optional = {5: sender, 6: service, 7: error, 8: date, 9: carriers, 10: number, 11: number}
    return _Layout([field for field in FIELDS if optional.get(field[1], True)])
