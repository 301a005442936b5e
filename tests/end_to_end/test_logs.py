"""Logs name messages by their SID, and keep numbers and texts to themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Receiver, carrier, until

from gateway.observe.logs import JsonFormatter
from smpp.smsc import CarrierScenario, Faults, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
SECRET = "the words of this text are nobody's to read"
WRITER = "+447700900777"


async def test_no_log_line_says_a_text_or_a_whole_number(
    start_gateway: Start,
    start_smsc: Callable[..., Awaitable[Smsc]],
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With every PDU logged, a carrier that disconnects and sends nonsense, and a receiver that
    fails."""
    caplog.set_level(logging.DEBUG)
    faults = Faults(malformed_every=2, malformed=("cut_deliver", "udhi_empty"), disconnect_every=5)
    smsc = await start_smsc(CarrierScenario(faults=faults))
    gateway = await start_gateway(
        smsc.port,
        log={"pdus": True},
        carriers=(carrier(smsc.port, refusal_waits={"first_s": 0.05}),),
    )
    failures = 2

    async def answer(form: dict[str, str]) -> int:
        nonlocal failures
        failures -= 1
        return 500 if failures >= 0 else 200

    receiver.answer = answer
    sdk = await gateway.sdk()
    sids = [(await sdk.send(SECRET, status_callback=receiver.url)).sid for _ in range(8)]
    await receiver.has(sids)
    smsc.carrier().mobile_originated(WRITER, NUMBERS[0], SECRET)
    await until(lambda: gateway.inner.inbound.counts["stored"] == 1)

    lines = [JsonFormatter().format(record) for record in caplog.records]
    ours = [line for line in lines if json.loads(line)["logger"].startswith(("gateway", "smpp"))]
    assert any(json.loads(line).get("event") == "pdu" for line in ours)
    assert any("malformed PDU" in line for line in ours)
    for line in ours:
        for secret in (SECRET, TO.lstrip("+"), WRITER.lstrip("+"), *(n[1:] for n in NUMBERS)):
            assert secret not in line
            assert secret.encode().hex() not in line


async def test_a_message_that_is_sent_again_is_found_by_its_sid(
    start_gateway: Start,
    start_smsc: Callable[..., Awaitable[Smsc]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer=False, stat="none"),)))
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, response_timeout_s=0.1),))
    sdk = await gateway.sdk()
    sid = (await sdk.send()).sid

    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "no answer for" in record.getMessage()]

    await until(lambda: bool(told()))
    assert json.loads(JsonFormatter().format(told()[0]))["sid"] == sid
