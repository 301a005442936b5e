"""Takes status callbacks, counts them, and answers at once: `python -m bench.load.sink`.

`GET /count` tells how many. Signatures are not checked: it must not be what limits.
"""

from __future__ import annotations

import asyncio
import re
import signal
from typing import Final, cast

import uvloop

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_TAKEN: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Count:
    taken = 0


class Connection(asyncio.Protocol):
    """Keep-alive, pipelined requests too."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at, answers = 0, []
        while (end := data.find(b"\r\n\r\n", at)) >= 0:
            found = _LENGTH.search(data, at, end + 2)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(data) < whole:
                break
            if data.startswith(b"GET /count ", at):
                text = b"%d" % self._count.taken
                answers.append(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
                )
            else:
                self._count.taken += 1
                answers.append(_TAKEN)
            at = whole
        self._rest = data[at:]
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))


async def _serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    count = Count()
    server = await loop.create_server(lambda: Connection(count), HOST, 0, backlog=1024)
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
