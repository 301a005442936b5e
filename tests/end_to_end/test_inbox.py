"""`tandem inbox`: what the README's tour shows of inbound messages, and what it does with lies."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from commands import Command
from testing import AUTH_TOKEN, WAIT_S, sdk_client

from gateway.webhooks.signature import sign


@pytest.fixture
async def inbox(folder: Path) -> AsyncIterator[Command]:
    one = Command(folder)
    yield one
    if one._process is not None and one._process.returncode is None:
        one.signal(signal.SIGKILL)
        await one.ends()


async def post(url: str, form: dict[str, str], signature: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url,
            data=urlencode(form).encode(),
            headers={
                "X-Twilio-Signature": signature,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        ) as response,
    ):
        return response.status, await response.text()


MESSAGE = {"MessageSid": "SM1", "From": "+1", "To": "+2", "Body": "two\nlines \x1b[31m"}


async def test_a_message_through_the_world_reaches_it_and_its_reply_the_handset(
    command: Command, inbox: Command
) -> None:
    """POST /mo at the simulator, the webhook, the reply in GET /ledger."""
    await command.start("world")
    await command.says("facts")
    facts = command.facts
    client = sdk_client(facts["base_url"], facts["account_sid"], facts["auth_token"])
    own = (await asyncio.to_thread(client.incoming_phone_numbers.list))[0]
    await asyncio.to_thread(own.update, sms_url="http://127.0.0.1:9/mine")
    numbers = await asyncio.to_thread(client.incoming_phone_numbers.list)
    before = {number.phone_number: number.sms_url for number in numbers}
    inbox.environment |= {"TANDEM_DATA_DIR": command.environment["TANDEM_DATA_DIR"]}
    await inbox.start("inbox", "--reply", "You said it & <so> did I", "--connect")
    await inbox.says("ready")
    control = facts["smsc"]["control_url"]
    number = facts["numbers"][0]
    async with aiohttp.ClientSession() as session:
        mo = {"from": "+447700900500", "to": number, "text": "hello"}
        async with session.post(f"{control}/mo", json=mo) as response:
            assert response.status == 200
        await inbox.says(f'message    +447700900500 → {number}  "hello"')
        await inbox.says("(signature verified)")
        await inbox.says("answered")

        async def ledger() -> list[dict[str, Any]]:
            async with session.get(f"{control}/ledger?destination=447700900500") as response:
                return [json.loads(line) for line in (await response.text()).splitlines()]

        async with asyncio.timeout(WAIT_S):
            while not (rows := await ledger()):
                await asyncio.sleep(0.05)
    assert [row["text"] for row in rows] == ["You said it & <so> did I"]
    assert "+" + rows[0]["source"].lstrip("+") == number
    numbers = await asyncio.to_thread(client.incoming_phone_numbers.list)
    assert {number.sms_url for number in numbers} == {
        f"http://127.0.0.1:{inbox.port('INBOX_PORT')}/"
    }
    inbox.signal(signal.SIGINT)
    assert await inbox.ends() == 0
    assert "Traceback" not in inbox.said
    numbers = await asyncio.to_thread(client.incoming_phone_numbers.list)
    # Nobody is told at a closed door, and what the app had set before is there again.
    assert {number.phone_number: number.sms_url for number in numbers} == before


async def test_what_is_signed_is_shown_on_one_line_and_what_is_not_is_refused(
    inbox: Command, tmp_path: Path
) -> None:
    twiml = tmp_path / "answer.xml"
    twiml.write_text("<Response><Message>from a file</Message></Response>")
    await inbox.start("inbox", "--token", AUTH_TOKEN, "--twiml", str(twiml))
    await inbox.says("ready")
    url = f"http://127.0.0.1:{inbox.port('INBOX_PORT')}/sms?tenant=7"
    good = sign(AUTH_TOKEN, url, list(MESSAGE.items()))
    assert await post(url, MESSAGE, good) == (200, twiml.read_text())
    await inbox.says(r'message    +1 → +2  "two\nlines \u001b[31m"')
    await inbox.says("SM1  (signature verified)")
    assert (await post(url, MESSAGE | {"Body": "other"}, good))[0] == 403
    assert (await post(url, MESSAGE, ""))[0] == 403
    await inbox.says("(signature WRONG)", 2)

    status = {"MessageSid": "SM2", "MessageStatus": "failed", "ErrorCode": "30005", "To": "+3"}
    assert (await post(url, status, sign(AUTH_TOKEN, url, list(status.items()))))[0] == 204
    await inbox.says("status     failed 30005  SM2  to +3  (signature verified)")
    inbox.signal(signal.SIGTERM)
    assert await inbox.ends() == 0


async def test_behind_a_tunnel_the_configured_origin_counts(inbox: Command) -> None:
    inbox.environment["TANDEM_INBOX_TOKEN"] = AUTH_TOKEN
    await inbox.start("inbox", "--origin", "https://tunnel.example/")
    await inbox.says("ready")
    url = f"http://127.0.0.1:{inbox.port('INBOX_PORT')}/sms"
    signature = sign(AUTH_TOKEN, "https://tunnel.example/sms", list(MESSAGE.items()))
    assert (await post(url, MESSAGE, signature))[0] == 204


async def test_without_a_token_nothing_is_claimed(inbox: Command) -> None:
    await inbox.start("inbox")
    await inbox.says("no token is known")
    await inbox.says("ready")
    url = f"http://127.0.0.1:{inbox.port('INBOX_PORT')}/"
    assert (await post(url, MESSAGE, ""))[0] == 204
    await inbox.says("(signature not checked)")


async def test_what_cannot_be_is_named(inbox: Command) -> None:
    assert await inbox.run("inbox", "--connect") == 2
    assert "is `tandem world` up?" in inbox.said
    inbox.environment["TANDEM_INBOX_PORT"] = "x"
    assert await inbox.run("inbox") == 2
    assert "TANDEM_INBOX_PORT must be a port" in inbox.said
    assert "Traceback" not in inbox.said
