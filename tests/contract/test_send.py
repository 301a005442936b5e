"""`POST Messages`: what is refused, with which code, on both lanes alike
(docs/spec/twilio-api.md#create-parameters, docs/spec/twilio-api.md#synchronous-errors)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import asyncpg
import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Sdk, basic
from twilio.base.exceptions import TwilioRestException

FORM = "application/x-www-form-urlencoded"
MISSING = object()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["fast", "slow"])
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def post(
    http: aiohttp.ClientSession,
    sdk: Sdk,
    lane: str,
    form: dict[str, Any],
    *,
    content_type: str = FORM,
    authorization: str | None = None,
    account_sid: str | None = None,
) -> tuple[int, dict[str, Any], Any]:
    """Post a form in the fast lane, or (chunked, so of unknown length) in the slow one."""
    body = urlencode(form, doseq=True).encode()

    async def chunked() -> AsyncIterator[bytes]:
        yield body

    async with http.post(
        f"{sdk.base_url}/2010-04-01/Accounts/{account_sid or sdk.account_sid}/Messages.json",
        data=body if lane == "fast" else chunked(),
        headers={
            "Content-Type": content_type,
            "Authorization": authorization or basic(sdk.account_sid, sdk.auth_token),
        },
    ) as response:
        return response.status, await response.json(), response.headers.copy()


async def stored(gateway: GatewayUnderTest) -> int:
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM messages"))
    finally:
        await connection.close()


def form(sdk: Sdk, **changes: Any) -> dict[str, Any]:
    """A good form, with fields replaced or taken out."""
    good = {"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "hello"} | changes
    return {name: value for name, value in good.items() if value is not MISSING}


REFUSED: list[tuple[str, dict[str, Any], int, int]] = [
    ("no To", {"To": MISSING}, 400, 21604),
    ("empty To", {"To": ""}, 400, 21604),
    ("To is text", {"To": "not a number"}, 400, 21211),
    ("To is too short", {"To": "+1555"}, 400, 21211),
    ("To is too long", {"To": "+1234567890123456"}, 400, 21211),
    ("To is a short code", {"To": "12345"}, 400, 21265),
    ("To is of another channel", {"To": f"whatsapp:{TO}"}, 400, 21703),
    ("To is a URI", {"To": f"tel:{TO}"}, 400, 21211),
    ("To is a URI in a channel", {"To": f"whatsapp:tel:{TO}"}, 400, 21211),
    ("To is of no channel that there is", {"To": f"telegram:{TO}"}, 400, 21211),
    ("From is a URI", {"From": f"tel:{NUMBERS[0]}"}, 400, 21212),
    ("To is no number of its channel", {"To": "whatsapp:me"}, 400, 21211),
    (
        "a channel without a service",
        {"To": f"rcs:{TO}", "From": "rcs:agent", "MessagingServiceSid": MISSING},
        400,
        63007,
    ),
    ("From is of another channel than To", {"From": f"whatsapp:{NUMBERS[0]}"}, 400, 21910),
    ("no sender", {"MessagingServiceSid": MISSING}, 400, 21603),
    ("From malformed", {"MessagingServiceSid": MISSING, "From": "+12"}, 400, 21212),
    ("From only digits, too long", {"MessagingServiceSid": MISSING, "From": "1" * 20}, 400, 21212),
    ("From not ours", {"MessagingServiceSid": MISSING, "From": "+447700900999"}, 400, 21659),
    ("From equals To", {"From": NUMBERS[0], "To": NUMBERS[0]}, 400, 21266),
    ("no content", {"Body": MISSING}, 400, 21619),
    ("blank body", {"Body": "  \n"}, 400, 21602),
    ("body too long", {"Body": "x" * 1601}, 400, 21617),
    ("body too long in UTF-16", {"Body": "😀" * 801}, 400, 21617),
    ("NUL in the body", {"Body": "a\x00b", "SmartEncoded": "false"}, 400, 21618),
    ("service SID malformed", {"MessagingServiceSid": "MG123"}, 400, 21705),
    ("service unknown", {"MessagingServiceSid": "MG" + "0" * 32}, 404, 21701),
    ("callback not a URL", {"StatusCallback": "nonsense"}, 400, 21609),
    ("callback not http", {"StatusCallback": "ftp://example.org/"}, 400, 21609),
    ("callback host with _", {"StatusCallback": "http://a_b.example.org/"}, 400, 21609),
    ("callback too long", {"StatusCallback": "http://a.org/" + "x" * 3990}, 400, 21609),
    ("validity 0", {"ValidityPeriod": "0"}, 400, 21624),
    ("validity 36001", {"ValidityPeriod": "36001"}, 400, 21624),
    ("validity not whole", {"ValidityPeriod": "1.5"}, 400, 21624),
    ("media malformed", {"MediaUrl": "nonsense"}, 400, 21620),
    ("eleven media", {"MediaUrl": ["http://a.org/1.png"] * 11}, 400, 21623),
    ("smart encoding not a bool", {"SmartEncoded": "perhaps"}, 400, 20001),
    ("content retention odd", {"ContentRetention": "burn"}, 400, 30029),
    ("address retention odd", {"AddressRetention": "burn"}, 400, 30030),
    ("an unknown template", {"ContentSid": "HX" + "0" * 32}, 400, 21655),
    ("variables without a template", {"ContentVariables": "{}"}, 400, 21654),
    ("links without a domain", {"ShortenUrls": "true"}, 400, 30106),
    (
        "links without a service",
        {"ShortenUrls": "true", "MessagingServiceSid": MISSING, "From": NUMBERS[0]},
        400,
        30124,
    ),
    ("an unknown application", {"ApplicationSid": "AP" + "0" * 32}, 400, 21420),
    ("price 0", {"MaxPrice": "0"}, 400, 21627),
    ("price negative", {"MaxPrice": "-1"}, 400, 21627),
    ("attempt not a number", {"Attempt": "first"}, 422, 20422),
    ("traffic not free", {"TrafficType": "paid"}, 400, 20001),
    ("risk check odd", {"RiskCheck": "maybe"}, 400, 20001),
    ("feedback not a bool", {"ProvideFeedback": "maybe"}, 400, 20001),
    ("eleven actions", {"PersistentAction": ["a"] * 11}, 400, 21658),
    ("a long intent", {"MessageIntent": "x" * 1001}, 400, 21658),
    ("tags no object", {"Tags": "[1]"}, 422, 20422),
    ("tags no JSON", {"Tags": "{"}, 422, 20422),
    ("eleven tags", {"Tags": json.dumps({str(n): "" for n in range(11)})}, 422, 20422),
    ("a long tag name", {"Tags": json.dumps({"x" * 129: ""})}, 422, 20422),
    ("a long tag", {"Tags": json.dumps({"x": "y" * 257})}, 422, 20422),
    ("a tag that is no text", {"Tags": '{"x": 1}'}, 422, 20422),
    ("a schedule without a time", {"ScheduleType": "fixed"}, 400, 35111),
    ("a time without a schedule", {"SendAt": "2100-01-01T00:00:00Z"}, 400, 35126),
    ("an odd schedule", {"ScheduleType": "daily", "SendAt": "2100-01-01T00:00:00Z"}, 400, 35126),
    ("a time that is none", {"ScheduleType": "fixed", "SendAt": "tomorrow"}, 400, 35114),
    ("a time long gone", {"ScheduleType": "fixed", "SendAt": "2020-01-01T00:00:00Z"}, 400, 35114),
    (
        "a schedule without a service",
        {
            "ScheduleType": "fixed",
            "SendAt": "2100-01-01T00:00:00Z",
            "MessagingServiceSid": MISSING,
            "From": NUMBERS[0],
        },
        400,
        35118,
    ),
]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
async def test_a_bad_send_is_refused_and_nothing_is_stored(
    http: aiohttp.ClientSession,
    sdk: Sdk,
    gateway: GatewayUnderTest,
    changes: dict[str, Any],
    status: int,
    code: int,
) -> None:
    for lane in ("fast", "slow"):
        answer = await post(http, sdk, lane, form(sdk, **changes))
        assert answer[0] == status, answer[1]
        error = answer[1]
        assert set(error) == {"code", "message", "more_info", "status"}
        assert error["code"] == code
        assert error["status"] == status
        assert error["more_info"].endswith(f"/{code}")
        assert error["message"]
    assert await stored(gateway) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"Body": "x" * 1600},
        {"Body": "😀" * 800},
        {"ValidityPeriod": "1"},
        {"ValidityPeriod": "36000"},
        {"StatusCallback": "http://127.0.0.1:1/" + "x" * 3900},
        {"SmartEncoded": "TRUE"},
        {"To": "+44 (1632) 960-675"},
        {"Unknown": "ignored"},
        {"ContentRetention": "retain", "SendAsMms": "false"},
        {"Body": "ümläut & 1+1=2 %"},
        {"Tags": json.dumps({"x" * 128: "y" * 256} | {str(n): "" for n in range(9)})},
        {"MaxPrice": "0.01", "Attempt": "2", "ForceDelivery": "true", "TrafficType": "free"},
        {"RiskCheck": "disable", "MessageIntent": "otp", "FallbackFrom": NUMBERS[0]},
        {"PersistentAction": ["geo:1,2"] * 10},
        {"ShortenUrls": "false"},
        {"To": "01632 960 675", "From": NUMBERS[0]},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_the_good_side_of_each_limit_is_accepted(
    http: aiohttp.ClientSession, sdk: Sdk, lane: str, changes: dict[str, Any]
) -> None:
    status, body, headers = await post(http, sdk, lane, form(sdk, **changes))
    assert status == 201, body
    assert body["to"] == TO
    assert body["body"] == changes.get("Body", "hello")
    assert headers["twilio-request-id"].startswith("RQ")
    assert headers["content-type"] == "application/json"


async def test_wrong_credentials_are_401_for_every_reason(
    http: aiohttp.ClientSession, sdk: Sdk, gateway: GatewayUnderTest, lane: str
) -> None:
    for authorization, account_sid in (
        (basic(sdk.account_sid, "wrong"), None),
        (basic("AC" + "f" * 32, sdk.auth_token), None),
        (basic(sdk.account_sid, sdk.auth_token), "AC" + "f" * 32),
        ("Basic !!!", None),
        ("Bearer x", None),
    ):
        status, body, headers = await post(
            http, sdk, lane, form(sdk), authorization=authorization, account_sid=account_sid
        )
        assert (status, body["code"]) == (401, 20003)
        assert headers["WWW-Authenticate"].startswith("Basic")
    assert await stored(gateway) == 0


async def test_a_body_that_is_no_form_is_refused(
    http: aiohttp.ClientSession, sdk: Sdk, lane: str
) -> None:
    status, body, _ = await post(http, sdk, lane, form(sdk), content_type="application/json")
    assert (status, body["code"]) == (415, 20415)


async def test_a_body_over_the_limit_is_413(http: aiohttp.ClientSession, sdk: Sdk) -> None:
    for lane in ("fast", "slow"):
        status, body, _ = await post(http, sdk, lane, form(sdk, Unknown="x" * 70_000))
        assert (status, body["code"]) == (413, 20413)


async def test_the_sdk_raises_with_code_and_status(sdk: Sdk) -> None:
    with pytest.raises(TwilioRestException) as caught:
        await sdk.send(to="nonsense")
    assert (caught.value.code, caught.value.status) == (21211, 400)
    with pytest.raises(TwilioRestException) as caught:
        await sdk.send(messaging_service_sid="MG" + "0" * 32)
    assert (caught.value.code, caught.value.status) == (21701, 404)


async def test_a_plain_from_is_queued_at_once_with_its_segments(sdk: Sdk) -> None:
    message = await sdk.send("x" * 200, from_=NUMBERS[0])
    assert (message.status, message.from_, message.num_segments) == ("queued", NUMBERS[0], "2")
    assert message.messaging_service_sid is None
    assert (await sdk.reaches(message.sid, "delivered")).from_ == NUMBERS[0]


async def test_an_explicit_from_of_the_pool_is_used(sdk: Sdk) -> None:
    for number in NUMBERS:
        message = await sdk.send(messaging_service_sid=sdk.service_sid, from_=number)
        assert message.status == "accepted"
        assert (await sdk.reaches(message.sid, "delivered")).from_ == number


async def test_an_explicit_from_outside_the_pool_fails_later(sdk: Sdk) -> None:
    message = await sdk.send(messaging_service_sid=sdk.service_sid, from_="+447700900555")
    assert message.status == "accepted"
    final = await sdk.reaches(message.sid, "failed")
    assert final.error_code == 21711
    assert final.error_message


async def test_an_empty_pool_is_told_at_once(sdk: Sdk) -> None:
    service = await sdk.call(sdk.client.messaging.v1.services.create, "Empty")
    with pytest.raises(TwilioRestException) as caught:
        await sdk.send(messaging_service_sid=service.sid)
    assert (caught.value.code, caught.value.status) == (21704, 400)


async def test_smart_encoding_follows_the_service_and_the_message(sdk: Sdk) -> None:
    text = "“quoted” — and so on…"
    smart = await sdk.reaches((await sdk.send(text)).sid, "delivered")
    assert smart.body == '"quoted" - and so on...'
    plain = await sdk.reaches((await sdk.send(text, smart_encoded=False)).sid, "delivered")
    assert plain.body == text


async def test_pipelined_requests_are_answered_in_order(sdk: Sdk) -> None:
    import asyncio

    host, port = sdk.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    head = f"Host: x\r\nAuthorization: {basic(sdk.account_sid, sdk.auth_token)}\r\n"
    requests = b""
    for number in range(3):
        body = urlencode(form(sdk, Body=f"pipelined {number}")).encode()
        requests += (
            f"POST {path} HTTP/1.1\r\n{head}Content-Type: {FORM}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
    requests += f"GET {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()
    writer.write(requests)
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.count("HTTP/1.1 201") == 3
    assert answer.count("HTTP/1.1 200") == 1
    places = [answer.index(f"pipelined {number}") for number in range(3)]
    assert places == sorted(places)
