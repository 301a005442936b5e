"""What the whole suite shares: a real Postgres, a database per test, a world to send in.

`TANDEM_DATABASE_URL` runs the suite against that server instead of the embedded one; each test
still gets a database of its own there.
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from carriers import StartSmsc
from commands import Command
from databases import Databases
from hooks import Hooks
from odd_carrier import OddCarrier
from testing import WAIT_S, GatewayUnderTest, Receiver, Sdk

from smpp.smsc import CarrierScenario, Scenario, Smsc
from storage.embedded import EmbeddedPostgres

# Given to the suite, it must not reach the settings of every gateway under test.
SERVER = os.environ.pop("TANDEM_DATABASE_URL", None)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The URL of a running server."""
    if SERVER is not None:
        yield SERVER
        return
    with tempfile.TemporaryDirectory(prefix="tandem-tests-") as folder:
        embedded = EmbeddedPostgres(Path(folder) / "postgres")
        url = await embedded.start()
        server = await asyncpg.connect(url)
        # No test pulls the plug of the machine, and each makes a database: what a killed process
        # had committed is there all the same.
        for setting in ("fsync", "full_page_writes"):
            await server.execute(f"ALTER SYSTEM SET {setting} = off")
        await server.execute("SELECT pg_reload_conf()")
        await server.close()
        yield url
        await embedded.stop()


@pytest.fixture(scope="session")
def databases(postgres: str) -> Iterator[Databases]:
    with Databases(postgres) as some:
        yield some


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A database of its own with our tables, and nothing in them."""
    url = await databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """A database that nobody has migrated."""
    name = f"tandem_empty_{os.getpid()}_{next(_numbers)}"
    server = await asyncpg.connect(postgres)
    await server.execute(f'CREATE DATABASE "{name}"')
    yield urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


@pytest.fixture
async def smsc() -> AsyncIterator[Smsc]:
    """A well-behaved carrier; receipts come at once."""
    simulator = Smsc(Scenario(), seed=1)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def odd() -> AsyncIterator[OddCarrier]:
    """A carrier that says whatever a test tells it to."""
    carrier = OddCarrier()
    await carrier.start()
    yield carrier
    carrier.stop()


@pytest.fixture
async def start_smsc() -> AsyncIterator[StartSmsc]:
    """Start a simulator with carriers of the given scenarios; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(*carriers: CarrierScenario, port: int = 0) -> Smsc:
            smsc = Smsc(Scenario(carriers=carriers or (CarrierScenario(),)), seed=1)
            await smsc.start(port=port)
            stack.push_async_callback(smsc.stop)
            return smsc

        yield start


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The app's side of status callbacks."""
    async with Receiver() as one:
        yield one


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    """The app's server for everything else."""
    async with Hooks() as one:
        yield one


StartGateway = Callable[..., Awaitable[GatewayUnderTest]]


@pytest.fixture
async def start_gateway(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartGateway]:
    """Start a gateway in this process, on a free port; stopped at the end."""
    # All that the suite asks with wrong credentials comes from one address.
    monkeypatch.setattr("gateway.api.http.logins.LONGEST_WAIT_S", 0.0)
    # A process that gets no time for so long gives up its right, as it should; on a busy machine
    # that is the suite's. What takes over after how long is tested where that is the matter.
    monkeypatch.setattr("gateway.cluster.session_lock.HOLDER_S", WAIT_S)
    async with AsyncExitStack() as stack:

        async def start(smsc_port: int, **settings: Any) -> GatewayUnderTest:
            gateway = GatewayUnderTest(database_url, smsc_port, tmp_path, settings)
            return await stack.enter_async_context(gateway)

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway, smsc: Smsc) -> GatewayUnderTest:
    """A gateway bound to the simulator."""
    return await start_gateway(smsc.port)


@pytest.fixture
async def sdk(gateway: GatewayUnderTest) -> Sdk:
    """The unmodified SDK with an account, two GB numbers and a service."""
    return await gateway.sdk()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder."""
    with tempfile.TemporaryDirectory(prefix="tandem-tests-") as name:
        yield Path(name)


@pytest.fixture
async def command(folder: Path, database_url: str) -> AsyncIterator[Command]:
    """A command to be run; ended at the end."""
    one = Command(folder, TANDEM_DATABASE_URL=database_url)
    yield one
    if one._process is not None and one._process.returncode is None:
        one.signal(signal.SIGTERM)
        await one.ends()
