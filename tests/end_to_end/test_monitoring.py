"""Metrics, readiness and the watchdog, as an operator sees them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from testing import (
    NUMBERS,
    WAIT_S,
    Client50,
    GatewayUnderTest,
    Receiver,
    Sdk,
    basic,
    free_port,
    until,
)

from gateway.monitoring.watchdog import Reason
from gateway.observe.alerts import QUIET_S
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
QUICK = {"every_s": 0.05, "stuck_s": 0.3, "slow_s": 0.6, "lost_s": 60.0}


async def get(url: str, authorization: str = "") -> tuple[int, str]:
    headers = {"Authorization": authorization} if authorization else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


async def scrape(sdk: Sdk) -> Samples:
    """Every sample by its name and labels; the text must be valid."""
    credentials = basic(sdk.account_sid, sdk.auth_token)
    status, text = await get(f"{sdk.base_url}/metrics", credentials)
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    found = [
        value
        for (one, its), value in samples.items()
        if one == name and labels.items() <= dict(its).items()
    ]
    assert found, name
    return sum(found)


async def test_the_metrics_tell_what_went_through(
    sdk: Sdk, gateway: GatewayUnderTest, receiver: Receiver
) -> None:
    client = Client50(sdk)
    await client.send(200, StatusCallback=receiver.url)
    await receiver.has(client.sids)
    await until(lambda: gateway.inner.callbacks.under_way == 0)
    samples = await scrape(sdk)

    assert of(samples, "tandem_accepted_messages_total") == 200
    assert of(samples, "tandem_service_accepted_messages_total", service=sdk.service_sid) == 200
    assert (
        of(
            samples,
            "tandem_service_ended_messages_total",
            service=sdk.service_sid,
            status="delivered",
        )
        == 200
    )
    assert of(samples, "tandem_submit_answers_total", status="ESME_ROK") == 200
    assert of(samples, "tandem_submit_answer_seconds_count", carrier="simulator") == 200
    assert of(samples, "tandem_accept_latency_seconds_count") == 200
    assert of(samples, "tandem_queue_wait_seconds_count") == 200
    assert of(samples, "tandem_accept_batch_size_sum") == 200
    assert of(samples, "tandem_accept_batch_size_count") < 200  # they were committed together
    assert of(samples, "tandem_callbacks_total", outcome="taken") == 600
    assert of(samples, "tandem_receipts_total", outcome="matched") == 200
    assert of(samples, "tandem_database_available") == 1
    assert of(samples, "tandem_bind_up", carrier="simulator") == 1
    assert of(samples, "tandem_bind_window") == 100
    assert of(samples, "tandem_queued_segments") == 0
    assert of(samples, "process_cpu_seconds_total") > 0
    by_sender = [
        of(samples, "tandem_sender_submitted_segments_total", address=number) for number in NUMBERS
    ]
    assert sum(by_sender) == 200
    assert min(by_sender) > 0


async def test_what_waits_is_shown_most_first_and_the_rest_is_counted(
    start_gateway: Start, smsc: Smsc
) -> None:
    numbers = [f"+4477009001{n:02d}" for n in range(6)]
    gateway = await start_gateway(free_port(), metrics={"most_senders": 2})
    sdk = await Sdk.provisioned(gateway.base_url, numbers)
    for at, number in enumerate(numbers):
        for turn in range(at + 1):
            await sdk.send("x", f"+44163296{at}{turn:03d}", from_=number)
    samples = await scrape(sdk)
    shown = {
        dict(labels)["address"]: value
        for (name, labels), value in samples.items()
        if name == "tandem_sender_queued_segments"
    }
    assert shown == {numbers[5]: 6, numbers[4]: 5}
    assert of(samples, "tandem_senders_left_out") == 4
    assert of(samples, "tandem_senders_left_out_segments") == 1 + 2 + 3 + 4
    assert of(samples, "tandem_queued_segments") == 21
    assert of(samples, "tandem_sender_oldest_seconds", address=numbers[5]) >= 0
    assert of(samples, "tandem_carrier_up", carrier="simulator") == 0


async def test_metrics_are_for_the_operator(start_gateway: Start, smsc: Smsc) -> None:
    token = "a-token-for-the-scraper"
    gateway = await start_gateway(smsc.port, metrics={"token": token, "port": 0})
    sdk = await gateway.sdk()
    url = f"{gateway.base_url}/metrics"
    sub = await sdk.call(sdk.client.api.v2010.accounts.create)
    key = await sdk.call(sdk.client.new_keys.create)
    for authorization, status in (
        ("", 401),
        (basic(sdk.account_sid, "0" * 32), 401),
        ("Bearer wrong", 401),
        (basic(sub.sid, sub.auth_token), 403),
        (basic(key.sid, key.secret), 403),  # a Standard key
        (basic(sdk.account_sid, sdk.auth_token), 200),
        (f"Bearer {token}", 200),
    ):
        assert (await get(url, authorization))[0] == status, authorization
    # The listener of its own is open to whoever reaches it, and has nothing else.
    own = f"http://127.0.0.1:{gateway.inner.probe_listener.port}"
    assert "tandem_accepted_messages_total" in (await get(f"{own}/metrics"))[1]
    assert (await get(f"{own}/readyz"))[0] == 200
    assert (await get(f"{own}/2010-04-01/Accounts.json"))[0] == 404


async def test_without_a_token_nobody_gets_in_with_one(gateway: GatewayUnderTest, sdk: Sdk) -> None:
    for guess in ("Bearer ", "Bearer None", "Bearer"):
        assert (await get(f"{gateway.base_url}/metrics", guess))[0] == 401


async def test_readiness_says_what_does_not_work(start_gateway: Start) -> None:
    """No bind is up: messages are taken and kept, so it is ready, and says so."""
    port = free_port()
    gateway = await start_gateway(port)
    async with aiohttp.ClientSession() as session:

        async def ready(query: str = "") -> tuple[int, dict[str, Any]]:
            async with session.get(f"{gateway.base_url}/readyz{query}") as response:
                return response.status, await response.json()

        status, body = await ready()
        assert (status, body["status"], body["database"]) == (200, "degraded", "up")
        assert body["reasons"] == ["carrier simulator: no bind is up"]
        assert body["carriers"]["simulator"]["binds_up"] == 0
        assert body["carriers"]["simulator"]["troubles"].keys() == {"simulator/1"}
        assert (await ready("?require=sending"))[0] == 503
        smsc = Smsc(Scenario(), seed=1)
        await smsc.start(port=port)
        try:
            await gateway.bound()
            status, body = await ready("?require=sending")
            assert (status, body["status"], body["reasons"]) == (200, "ready", [])
            async with session.get(f"{gateway.base_url}/healthz") as response:
                assert (await response.json())["status"] == "ok"
        finally:
            await smsc.stop()


# The watchdog -------------------------------------------------------------------------------


async def alerts(sdk: Sdk, code: str) -> list[Any]:
    """Alerts with this code, once there is one."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
            if found := [one for one in listed if one.error_code == code]:
                return found
            await asyncio.sleep(0.02)


async def test_a_bind_that_is_down_is_told_once_and_again_when_it_is_over(
    start_gateway: Start,
) -> None:
    port = free_port()
    gateway = await start_gateway(port, watchdog=QUICK)
    sdk = await Sdk.provisioned(gateway.base_url)
    sids = [(await sdk.send(from_=number)).sid for number in NUMBERS]
    [alert] = await alerts(sdk, "99001")
    assert alert.log_level == "error"
    assert "no+bind+is+up" in alert.alert_text
    assert "carrier+simulator" in alert.alert_text
    assert alert.resource_sid in sids
    samples = await scrape(sdk)
    stuck = of(samples, "tandem_oldest_stuck_seconds", where="carrier simulator", reason="no_bind")
    assert stuck >= 0.3
    assert of(samples, "tandem_stuck_episodes") == 1

    smsc = Smsc(Scenario(), seed=1)
    await smsc.start(port=port)
    try:
        for sid in sids:
            await sdk.reaches(sid, "delivered")
        [over] = await alerts(sdk, "99002")
        assert over.log_level == "notice"
        assert "over" in over.alert_text
        assert len(await alerts(sdk, "99001")) == 1
        samples = await scrape(sdk)
        assert of(samples, "tandem_stuck_episodes") == 0
    finally:
        await smsc.stop()


async def test_a_carrier_that_answers_nothing_is_told_as_a_full_window(
    start_gateway: Start, start_smsc: Callable[..., Awaitable[Smsc]]
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer=False, stat="none"),)))
    gateway = await start_gateway(
        smsc.port,
        watchdog=QUICK,
        carriers=(
            {
                "name": "mute",
                "hosts": (f"127.0.0.1:{smsc.port}",),
                "system_id": "tandem",
                "password": "secret",
                "window": 1,
            },
        ),
    )
    sdk = await gateway.sdk()
    for n in range(3):
        await sdk.send("x", f"+44163296000{n}", from_=NUMBERS[0])
    [alert] = await alerts(sdk, "99001")
    assert "the+window+is+full" in alert.alert_text


async def test_a_bind_that_is_down_again_is_told_again_within_the_minute(
    start_gateway: Start,
) -> None:
    port = free_port()
    gateway = await start_gateway(port, watchdog=QUICK)
    assert gateway.inner.watch._telling._quiet_s == QUIET_S == 60.0
    sdk = await Sdk.provisioned(gateway.base_url)
    first = await sdk.send(from_=NUMBERS[0])
    await alerts(sdk, "99001")
    smsc = Smsc(Scenario(), seed=1)
    await smsc.start(port=port)
    try:
        await sdk.reaches(first.sid, "delivered")
        await alerts(sdk, "99002")
    finally:
        await smsc.stop()
    [connector] = gateway.pipeline.connectors.by_id.values()
    await until(lambda: not connector.up)
    again = await sdk.send(from_=NUMBERS[0])
    async with asyncio.timeout(WAIT_S):
        while len(told := await alerts(sdk, "99001")) < 2:
            await asyncio.sleep(0.02)
    assert told[0].resource_sid == again.sid
    listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
    assert next(one.error_code for one in listed if one.error_code.startswith("9900")) == "99001"


@pytest.mark.parametrize("ambiguous", ["resubmit", "give_up"])
async def test_a_carrier_that_never_answers_is_not_over_at_each_timeout(
    start_gateway: Start, start_smsc: Callable[..., Awaitable[Smsc]], ambiguous: str
) -> None:
    """It is throttled after each, and the window is full again: nothing has left all the time."""
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer=False, stat="none"),)))
    gateway = await start_gateway(
        smsc.port,
        watchdog={**QUICK, "slow_s": 6000.0},
        carriers=(
            {
                "name": "mute",
                "hosts": (f"127.0.0.1:{smsc.port}",),
                "system_id": "tandem",
                "password": "secret",
                "window": 2,
                "response_timeout_s": 0.6,
                "rate_per_second": 20.0,
                "ambiguous": ambiguous,
            },
        ),
    )
    sdk = await gateway.sdk()

    async def sending() -> None:  # so that what is given up is followed, however slow this is
        for n in itertools.count():
            await sdk.send("x", f"+441632960{n % 1000:03d}", from_=NUMBERS[0])
            if n >= 30:
                await asyncio.sleep(0.1)

    more = asyncio.create_task(sending())
    await alerts(sdk, "99001")
    [connector] = gateway.pipeline.connectors.by_id.values()
    seen: set[Reason] = set()

    def timed_out_again() -> bool:
        episodes = gateway.inner.watch.watchdog.episodes
        assert len(episodes) == 1, "it is over, and nothing has left"
        seen.update(episode.group.reason for episode in episodes.values())
        return connector.unanswered >= 3 and Reason.THROTTLED in seen

    await until(timed_out_again)
    _, text = await get(f"{gateway.base_url}/readyz")
    assert "carrier mute: " in text
    more.cancel()
    await until(lambda: gateway.pipeline.runtime.alerts._queue.empty())
    listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
    codes = [one.error_code for one in listed]
    assert codes.count("99001") == 1
    assert "99002" not in codes


async def test_a_bind_that_comes_and_answers_nothing_ends_no_episode(start_gateway: Start) -> None:
    """All that waited is in its window, or rests: none of it has got through."""
    port = free_port()
    gateway = await start_gateway(port, watchdog=QUICK)
    sdk = await Sdk.provisioned(gateway.base_url)
    for n in range(3):
        await sdk.send(to=f"+44163296070{n}", from_=NUMBERS[0])
    await alerts(sdk, "99001")
    mute = CarrierScenario(rules=(ScenarioRule(answer=False, stat="none"),))
    smsc = Smsc(Scenario(carriers=(mute,)), seed=1)
    await smsc.start(port=port)
    try:
        await until(lambda: gateway.pipeline.submitter.in_flight == 3)
        watch = gateway.inner.watch
        watch.look(gateway.inner._clock.monotonic())
        assert len(watch.watchdog.episodes) == 1
        listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
        assert [one for one in listed if one.error_code == "99002"] == []
    finally:
        await smsc.stop()


async def test_a_sender_with_a_slow_rate_is_not_stuck(start_gateway: Start, smsc: Smsc) -> None:
    """It goes on, however slowly: the watchdog looks at what leaves, not at what is old."""
    gateway = await start_gateway(
        smsc.port, watchdog={**QUICK, "stuck_s": 1.0, "slow_s": 1.0}, default_rate_per_second=5
    )
    sdk = await gateway.sdk()
    sids = [(await sdk.send("x", f"+4416329600{n:02d}", from_=NUMBERS[0])).sid for n in range(15)]
    await sdk.reaches(sids[-1], "delivered")
    assert gateway.inner.watch.watchdog.episodes == {}
    listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
    assert [one for one in listed if one.error_code == "99001"] == []


async def test_a_lost_wake_up_heals_by_itself(
    start_gateway: Start,
    start_smsc: Callable[..., Awaitable[Smsc]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every wake-up of the submitter is lost: what waits goes all the same, at the next timer."""
    monkeypatch.setattr("gateway.submission.submitter.HEAL_S", 0.3)
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.1),)))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    submitter = gateway.pipeline.submitter

    class Deaf(asyncio.Event):
        lost = 0

        def set(self) -> None:
            Deaf.lost += 1

    monkeypatch.setattr(submitter, "_wake", Deaf())
    # To one recipient, so that each waits for the answer to the one before.
    sids = [(await sdk.send(str(n), from_=NUMBERS[0])).sid for n in range(3)]
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    assert Deaf.lost > 0


async def test_a_wake_up_that_no_timer_heals_is_told(
    start_gateway: Start,
    start_smsc: Callable[..., Awaitable[Smsc]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.1),)))
    gateway = await start_gateway(smsc.port, watchdog={**QUICK, "slow_s": 60.0, "lost_s": 0.3})
    sdk = await gateway.sdk()
    gone = asyncio.Event()

    sleep = gateway.pipeline.submitter._sleep

    async def asleep() -> None:
        await gone.wait()
        await sleep()

    monkeypatch.setattr(gateway.pipeline.submitter, "_sleep", asleep)
    sids = []
    for n in range(3):  # the stage is in the real sleep still, for the first
        sids.append((await sdk.send(str(n), from_=NUMBERS[0])).sid)
    [alert] = await alerts(sdk, "99001")
    assert "a+wake-up+was+lost" in alert.alert_text
    gone.set()
    for sid in sids:
        await sdk.reaches(sid, "delivered")
