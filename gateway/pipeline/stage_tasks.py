"""The tasks of a process: few, named, and their failure is loud."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class StageTasks:
    """Starts stages, watches them and ends them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def __bool__(self) -> bool:
        """Whether any was started."""
        return bool(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    @property
    def one_ended(self) -> bool:
        """Whether a stage failed: what it owed, nobody will do any more."""
        return any(task.done() for task in self._tasks)

    async def failed(self) -> None:
        """Return never, or raise what ended one of the stages."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError(f"the stage {task.get_name()!r} ended")

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
