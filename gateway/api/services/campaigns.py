"""`/v1/Services/{MG}/Compliance/Usa2p`: the A2P campaign of a service, as a stored record.

Nothing is registered with the carriers' registry from here: `campaign_status` stays `PENDING` until
the operator writes what came of it elsewhere, of his own campaigns and his subaccounts'. With it
comes the rate that the carriers give the campaign: the numbers of the service share it towards the
US.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, change, gone, json_response
from gateway.api.numbers.sender_fields import rate
from gateway.api.services.services import service_of, service_seen
from gateway.directory.directory import Service
from storage import campaigns as campaign_rows
from storage.database import UniqueViolation

# Parameter → field, with the least and the greatest length.
TEXTS: Final = {
    "BrandRegistrationSid": ("brand_registration_sid", 1, 34),
    "Description": ("description", 40, 4096),
    "MessageFlow": ("message_flow", 40, 2048),
    "UsAppToPersonUsecase": ("us_app_to_person_usecase", 1, 64),
    "OptInMessage": ("opt_in_message", 20, 320),
    "OptOutMessage": ("opt_out_message", 20, 320),
    "HelpMessage": ("help_message", 20, 320),
    "PrivacyPolicyUrl": ("privacy_policy_url", 1, 2048),
    "TermsAndConditionsUrl": ("terms_and_conditions_url", 1, 2048),
}
LISTS: Final = {
    # and the least and greatest number of entries, of the least and greatest length
    "MessageSamples": ("message_samples", 2, 5, 20, 1024),
    "OptInKeywords": ("opt_in_keywords", 0, 50, 1, 255),
    "OptOutKeywords": ("opt_out_keywords", 0, 50, 1, 255),
    "HelpKeywords": ("help_keywords", 0, 50, 1, 255),
}
FLAGS: Final = {
    "HasEmbeddedLinks": "has_embedded_links",
    "HasEmbeddedPhone": "has_embedded_phone",
    "SubscriberOptIn": "subscriber_opt_in",
    "AgeGated": "age_gated",
    "DirectLending": "direct_lending",
}
REQUIRED: Final = (
    *("BrandRegistrationSid", "Description", "MessageFlow", "MessageSamples"),
    *("UsAppToPersonUsecase", "HasEmbeddedLinks", "HasEmbeddedPhone"),
)
STATUSES: Final = ("PENDING", "IN_PROGRESS", "VERIFIED", "FAILED")


# What a campaign may be for: the codes of the registry, each with its name.
USECASES: Final = {
    "2FA": "Two-factor authentication",
    "ACCOUNT_NOTIFICATION": "Account notifications",
    "CUSTOMER_CARE": "Customer care",
    "DELIVERY_NOTIFICATION": "Delivery notifications",
    "FRAUD_ALERT": "Fraud alerts",
    "HIGHER_EDUCATION": "Higher education",
    "LOW_VOLUME": "Low volume of several kinds",
    "MARKETING": "Marketing",
    "MIXED": "Several kinds",
    "POLLING_VOTING": "Polling and voting",
    "PUBLIC_SERVICE_ANNOUNCEMENT": "Public service announcements",
    "SECURITY_ALERT": "Security alerts",
}


async def usecases(call: Call) -> Response:
    """The codes for `UsAppToPersonUsecase`."""
    service_of(call)
    shown = [
        {"code": code, "name": name, "description": name, "post_approval_required": False}
        for code, name in USECASES.items()
    ]
    return json_response({"us_app_to_person_usecases": shown})


async def create(call: Call) -> Response:
    service, form = service_of(call), call.form
    for name in REQUIRED:
        if name not in form:
            raise ApiError(20001, f"Missing required parameter {name} in the post body")
    fields = {**_fields(form), "campaign_status": "PENDING"}
    try:
        row = await campaign_rows.insert(
            call.deps.pool, call.new_sid("QE"), call.account.id, service.id, fields
        )
    except UniqueViolation:
        raise ApiError(20409, "the service has a campaign") from None
    return json_response(_render(call, service, row), 201)


async def list_(call: Call) -> Response:
    service = service_seen(call)
    row = await campaign_rows.of_service(call.deps.pool, service.id)
    shown = [_render(call, service, row)] if row is not None else []
    return call.page_shown("compliance", shown)


async def fetch(call: Call) -> Response:
    service = service_seen(call)
    return json_response(_render(call, service, await _row(call, service)))


async def update(call: Call) -> Response:
    """Also the operator's `CampaignStatus`, `CampaignId` and `CampaignMps` (extensions): what came
    of it. `CampaignMps` is segments per second; empty: none, each number has its own.
    """
    service, form = service_seen(call), call.form
    fields = {**(await _row(call, service))["fields"], **_fields(form)}
    status, name = form.get("CampaignStatus"), form.get("CampaignId")
    if status is not None or name is not None or "CampaignMps" in form:
        call.operator_only("what came of a registration is the operator's to say")
        if status is not None and status not in STATUSES:
            raise ApiError(20001, f"CampaignStatus must be one of {', '.join(STATUSES)}")
        fields |= {"campaign_status": status or fields["campaign_status"]}
        fields |= {"campaign_id": name[:64]} if name else {}
        if "CampaignMps" in form:
            fields["mps"] = rate(form, "CampaignMps")
    await change(call.deps, lambda c: campaign_rows.update(c, service.id, fields))
    row = await _row(call, service)
    return json_response(_render(call, service, row))


async def delete(call: Call) -> Response:
    service = service_of(call)
    row = await _row(call, service)
    await change(call.deps, lambda c: campaign_rows.delete(c, service.id, row["sid"]))
    return gone()


async def _row(call: Call, service: Service) -> campaign_rows.CampaignRow:
    row = await campaign_rows.of_service(call.deps.pool, service.id)
    if row is None or row["sid"].lower() != call.request.path_params["sid"].lower():
        raise call.missing()
    return row


def _fields(form: Form) -> dict[str, Any]:
    """What is given, checked. Raises ApiError 20001."""
    fields: dict[str, Any] = {}
    for name, (field, least, most) in TEXTS.items():
        text = form.get(name)
        if text is not None:
            if not least <= len(text) <= most:
                raise ApiError(20001, f"{name} must have {least} to {most} characters")
            fields[field] = text
    for name, (field, fewest, many, least, most) in LISTS.items():
        if name in form:
            entries = form.all(name)
            if not fewest <= len(entries) <= many:
                raise ApiError(20001, f"{name} must have {fewest} to {many} entries")
            if not all(least <= len(entry) <= most for entry in entries):
                raise ApiError(20001, f"each of {name} must have {least} to {most} characters")
            fields[field] = entries
    for name, field in FLAGS.items():
        flag = form.flag(name)
        if flag is not None:
            fields[field] = flag
    return fields


def _render(call: Call, service: Service, row: campaign_rows.CampaignRow) -> dict[str, Any]:
    fields = row["fields"]
    names = [
        *(field for field, *_ in TEXTS.values()),
        *(field for field, *_ in LISTS.values()),
        *FLAGS.values(),
        *("campaign_status", "campaign_id", "mps"),
    ]
    return {
        "sid": row["sid"],
        "account_sid": call.deps.directory.accounts_by_id[service.account_id].sid,
        "messaging_service_sid": service.sid,
        **{name: fields.get(name) for name in names},
        "is_externally_registered": False,
        "rate_limits": None,
        "mock": False,
        "errors": [],
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": f"{call.origin}/v1/Services/{service.sid}/Compliance/Usa2p/{row['sid']}",
    }
