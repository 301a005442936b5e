"""Advanced Opt-Out through the simulator: docs/spec/messaging-services.md#observable-checks row 18,
and docs/spec/messaging-services.md#effects-of-keywords."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hooks import HANDSET, Hooks, write
from testing import NUMBERS, GatewayUnderTest, Sdk, until

from gateway.opt_out.keywords import default_entries
from smpp.smsc import Smsc

OPT_OUTS = "/messaging/v3/OptOuts"
MEXICAN = "+525512345678"
REPLIES = {entry.keyword.name: entry.reply for entry in default_entries()}
STANDARD = {"keyword_type": "STOP.ALL", "message_type": "ALL", "keywords": ["STOP", "BASTA"]}
MEXICO = {"keyword_type": "STOP.SPANISH", "message_type": "MX", "keywords": ["ALTO"]}
ADIOS = {"keyword_type": "STOP.SPANISH", "message_type": "MX", "message": "Adiós, sin mensajes"}


@pytest.fixture
async def config(sdk: Sdk, hooks: Hooks) -> str:
    """A configuration that is on, of a service whose app listens at /sms; its SID."""
    await sdk.call(
        sdk.client.messaging.v1.services(sdk.service_sid).update,
        use_inbound_webhook_on_number=False,
        inbound_request_url=hooks.url("/sms"),
    )
    form = {"FriendlyName": "x", "MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    status, body = await sdk.operate("POST", OPT_OUTS, data=form)
    assert status == 201, body
    return str(body["opt_out_sid"])


def got(smsc: Smsc, handset: str = HANDSET) -> list[str]:
    return [json.loads(line)["text"] for line in smsc.ledger.lines(handset)]


async def told(smsc: Smsc, hooks: Hooks, text: str, to: str, sender: str) -> dict[str, str]:
    """What the app was told of one more message."""
    count = len(hooks.at("/sms"))
    await write(smsc, text, to, sender=sender)
    return (await hooks.has("/sms", count + 1))[-1].form


async def put(sdk: Sdk, config: str, path: str, key: str, *rows: Any) -> None:
    status, body = await sdk.operate("PUT", f"{OPT_OUTS}/{config}/{path}", json={key: list(rows)})
    assert status == 200, body


async def test_a_countrys_keyword_has_its_reply_and_the_app_is_told(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, config: str
) -> None:
    """docs/spec/messaging-services.md#observable-checks row 18."""
    await put(sdk, config, "Keywords", "keywords", MEXICO)
    await put(sdk, config, "Messages", "messages", ADIOS)
    form = await told(smsc, hooks, "alto", NUMBERS[0], MEXICAN)
    assert (form["OptOutType"], form["Body"]) == ("STOP", "alto")
    await until(lambda: got(smsc, MEXICAN) == ["Adiós, sin mensajes"])
    blocked = await sdk.send("hola", MEXICAN)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610


async def test_every_row_of_the_effects(sdk: Sdk, smsc: Smsc, hooks: Hooks, config: str) -> None:
    """docs/spec/messaging-services.md#effects-of-keywords, Advanced: START and YES are answered
    though nothing is blocked, and so is HELP."""

    async def says(words: str) -> str | None:
        return (await told(smsc, hooks, words, NUMBERS[0], HANDSET)).get("OptOutType")

    expected: list[str] = []
    for words, kind, reply in (
        ("START", "START", "START"),  # not blocked: a reply
        ("yes", "START", "START"),
        ("HELP", "HELP", "HELP"),
        ("hello", None, None),  # an ordinary message: no parameter
        ("STOP", "STOP", "STOP"),
        ("STOP", "STOP", None),  # blocked already: none
        ("HELP", "HELP", None),  # blocked: none
        ("START", "START", "START"),  # lifts the block
    ):
        assert await says(words) == kind
        if reply is not None:
            expected.append(REPLIES[reply])
        await until(lambda: got(smsc) == expected)
    sent = await sdk.send("welcome back", HANDSET)
    await sdk.reaches(sent.sid, "delivered")


async def test_a_short_code_of_the_pool_takes_keywords_too(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, config: str
) -> None:
    sid = await sdk.add_short_code("60777", "GB")
    pool = sdk.client.messaging.v1.services(sdk.service_sid).short_codes
    await sdk.call(pool.create, short_code_sid=sid)
    form = await told(smsc, hooks, "STOP", "60777", HANDSET)
    assert form["OptOutType"] == "STOP"
    await until(lambda: got(smsc) == [REPLIES["STOP"]])
    for sender in ("60777", NUMBERS[0]):  # the whole service is blocked
        blocked = await sdk.send(
            "hello", HANDSET, from_=sender, messaging_service_sid=sdk.service_sid
        )
        assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610


async def test_edits_while_it_is_off_count_once_it_is_on(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, config: str
) -> None:
    off = f"/tandem/v1/OptOuts/{config}/Disable"
    assert (await sdk.operate("POST", off, data={}))[0] == 200
    await put(sdk, config, "Keywords", "keywords", STANDARD)
    assert "OptOutType" not in await told(smsc, hooks, "basta", NUMBERS[0], HANDSET)
    assert "OptOutType" not in await told(smsc, hooks, "HELP", NUMBERS[0], HANDSET)
    await sdk.operate("POST", f"{OPT_OUTS}/{config}", data={"Enabled": "true"})
    form = await told(smsc, hooks, "basta", NUMBERS[0], HANDSET)
    assert form["OptOutType"] == "STOP"
    # A word of the standard set that its replacement has not is an ordinary one.
    assert "OptOutType" not in await told(smsc, hooks, "cancel", NUMBERS[0], HANDSET)
    await until(lambda: got(smsc) == [REPLIES["HELP"], REPLIES["STOP"]])


async def test_other_services_and_lone_numbers_go_on_by_default(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, config: str, gateway: GatewayUnderTest
) -> None:
    alone = "+447700900901"
    await sdk.call(
        sdk.client.incoming_phone_numbers.create, phone_number=alone, sms_url=hooks.url("/sms")
    )
    assert "OptOutType" not in await told(smsc, hooks, "START", alone, HANDSET)
    assert "OptOutType" not in await told(smsc, hooks, "STOP", alone, HANDSET)
    await until(lambda: got(smsc) == [REPLIES["STOP"]])
    sent = await sdk.send("by the service", HANDSET)
    await sdk.reaches(sent.sid, "delivered")
