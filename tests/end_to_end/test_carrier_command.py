"""`tandem carrier list | show | set | check` against a running gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from testing import ACCOUNT_SID, AUTH_TOKEN, TO, GatewayUnderTest, until

from gateway.commands.main import main
from smpp.smsc import Smsc

SECRET = "a secret key of some length"


class Command:
    """The command, with a configuration file of its own."""

    def __init__(self, folder: Path, gateway: GatewayUnderTest, capsys: Any) -> None:
        self._capsys = capsys
        self._file = folder / "cli.toml"
        self._file.write_text(
            f"""
            port = {gateway.inner.port}
            data_dir = "{folder}"
            database_url = "{gateway.database_url}"
            secret_key = "{SECRET}"
            [account]
            sid = "{ACCOUNT_SID}"
            auth_token = "{AUTH_TOKEN}"
            """
        )

    async def __call__(self, *words: str, status: int = 0) -> str:
        """What it printed; an error's text where it is to fail."""
        arguments = ["carrier", *words, "--config", str(self._file)]
        assert await asyncio.to_thread(main, arguments) == status
        printed = self._capsys.readouterr()
        return str(printed.err if status == 2 else printed.out)


@pytest.fixture
async def gateway(start_gateway: Any, smsc: Smsc) -> GatewayUnderTest:
    gateway: GatewayUnderTest = await start_gateway(smsc.port, secret_key=SECRET)
    await gateway.bound()
    return gateway


@pytest.fixture
def command(
    gateway: GatewayUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    return Command(tmp_path, gateway, capsys)


async def test_list_and_show_tell_how_the_binds_are(command: Command, smsc: Smsc) -> None:
    assert await command("list") == "simulator: up, 1 of 1 binds, rate unlimited\n"
    shown = await command("show", "simulator")
    assert f"bound to 127.0.0.1:{smsc.port}, 0 of 100 in flight; 0 refusals" in shown
    assert 'concatenation = "udh8"' in shown
    assert "password" not in shown.replace("has_password", "")
    assert "not found" in await command("show", "nobody", status=2)


async def test_set_changes_a_carrier_or_makes_one(
    command: Command, gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    await command("set", "simulator", "rate_per_second=40", "concatenation=sar", "tls=null")
    [connector] = gateway.pipeline.connectors.by_id.values()
    assert connector.rate_now == 40.0
    assert connector.profile.concatenation == "sar"
    assert "rate 40.0/s" in await command("list")

    hosts = json.dumps([f"127.0.0.1:{smsc.port}"])
    made = await command("set", "two", f"hosts={hosts}", "system_id=tandem", "password=secret")
    assert made.startswith("carrier two")
    await until(lambda: all(one.up for one in gateway.pipeline.connectors.by_id.values()))
    assert len(gateway.pipeline.connectors.by_id) == 2

    assert "concatenation: Input should be" in await command(
        "set", "simulator", "concatenation=glue", status=2
    )
    assert "is not FIELD=VALUE" in await command("set", "simulator", "nonsense", status=2)


async def test_check_finds_a_carrier_that_only_the_database_knows(
    command: Command, gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    hosts = json.dumps([f"127.0.0.1:{smsc.port}"])
    await command("set", "two", f"hosts={hosts}", "system_id=tandem", "password=secret")
    printed = await command("check", "two", "--to", TO, "--from", "+447700900101")
    assert "long_code = { ton = 1, npi = 1 }" in printed
    assert "there are: " in await command("check", "nobody", status=2)


async def test_a_gateway_that_is_away_is_told_as_such(
    command: Command, gateway: GatewayUnderTest
) -> None:
    await gateway.stop()
    assert "can't be asked" in await command("list", status=2)
