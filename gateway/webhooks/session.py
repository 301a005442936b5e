"""One aiohttp session, open for as long as its owner is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import aiohttp


class WithSession(ABC):
    """An async context: the session is made on entry, since it belongs to the running loop."""

    _session: aiohttp.ClientSession | None = None

    @abstractmethod
    def _make(self) -> aiohttp.ClientSession:
        """The session, with its connector, headers and cookies."""

    async def __aenter__(self) -> Self:
        self._session = self._make()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it as a context manager"
        return self._session
