"""Content templates through the SDK, and messages made from them."""

from __future__ import annotations

from typing import Any

from testing import TO, Sdk
from twilio.rest.content.v1.content import ContentList


def request(body: str, **more: Any) -> ContentList.ContentCreateRequest:
    return ContentList.ContentCreateRequest(
        {
            "friendly_name": "greeting",
            "language": "en",
            "variables": {"1": "you"},
            "types": {"twilio/text": {"body": body}},
            **more,
        }
    )


async def send(sdk: Sdk, sid: str, **named: Any) -> Any:
    return await sdk.call(
        sdk.client.messages.create,
        to=TO,
        messaging_service_sid=sdk.service_sid,
        content_sid=sid,
        **named,
    )


async def test_a_template_is_kept_listed_and_deleted(sdk: Sdk) -> None:
    contents = sdk.client.content.v1.contents
    one = await sdk.call(contents.create, request("Hi {{1}}"))
    assert one.sid.startswith("HX")
    assert (one.friendly_name, one.language, one.variables) == ("greeting", "en", {"1": "you"})
    assert one.types == {"twilio/text": {"body": "Hi {{1}}"}}
    context = sdk.client.content.v1.contents(one.sid)
    assert (await sdk.call(context.fetch)).date_created == one.date_created
    assert [other.sid for other in await sdk.call(contents.list)] == [one.sid]
    assert await sdk.call(context.delete)
    await sdk.refused(20404, 404, context.fetch)
    assert await sdk.call(contents.list) == []


async def test_a_template_that_says_nothing_is_refused(sdk: Sdk) -> None:
    contents = sdk.client.content.v1.contents
    for bad in (
        request("Hi", types={}),
        request(""),
        request("Hi", language=None),
        request("Hi", variables={"1": ["x"]}),
        request("Hi", friendly_name="x" * 451),
    ):
        await sdk.refused(20001, 400, contents.create, bad)


async def test_a_message_says_what_its_template_does(sdk: Sdk) -> None:
    contents = sdk.client.content.v1.contents
    sid = (await sdk.call(contents.create, request("Hi {{1}}, “{{shop}}”"))).sid
    message = await send(sdk, sid, content_variables='{"shop": "Acme"}')
    assert message.body == "Hi you, “Acme”"
    assert (await sdk.reaches(message.sid, "delivered")).body == 'Hi you, "Acme"'
    for bad in ("{", "[]", '{"shop": null}', "{}", '{"shop": ["x"]}'):
        await _refused(sdk, 21656, sid, content_variables=bad)
    await _refused(sdk, 21617, sid, content_variables='{"shop": "%s"}' % ("x" * 1600))
    await _refused(sdk, 21655, "HX" + "0" * 32)


async def _refused(sdk: Sdk, code: int, sid: str, **named: Any) -> None:
    await sdk.refused(
        code,
        400,
        sdk.client.messages.create,
        to=TO,
        messaging_service_sid=sdk.service_sid,
        content_sid=sid,
        **named,
    )
