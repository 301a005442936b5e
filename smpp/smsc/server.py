"""The simulator as one object: listens, knows its carriers, starts and stops."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Callable
from random import Random

from smpp import vocabulary as v
from smpp.layouts import beyond_standard
from smpp.smsc.agenda import Agenda
from smpp.smsc.carrier import SimulatedCarrier
from smpp.smsc.connection import SmscConnection
from smpp.smsc.control import Control
from smpp.smsc.ledger import Counters, Ledger
from smpp.smsc.scenario import Scenario
from smpp.tls import server_context

log = logging.getLogger(__name__)

WATCH_S = 1.0


class Smsc:
    """A carrier simulator: a real SMPP server, in the caller's event loop.

    `clock` is the wall clock of ledger and receipts. `seed` decides everything
    that is left to chance, and the first message id; without one (here or in
    the scenario) each run is another.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        self.scenario = scenario or Scenario()
        self.ledger = Ledger(self.scenario.ledger_limit)
        self.port = 0
        self.control_port = 0
        # The port of each carrier, by name.
        self.ports: dict[str, int] = {}
        self.carriers: list[SimulatedCarrier] = []
        self._clock = clock
        self._random = Random(self.scenario.seed if seed is None else seed)
        self._agenda: Agenda | None = None
        self._servers: list[asyncio.Server] = []
        self._connections: set[SmscConnection] = set()
        self._control: Control | None = None
        self._opened = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        """Listen; `port`, `control_port` and `ports` then say where. Raises OSError."""
        agenda = self._agenda = Agenda()
        self.carriers = [
            SimulatedCarrier(
                carrier, self.ledger, agenda, self._clock, Random(self._random.getrandbits(64))
            )
            for carrier in self.scenario.carriers
        ]
        for scenario in self.scenario.carriers:
            for what in beyond_standard(scenario.system_id, scenario.password):
                log.warning("carrier %s: %s: many clients refuse it", scenario.name, what)
        tls = None
        if self.scenario.tls_certificate:
            tls = server_context(
                self.scenario.tls_certificate, self.scenario.tls_key, self.scenario.tls_client_ca
            )
        shared = [carrier for carrier in self.carriers if not carrier.scenario.port]
        try:
            if shared:
                self.port = await self._listen(host, port, shared, tls)
                self.ports = {carrier.scenario.name: self.port for carrier in shared}
            for carrier in self.carriers:
                if carrier.scenario.port:
                    own = await self._listen(host, carrier.scenario.port, [carrier], tls)
                    self.ports[carrier.scenario.name] = own
                    self.port = self.port or own
            self._control = Control(self)
            self.control_port = await self._control.start(host, control_port)
        except OSError:
            await self.stop()
            raise
        agenda.add(WATCH_S, self._watch)

    async def stop(self) -> None:
        """Close everything, at once."""
        if self._agenda is not None:
            self._agenda.clear()
        if self._control is not None:
            await self._control.stop()
            self._control = None
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.disconnect()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    @property
    def counters(self) -> Counters:
        """Running totals."""
        return self.ledger.counters

    @property
    def connections(self) -> list[SmscConnection]:
        """Every open connection, bound or not."""
        return sorted(self._connections, key=lambda connection: connection.number)

    def carrier(self, name: str = "") -> SimulatedCarrier:
        """A carrier by name; the first without one. Raises KeyError."""
        for carrier in self.carriers:
            if name in ("", carrier.scenario.name):
                return carrier
        raise KeyError(name)

    async def _listen(
        self, host: str, port: int, carriers: list[SimulatedCarrier], tls: ssl.SSLContext | None
    ) -> int:
        def login(
            connection: SmscConnection, system_id: str, password: str
        ) -> SimulatedCarrier | int:
            return self._login(carriers, system_id, password)

        def accept() -> SmscConnection:
            self._opened += 1
            self.counters.connections += 1
            connection = SmscConnection(self._opened, login, self._lost)
            self._connections.add(connection)
            return connection

        server = await asyncio.get_running_loop().create_server(accept, host, port, ssl=tls)
        self._servers.append(server)
        bound_port: int = server.sockets[0].getsockname()[1]
        return bound_port

    def _login(
        self, carriers: list[SimulatedCarrier], system_id: str, password: str
    ) -> SimulatedCarrier | int:
        """The carrier that takes this bind, or the command_status of its refusal."""
        found = next(
            (carrier for carrier in carriers if carrier.scenario.system_id == system_id), None
        )
        status = 0
        if found is None:
            status = v.ESME_RINVSYSID
        elif found.scenario.bind_status:
            status = found.scenario.bind_status
        elif not hmac.compare_digest(found.scenario.password.encode(), password.encode()):
            status = v.ESME_RINVPASWD
        elif 0 < found.scenario.max_binds <= len(found.connections):
            status = v.ESME_RALYBND
        if status or found is None:
            self.counters.binds_refused += 1
            return status
        self.counters.binds += 1
        return found

    def _lost(self, connection: SmscConnection) -> None:
        self._connections.discard(connection)
        if connection.carrier is not None and connection in connection.carrier.connections:
            connection.carrier.connections.remove(connection)

    def _watch(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            connection.watch(now)
        if self._agenda is not None:
            self._agenda.add(WATCH_S, self._watch)
