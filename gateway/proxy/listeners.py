"""The listeners that stand in for `*.twilio.com`: TLS under its names, and the CONNECT proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from gateway.proxy.authority import RENEW_DAYS, Authority
from gateway.proxy.connect import ConnectProxy

LOOPBACK = "127.0.0.1"


class Listeners:
    """Both, in front of the gateway's own HTTP protocol."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        authority: Authority,
        context: ssl.SSLContext,
    ) -> None:
        """`context` is one that the authority has made."""
        self._protocol = protocol
        self._authority = authority
        self._context = context
        self._renewing: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._proxy: ConnectProxy | None = None
        self.tls_port = 0
        self.proxy_port = 0

    async def start(
        self,
        tls: tuple[str, int] | None,
        proxy: tuple[str, int] | None,
        *,
        shared: bool = False,
    ) -> None:
        """Listen where asked; `shared` with other workers. Raises OSError for a taken port."""
        host, port = tls or (LOOPBACK, 0)  # the proxy needs it, if only for itself
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, host, port, ssl=self._context, reuse_port=shared or None
        )
        self._renewing = asyncio.create_task(self._renew(), name="TLS leaf")
        self.tls_port = self._server.sockets[0].getsockname()[1]
        if proxy is not None:
            inner = LOOPBACK if host in ("0.0.0.0", "::") else host
            self._proxy = ConnectProxy((inner, self.tls_port))
            self.proxy_port = await self._proxy.start(*proxy, shared=shared)

    async def _renew(self) -> None:
        """A leaf never comes near its end, however long the process runs."""
        while True:
            await asyncio.sleep(RENEW_DAYS * 86_400)
            await asyncio.to_thread(self._authority.renew, self._context)

    async def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._proxy is not None:
            await self._proxy.stop()
        if self._server is not None:
            self._server.close()
