"""Inbound messages reach their handler: a handset writes, an app is told, its replies go out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from hooks import HANDSET, Hooks, says, status, write
from inbound_apps import (
    alerts,
    configure_number,
    configure_service,
    inbound_behavior,
    messages,
    nothing_owed,
)
from testing import NUMBERS, GatewayUnderTest, Sdk, until
from twilio.twiml.messaging_response import MessagingResponse

from gateway.inbound.owed_webhook import handling
from gateway.messages.rows import from_row
from gateway.opt_out.keywords import Keyword
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


# Which handler (docs/spec/messaging-services.md#which-handler)
# -------------------------------------------------------


async def test_a_number_in_a_service_tells_its_own_webhook_with_every_parameter(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    await configure_number(sdk, sms_url=hooks.url("/sms?tenant=7"))
    await configure_service(sdk, inbound_request_url=hooks.url("/service"))
    await write(smsc, "héllo & 1+1=2", NUMBERS[0])
    [taken] = await hooks.has("/sms")
    [message] = await messages(sdk, "inbound", 1)
    assert taken.valid
    assert taken.method == "POST"
    assert taken.form == {
        "MessageSid": message.sid,
        "SmsSid": message.sid,
        "SmsMessageSid": message.sid,
        "AccountSid": sdk.account_sid,
        "MessagingServiceSid": sdk.service_sid,
        "From": HANDSET,
        "To": NUMBERS[0],
        "Body": "héllo & 1+1=2",
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsStatus": "received",
        "ApiVersion": "2010-04-01",
        "FromCountry": "GB",
        "ToCountry": "GB",
    }
    assert taken.headers["I-Twilio-Idempotency-Token"]
    await nothing_owed(gateway)
    assert hooks.at("/service") == []


async def test_a_number_in_no_service_tells_its_own_webhook_by_get(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    await sdk.call(
        sdk.client.incoming_phone_numbers.create,
        phone_number="+14155552671",
        sms_url=hooks.url("/sms?tenant=7"),
        sms_method="GET",
    )
    await write(smsc, "hi & bye", "+14155552671", sender="+12012005555")
    [taken] = await hooks.has("/sms")
    assert (taken.method, taken.valid) == ("GET", True)
    form = taken.form
    assert (form["tenant"], form["Body"]) == ("7", "hi & bye")
    assert "MessagingServiceSid" not in form
    place = {name: value for name, value in form.items() if name.startswith(("From", "To"))}
    assert place == {
        "From": "+12012005555",
        "FromCity": "JERSEY CITY",
        "FromState": "NJ",
        "FromZip": "",
        "FromCountry": "US",
        "To": "+14155552671",
        "ToCity": "SAN FRANCISCO",
        "ToState": "CA",
        "ToZip": "",
        "ToCountry": "US",
    }


async def test_a_service_with_a_webhook_of_its_own_is_told_and_its_numbers_are_not(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    await configure_number(sdk, sms_url=hooks.url("/number"))
    await configure_service(
        sdk,
        use_inbound_webhook_on_number=False,
        inbound_request_url=hooks.url("/service"),
        inbound_method="GET",
        fallback_url=hooks.url("/fallback"),
    )
    hooks.answers["/service"] = status(500)
    hooks.answers["/fallback"] = says("<Response><Message>from fallback</Message></Response>")
    await write(smsc, "hello", NUMBERS[0])
    [primary] = await hooks.has("/service")
    [fallback] = await hooks.has("/fallback")
    assert (primary.method, primary.valid) == ("GET", True)
    assert (fallback.method, fallback.valid) == ("POST", True)
    assert fallback.form == primary.form | {
        "ErrorCode": "11200",
        "ErrorUrl": hooks.url("/service"),
    }
    [reply] = await messages(sdk, "outbound-reply", 1)
    assert reply.body == "from fallback"
    [alert] = (await alerts(sdk, 11200)).values()
    whole = await sdk.call(sdk.client.monitor.v1.alerts(alert.sid).fetch)
    assert whole.resource_sid == primary.form["MessageSid"]
    assert whole.service_sid == sdk.service_sid
    assert whole.request_method == "GET"
    assert whole.request_url == hooks.url("/service")
    assert "Body=%285+characters%29" in whole.request_variables  # the text is the row's
    assert "X-Twilio-Signature" in whole.request_headers
    assert whole.response_body == "answer 500"
    assert hooks.at("/number") == []


async def test_a_number_with_an_application_tells_that(sdk: Sdk, smsc: Smsc, hooks: Hooks) -> None:
    application = await sdk.call(
        sdk.client.applications.create, friendly_name="app", sms_url=hooks.url("/application")
    )
    await configure_number(sdk, sms_url=hooks.url("/number"), sms_application_sid=application.sid)
    await write(smsc, "hello", NUMBERS[0])
    [taken] = await hooks.has("/application")
    assert taken.valid
    assert hooks.at("/number") == []


async def test_a_number_without_a_url_only_keeps_the_message(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    await write(smsc, "anyone?", NUMBERS[0])
    [message] = await messages(sdk, "inbound", 1)
    assert message.status == "received"
    await nothing_owed(gateway)


async def test_a_message_for_a_conversation_tells_no_webhook(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    await configure_number(sdk, sms_url=hooks.url("/number"))
    response = await inbound_behavior(sdk, "autocreate_conversation")
    assert '"inbound_behavior":"autocreate_conversation"' in response.text
    await write(smsc, "hello", NUMBERS[0])
    await messages(sdk, "inbound", 1)
    await nothing_owed(gateway)
    assert hooks.taken == []


async def test_the_behavior_of_a_service_follows_its_settings_until_it_is_set(sdk: Sdk) -> None:
    async def shown() -> Any:
        response = await sdk.call(
            sdk.client.request,
            "GET",
            f"{sdk.base_url}/messaging/v1/Services/{sdk.service_sid}",
        )
        text: str = response.text
        return text.partition('"inbound_behavior":"')[2].partition('"')[0]

    assert await shown() == "defer_to_sender"
    await configure_service(sdk, use_inbound_webhook_on_number=False)
    assert await shown() == "drop"
    await configure_service(sdk, inbound_request_url="https://app.example/sms")
    assert await shown() == "service_webhook"
    await inbound_behavior(sdk, "defer_to_sender")
    assert await shown() == "defer_to_sender"
    await inbound_behavior(sdk, "")
    assert await shown() == "service_webhook"
    refused = await inbound_behavior(sdk, "guess")
    assert refused.status_code == 400


async def test_a_service_without_a_webhook_drops_and_the_opt_out_counts_all_the_same(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    await configure_number(sdk, sms_url=hooks.url("/number"))
    await configure_service(sdk, use_inbound_webhook_on_number=False)
    await write(smsc, "STOP", NUMBERS[0])
    await until(lambda: gateway.inner.inbound.counts["dropped"] == 1)
    assert await messages(sdk, "inbound", 0) == []
    sent = await sdk.send(to=HANDSET)
    assert (await sdk.reaches(sent.sid, "failed")).error_code == 21610
    await nothing_owed(gateway)
    assert hooks.taken == []


async def test_an_app_is_told_of_a_stop_and_what_it_answers_is_blocked(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    hooks.answers["/sms"] = says("please stay", "text/plain")
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "stop", NUMBERS[0])
    [taken] = await hooks.has("/sms")
    assert "OptOutType" not in taken.form  # only of Advanced Opt-Out
    await nothing_owed(gateway)
    replies = {reply.body: reply for reply in await messages(sdk, "outbound-reply", 2)}
    await sdk.reaches(replies.pop("please stay").sid, "failed")
    [confirmation] = replies.values()
    await sdk.reaches(confirmation.sid, "delivered")
    found = await alerts(sdk, 21610)
    assert found[21610].log_level == "error"


async def test_the_type_of_a_keyword_is_told_where_the_row_says_so(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    await write(smsc, "hello", NUMBERS[0])
    [inbound] = await messages(sdk, "inbound", 1)
    await nothing_owed(gateway)
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    connection = await asyncpg.connect(gateway.database_url)
    bits = handling(webhook=True, keyword=Keyword.HELP, told=True)
    row = await connection.fetchrow(
        "UPDATE messages SET handling = $2 WHERE id = $1::uuid RETURNING *", inbound.sid[2:], bits
    )
    await connection.close()
    assert row is not None
    gateway.inner.handlers.handle(from_row(row))
    gateway.inner.handlers.handle(from_row(row))  # whoever hands it on again changes nothing
    await nothing_owed(gateway)
    [taken] = hooks.at("/sms")
    assert taken.form["OptOutType"] == "HELP"


async def test_a_short_code_tells_its_own_url_and_without_one_nobody(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    """The last sentence of docs/spec/messaging-services.md#which-handler: what has no webhook is
    logged, and that is all."""
    await sdk.add_short_code("60777", "GB", SmsUrl=hooks.url("/short"))
    await sdk.add_short_code("60778", "GB")
    await write(smsc, "to nobody", "60778")
    await write(smsc, "to an app", "60777")
    [told] = await hooks.has("/short")
    assert (told.form["Body"], told.form["To"], told.valid) == ("to an app", "60777", True)
    listed = await sdk.call(sdk.client.messages.list, from_=HANDSET)
    assert {one.body for one in listed} == {"to nobody", "to an app"}
    assert len(hooks.taken) == 1


# Replies ---------------------------------------------------------------------------------------


async def test_the_sdks_twiml_becomes_replies_with_callbacks(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    response = MessagingResponse()
    response.message("one", action="/done")
    response.message("two", to="+441632960001", from_=NUMBERS[1])
    response.redirect("more")
    hooks.answers["/app/sms"] = says(str(response))
    hooks.answers["/app/more"] = says("three", "text/plain")
    await configure_number(sdk, sms_url=hooks.url("/app/sms"))
    await write(smsc, "hello", NUMBERS[0])
    replies = await messages(sdk, "outbound-reply", 3)
    assert [(reply.body, reply.to, reply.from_) for reply in replies] == [
        ("one", HANDSET, NUMBERS[0]),
        ("two", "+441632960001", NUMBERS[1]),
        ("three", HANDSET, NUMBERS[0]),
    ]
    assert {reply.messaging_service_sid for reply in replies} == {sdk.service_sid}
    for reply in replies:
        await sdk.reaches(reply.sid, "delivered")
    [first, again] = [*hooks.at("/app/sms"), *hooks.at("/app/more")]
    assert again.form == first.form
    assert again.valid
    await until(lambda: any(t.form["MessageStatus"] == "delivered" for t in hooks.at("/done")))
    assert {taken.form["MessageSid"] for taken in hooks.at("/done")} == {replies[0].sid}
    assert all(taken.valid for taken in hooks.at("/done"))


async def test_ten_replies_are_sent_and_the_eleventh_is_14109(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    def document(count: int) -> str:
        return f"<Response>{'<Message>x</Message>' * count}</Response>"

    hooks.answers["/sms"] = says(document(10))
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "ten", NUMBERS[0])
    await messages(sdk, "outbound-reply", 10)
    await nothing_owed(gateway)
    assert await sdk.call(sdk.client.monitor.v1.alerts.list) == []
    hooks.answers["/sms"] = says(document(11))
    await write(smsc, "eleven", NUMBERS[0], sender="+447700900501")
    await alerts(sdk, 14109)
    await nothing_owed(gateway)
    assert len(await messages(sdk, "outbound-reply", 20)) == 20


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ('<Message to="nobody">a</Message>', 14101),
        (f'<Message to="{NUMBERS[0]}">a</Message>', 14101),
        ('<Message from="+447700900999">a</Message>', 14102),
        ("<Message/>", 14103),
        (f"<Message>{'x' * 1601}</Message>", 14103),
        ("<Message><Media>https://app.example/a.png</Media></Message>", 14103),
        ('<Redirect method="PUT">/other</Redirect>', 14104),
        ('<Message statusCallback="ftp://app.example/">sent</Message>', 14105),
        ("<Message>sent<Media>https://app.example/a.png</Media></Message>", 14103),
        ("<Fax>a</Fax>", 12200),
        ("<Say>a</Say>", 14110),
    ],
)
async def test_a_verb_that_cannot_be_run_is_an_alert_and_the_others_are_run(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest, verb: str, code: int
) -> None:
    hooks.answers["/sms"] = says(f"<Response><Message>sent</Message>{verb}</Response>")
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    found = await alerts(sdk, code)
    await nothing_owed(gateway)
    assert set(found) == {code}
    expected = 1 + (">sent<" in verb)
    replies = await messages(sdk, "outbound-reply", expected)
    assert [reply.body for reply in replies] == ["sent"] * expected


async def test_a_number_in_no_service_replies_by_itself(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    hooks.answers["/sms"] = says(
        '<Response><Message statusCallback="/done">near</Message>'
        '<Message to="+441632960001">far</Message></Response>'
    )
    await sdk.call(
        sdk.client.incoming_phone_numbers.create,
        phone_number="+18885550100",
        sms_url=hooks.url("/sms"),
    )
    await write(smsc, "hello", "+18885550100", sender="+12012005555")
    await hooks.has("/sms")
    await nothing_owed(gateway)
    near, *rest = await messages(sdk, "outbound-reply", 1)
    assert (near.body, near.from_, near.messaging_service_sid) == ("near", "+18885550100", None)
    await sdk.reaches(near.sid, "delivered")
    # What a plain From could not reach either is not stored: it is an alert with that code.
    codes = set(await alerts(sdk, 21612))
    assert (rest, codes) == ([], {21612})


async def test_a_number_that_sends_no_sms_is_14108(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    number = await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number="+447700900199")
    url = f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/IncomingPhoneNumbers"
    await sdk.call(
        sdk.client.request, "POST", f"{url}/{number.sid}.json", data={"SmsEnabled": "false"}
    )
    hooks.answers["/sms"] = says(
        '<Response><Message from="+447700900199">no</Message><Message>yes</Message></Response>'
    )
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    await alerts(sdk, 14108)
    await nothing_owed(gateway)
    assert [reply.body for reply in await messages(sdk, "outbound-reply", 1)] == ["yes"]


async def test_redirects_in_a_circle_end_after_fifty_documents(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    hooks.answers["/sms"] = says("<Response><Redirect/></Response>")
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    await alerts(sdk, 14106)
    await nothing_owed(gateway)
    assert len(hooks.at("/sms")) == 50


async def test_a_machine_that_answers_every_reply_is_stopped_after_fifteen(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    hooks.answers["/sms"] = says("pong", "text/plain")
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    for number in range(16):
        await write(smsc, f"ping {number}", NUMBERS[0])
        await hooks.has("/sms", number + 1)
    await alerts(sdk, 14107)
    await nothing_owed(gateway)
    assert len(await messages(sdk, "outbound-reply", 15)) == 15


async def test_a_message_from_an_own_number_tells_no_webhook(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "loop", NUMBERS[0], sender=NUMBERS[1])
    await write(smsc, "loop", NUMBERS[0], sender=NUMBERS[0])
    found = await alerts(sdk, 30039)
    assert found[30039].log_level == "warning"
    await messages(sdk, "inbound", 2)
    await nothing_owed(gateway)
    assert hooks.taken == []


async def test_cookies_are_kept_for_a_pair_of_numbers(sdk: Sdk, smsc: Smsc, hooks: Hooks) -> None:
    async def count(request: web.Request) -> web.Response:
        number = int(request.cookies.get("count", "0")) + 1
        response = web.Response(text=str(number), content_type="text/plain")
        response.set_cookie("count", str(number))
        return response

    hooks.answers["/sms"] = count
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    for number, sender in enumerate((HANDSET, HANDSET, "+447700900501"), start=1):
        await write(smsc, "hello", NUMBERS[0], sender=sender)
        await messages(sdk, "outbound-reply", number)
    assert [m.body for m in await messages(sdk, "outbound-reply", 3)] == ["1", "2", "1"]


async def test_an_app_that_two_processes_told_of_a_message_replies_once(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest
) -> None:
    hooks.answers["/sms"] = says("once", "text/plain")
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    [inbound] = await messages(sdk, "inbound", 1)
    await messages(sdk, "outbound-reply", 1)
    await nothing_owed(gateway)
    connection = await asyncpg.connect(gateway.database_url)
    row = await connection.fetchrow(
        "UPDATE messages SET handling = $2 WHERE id = $1::text::uuid RETURNING *",
        inbound.sid[2:],
        handling(webhook=True),
    )
    await connection.close()
    assert row is not None
    message = from_row(row)  # as another process that had not heard that it is done
    handled = gateway.inner.handlers.handled
    gateway.inner.handlers.handle(message)
    await until(lambda: gateway.inner.handlers.handled == handled + 1)
    assert len(hooks.at("/sms")) == 2
    assert len(await messages(sdk, "outbound-reply", 1)) == 1
