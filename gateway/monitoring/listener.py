"""A listener of its own for the operator's machines, apart from the API's port.

Uvicorn's protocol without its server, as that one is the process's only. Whoever reaches it may
read: where it listens decides who that is.
"""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.api.http.probes import Probes, routes
from gateway.settings import ConfigurationError


class ProbeListener:
    """`/healthz`, `/readyz` and `/metrics`, and nothing else."""

    def __init__(self, probes: Probes) -> None:
        self._app = Starlette(routes=routes(probes, None))
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int, *, shared: bool = False) -> None:
        """Listen; `shared` with the other workers. Raises ConfigurationError."""
        config = Config(self._app, lifespan="off", access_log=False, log_config=None, ws="none")
        config.load()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: HttpToolsProtocol(config=config, server_state=self._state, app_state={}),
                host,
                port,
                reuse_port=shared or None,
            )
        except OSError as error:
            raise ConfigurationError(f"metrics.port: can't listen: {error}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
