"""`/v1/Services`: messaging services (docs/spec/twilio-api.md#services); their pools are in
`pools.py`."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.responses import Response

from gateway.api.http import preferences
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.directory.directory import Service
from storage import config as config_rows

NAME_LIMIT = 64
VALIDITY_S = (1, 36_000)
LONGEST_STICKY_S = 365 * 86_400

URLS = {
    "InboundRequestUrl": ("inbound_request_url", 21402),
    "FallbackUrl": ("fallback_url", 30122),
    "StatusCallback": ("status_callback", 21402),
}
METHODS = {"InboundMethod": "inbound_method", "FallbackMethod": "fallback_method"}
FLAGS = {
    "StickySender": "sticky_sender",
    "MmsConverter": "mms_converter",
    "SmartEncoding": "smart_encoding",
    "AreaCodeGeomatch": "area_code_geomatch",
    "FallbackToLongCode": "fallback_to_long_code",
    "SynchronousValidation": "synchronous_validation",
    "UseInboundWebhookOnNumber": "use_inbound_webhook_on_number",
    # Ours.
    "SenderIdPreregAlert": "sender_id_prereg_alert",
    "StrictPreregistration": "strict_preregistration",
    "SkipUnhealthy": "skip_unhealthy",
    "RegionFallback": "region_fallback",
}
CHOICES = {
    "ScanMessageContent": ("scan_message_content", ("inherit", "enable", "disable"), 20001),
    "Usecase": (
        "usecase",
        ("notifications", "marketing", "verification", "discussion", "poll", "undeclared"),
        21713,
    ),
    # Ours: Twilio's console has it, its API has not. "" goes back to what the others mean.
    "InboundBehavior": (
        "inbound_behavior",
        ("defer_to_sender", "service_webhook", "autocreate_conversation", "drop", ""),
        20001,
    ),
}
# Every setting with its default (docs/spec/messaging-services.md#settings-of-a-service), in the
# order of the resource.
DEFAULTS: dict[str, Any] = {
    "inbound_request_url": None,
    "inbound_method": "POST",
    "fallback_url": None,
    "fallback_method": "POST",
    "status_callback": None,
    "sticky_sender": True,
    "mms_converter": True,
    "smart_encoding": True,
    "scan_message_content": "inherit",
    "fallback_to_long_code": True,
    "area_code_geomatch": True,
    "synchronous_validation": False,
    "validity_period": 36_000,
    "usecase": "undeclared",
    "use_inbound_webhook_on_number": True,
    "sender_id_prereg_alert": False,
    "strict_preregistration": False,
    "skip_unhealthy": False,
    "region_fallback": False,
    "sticky_ttl": LONGEST_STICKY_S,
    "number_priority": {},
    "number_weights": {},
}
USECASES = {
    "notifications": "Alerts and updates that recipients asked for",
    "marketing": "Offers and news to recipients who agreed to them",
    "verification": "Codes that prove who somebody is",
    "discussion": "Conversations between people",
    "poll": "Questions and votes",
    "undeclared": "Nothing was said of it",
}
LINKS = {
    "phone_numbers": "PhoneNumbers",
    "short_codes": "ShortCodes",
    "alpha_senders": "AlphaSenders",
    "destination_alpha_senders": "DestinationAlphaSenders",
    "channel_senders": "ChannelSenders",
    "messages": "Messages",
    "us_app_to_person": "Compliance/Usa2p",
    "us_app_to_person_usecases": "Compliance/Usa2p/Usecases",
}


def render(call: Call, service: Service) -> dict[str, Any]:
    url = f"{call.origin}/v1/Services/{service.sid}"
    config = call.deps.directory.opt_out_configs.get(service.id)
    return {
        "sid": service.sid,
        "account_sid": call.account.sid,
        "friendly_name": service.friendly_name,
        "date_created": iso8601(service.created_at),
        "date_updated": iso8601(service.updated_at),
        **{name: service.settings.get(name, default) for name, default in DEFAULTS.items()},
        "inbound_behavior": service.inbound_behavior,
        "advanced_opt_out": {
            "sid": config.sid if config is not None else None,
            "enabled": config is not None and config.enabled,
        },
        "us_app_to_person_registered": False,
        "url": url,
        "links": {name: f"{url}/{path}" for name, path in LINKS.items()},
    }


async def create(call: Call) -> Response:
    name = _name(call.form, required=True)
    sid = call.new_sid("MG")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "friendly_name": name,
        "settings": _settings(call.form, {}),
    }
    add = adding(
        call.deps, lambda c: config_rows.insert_service(c, values), call.account.id, "services"
    )
    await change(call.deps, add)
    service = call.deps.directory.services[sid]
    return json_response(render(call, service), 201)


async def list_(call: Call) -> Response:
    services = [
        service
        for service in call.deps.directory.services.values()
        if service.account_id == call.account.id
    ]
    return call.listed_by_sid("services", services, partial(render, call))


async def fetch(call: Call) -> Response:
    return json_response(render(call, service_of(call)))


async def update(call: Call) -> Response:
    service = service_of(call)
    values: dict[str, Any] = {"settings": _settings(call.form, service.settings)}
    if (name := _name(call.form, required=False)) is not None:
        values["friendly_name"] = name
    await change(
        call.deps, lambda connection: config_rows.update_service(connection, service.id, values)
    )
    changed = call.deps.directory.services[service.sid]
    return json_response(render(call, changed))


async def delete(call: Call) -> Response:
    """The service goes; its numbers stay the account's, its alphanumeric IDs go with it."""
    service = service_of(call)
    await change(call.deps, lambda connection: config_rows.delete_service(connection, service.id))
    return gone()


async def usecases(call: Call) -> Response:
    return json_response(
        {
            "usecases": [
                {"usecase": name, "description": text, "purpose": text}
                for name, text in USECASES.items()
            ]
        }
    )


def service_of(call: Call) -> Service:
    """The service of the path, of the account itself. Raises ApiError 20404."""
    service = service_seen(call)
    if service.account_id != call.account.id:
        raise call.missing()
    return service


def service_seen(call: Call) -> Service:
    """The service of the path, for the operator also a subaccount's. Raises ApiError 20404."""
    sid = "MG" + call.request.path_params["service"][2:].lower()
    service = call.deps.directory.services.get(sid)
    if service is None or not call.sees(service.account_id):
        raise call.missing()
    return service


def _name(form: Form, *, required: bool) -> str | None:
    name = form.get("FriendlyName")
    if name is None and not required:
        return None
    if not name:
        raise ApiError(20001, "Missing required parameter FriendlyName in the post body")
    if len(name) > NAME_LIMIT:
        raise ApiError(20001, f"FriendlyName is longer than {NAME_LIMIT} characters")
    return name


def _settings(form: Form, before: dict[str, Any]) -> dict[str, Any]:
    """The settings after this request; an empty URL clears its field. Raises ApiError."""
    settings = dict(before)
    for parameter, (name, code) in URLS.items():
        url = form.url(parameter, code)
        if url is not None:
            settings[name] = url or None
    for parameter, name in METHODS.items():
        method = form.get(parameter)
        if method is not None:
            if method.upper() not in ("GET", "POST"):
                raise ApiError(21403)
            settings[name] = method.upper()
    for parameter, name in FLAGS.items():
        flag = form.flag(parameter)
        if flag is not None:
            settings[name] = flag
    for parameter, (name, choices, code) in CHOICES.items():
        choice = form.get(parameter)
        if choice is not None:
            if choice not in choices:
                raise ApiError(code, f"{parameter} must be one of {', '.join(choices)}")
            settings[name] = choice
    validity = form.integer("ValidityPeriod", *VALIDITY_S, code=90007)
    if validity is not None:
        settings["validity_period"] = validity
    ttl = form.integer("StickyTtl", 1, LONGEST_STICKY_S, code=20001)
    if ttl is not None:
        settings["sticky_ttl"] = ttl
    for parameter, name, read in (
        ("NumberPriority", "number_priority", preferences.priority),
        ("NumberWeights", "number_weights", preferences.weights),
    ):
        if (text := form.get(parameter)) is not None:
            settings[name] = read(parameter, text)
    return settings
