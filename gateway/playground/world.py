"""`tandem world`: the database, the simulator and the gateway, each a process of its own.

What a script needs to drive it is in `<data folder>/demo.json`. A gateway or a simulator that
dies is started again, so it may be killed to see what a restart does. On Linux they end with
the world even when that one is killed; the gateway, which uses the embedded database too, then
is its last user and stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.playground.processes import Child, OnLine
from gateway.playground.provision import Provisioned, provision
from gateway.settings import ConfigurationError
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

HOST = "127.0.0.1"
SYSTEM_ID, PASSWORD = "tandem", "secret"
READY_S = 30.0
RESTART_S = 0.5
RATE_PER_SECOND = 1000  # of each number here: the simulator is no carrier, and nobody's time waits


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; each by its own variable."""

    gateway: int
    smsc: int
    control: int

    @classmethod
    def from_environment(cls) -> Ports:
        return cls(
            gateway=port_of("TANDEM_PORT", 8080),
            smsc=port_of("TANDEM_SMSC_PORT", 2775),
            control=port_of("TANDEM_SMSC_CONTROL_PORT", 2780),
        )

    def check(self) -> None:
        """Raises ConfigurationError when one is taken."""
        check_port(self.gateway, "TANDEM_PORT")
        check_port(self.smsc, "TANDEM_SMSC_PORT")
        check_port(self.control, "TANDEM_SMSC_CONTROL_PORT")


def port_of(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{variable} must be a port, not {text!r}")
    return int(text)


def check_port(port: int, variable: str) -> None:
    """Raises ConfigurationError when somebody listens there already."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise ConfigurationError(
            f"port {port} can't be had ({error.strerror}): {_who_has_it()}"
            f" stop it, or set {variable} to a free one"
        ) from None


def _who_has_it() -> str:
    try:
        pid = int(json.loads((data_dir() / "demo.json").read_text())["gateway_pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return "another program, or another Tandem, runs there;"
    return f"perhaps a Tandem still runs, whose gateway was process {pid};"


def data_dir() -> Path:
    return Path(os.environ.get("TANDEM_DATA_DIR", ".tandem"))


class World:
    """An async context: up on entry, down on exit."""

    def __init__(
        self,
        ports: Ports,
        *,
        tell: OnLine,
        on_gateway_line: OnLine,
        gateway_environment: Any = None,
    ) -> None:
        self.ports = ports
        self.base_url = f"http://{HOST}:{ports.gateway}"
        self.control_url = f"http://{HOST}:{ports.control}"
        self.provisioned: Provisioned | None = None
        self.database_url = ""
        self._tell = tell
        self._on_gateway_line = on_gateway_line
        self._extra = dict(gateway_environment or {})
        self._stack = contextlib.AsyncExitStack()
        self._folder = data_dir()
        self._main_account: tuple[str, str] = ("", "")
        self._gateway: Child | None = None
        self._smsc: Child | None = None

    async def __aenter__(self) -> World:
        self.ports.check()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{self._folder}: {error.strerror} (TANDEM_DATA_DIR chooses another folder)"
            ) from None
        self._main_account = _main_account(self._folder / "world.json")
        self.database_url = os.environ.get("TANDEM_DATABASE_URL", "")
        if self.database_url:
            self._tell("database   the one of TANDEM_DATABASE_URL")
        else:
            embedded = EmbeddedPostgres(self._folder / "postgres")
            try:
                self.database_url = await embedded.start()
            except EmbeddedPostgresError as error:
                raise ConfigurationError(str(error)) from error
            # The gateway joins it: see above for what happens when we are killed.
            self._extra |= {"TANDEM_DATABASE_URL": "", "TANDEM_DATA_DIR": str(self._folder)}
            self._stack.push_async_callback(embedded.stop)
            self._tell(f"database   embedded Postgres in {self._folder / 'postgres'}")
        self._stack.push_async_callback(self._stop_children)
        await self._start_smsc()
        await self._start_gateway()
        sid, token = self._main_account
        self.provisioned = await asyncio.to_thread(provision, self.base_url, sid, token)
        self._write_facts()

    async def _start_smsc(self) -> None:
        arguments = ["smsc", "--port", str(self.ports.smsc)]
        arguments += ["--control-port", str(self.ports.control)]
        arguments += ["--system-id", SYSTEM_ID, "--password", PASSWORD]
        if scenario := os.environ.get("TANDEM_SMSC_SCENARIO"):
            arguments += ["--scenario", scenario]
        self._smsc = Child("simulator", arguments, {}, self._tell)
        await self._smsc.start()
        await self._until_up(f"{self.control_url}/counters", self._smsc)
        self._tell(f"simulator  smpp://{HOST}:{self.ports.smsc}, control {self.control_url}")

    async def _start_gateway(self) -> None:
        sid, token = self._main_account
        carrier = {
            "name": "simulator",
            "hosts": [f"{HOST}:{self.ports.smsc}"],
            "system_id": SYSTEM_ID,
            "password": PASSWORD,
        }
        environment = {
            "TANDEM_HOST": HOST,
            "TANDEM_PORT": str(self.ports.gateway),
            "TANDEM_DATABASE_URL": self.database_url,
            "TANDEM_ACCOUNT__SID": sid,
            "TANDEM_ACCOUNT__AUTH_TOKEN": token,
            "TANDEM_CARRIERS": json.dumps([carrier]),
            "TANDEM_DEFAULT_RATE_PER_SECOND": str(RATE_PER_SECOND),
            "TANDEM_WEBHOOKS__ALLOW_PRIVATE": "true",
            **self._extra,
        }
        self._gateway = Child("gateway", ["serve"], environment, self._on_gateway_line)
        await self._gateway.start()
        await self._until_up(f"{self.base_url}/readyz", self._gateway)
        self._tell(f"gateway    {self.base_url}")

    async def _stop_children(self) -> None:
        """The gateway first, so that it hears from the simulator what is still under way."""
        for child in (self._gateway, self._smsc):
            if child is not None:
                await child.stop()

    async def watch(self) -> None:
        """Start the gateway and the simulator again whenever they end; until cancelled."""
        watches = [
            asyncio.create_task(watch(), name=f"watch {watch.__name__}")
            for watch in (self._watch_gateway, self._watch_smsc)
        ]
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _watch_gateway(self) -> None:
        while True:
            await self._ended(self._gateway)
            await self._start_gateway()
            self._write_facts()

    async def _watch_smsc(self) -> None:
        while True:
            await self._ended(self._smsc)
            await self._start_smsc()

    async def _ended(self, child: Child | None) -> None:
        assert child is not None
        status = await child.wait()
        self._tell(f"{child.name:<10} ended with status {status}; starting it again")
        await asyncio.sleep(RESTART_S)

    async def _until_up(self, url: str, child: Child) -> None:
        ended = asyncio.create_task(child.wait())
        try:
            async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
                while not ended.done():
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(url) as response:
                            if response.status == 200:
                                return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ConfigurationError(f"the {child.name} is not up after {READY_S:.0f} s") from None
        finally:
            if not ended.done():
                ended.cancel()
        raise ConfigurationError(
            f"the {child.name} ended with status {ended.result()}: {child.why_it_ended()}"
        )

    def _write_facts(self) -> None:
        assert self.provisioned is not None
        assert self._gateway is not None
        facts = {
            "base_url": self.base_url,
            "account_sid": self.provisioned.account_sid,
            "auth_token": self.provisioned.auth_token,
            "messaging_service_sid": self.provisioned.messaging_service_sid,
            "numbers": list(self.provisioned.numbers),
            "smsc": {
                "host": HOST,
                "port": self.ports.smsc,
                "system_id": SYSTEM_ID,
                "password": PASSWORD,
                "control_url": self.control_url,
            },
            "inbound": {  # a handset writes; what answers; where the reply shows
                "write": f"POST {self.control_url}/mo",
                "inbox": "tandem inbox --connect --reply TEXT",
                "replies": f"GET {self.control_url}/ledger",
            },
            "database_url": self.database_url,
            "gateway_pid": self._gateway.pid,
        }
        file = self._folder / "demo.json"
        draft = file.with_suffix(".json.new")
        draft.write_text(json.dumps(facts, indent=2) + "\n")
        draft.chmod(0o600)
        draft.replace(file)  # a reader sees the old facts or the new, never half of them


def _main_account(file: Path) -> tuple[str, str]:
    """The world's own parent account: made up once, kept in the data folder."""
    if file.exists():
        known = json.loads(file.read_text())
        return known["account_sid"], known["auth_token"]
    sid, token = "AC" + secrets.token_hex(16), secrets.token_hex(16)
    file.touch(mode=0o600)
    file.write_text(json.dumps({"account_sid": sid, "auth_token": token}))
    return sid, token


async def until_terminated(
    work: Callable[[], Coroutine[Any, Any, int]], when_stopped: int = 0
) -> int:
    """Run `work`; SIGINT and SIGTERM cancel it, so that its children are ended in order.

    One signal is enough: those that follow would cut the cleaning up short, and are ignored.
    It has an end of its own, for each child (`processes.STOP_S`).
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    task = asyncio.create_task(work(), name="work")
    stopping = asyncio.create_task(stopped.wait(), name="stop")
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if stopped.is_set():
            return when_stopped
        raise


async def keep_up() -> int:
    def tell(text: str) -> None:
        print(text, flush=True)

    async with World(Ports.from_environment(), tell=tell, on_gateway_line=tell) as world:
        facts = world.provisioned
        assert facts is not None
        tell(f"account    {facts.account_sid}, service {facts.messaging_service_sid}")
        tell(f"numbers    {', '.join(facts.numbers)}")
        tell(f"facts      {data_dir() / 'demo.json'}    (Ctrl-C stops everything)")
        await world.watch()
    return 0
