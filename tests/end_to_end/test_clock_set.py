"""Somebody sets the machine's clock: deadlines follow it, order does not (docs/reliability.md)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest
from testing import ACCOUNT_SID, AUTH_TOKEN, TO, WAIT_S, GatewayUnderTest, Sdk, sdk_client

from gateway.content.references import References
from gateway.runtime.clock import SystemClock
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

HOUR_S = 3_600.0


class WallClock:
    """The wall clock of every gateway in this process."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    one = WallClock()
    monkeypatch.setattr(SystemClock, "wall", staticmethod(one))
    return one


async def queued(sdk: Sdk, validity_s: int) -> str:
    """One that waits behind others for its sender."""
    return str((await sdk.send(to=TO, validity_period=validity_s)).sid)


@pytest.mark.parametrize(
    ("set_by_s", "ended", "waiting"),
    [(HOUR_S, (600, 3_590), (3_700, 36_000)), (-HOUR_S, (), (600, 36_000))],
)
async def test_what_waits_ends_when_the_clock_is_set_past_its_deadline_and_only_then(
    start_gateway: Start,
    smsc: Smsc,
    clock: WallClock,
    set_by_s: float,
    ended: tuple[int, ...],
    waiting: tuple[int, ...],
) -> None:
    sdk = await (await start_gateway(smsc.port, default_rate_per_second=0.001)).sdk()
    await sdk.reaches(await queued(sdk, 36_000), "delivered")  # the token that there is
    sids = {seconds: await queued(sdk, seconds) for seconds in (*ended, *waiting)}
    clock.offset_s = set_by_s
    await queued(sdk, 36_000)  # wakes what would else look within five seconds
    for seconds in ended:
        assert (await sdk.reaches(sids[seconds], "failed")).error_code == 30036
    for seconds in waiting:
        assert (await sdk.fetch(sids[seconds])).status == "queued"


async def test_what_is_accepted_after_a_start_comes_behind_whatever_the_clock_says(
    start_gateway: Start, smsc: Smsc, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = []
    begin = References.begin

    def recorded(references: References, at: float) -> None:
        began.append(at)
        begin(references, at)

    monkeypatch.setattr(References, "begin", recorded)
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    sids = [(await sdk.send()).sid for _ in range(3)]
    await gateway.stop()
    clock.offset_s = -HOUR_S
    gateway = await start_gateway(smsc.port)
    await gateway.bound()
    first, _, second = began  # the clock's, and after the start what follows the newest message
    assert first < second, "references go on where they were, whatever the clock says"
    client = sdk_client(gateway.base_url, ACCOUNT_SID, AUTH_TOKEN)
    again = Sdk(gateway.base_url, client, sdk.service_sid)
    sids += [(await again.send()).sid for _ in range(3)]
    assert sids == sorted(sids)


async def test_a_clock_that_was_wrong_by_more_than_a_day_is_not_followed(
    start_gateway: Start, smsc: Smsc, clock: WallClock
) -> None:
    clock.offset_s = 30 * 86_400.0
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    await sdk.send()
    await gateway.stop()
    clock.offset_s = 0.0
    made = (await start_gateway(smsc.port)).pipeline.runtime.next_id
    assert made.age(made()) < WAIT_S
    assert abs(made.now() - time.time()) < WAIT_S
