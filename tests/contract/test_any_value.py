"""No value of a form or of a JSON body makes an answer of 5xx, or ends a stage.

Requests that are good but for a few values: those get further in than wholly random ones.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odd_values import ODD, ODD_JSON
from testing import NUMBERS, TO, GatewayUnderTest, Sdk

EXAMPLES = int(os.environ.get("TANDEM_FUZZ_EXAMPLES", "250"))  # of each kind of request
TEXTS = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=40),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
)
VALUES = st.one_of(
    st.sampled_from(ODD_JSON),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
)
SEND = {"To": TO, "From": NUMBERS[0], "Body": "x"}
SEND_FIELDS = (
    *("To", "From", "Body", "MessagingServiceSid", "StatusCallback", "ValidityPeriod", "MaxPrice"),
    *("ProvideFeedback", "Attempt", "ForceDelivery", "ContentRetention", "AddressRetention"),
    *("SmartEncoded", "PersistentAction", "ShortenUrls", "ScheduleType", "SendAt", "MediaUrl"),
    *("SendAsMms", "ContentSid", "ContentVariables", "RiskCheck", "ApplicationSid", "TrafficType"),
    *("FallbackFrom", "DryRun", "Tags", "MessageIntent", "Priority", "CarrierTlvs"),
)
SERVICE_FIELDS = (
    *("FriendlyName", "InboundRequestUrl", "InboundMethod", "FallbackUrl", "StatusCallback"),
    *("StickySender", "MmsConverter", "SmartEncoding", "AreaCodeGeomatch", "ValidityPeriod"),
    *("UseInboundWebhookOnNumber", "StickyTtl", "InboundBehavior", "NumberPriority", "Usecase"),
    *("NumberWeights", "SkipUnhealthy", "RegionFallback", "StrictPreregistration", "LinkDomain"),
)
NUMBER_FIELDS = (
    *("FriendlyName", "SmsUrl", "SmsMethod", "SmsFallbackUrl", "SmsApplicationSid", "SmsMps"),
    *("StatusCallback", "CarrierName", "SmsEnabled", "MmsEnabled", "AccountSid", "VoiceUrl"),
)
COMMS = {
    "from": {"messagingServiceSid": "MG"},
    "to": [{"address": TO, "variables": {"a": "x"}}],
    "content": {"text": "hello {{a}}"},
    "schedule": None,
    "tags": {"a": "b"},
    "statusCallback": "https://example.com/",
}
PREVIEW = {"Messages": [{"To": TO, "Body": "x"}], "From": NUMBERS[0], "ValidityPeriod": 100}
TEMPLATE = {
    "friendly_name": "x",
    "language": "en",
    "variables": {"1": "x"},
    "types": {"twilio/text": {"body": "hello {{1}}"}},
}
CARRIER = {
    "name": "other",
    "hosts": ["127.0.0.1:1"],
    "system_id": "x",
    "window": 10,
    "binds": 1,
    "rate_per_second": 1.0,
    "tlvs": {"0x1400": "x"},
    "error_codes": {"11": 30005},
    "receipt_pattern": None,
    "enquire_link_s": 30,
}
CONSENTS = {"Items": '[{"contact_id": "+441632960675", "status": "opt-in"}]'}


def changed(content: Any, path: list[int], value: Any) -> Any:
    """A copy in which the place that `path` leads to holds `value`."""
    content = copy.deepcopy(content)
    at: Any = {"": content}
    key: Any = ""
    for step in path:
        inner = at[key]
        if isinstance(inner, dict) and inner:
            at, key = inner, sorted(inner)[step % len(inner)]
        elif isinstance(inner, list) and inner:
            at, key = inner, step % len(inner)
        else:
            break
    at[key] = value
    return content if at is not None and key != "" else value


def forms(base: dict[str, str], fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, str]]:
    odd = st.dictionaries(st.sampled_from(fields), TEXTS, min_size=1, max_size=4)
    return odd.map(lambda given: {**base, **given})


def bodies(base: Any) -> st.SearchStrategy[Any]:
    return st.builds(changed, st.just(base), st.lists(st.integers(0, 9), max_size=5), VALUES)


Tried = list[tuple[int, str, Any, str]]


def tried(
    sdk: Sdk, path: str, cases: st.SearchStrategy[Any], send: Callable[..., dict[str, Any]]
) -> Tried:
    """Post each case; those whose answer is the gateway's fault."""
    broken: Tried = []
    with requests.Session() as http:
        http.auth = (sdk.account_sid, sdk.auth_token)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def post(case: Any) -> None:
            try:
                request = send(case)
            except (ValueError, UnicodeError):  # no request at all: nothing can send it
                return
            response = http.post(sdk.base_url + path, timeout=60, **request)
            if response.status_code >= 500:
                broken.append((response.status_code, path, case, response.text[:100]))

        post()
    return broken


def as_form(case: dict[str, str]) -> dict[str, Any]:
    return {"data": {name: value.encode() for name, value in case.items()}}


def as_json(case: Any) -> dict[str, Any]:
    # As Python writes it: NaN, infinities and lone surrogates too.
    octets = json.dumps(case).encode("utf-8", "surrogatepass")
    return {"data": octets, "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize(
    ("path", "cases", "send"),
    [
        ("/2010-04-01/Accounts/{account}/Messages.json", forms(SEND, SEND_FIELDS), as_form),
        ("/messaging/v1/Services", forms({"FriendlyName": "x"}, SERVICE_FIELDS), as_form),
        ("/messaging/v1/Services/{service}", forms({}, SERVICE_FIELDS), as_form),
        (
            "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{number}.json",
            forms({}, NUMBER_FIELDS),
            as_form,
        ),
        ("/comms/v1/Messages", bodies(COMMS), as_json),
        ("/preview/v1/Messages", bodies(PREVIEW), as_json),
        ("/content/v1/Content", bodies(TEMPLATE), as_json),
        ("/tandem/v1/Carriers", bodies(CARRIER), as_json),
        ("/accounts/v1/Consents/Bulk", forms(CONSENTS, ("Items",)), as_form),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_no_value_is_the_gateways_fault(
    gateway: GatewayUnderTest,
    sdk: Sdk,
    path: str,
    cases: st.SearchStrategy[Any],
    send: Callable[..., dict[str, Any]],
) -> None:
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    path = path.format(account=sdk.account_sid, service=sdk.service_sid, number=number.sid)
    if cases is not None and "comms" in path:
        cases = bodies({**COMMS, "from": {"messagingServiceSid": sdk.service_sid}})
    assert await asyncio.to_thread(tried, sdk, path, cases, send) == []
    assert not any(task.done() for task in gateway.pipeline.stages._tasks), "a stage has ended"
    assert gateway.pipeline.acceptor.available
