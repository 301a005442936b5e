"""Codes that a message ends in: a carrier's own, a suspended account's, a test destination's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from testing import NUMBERS, TO, WAIT_S, GatewayUnderTest, Receiver, carrier

from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

# `err` of a receipt as this carrier spells it, and its public meaning.
OWN = {
    "004": 30004, "006": 30006, "007": 30007, "019": 30019, "022": 30022, "023": 30023,
    "024": 30024, "032": 30032, "034": 30034, "035": 30035, "040": 30040, "041": 30041,
    "0x401": 30024, "0x14": 30017,
}  # fmt: skip


@pytest.fixture
async def peculiar() -> AsyncIterator[Smsc]:
    """A carrier whose outcome is in the recipient's last digits."""
    rules = [
        ScenarioRule(prefix=f"4479000{err}", stat="UNDELIV", err=err, receipt_after_s=0)
        for err in OWN
        if err.isdigit()
    ]
    rules += [
        ScenarioRule(prefix="4479001401", status=0x401),
        ScenarioRule(prefix="4479001014", status=0x14),
        ScenarioRule(),
    ]
    smsc = Smsc(Scenario(carriers=(CarrierScenario(rules=tuple(rules)),)), seed=1)
    await smsc.start()
    yield smsc
    await smsc.stop()


async def test_a_carriers_own_codes_have_the_meaning_that_was_configured(
    start_gateway: Start, peculiar: Smsc
) -> None:
    gateway = await start_gateway(
        peculiar.port, carriers=(carrier(peculiar.port, error_codes=OWN),)
    )
    sdk = await gateway.sdk()
    for err, code in OWN.items():
        if not err.isdigit():
            continue
        message = await sdk.send(to=f"+4479000{err}55")
        assert (await sdk.reaches(message.sid, "undelivered")).error_code == code
    for to, code in (("+447900140155", 30024), ("+447900101455", 30017)):
        message = await sdk.send(to=to)
        assert (await sdk.reaches(message.sid, "failed")).error_code == code


@pytest.mark.parametrize("codes", [{"027": 7}, {"0x401": 100_000}])
async def test_a_code_that_is_none_is_refused_with_its_name(
    start_gateway: Start, smsc: Smsc, codes: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(codes))):
        await start_gateway(smsc.port, carriers=(carrier(smsc.port, error_codes=codes),))


async def test_what_waits_when_its_account_is_suspended_does_not_leave(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=1.0)
    sdk = await gateway.sdk()
    sids = [(await sdk.send(f"{n}", TO, from_=NUMBERS[0])).sid for n in range(3)]
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    async with gateway.pipeline.runtime.pool.acquire() as connection:
        await connection.execute("UPDATE accounts SET status = 'suspended'")
        await connection.execute("UPDATE config_version SET version = version + 1")
    await gateway.pipeline.configuration.read()
    assert not gateway.pipeline.runtime.directory.accounts[sdk.account_sid].active
    assert account.active, "the picture of before"
    codes: dict[str, int | None] = {}

    async def ended() -> bool:
        rows = await gateway.pipeline.runtime.pool.fetch("SELECT id, error_code FROM messages")
        codes.update({f"SM{row['id'].hex}": row["error_code"] for row in rows})
        return sum(code == 30002 for code in codes.values()) >= 2

    async with asyncio.timeout(WAIT_S):
        while not await ended():
            await asyncio.sleep(0.05)
    assert [codes[sid] for sid in sids[1:]] == [30002, 30002]
    assert len(list(smsc.ledger.lines())) == 1


async def test_reserved_destinations_go_through_everything_and_never_leave(
    start_gateway: Start, smsc: Smsc, receiver: Receiver
) -> None:
    good, bad = "+447700900000", "+447700900001"
    gateway = await start_gateway(smsc.port, test_destinations={good: 0, bad: 30003})
    sdk = await gateway.sdk()
    first = await sdk.send("x" * 200, good, status_callback=receiver.url)
    second = await sdk.send("x", bad, status_callback=receiver.url)
    await receiver.has([first.sid])
    await receiver.has([second.sid], "undelivered")
    assert receiver.statuses[first.sid] == ["queued", "sent", "delivered"]
    assert receiver.statuses[second.sid] == ["queued", "sent", "undelivered"]
    end = await sdk.fetch(first.sid)
    assert (end.status, end.num_segments, end.from_ in NUMBERS) == ("delivered", "2", True)
    assert (await sdk.fetch(second.sid)).error_code == 30003
    assert list(smsc.ledger.lines()) == []
    other = await sdk.send()
    await sdk.reaches(other.sid, "delivered")
