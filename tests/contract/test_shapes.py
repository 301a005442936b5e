"""Sends whose shape is known: the same drafts as read whole, and never of what is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Sdk, basic

from gateway.acceptance.draft import Draft
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form, SendForm, parse_form

FORMS = 2_000
BODIES = (
    "hi",
    "",
    " ",
    "a\x00b",
    "ü" * 70,
    "x" * 1600,
    "x" * 1601,
    "\u20ac{}",
    "https://a.example/x",
)
RECIPIENTS = (
    *(TO, "+44 7400 900002", "447400900003", "07400900004", "+12015550123", "+999", "", "x"),
    *("whatsapp:+447400900001", NUMBERS[0], NUMBERS[1], "+33612345678", "12345"),
)


def _senders(sdk: Sdk) -> list[dict[str, str]]:
    return [
        {"From": NUMBERS[0]},
        {"From": "+447700900999"},
        {"From": "Tandem"},
        {"From": "whatsapp:" + NUMBERS[0]},
        {"From": sdk.service_sid},
        {"MessagingServiceSid": sdk.service_sid},
        {"MessagingServiceSid": sdk.service_sid, "From": NUMBERS[1]},
        {"MessagingServiceSid": "MG" + "0" * 32},
        {},
    ]


MORE: tuple[dict[str, str], ...] = (
    *({}, {}, {}),
    {"StatusCallback": "https://app.example/s?x=1"},
    {"StatusCallback": "ftp://x"},
    {"ValidityPeriod": "60"},
    {"ValidityPeriod": "0"},
    {"SmartEncoded": "true"},
    {"SmartEncoded": "false"},
    {"MediaUrl": "https://app.example/a.png"},
    {"SendAt": "2030-01-01T00:00:00Z", "ScheduleType": "fixed"},
    {"ContentSid": "HX" + "0" * 32},
    {"ContentRetention": "discard"},
    {"AddressRetention": "x"},
    {"Tags": '{"a":"b"}'},
    {"ShortenUrls": "true"},
    {"SmppTlv.0x1400": "01"},
    {"MaxPrice": "0.1"},
    {"": "nothing"},
    {"Unknown": "1"},
)


def _octets(form: dict[str, str], random: Random) -> bytes:
    """A form as some client may write it."""
    pairs = [(quote_plus(name), quote_plus(value)) for name, value in form.items()]
    if random.random() < 0.1:
        random.shuffle(pairs)
    if random.random() < 0.05:
        pairs.append(random.choice([("To", "%2B447400900009"), ("Body", "again"), ("T%6F", "x")]))
    if random.random() < 0.03:
        pairs.append(random.choice([("Body", "%FF"), ("X", "%FF"), ("To", "%FF")]))
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


def _outcome(draft: Callable[[], Draft]) -> Any:
    """All that is decided of a draft, or the error."""
    try:
        made = draft()
    except ApiError as error:
        return error.code, error.message, error.status
    message = made.message
    fields = {name: getattr(message, name) for name in message.__slots__ if name != "__weakref__"}
    del fields["id"]
    fields["valid_until"] = round(fields["valid_until"], -1)
    rest = {
        name: getattr(made, name) for name in Draft.__slots__ if name not in ("message", "links")
    }
    return fields | rest


@pytest.fixture
async def gateway(start_gateway: Any, smsc: Any) -> GatewayUnderTest:
    """With caches, whatever the suite is run with."""
    gateway: GatewayUnderTest = await start_gateway(smsc.port, caches=True)
    return gateway


async def test_any_form_by_both_ways(gateway: GatewayUnderTest, sdk: Sdk) -> None:
    creation, random = gateway.inner.server.creation, Random(17)
    account = next(iter(creation.directory.accounts.values()))
    senders = _senders(sdk)
    forms = [random.choice(senders) | random.choice(MORE) | random.choice(MORE) for _ in range(60)]
    for _ in range(FORMS):
        form = random.choice(forms)
        octets = _octets(
            {"To": random.choice(RECIPIENTS), **form, "Body": random.choice(BODIES)}, random
        )

        def known(octets: bytes = octets) -> Draft:
            return creation.draft(account, SendForm(octets))

        def whole(octets: bytes = octets) -> Draft:
            return creation.draft(account, parse_form(octets))

        assert _outcome(known) == _outcome(whole), octets
    assert creation.shapes.hits > FORMS / 10


Send = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def send(sdk: Sdk) -> Any:
    """One connection, on which everything is known by now."""
    async with aiohttp.ClientSession() as session:

        async def post(token: str = "", **form: str) -> tuple[int, dict[str, Any]]:
            who = basic(sdk.account_sid, token or sdk.auth_token)
            async with session.post(
                f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
                data={"To": TO, "Body": "hello", **form},
                headers={"Authorization": who},
            ) as response:
                return response.status, await response.json()

        yield post


async def test_the_very_next_request_feels_a_change(
    gateway: GatewayUnderTest, sdk: Sdk, send: Send
) -> None:
    through, plain = {"MessagingServiceSid": sdk.service_sid}, {"From": NUMBERS[0]}
    for _ in range(4):
        assert (await send(**through))[0] == 201
        assert (await send(**plain))[0] == 201
    server = gateway.inner.server
    assert server.creation.shapes.hits
    assert server.known.heads.hits
    assert server.known.credentials.hits
    service = sdk.client.messaging.v1.services(sdk.service_sid)
    numbers = await sdk.call(sdk.client.incoming_phone_numbers.list)
    first = next(number for number in numbers if number.phone_number == NUMBERS[0])
    await sdk.call(first.delete)
    assert (await send(**plain))[1]["code"] == 21659
    second = next(number for number in numbers if number.phone_number == NUMBERS[1])
    await sdk.call(second.delete)
    assert (await send(**through))[1]["code"] == 21704
    await sdk.call(service.delete)
    assert (await send(**through))[1]["code"] == 21701


async def test_the_very_next_request_feels_a_rotated_token(sdk: Sdk, send: Send) -> None:
    form = {"From": NUMBERS[0]}
    old = sdk.auth_token
    secondary = await sdk.call(sdk.client.accounts.v1.secondary_auth_token().create)
    new = secondary.secondary_auth_token
    for _ in range(4):
        assert (await send(new, **form))[0] == 201
        assert (await send(old, **form))[0] == 201
    await sdk.call(sdk.client.accounts.v1.auth_token_promotion().update)
    assert (await send(old, **form))[0] == 401
    assert (await send(new, **form))[0] == 201


async def test_forms_that_never_come_again_evict_nobodys_shape(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    creation = gateway.inner.server.creation
    account = next(iter(creation.directory.accounts.values()))

    def draft(more: str = "") -> None:
        creation.draft(
            account,
            SendForm(f"To={quote_plus(TO)}&Body=x&From={quote_plus(NUMBERS[0])}{more}".encode()),
        )

    for _ in range(3):
        draft()
    for number in range(10_000):
        draft(f"&Unknown={number}")
    assert len(creation.shapes) == 1
    for number in range(1_000):  # and those that do give way to each other
        for _ in range(2):
            draft(f"&Unknown={number}")
    assert len(creation.shapes) <= 256


async def test_without_caches_nothing_is_known(start_gateway: Any, smsc: Any) -> None:
    gateway = await start_gateway(smsc.port, caches=False)
    sdk = await gateway.sdk()
    for _ in range(4):
        await sdk.send()
    server = gateway.inner.server
    assert not server.creation.shapes.hits
    assert not server.known.heads.hits
    assert not len(server.known.credentials)


def test_a_form_is_read_whole_when_it_is_asked_for() -> None:
    octets = b"To=%2B44&A=1&Body=x+y&B=&A=2&=z&C"
    lazy, whole = SendForm(octets), parse_form(octets)
    assert (lazy.to, lazy.body, lazy.shape) == ("+44", "x y", b"A=1&B=&A=2&=z&C")
    assert list(lazy.items()) == list(whole.items())
    assert lazy.is_shaped
    assert not SendForm(octets + b"&T%6f=1").is_shaped
    for none in (b"", b"To=1", b"Body=1", b"To=&Body=x"):
        assert SendForm(none).shape is None
    assert isinstance(lazy, Form)
