"""What numbers, short codes and alphanumeric IDs have in common as parameters.

`CarrierName`, `SmsMps` (segments per second), `SmsEnabled` and `MmsEnabled` are extensions; without
them a sender goes to the first carrier at the default rate of its kind, and carries texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.resources import Call, change, gone, json_response
from gateway.api.http.values import read_decimal
from gateway.directory.directory import SenderRecord
from storage import config as config_rows

NAME_LIMIT: Final = 64
HIGHEST_RATE: Final = 100_000.0

EXTENSIONS: Final = ("CarrierName", "SmsMps", "SmsEnabled", "MmsEnabled")

SMS_URLS: Final = {"SmsUrl": "sms_url", "SmsFallbackUrl": "sms_fallback_url"}
SMS_METHODS: Final = {"SmsMethod": "sms_method", "SmsFallbackMethod": "sms_fallback_method"}


def carrier_id(call: Call) -> int:
    """The carrier named, or the first. Raises ApiError 20001."""
    name = call.form.get("CarrierName")
    if name is None:
        return call.deps.default_carrier_id()
    carrier = call.deps.directory.carriers.get(name)
    if carrier is None:
        raise ApiError(20001, f"there is no carrier named {name[:64]}")
    return carrier.id


def rate(form: Form, name: str = "SmsMps") -> float | None:
    """Segments per second; an empty value goes back to the default. Raises ApiError 20001."""
    text = form.get(name)
    if not text:
        return None
    value = read_decimal(text)
    if value is None or not 0 < value <= HIGHEST_RATE:
        raise ApiError(20001, f"{name} must be above 0 and at most {HIGHEST_RATE:.0f}")
    return value


def changed_columns(call: Call) -> dict[str, Any]:
    """The columns of `senders` that a request changes, its settings apart.

    The extensions are the operator's to use: a customer sets no rate. Raises ApiError.
    """
    form = call.form
    if any(name in form for name in EXTENSIONS):
        call.operator_only(f"{', '.join(EXTENSIONS)} are the operator's")
    values: dict[str, Any] = {}
    if name := form.get("FriendlyName"):
        values["friendly_name"] = name[:NAME_LIMIT]
    if "SmsMps" in form:
        values["rate"] = rate(form)
    if "CarrierName" in form:
        values["carrier_id"] = carrier_id(call)
    for parameter, column in (("SmsEnabled", "sms"), ("MmsEnabled", "mms")):
        if (flag := form.flag(parameter)) is not None:
            values[column] = flag
    return values


def url_settings(
    form: Form,
    before: Mapping[str, Any],
    urls: Mapping[str, str],
    methods: Mapping[str, str],
) -> dict[str, Any]:
    """The settings after this request; an empty URL clears its field.

    Raises ApiError 21402 (URL), 21403 (method), 21406 (a fallback without its primary URL).
    """
    settings = dict(before)
    for parameter, name in urls.items():
        url = form.url(parameter, 21402)
        if url is not None:
            settings[name] = url or None
    for parameter, name in methods.items():
        method = form.get(parameter)
        if method is not None:
            if method.upper() not in ("GET", "POST"):
                raise ApiError(21403, f"{parameter} must be GET or POST")
            settings[name] = method.upper()
    if form.get("SmsFallbackUrl") and not settings.get("sms_url"):
        raise ApiError(21406)
    return settings


Render = Callable[[SenderRecord, str], dict[str, Any]]


async def changed(
    call: Call, record: SenderRecord, settings: dict[str, Any], render: Render
) -> Response:
    """The sender with other settings, and what else of it the form has."""
    values = {"settings": settings, **changed_columns(call)}
    sender_id = record.sender.id
    await change(
        call.deps, lambda connection: config_rows.update_sender(connection, sender_id, values)
    )
    return json_response(render(call.deps.directory.senders[record.sid], call.account.sid))


async def deleted(call: Call, record: SenderRecord) -> Response:
    sender_id = record.sender.id
    await change(call.deps, lambda connection: config_rows.delete_sender(connection, sender_id))
    return gone()


def record_of(call: Call, prefix: str) -> SenderRecord:
    """The account's sender whose SID is in the path. Raises ApiError 20404."""
    sid = prefix + call.request.path_params["sid"][2:].lower()
    record = call.deps.directory.senders.get(sid)
    if record is None or record.account_id != call.account.id:
        raise call.missing()
    return record
