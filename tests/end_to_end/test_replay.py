"""Webhooks called once more: by message, by time, by URL; and what was signed, printed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hooks import Hooks, write
from testing import AUTH_TOKEN, NUMBERS, Sdk
from twilio.request_validator import RequestValidator

from gateway.commands.main import main
from smpp.smsc import Smsc
from storage import inbound as inbound_rows


async def replay(sdk: Sdk, **form: str) -> tuple[int, Any]:
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Webhooks/Replay.json"
    return await sdk.operate("POST", path, data=form)


async def test_a_messages_callbacks_come_again_in_order(sdk: Sdk, hooks: Hooks) -> None:
    message = await sdk.send(status_callback=hooks.url("/a"))
    first = await hooks.has("/a", 3)
    answer = {"status_callbacks": 1, "inbound_webhooks": 0, "next_since": None}
    assert await replay(sdk, MessageSid=message.sid) == (202, answer)
    again = (await hooks.has("/a", 6))[3:]
    assert [one.form for one in again] == [one.form for one in first]
    token = "I-Twilio-Idempotency-Token"
    assert [one.headers[token] for one in again] == [one.headers[token] for one in first]
    assert all(one.valid for one in again)


async def test_a_range_and_the_beginning_of_a_url_choose(sdk: Sdk, hooks: Hooks) -> None:
    for path in ("/a", "/a/b", "/c"):
        await sdk.send(status_callback=hooks.url(path))
    for path in ("/a", "/a/b", "/c"):
        await hooks.has(path, 3)
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    _, body = await replay(sdk, Since=since, Url=hooks.url("/a"))
    assert body["status_callbacks"] == 2
    await hooks.has("/a", 6)
    await hooks.has("/a/b", 6)
    assert len(hooks.at("/c")) == 3
    until = (datetime.now(UTC) - timedelta(seconds=59)).isoformat()
    _, body = await replay(sdk, Since=since, Until=until)
    assert body["status_callbacks"] == 0


async def test_an_inbound_messages_webhook_comes_again(sdk: Sdk, smsc: Smsc, hooks: Hooks) -> None:
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    await write(smsc, "hello", NUMBERS[0])
    [first] = await hooks.has("/in")
    _, body = await replay(sdk, MessageSid=first.form["MessageSid"])
    assert (body["status_callbacks"], body["inbound_webhooks"]) == (0, 1)
    again = (await hooks.has("/in", 2))[1]
    assert (again.form, again.valid) == (first.form, True)


async def test_an_inbound_webhook_that_is_just_being_called_comes_again(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    """Asked for while the app has not answered yet."""
    answered = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await answered.wait()
        return web.Response(text="<Response><Message>thanks</Message></Response>")

    hooks.answers["/in"] = slow
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    await write(smsc, "hello", NUMBERS[0])
    [first] = await hooks.has("/in")
    await replay(sdk, MessageSid=first.form["MessageSid"])
    answered.set()
    assert (await hooks.has("/in", 2))[1].form == first.form


@pytest.mark.parametrize("times", [1, 3])
async def test_an_inbound_webhook_that_is_just_being_marked_as_done_comes_again(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What is owed anew is not cleared with what was owed before."""
    reached, released = asyncio.Event(), asyncio.Event()
    clear = inbound_rows.clear

    async def slow(connection: Any, handled: Any) -> None:
        reached.set()
        await released.wait()
        await clear(connection, handled)

    monkeypatch.setattr(inbound_rows, "clear", slow)
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    await write(smsc, "hello", NUMBERS[0])
    [first] = await hooks.has("/in")
    await reached.wait()
    for _ in range(times):
        await replay(sdk, MessageSid=first.form["MessageSid"])
    released.set()
    assert (await hooks.has("/in", 2))[1].form == first.form


async def test_callbacks_that_are_just_being_called_come_again_from_the_first(
    sdk: Sdk, hooks: Hooks
) -> None:
    """Asked for while the app has not answered the last one yet."""
    answered = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        if len(hooks.at("/a")) == 3:
            await answered.wait()
        return web.Response()

    hooks.answers["/a"] = slow
    message = await sdk.send(status_callback=hooks.url("/a"))
    first = await hooks.has("/a", 3)
    await replay(sdk, MessageSid=message.sid)
    answered.set()
    again = (await hooks.has("/a", 6))[3:]
    assert [one.form for one in again] == [one.form for one in first]


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({}, 400, 20001),
        ({"Since": "yesterday"}, 400, 20001),
        ({"MessageSid": "SM1"}, 404, 20404),
        ({"MessageSid": "SM" + "0" * 32}, 404, 20404),
    ],
)
async def test_a_replay_of_nothing_is_an_error(
    sdk: Sdk, form: dict[str, str], status: int, code: int
) -> None:
    found, body = await replay(sdk, **form)
    assert (found, body["code"]) == (status, code)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert main(["webhook", "sign", *arguments, "--token", AUTH_TOKEN]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_command_prints_what_is_signed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = "https://hooks.example.org:8443/sms?tenant=7"
    form = {"To": "+1", "Body": "héllo & 1+1=2", "From": ""}
    validator = RequestValidator(AUTH_TOKEN)
    shown = printed(capsys, url, *(f"{name}={value}" for name, value in form.items()))
    assert shown["string"] == f"{url}Bodyhéllo & 1+1=2FromTo+1"
    assert validator.validate(url, form, shown["signature"])
    assert printed(capsys, url, "--form", "To=%2B1&Body=h%C3%A9llo+%26+1%2B1%3D2&From=") == shown
    assert validator.validate(url, {}, printed(capsys, url)["signature"])

    body = tmp_path / "body.json"
    body.write_text(json.dumps({"a": 1}))
    shown = printed(capsys, url, "--json", str(body))
    assert validator.validate(shown["string"], body.read_text(), shown["signature"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["not a url", "--token", "x"],
        ["https://a.example/", "noequals", "--token", "x"],
        ["https://a.example/", "a=b", "--form", "a=b", "--token", "x"],
        ["https://a.example/", "--json", "/no/such/file", "--token", "x"],
        ["https://a.example/", "--token", ""],
    ],
)
def test_the_command_says_what_it_can_not_sign(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["webhook", "sign", *arguments]) == 2
    assert capsys.readouterr().err.startswith("tandem webhook sign: ")
