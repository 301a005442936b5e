"""The loop that the gateway runs on: uvloop's, which asks nobody for the address of an address.

uvloop looks up whatever is asked of it in four threads, those of all names of the process, and its
`sock_connect`, by which aiohttp connects, asks for numeric addresses too: where names wait for a
nameserver that does not answer, connections to addresses would wait behind them.
"""

from __future__ import annotations

import socket
from typing import Any

import uvloop


class EventLoop(uvloop.Loop):
    """As uvloop's, but that an address is answered at once."""

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`, and raises as it does."""
        numeric = flags | socket.AI_NUMERICHOST
        try:
            return socket.getaddrinfo(host, port, family, type, proto, numeric)
        except (socket.gaierror, UnicodeError):  # a name, then
            found: list[Any] = await super().getaddrinfo(
                host, port, family=family, type=type, proto=proto, flags=flags
            )
            return found
