"""A database that may lose what it confirmed is refused, or allowed by name and spoken of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from commands import Command
from testing import ALLOWED, WAIT_S, GatewayUnderTest

from gateway.settings import ConfigurationError, load_settings
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def loosen(database_url: str) -> None:
    server = await asyncpg.connect(database_url)
    name = urlsplit(database_url).path[1:]
    await server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await server.close()


async def test_the_gateway_does_not_start_and_says_why(command: Command, database_url: str) -> None:
    await loosen(database_url)
    assert await command.run("serve") == 2
    assert "synchronous_commit is off: a crash loses what was just confirmed" in command.said
    assert 'allow_unsafe = ["synchronous_commit"]' in command.said
    assert "Traceback" not in command.said


async def test_what_is_allowed_by_name_is_warned_of_and_an_alert(
    start_gateway: Start, smsc: Smsc, database_url: str
) -> None:
    await loosen(database_url)
    with pytest.raises(ConfigurationError, match="synchronous_commit"):
        await start_gateway(smsc.port)
    gateway = await start_gateway(smsc.port, allow_unsafe=("synchronous_commit", *ALLOWED))
    sdk = await gateway.sdk()
    async with asyncio.timeout(WAIT_S):
        while True:
            alerts = await sdk.call(sdk.client.monitor.v1.alerts.list)
            if any("synchronous_commit" in alert.alert_text for alert in alerts):
                break
            await asyncio.sleep(0.02)
    assert {alert.error_code for alert in alerts} == {"99003"}


def test_a_danger_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text('allow_unsafe = ["speed"]')
    with pytest.raises(ConfigurationError, match="allow_unsafe"):
        load_settings(file)
