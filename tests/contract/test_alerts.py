"""Alerts and the Debugger webhook, through the unmodified SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hooks import Hooks, status
from testing import WAIT_S, GatewayUnderTest, Sdk, sdk_client, until
from twilio.base.exceptions import TwilioException, TwilioRestException

from gateway.observe.alerts import QUIET_S, TEXT_LIMIT, Exchange
from smpp.smsc import Scenario, Smsc
from smpp.smsc.scenario import CarrierScenario, ScenarioRule
from storage import alerts as alert_rows

Start = Callable[..., Awaitable[GatewayUnderTest]]

EXCHANGE = Exchange(
    "POST",
    "https://app.example/sms?a=b",
    variables="From=%2B15005550001&Body=hi",
    headers="X-Twilio-Signature=abc",
    status=502,
    response_headers="Server=nginx",
    response_body="x" * (TEXT_LIMIT + 1),
)


async def listed(sdk: Sdk, count: int, **filters: Any) -> list[Any]:
    """The account's alerts once there are so many."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found: list[Any] = await sdk.call(sdk.client.monitor.v1.alerts.list, **filters)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def test_an_alert_is_listed_and_fetched_with_its_request(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    gateway.pipeline.runtime.alerts.alert(
        11200,
        "HTTP 502",
        level="error",
        resource="SM" + "0" * 32,
        account_id=account.id,
        service=sdk.service_sid,
        exchange=EXCHANGE,
    )
    [alert] = await listed(sdk, 1)
    assert alert.error_code == "11200"
    assert alert.log_level == "error"
    assert alert.resource_sid == "SM" + "0" * 32
    assert alert.service_sid == sdk.service_sid
    assert alert.more_info == "https://www.twilio.com/docs/errors/11200"
    assert (alert.request_method, alert.request_url) == ("POST", EXCHANGE.url)
    assert abs(alert.date_created - datetime.now(UTC)) < timedelta(minutes=1)
    assert parse_qs(alert.alert_text) == {
        "sourceComponent": ["14100"],
        "httpResponse": ["502"],
        "url": [EXCHANGE.url],
        "ErrorCode": ["11200"],
        "LogLevel": ["ERROR"],
        "Msg": ["HTTP 502"],
    }
    whole = await sdk.call(sdk.client.monitor.v1.alerts(alert.sid).fetch)
    assert whole.request_variables == EXCHANGE.variables
    assert whole.request_headers == EXCHANGE.headers
    assert whole.response_headers == EXCHANGE.response_headers
    assert whole.response_body == "x" * TEXT_LIMIT


async def test_alerts_are_paged_and_filtered(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    for number in range(5):
        level = "warning" if number % 2 else "error"
        gateway.pipeline.runtime.alerts.alert(
            11200, f"{number}", level=level, resource=f"SM{number:032x}", account_id=account.id
        )
    alerts = await listed(sdk, 5, page_size=2)
    assert [int(alert.resource_sid[2:], 16) for alert in alerts] == [4, 3, 2, 1, 0]
    assert len(await listed(sdk, 2, log_level="warning")) == 2
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    assert len(await listed(sdk, 5, start_date=now - hour, end_date=now + hour)) == 5
    assert await listed(sdk, 0, start_date=now + hour) == []
    assert await listed(sdk, 0, end_date=now - hour) == []
    with pytest.raises(TwilioException, match="20001"):
        await sdk.call(sdk.client.monitor.v1.alerts.list, log_level="loud")


async def test_alerts_of_another_account_are_not_there(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    other = await sdk.call(sdk.client.api.accounts.create)
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    gateway.pipeline.runtime.alerts.alert(11200, "ours", account_id=account.id)
    [alert] = await listed(sdk, 1)
    theirs = sdk_client(sdk.base_url, other.sid, other.auth_token).monitor.v1.alerts
    assert await sdk.call(theirs.list) == []
    with pytest.raises(TwilioRestException) as caught:
        await sdk.call(theirs(alert.sid).fetch)
    assert caught.value.status == 404


async def test_an_alert_about_one_thing_is_raised_once_a_minute(gateway: GatewayUnderTest) -> None:
    alerts = gateway.pipeline.runtime.alerts
    before = alerts.dropped
    alerts.alert(11200, "a", subject="app.example")
    alerts.alert(11200, "b", subject="app.example")
    alerts.alert(11200, "c", subject="other.example")
    assert alerts.dropped == before + 1
    assert QUIET_S == 60


async def test_who_keeps_alerts_few_himself_is_never_taken_for_a_repeat(
    gateway: GatewayUnderTest,
) -> None:
    alerts = gateway.pipeline.runtime.alerts
    before = alerts.dropped
    for text in ("stuck", "over", "stuck"):
        alerts.alert(99001, text, subject="carrier", bounded=True)
    assert alerts.dropped == before


async def test_an_alert_whose_commit_was_in_doubt_is_there_once_and_told(
    sdk: Sdk, gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.observe.alerts.RETRY_S", 0.0)
    insert = alert_rows.insert
    tries = 0

    async def broken_after_the_commit(*arguments: Any) -> None:
        nonlocal tries
        tries += 1
        await insert(*arguments)
        if tries == 1:
            raise ConnectionError("the answer was lost")

    monkeypatch.setattr(alert_rows, "insert", broken_after_the_commit)
    told = asyncio.Event()
    monkeypatch.setattr(gateway.pipeline.runtime.alerts, "written", lambda alerts: told.set())
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    gateway.pipeline.runtime.alerts.alert(11200, "once", account_id=account.id)
    async with asyncio.timeout(WAIT_S):
        await told.wait()
    assert tries == 2
    await listed(sdk, 1)


async def test_what_no_table_takes_is_kept_readable(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    odd = Exchange("POST", "https://app.example/", response_body="a\x00b\udcff")
    gateway.pipeline.runtime.alerts.alert(11200, "odd", account_id=account.id, exchange=odd)
    [alert] = await listed(sdk, 1)
    whole = await sdk.call(sdk.client.monitor.v1.alerts(alert.sid).fetch)
    assert whole.response_body == "a\ufffdb?"


async def test_every_failed_message_is_an_alert(start_gateway: Start) -> None:
    rules = (ScenarioRule(), ScenarioRule(prefix="4416329606", stat="UNDELIV", err="001"))
    smsc = Smsc(Scenario(carriers=(CarrierScenario(rules=rules),)), seed=1)
    await smsc.start()
    try:
        sdk = await (await start_gateway(smsc.port)).sdk()
        sent = [await sdk.send(to=f"+44163296060{number}") for number in range(3)]
        good = await sdk.send(to="+441632970600")
        failed = [await sdk.reaches(message.sid, "undelivered") for message in sent]
        await sdk.reaches(good.sid, "delivered")
        alerts = await listed(sdk, 3)
    finally:
        await smsc.stop()
    assert sorted(alert.resource_sid for alert in alerts) == sorted(m.sid for m in sent)
    assert {alert.error_code for alert in alerts} == {str(m.error_code) for m in failed}
    assert {(alert.log_level, alert.service_sid) for alert in alerts} == {
        ("error", sdk.service_sid)
    }


async def test_a_status_callback_that_is_not_taken_is_one_alert_a_minute(
    sdk: Sdk, hooks: Hooks
) -> None:
    hooks.answers["/status"] = status(500)
    for _ in range(3):
        await sdk.send(status_callback=hooks.url("/status"))
    await hooks.has("/status", 4)  # of three messages, and one of them again
    [alert] = await listed(sdk, 1)
    assert (alert.error_code, alert.log_level) == ("11200", "error")
    assert alert.request_url == hooks.url("/status")
    assert "status callback" in parse_qs(alert.alert_text)["Msg"][0]


async def test_the_debugger_webhook_is_told_of_each_alert_and_its_failure_raises_none(
    sdk: Sdk, gateway: GatewayUnderTest, hooks: Hooks
) -> None:
    account = gateway.pipeline.runtime.directory.accounts[sdk.account_sid]
    url = hooks.url("/debugger")
    updated = await sdk.call(
        sdk.client.request,
        "POST",
        f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}.json",
        data={"DebuggerUrl": url},
    )
    assert json.loads(updated.text)["debugger_url"] == url
    hooks.answers["/debugger"] = status(500)
    gateway.pipeline.runtime.alerts.alert(
        11200,
        "HTTP 502",
        level="error",
        resource="SM1",
        account_id=account.id,
        exchange=EXCHANGE,
    )
    await until(lambda: len(hooks.taken) == 1)
    [told] = hooks.taken
    assert told.valid
    [alert] = await listed(sdk, 1)
    assert told.form["Sid"] == alert.sid
    assert told.form["AccountSid"] == sdk.account_sid
    assert told.form["ParentAccountSid"] == ""
    assert told.form["Level"] == "ERROR"
    assert told.form["PayloadType"] == "application/json"
    payload = json.loads(told.form["Payload"])
    assert payload["error_code"] == "11200"
    assert payload["resource_sid"] == "SM1"
    assert payload["webhook"]["request"]["parameters"] == {"From": "+15005550001", "Body": "hi"}
    assert payload["webhook"]["response"]["status_code"] == 502
    # Another alert is told, too; the failing of the first made none of its own.
    gateway.pipeline.runtime.alerts.alert(11200, "second", resource="SM2", account_id=account.id)
    await until(lambda: len(hooks.taken) == 2)
    assert [a.resource_sid for a in await listed(sdk, 2)] == ["SM2", "SM1"]
