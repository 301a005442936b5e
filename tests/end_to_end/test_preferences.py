"""What a service prefers beyond the rules: kinds, regions, health, short memories (extensions)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pools import Pool
from testing import GatewayUnderTest

from gateway.routing.health import LEAST
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

TOLL_FREE, LONG = "+18885550123", "+12125550155"


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


async def prefer(pool: Pool, **parameters: str) -> dict[str, Any]:
    path = f"/messaging/v1/Services/{pool.sid}"
    status, body = await pool.sdk.operate("POST", path, data=parameters)
    assert status == 200, body
    return dict(body)


async def test_kinds_are_tried_in_the_order_that_a_service_gives_for_a_country(pool: Pool) -> None:
    await pool.number(TOLL_FREE)
    await pool.number(LONG)
    assert await pool.sender_of("+12125550101") == LONG  # the same area code
    priority = {"US": ["toll_free", "long_code"]}
    body = await prefer(pool, NumberPriority=json.dumps(priority))
    assert body["number_priority"] == priority
    assert await pool.sender_of("+12125550102") == TOLL_FREE
    assert (await prefer(pool, NumberPriority=""))["number_priority"] == {}
    assert await pool.sender_of("+12125550103") == LONG


async def test_weights_share_recipients_out(pool: Pool) -> None:
    await pool.number(TOLL_FREE)
    await pool.number(LONG)
    await prefer(pool, NumberWeights='{"US": {"toll_free": 1, "long_code": 0}}')
    assert {await pool.sender_of(f"+1212555010{n}") for n in range(5)} == {TOLL_FREE}
    await prefer(pool, NumberWeights='{"US": {"toll_free": 1, "long_code": 1}}')
    assert {await pool.sender_of(f"+121255502{n}") for n in range(10, 22)} == {TOLL_FREE, LONG}


async def test_a_number_of_the_same_state_goes_before_any_other(pool: Pool) -> None:
    await pool.number("+14155550155")  # California
    await pool.number("+17165550155")  # New York State, as 212
    await prefer(pool, StickySender="false", RegionFallback="true")
    assert {await pool.sender_of("+12125550101") for _ in range(4)} == {"+17165550155"}


async def test_a_mapping_ends_when_its_time_to_live_is_over(
    pool: Pool, gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.number(LONG)
    assert (await prefer(pool, StickyTtl="60"))["sticky_ttl"] == 60
    to, clock = "+12135550101", gateway.inner._clock
    assert await pool.sender_of(to) == LONG
    await pool.number("+12135550155")  # a better match, but the mapping holds
    wall = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: wall() + 50)
    assert await pool.sender_of(to) == LONG
    monkeypatch.setattr(clock, "wall", lambda: wall() + 200_000)
    assert await pool.sender_of(to) == "+12135550155"


async def test_a_mapping_in_use_outlives_its_time_to_live(
    pool: Pool, gateway: GatewayUnderTest
) -> None:
    await pool.number(LONG)
    await prefer(pool, StickyTtl="600")
    to = "+12135550102"
    assert await pool.sender_of(to) == LONG
    await pool.number("+12135550155")  # a better match, once the mapping is void

    async def age(seconds: int) -> None:
        await gateway.pipeline.runtime.pool.execute(
            "UPDATE sticky SET last_used = last_used - make_interval(secs => $1)", seconds
        )

    for _ in range(6):  # far longer than its time, and never unused for so long
        await age(400)
        assert await pool.sender_of(to) == LONG
    await age(601)
    assert await pool.sender_of(to) == "+12135550155"


async def test_a_sender_whose_messages_do_not_arrive_is_passed_over(start_gateway: Any) -> None:
    rules = (ScenarioRule(), ScenarioRule(prefix="1213", stat="UNDELIV", err="001"))
    smsc = Smsc(Scenario(carriers=(CarrierScenario(rules=rules),)), seed=1)
    await smsc.start()
    try:
        pool = await Pool.of(await start_gateway(smsc.port), smsc)
        await pool.number(LONG)
        await prefer(pool, StickySender="false", SkipUnhealthy="true")
        sids = [
            (await pool.sdk.send(to=f"+1213555{n:04}", messaging_service_sid=pool.sid)).sid
            for n in range(LEAST)
        ]
        for sid in sids:
            await pool.sdk.reaches(sid, "undelivered")
        # Alone it is still used: nothing is refused for health.
        assert await pool.sender_of("+13105550101") == LONG
        await pool.number("+12125550156")
        assert {await pool.sender_of(f"+1310555011{n}") for n in range(4)} == {"+12125550156"}
    finally:
        await smsc.stop()


@pytest.mark.parametrize(
    "parameters",
    [
        {"NumberPriority": "nonsense"},
        {"NumberPriority": '{"XX": ["long_code"]}'},
        {"NumberPriority": '{"US": ["pigeon"]}'},
        {"NumberPriority": '{"US": ["long_code", "long_code"]}'},
        {"NumberWeights": '{"US": {"long_code": -1}}'},
        {"NumberWeights": '{"US": {"long_code": 1001}}'},
        {"NumberWeights": '{"US": ["long_code"]}'},
        {"StickyTtl": "0"},
        {"StickyTtl": str(365 * 86_400 + 1)},
    ],
    ids=str,
)
async def test_a_preference_that_means_nothing_is_refused(
    pool: Pool, parameters: dict[str, str]
) -> None:
    path = f"/messaging/v1/Services/{pool.sid}"
    status, answer = await pool.sdk.operate("POST", path, data=parameters)
    assert (status, answer["code"]) == (400, 20001)
