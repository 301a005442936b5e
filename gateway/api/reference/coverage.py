"""What of Twilio's Programmable Messaging API is here: every operation and every parameter.

`python -m gateway.api.reference.coverage > docs/api-coverage.md` writes the page; a test holds it
to this table, the table to the routes, and its parameters to those of the SDK.
"""

from __future__ import annotations

from typing import Final

from gateway.api.reference.coverage_conversations import CONVERSATIONS
from gateway.api.reference.operation import Operation, Support
from gateway.api.reference.operation import all_ as _all

_API: Final = "/api/2010-04-01"
_ACCOUNT: Final = f"{_API}/Accounts/{{account}}"
_SERVICES: Final = "/messaging/v1/Services"
_SERVICE: Final = f"{_SERVICES}/{{service}}"
_OPT_OUTS: Final = "/messaging/v3/OptOuts"
_LINKS: Final = "/messaging/v1/LinkShortening"
_OURS: Final = "ours"
_V3: Final = "its verbs are not published: these are ours"

_CREATE_MESSAGE: Final = {
    **_all(
        Support.DONE,
        "To From MessagingServiceSid Body StatusCallback ApplicationSid ValidityPeriod SmartEncoded"
        " ScheduleType SendAt ProvideFeedback ContentRetention AddressRetention Tags"
        " SmppTlv.* DltEntityId DltTemplateId MediaUrl SendAsMms RiskCheck"
        " ContentSid ContentVariables ShortenUrls",
    ),
    **_all(
        Support.STORED,
        "MaxPrice Attempt ForceDelivery TrafficType MessageIntent PersistentAction FallbackFrom",
    ),
}
_NUMBER: Final = {
    **_all(
        Support.DONE,
        "FriendlyName SmsUrl SmsMethod SmsFallbackUrl SmsFallbackMethod SmsApplicationSid"
        " CarrierName SmsMps SmsEnabled MmsEnabled",
    ),
    **_all(
        Support.STORED,
        "StatusCallback StatusCallbackMethod VoiceUrl VoiceMethod VoiceFallbackUrl"
        " VoiceFallbackMethod",
    ),
    **_all(
        Support.IGNORED,
        "ApiVersion VoiceApplicationSid VoiceCallerIdLookup VoiceReceiveMode EmergencyStatus"
        " EmergencyAddressSid TrunkSid IdentitySid AddressSid BundleSid",
    ),
}
_NUMBER_FILTERS: Final = _all(Support.DONE, "PhoneNumber FriendlyName Beta Origin")
_AVAILABLE: Final = {
    **_all(
        Support.DONE, "AreaCode Contains SmsEnabled MmsEnabled VoiceEnabled InRegion InLocality"
    ),
    **_all(
        Support.IGNORED,
        "ExcludeAllAddressRequired ExcludeLocalAddressRequired ExcludeForeignAddressRequired Beta"
        " NearNumber NearLatLong Distance InPostalCode InRateCenter InLata FaxEnabled",
    ),
}
_APPLICATION: Final = {
    **_all(
        Support.DONE,
        "FriendlyName SmsUrl SmsMethod SmsFallbackUrl SmsFallbackMethod MessageStatusCallback"
        " SmsStatusCallback",
    ),
    **_all(Support.STORED, "StatusCallback StatusCallbackMethod"),
    **_all(
        Support.IGNORED,
        "ApiVersion VoiceUrl VoiceMethod VoiceFallbackUrl VoiceFallbackMethod VoiceCallerIdLookup"
        " PublicApplicationConnectEnabled",
    ),
}
_SERVICE_FIELDS: Final = {
    **_all(
        Support.DONE,
        "FriendlyName InboundRequestUrl InboundMethod FallbackUrl FallbackMethod StatusCallback"
        " StickySender SmartEncoding AreaCodeGeomatch ValidityPeriod UseInboundWebhookOnNumber"
        " InboundBehavior MmsConverter SenderIdPreregAlert StrictPreregistration RegionFallback"
        " SkipUnhealthy StickyTtl NumberPriority NumberWeights",
    ),
    **_all(
        Support.STORED,
        "ScanMessageContent FallbackToLongCode SynchronousValidation Usecase",
    ),
}
_SHORT_CODE: Final = {
    **_all(
        Support.DONE,
        "FriendlyName SmsUrl SmsMethod SmsFallbackUrl SmsFallbackMethod CarrierName SmsMps"
        " SmsEnabled MmsEnabled",
    ),
    **_all(Support.IGNORED, "ApiVersion"),
}
_OPT_OUT: Final = _all(Support.DONE, "FriendlyName MessagingServiceSid Enabled")
_CAMPAIGN: Final = {
    **_all(
        Support.STORED,
        "BrandRegistrationSid Description MessageFlow MessageSamples UsAppToPersonUsecase"
        " HasEmbeddedLinks HasEmbeddedPhone OptInMessage OptOutMessage HelpMessage OptInKeywords"
        " OptOutKeywords HelpKeywords SubscriberOptIn AgeGated DirectLending PrivacyPolicyUrl"
        " TermsAndConditionsUrl",
    ),
    **_all(Support.IGNORED, "XTwilioApiVersion"),
}
_ALPHA: Final = _all(Support.DONE, "AlphaSender CarrierName SmsMps")


def _pool(path: str, sdk: str, create: dict[str, Support], *filters: str) -> tuple[Operation, ...]:
    collection = f"{_SERVICE}/{path}"
    return (
        Operation("GET", collection, dict.fromkeys(filters, Support.DONE), f"{sdk}.list"),
        Operation("POST", collection, create, f"{sdk}.create"),
        Operation("GET", f"{collection}/{{sid}}"),
        Operation("DELETE", f"{collection}/{{sid}}"),
    )


OPERATIONS: Final = (
    Operation("POST", f"{_ACCOUNT}/Messages.json", _CREATE_MESSAGE, "messages.create"),
    Operation(
        "GET",
        f"{_ACCOUNT}/Messages.json",
        _all(Support.DONE, "To From DateSent DateSent< DateSent>"),
        "messages.list",
        "newest first by creation, whatever the time of sending",
    ),
    Operation(
        "POST",
        f"{_ACCOUNT}/Webhooks/Replay.json",
        _all(Support.DONE, "MessageSid Since Until Url"),
        note=_OURS,
    ),
    Operation("POST", f"{_ACCOUNT}/Messages/DryRun.json", _CREATE_MESSAGE, note=_OURS),
    Operation("GET", f"{_ACCOUNT}/Messages/{{sid}}/Explain.json", note=_OURS),
    Operation("GET", f"{_ACCOUNT}/Messages/{{sid}}.json"),
    Operation(
        "POST",
        f"{_ACCOUNT}/Messages/{{sid}}.json",
        _all(Support.DONE, "Body Status"),
        "messages().update",
        "`canceled` also takes back what is accepted or queued",
    ),
    Operation("DELETE", f"{_ACCOUNT}/Messages/{{sid}}.json"),
    Operation("GET", f"{_ACCOUNT}/Messages/{{sid}}/Feedback.json", note=_OURS),
    Operation(
        "POST",
        f"{_ACCOUNT}/Messages/{{sid}}/Feedback.json",
        _all(Support.DONE, "Outcome"),
        "messages().feedback.create",
    ),
    Operation(
        "GET",
        f"{_ACCOUNT}/Messages/{{sid}}/Media.json",
        _all(Support.DONE, "DateCreated DateCreated< DateCreated>"),
        "messages().media.list",
    ),
    Operation("GET", f"{_ACCOUNT}/Messages/{{sid}}/Media/{{media}}.json"),
    Operation("DELETE", f"{_ACCOUNT}/Messages/{{sid}}/Media/{{media}}.json"),
    Operation("GET", f"{_ACCOUNT}/Messages/{{sid}}/Media/{{media}}", note="the file itself"),
    Operation(
        "GET",
        f"{_API}/Accounts.json",
        _all(Support.DONE, "FriendlyName Status"),
        "api.accounts.list",
    ),
    Operation(
        "POST", f"{_API}/Accounts.json", _all(Support.DONE, "FriendlyName"), "api.accounts.create"
    ),
    Operation("GET", f"{_API}/Accounts/{{target}}.json"),
    Operation(
        "POST",
        f"{_API}/Accounts/{{target}}.json",
        _all(
            Support.DONE,
            "FriendlyName Status Balance Currency DebuggerUrl PumpingProtection DailyMessages"
            " MessagesPerSecond MmsPerSecond TollFreeMmsPerSecond",
        ),
        "api.accounts().update",
    ),
    Operation("GET", f"{_ACCOUNT}/Balance.json"),
    Operation("GET", "/content/v1/Content", sdk="content.v1.contents.list"),
    Operation(
        "POST",
        "/content/v1/Content",
        _all(Support.DONE, "friendly_name language variables types"),
        note="JSON; text, media, quick-reply, call-to-action, list-picker, card",
    ),
    Operation("GET", "/content/v1/Content/{sid}"),
    Operation("DELETE", "/content/v1/Content/{sid}"),
    *(
        Operation(method, "/accounts/v1/SafeList/Numbers", _all(Support.DONE, "PhoneNumber"), sdk)
        for method, sdk in (
            ("POST", "accounts.v1.safelist.create"),
            ("GET", "accounts.v1.safelist.fetch"),
            ("DELETE", "accounts.v1.safelist.delete"),
        )
    ),
    Operation("GET", f"{_ACCOUNT}/Keys.json"),
    Operation(
        "POST",
        f"{_ACCOUNT}/Keys.json",
        _all(Support.DONE, "FriendlyName KeyType"),
        "new_keys.create",
    ),
    Operation("GET", f"{_ACCOUNT}/Keys/{{sid}}.json"),
    Operation(
        "POST", f"{_ACCOUNT}/Keys/{{sid}}.json", _all(Support.DONE, "FriendlyName"), "keys().update"
    ),
    Operation("DELETE", f"{_ACCOUNT}/Keys/{{sid}}.json"),
    *(
        Operation(
            "POST",
            f"/accounts/v1/{name}/Bulk",
            _all(Support.DONE if name == "Consents" else Support.STORED, "Items"),
            f"accounts.v1.bulk_{name.lower()}.create",
        )
        for name in ("Consents", "Contacts")
    ),
    Operation("POST", "/accounts/v1/AuthTokens/Secondary"),
    Operation("DELETE", "/accounts/v1/AuthTokens/Secondary"),
    Operation("POST", "/accounts/v1/AuthTokens/Promote"),
    Operation("POST", f"{_ACCOUNT}/Applications.json", _APPLICATION, "applications.create"),
    Operation(
        "GET",
        f"{_ACCOUNT}/Applications.json",
        _all(Support.DONE, "FriendlyName"),
        "applications.list",
    ),
    Operation("GET", f"{_ACCOUNT}/Applications/{{sid}}.json"),
    Operation(
        "POST", f"{_ACCOUNT}/Applications/{{sid}}.json", _APPLICATION, "applications().update"
    ),
    Operation("DELETE", f"{_ACCOUNT}/Applications/{{sid}}.json"),
    Operation(
        "POST",
        f"{_ACCOUNT}/IncomingPhoneNumbers.json",
        {**_all(Support.DONE, "PhoneNumber AreaCode"), **_NUMBER},
        "incoming_phone_numbers.create",
    ),
    Operation(
        "GET",
        f"{_ACCOUNT}/IncomingPhoneNumbers.json",
        _NUMBER_FILTERS,
        "incoming_phone_numbers.list",
    ),
    *(
        Operation(
            "GET",
            f"{_ACCOUNT}/IncomingPhoneNumbers/{path}.json",
            _NUMBER_FILTERS,
            f"incoming_phone_numbers.{name}.list",
        )
        for path, name in (("Local", "local"), ("Mobile", "mobile"), ("TollFree", "toll_free"))
    ),
    Operation("GET", f"{_ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json"),
    Operation(
        "POST",
        f"{_ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json",
        {**_NUMBER, **_all(Support.IGNORED, "AccountSid")},
        "incoming_phone_numbers().update",
    ),
    Operation("DELETE", f"{_ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json"),
    Operation("GET", f"{_ACCOUNT}/AvailablePhoneNumbers.json"),
    Operation("GET", f"{_ACCOUNT}/AvailablePhoneNumbers/{{country}}.json"),
    *(
        Operation(
            "GET",
            f"{_ACCOUNT}/AvailablePhoneNumbers/{{country}}/{path}.json",
            _AVAILABLE,
            f"available_phone_numbers().{name}.list",
        )
        for path, name in (("Local", "local"), ("Mobile", "mobile"), ("TollFree", "toll_free"))
    ),
    Operation(
        "GET",
        f"{_ACCOUNT}/SMS/ShortCodes.json",
        _all(Support.DONE, "ShortCode FriendlyName"),
        "short_codes.list",
    ),
    Operation(
        "POST",
        f"{_ACCOUNT}/SMS/ShortCodes.json",
        {**_all(Support.DONE, "ShortCode IsoCountryCode"), **_SHORT_CODE},
        note=_OURS,
    ),
    Operation("GET", f"{_ACCOUNT}/SMS/ShortCodes/{{sid}}.json"),
    Operation(
        "POST", f"{_ACCOUNT}/SMS/ShortCodes/{{sid}}.json", _SHORT_CODE, "short_codes().update"
    ),
    Operation("DELETE", f"{_ACCOUNT}/SMS/ShortCodes/{{sid}}.json", note=_OURS),
    Operation("POST", _SERVICES, _SERVICE_FIELDS, "messaging.v1.services.create"),
    Operation("GET", _SERVICES, sdk="messaging.v1.services.list"),
    Operation("GET", f"{_SERVICES}/Usecases"),
    Operation(
        "GET",
        f"{_SERVICE}/Compliance/Usa2p",
        _all(Support.IGNORED, "XTwilioApiVersion"),
        "messaging.v1.services().us_app_to_person.list",
    ),
    Operation(
        "POST",
        f"{_SERVICE}/Compliance/Usa2p",
        _CAMPAIGN,
        "messaging.v1.services().us_app_to_person.create",
        note="a stored record: nothing is registered from here",
    ),
    Operation(
        "GET", f"{_SERVICE}/Messages", _all(Support.DONE, "To From DateSent DateSent< DateSent>")
    ),
    Operation("GET", f"{_SERVICE}/Compliance/Usa2p/Usecases"),
    Operation(
        "GET",
        "/messaging/v1/a2p/BrandRegistrations",
        sdk="messaging.v1.brand_registrations.list",
        note="empty: they are kept with the registry",
    ),
    Operation(
        "GET",
        "/messaging/v1/Tollfree/Verifications",
        _all(
            Support.IGNORED,
            "TollfreePhoneNumberSid Status ExternalReferenceId IncludeSubAccounts TrustProductSid",
        ),
        sdk="messaging.v1.tollfree_verifications.list",
        note="empty: they are kept with the registry",
    ),
    Operation("GET", f"{_SERVICE}/Compliance/Usa2p/{{sid}}"),
    Operation(
        "POST",
        f"{_SERVICE}/Compliance/Usa2p/{{sid}}",
        {
            **_CAMPAIGN,
            **_all(Support.STORED, "CampaignStatus CampaignId"),
            **_all(Support.DONE, "CampaignMps"),
        },
        note="CampaignStatus, CampaignId and CampaignMps are the operator's",
    ),
    Operation("DELETE", f"{_SERVICE}/Compliance/Usa2p/{{sid}}"),
    Operation("GET", _SERVICE),
    Operation("POST", _SERVICE, _SERVICE_FIELDS, "messaging.v1.services().update"),
    Operation("DELETE", _SERVICE),
    Operation("GET", f"{_SERVICE}/StickySenders", _all(Support.DONE, "SenderSid"), note=_OURS),
    Operation(
        "POST",
        f"{_SERVICE}/StickySenders/Move",
        _all(Support.DONE, "FromSenderSid ToSenderSid"),
        note=_OURS,
    ),
    Operation("GET", f"{_SERVICE}/StickySenders/{{recipient}}", note=_OURS),
    Operation(
        "POST",
        f"{_SERVICE}/StickySenders/{{recipient}}",
        _all(Support.DONE, "SenderSid"),
        note=_OURS,
    ),
    Operation("DELETE", f"{_SERVICE}/StickySenders/{{recipient}}", note=_OURS),
    *_pool(
        "PhoneNumbers",
        "messaging.v1.services().phone_numbers",
        _all(Support.DONE, "PhoneNumberSid"),
    ),
    *_pool("ShortCodes", "messaging.v1.services().short_codes", _all(Support.DONE, "ShortCodeSid")),
    *_pool("AlphaSenders", "messaging.v1.services().alpha_senders", _ALPHA),
    *_pool(
        "DestinationAlphaSenders",
        "messaging.v1.services().destination_alpha_senders",
        {**_ALPHA, **_all(Support.DONE, "IsoCountryCode")},
        "IsoCountryCode",
    ),
    *_pool(
        "ChannelSenders", "messaging.v1.services().channel_senders", _all(Support.STORED, "Sid")
    ),
    Operation(
        "GET",
        "/messaging/v1/Deactivations",
        _all(Support.DONE, "Date"),
        "messaging.v1.deactivations().fetch",
    ),
    *(
        Operation("GET", f"{_OPT_OUTS}{path}", note=_V3)
        for path in (
            "",
            "/DefaultKeywordsMessages",
            "/Configurations/Languages",
            "/Configurations/MessageTypes",
            "/{sid}",
            "/{sid}/Keywords",
            "/{sid}/Messages",
            "/{sid}/MessageTypes",
        )
    ),
    Operation("POST", _OPT_OUTS, _OPT_OUT, note=_V3),
    Operation("POST", f"{_OPT_OUTS}/{{sid}}", _OPT_OUT, note=_V3),
    Operation("DELETE", f"{_OPT_OUTS}/{{sid}}", note=_V3),
    Operation(
        "POST",
        f"{_OPT_OUTS}/{{sid}}/Keywords",
        _all(Support.DONE, "KeywordType MessageType Keywords"),
        note=_V3,
    ),
    Operation(
        "POST",
        f"{_OPT_OUTS}/{{sid}}/Messages",
        _all(Support.DONE, "KeywordType MessageType Message"),
        note=_V3,
    ),
    Operation(
        "POST",
        f"{_OPT_OUTS}/{{sid}}/MessageTypes",
        _all(Support.DONE, "MessageType Languages"),
        note=_V3,
    ),
    *(
        Operation("PUT", f"{_OPT_OUTS}/{{sid}}/{path}", note="JSON: the whole list")
        for path in ("Keywords", "Messages", "MessageTypes")
    ),
    Operation(
        "GET", f"{_LINKS}/Domains/{{domain}}/Config", {}, "messaging.v1.domain_config().fetch"
    ),
    Operation(
        "POST",
        f"{_LINKS}/Domains/{{domain}}/Config",
        {
            **_all(Support.DONE, "FallbackUrl CallbackUrl DisableHttps"),
            **_all(Support.STORED, "ContinueOnFailure"),
        },
        "messaging.v1.domain_config().update",
    ),
    *(
        Operation(
            method,
            f"{_LINKS}/Domains/{{domain}}/MessagingServices/{{service}}",
            {},
            f"messaging.v1.linkshortening_messaging_service().{verb}",
        )
        for method, verb in (("POST", "create"), ("DELETE", "delete"))
    ),
    Operation(
        "GET",
        f"{_LINKS}/Domains/{{domain}}/MessagingServices/{{service}}",
        note="ours: the address that a tie shows as its own",
    ),
    Operation(
        "GET",
        f"{_LINKS}/MessagingServices/{{service}}/Domain",
        {},
        "messaging.v1.linkshortening_messaging_service_domain_association().fetch",
    ),
    Operation(
        "GET",
        f"{_LINKS}/MessagingService/{{service}}/DomainConfig",
        {},
        "messaging.v1.domain_config_messaging_service().fetch",
    ),
    Operation(
        "GET",
        "/monitor/v1/Alerts",
        _all(Support.DONE, "LogLevel StartDate EndDate"),
        "monitor.v1.alerts.list",
    ),
    Operation("GET", "/monitor/v1/Alerts/{sid}"),
    *CONVERSATIONS,
    Operation(
        "POST",
        "/comms/v1/Messages",
        _all(Support.DONE, "from to content schedule tags statusCallback"),
        note="JSON; from.messagingServiceSid and statusCallback are ours",
    ),
    Operation("GET", "/comms/v1/Messages", _all(Support.DONE, "operationId pageSize pageToken")),
    Operation("GET", "/comms/v1/Messages/Operations/{operation}"),
    Operation(
        "GET",
        "/comms/v1/Messages/Operations/{operation}/Errors",
        _all(Support.DONE, "pageSize pageToken"),
    ),
    Operation("POST", "/comms/v1/Messages/Operations/{operation}/Cancel", note=_OURS),
    Operation("GET", "/comms/v1/Messages/{message}"),
    Operation("GET", "/comms/v1/Messages/{message}/Receipts"),
    Operation(
        "POST",
        "/preview/v1/Messages",
        _all(Support.DONE, "Messages From MessagingServiceSid Body StatusCallback"),
        note="JSON; and the other parameters of a single send",
    ),
)

ABSENT: Final = (
    "certificates, DNS checks and managed certificates of link-shortening domains: 404, 20404",
    "of conversations: users, roles, credentials, bindings, media, per-service paths, group texts,"
    " Studio",
    "vendor products beside messaging: 404, 20404",
)

HEAD: Final = """# What of the API is here

Written by `python -m gateway.api.reference.coverage`; a test holds this page, the routes and the
SDK's own parameters together. Parameters: **yes** have their effect, *stored* are kept and shown
without effect, *ignored* do nothing, *refused* end in an error. What Twilio does not have is
marked "ours", or is one of the extensions that the page on each resource names.

Everything also takes `PageSize`, `Page`, `PageToken` where it lists.
"""


def render() -> str:
    """The page."""
    lines = [HEAD, "| operation | yes | stored | ignored | refused | note |", "|---" * 6 + "|"]
    for operation in OPERATIONS:
        product, _, path = operation.path[1:].partition("/")
        cells = [
            ", ".join(f"`{name}`" for name, is_in in operation.parameters.items() if is_in is state)
            for state in Support
        ]
        where = "" if product == "api" else f" ({product})"
        cells = [f"{operation.method} `/{path}`{where}", *cells, operation.note]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Not here", "", *(f"- {what}" for what in ABSENT), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(render(), end="")
