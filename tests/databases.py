"""Databases for tests, made ahead of need: each a copy of one that was migrated once.

A thread of its own makes and drops them, so that Postgres works while a test does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from storage.database import open_connection
from storage.migrate import migrate

AHEAD = 2


class Databases:
    """A context: `take` gives the URL of a fresh database, `give_back` drops it some time."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._names = (f"tandem_test_{os.getpid()}_{n}" for n in itertools.count(1))
        self._ready: queue.Queue[str | BaseException] = queue.Queue()
        self._orders: queue.Queue[str | None] = queue.Queue()  # a name to drop; "": make one
        self._thread = threading.Thread(target=self._run, name="test databases", daemon=True)

    def __enter__(self) -> Self:
        for _ in range(AHEAD):
            self._orders.put("")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._orders.put(None)
        self._thread.join()

    async def take(self) -> str:
        self._orders.put("")
        made = await asyncio.to_thread(self._ready.get)
        if isinstance(made, BaseException):
            raise made
        return self.url_of(made)

    def give_back(self, url: str) -> None:
        self._orders.put(urlsplit(url).path[1:])

    def url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._server_url)._replace(path=f"/{name}"))

    # In the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # whoever waits must hear of it
            self._ready.put(error)
            raise

    async def _serve(self) -> None:
        server = await asyncpg.connect(self._server_url)
        template = next(self._names)
        await server.execute(f'CREATE DATABASE "{template}"')
        connection = await open_connection(self.url_of(template))
        await migrate(connection)
        await connection.close()
        while (order := await asyncio.to_thread(self._orders.get)) is not None:
            if order:
                await server.execute(f'DROP DATABASE IF EXISTS "{order}" WITH (FORCE)')
                continue
            name = next(self._names)
            # By files: a third of the time of the log, where nothing is flushed.
            await server.execute(
                f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'
            )
            self._ready.put(name)
        while not self._ready.empty():
            await server.execute(f'DROP DATABASE IF EXISTS "{self._ready.get()}" WITH (FORCE)')
        await server.execute(f'DROP DATABASE "{template}" WITH (FORCE)')
        await server.close()
