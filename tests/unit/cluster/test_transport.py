"""Questions between workers, over real Unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from testing import WAIT_S

from gateway.cluster import transport
from gateway.cluster.transport import (
    FrameHandler,
    FrameKind,
    Links,
    PeerFailure,
    SendReply,
    Unanswered,
)
from gateway.cluster.worker_slot import WorkerSlot

Made = Callable[..., Links]


@asynccontextmanager
async def running(one: Links) -> AsyncIterator[Links]:
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def made(folder: Path) -> Made:

    def made(slot: int, handlers: dict[FrameKind, FrameHandler], **bounds: Any) -> Links:
        return Links(folder, WorkerSlot(slot, 2), handlers, **bounds)

    return made


def echo(payload: bytes, reply: SendReply) -> None:
    reply(payload[::-1])


async def test_many_questions_get_their_own_replies(made: Made) -> None:
    async with running(made(0, {})) as zero, running(made(1, {FrameKind.SEND: echo})):
        payloads = [b"%d" % n + b"x" * (n * 997 % 70_000) for n in range(200)]
        asked = await asyncio.gather(
            *(zero.question(1, FrameKind.SEND, payload) for payload in payloads)
        )
        assert asked == [payload[::-1] for payload in payloads]


async def test_both_ask_each_other(made: Made) -> None:
    handlers = {FrameKind.SEND: echo}
    async with running(made(0, handlers)) as zero, running(made(1, handlers)) as one:
        assert await zero.question(1, FrameKind.SEND, b"ab") == b"ba"
        assert await one.question(0, FrameKind.SEND, b"cd") == b"dc"


async def test_a_question_that_fails_is_told_as_unknown(made: Made) -> None:
    def breaks(payload: bytes, reply: SendReply) -> None:
        raise RuntimeError("as a bug would")

    handlers = {
        FrameKind.SEND: breaks,
        FrameKind.CANCEL: lambda _, reply: reply(None),
        FrameKind.REPLAY: echo,
    }
    async with running(made(0, {})) as zero, running(made(1, handlers)):
        for kind in (
            FrameKind.SEND,
            FrameKind.CANCEL,
            FrameKind.METRICS,
        ):  # nobody answers the last
            with pytest.raises(Unanswered) as caught:
                await zero.question(1, kind)
            assert caught.value.failure is PeerFailure.UNKNOWN
        assert await zero.question(1, FrameKind.REPLAY, b"ab") == b"ba", "the link is as it was"


async def test_who_dies_with_a_question_leaves_it_unknown_and_the_next_waits(made: Made) -> None:
    taken = asyncio.Event()
    async with running(made(0, {})) as zero:
        async with running(made(1, {FrameKind.SEND: lambda _, reply: taken.set()})):
            lost = asyncio.create_task(zero.question(1, FrameKind.SEND))
            await taken.wait()
        with pytest.raises(Unanswered) as caught:
            await lost
        assert caught.value.failure is PeerFailure.UNKNOWN
        waiting = asyncio.create_task(zero.question(1, FrameKind.SEND, b"ab"))
        async with running(made(1, {FrameKind.SEND: echo})):
            assert await waiting == b"ba"


async def test_who_dies_is_told_of_even_if_nothing_was_asked(made: Made) -> None:
    gone: asyncio.Queue[int] = asyncio.Queue()
    zero = made(0, {})
    zero.worker_lost = gone.put_nowait
    async with running(zero):
        for _ in range(2):
            async with running(made(1, {FrameKind.SEND: echo})):
                assert await zero.question(1, FrameKind.SEND, b"ab") == b"ba"
                assert gone.empty()
            async with asyncio.timeout(WAIT_S):
                assert await gone.get() == 1


async def test_nobody_comes(made: Made) -> None:
    async with running(made(0, {}, wait_s=0.05)) as zero:
        for patient in (True, False):
            with pytest.raises(Unanswered) as caught:
                await zero.question(1, FrameKind.SEND, patient=patient)
            assert caught.value.failure is PeerFailure.AWAY


async def test_more_than_its_bound_is_asked_of_nobody(made: Made) -> None:
    held: list[SendReply] = []
    async with AsyncExitStack() as stack:
        zero = await stack.enter_async_context(running(made(0, {}, bound=3)))
        waiting = [asyncio.create_task(zero.question(1, FrameKind.SEND)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unanswered):  # while nobody is there yet
            await zero.question(1, FrameKind.SEND)
        handlers: dict[FrameKind, FrameHandler] = {
            FrameKind.SEND: lambda _, reply: held.append(reply)
        }
        await stack.enter_async_context(running(made(1, handlers)))
        while len(held) < 3:
            await asyncio.sleep(0.001)
        with pytest.raises(Unanswered) as caught:  # while it has too much to do
            await zero.question(1, FrameKind.SEND)
        assert caught.value.failure is PeerFailure.AWAY
        for reply in held:
            reply(b"at last")
        assert await asyncio.gather(*waiting) == [b"at last"] * 3


async def test_one_that_stops_waits_for_nobody(made: Made) -> None:
    async with running(made(0, {})) as zero:
        waiting = asyncio.create_task(zero.question(1, FrameKind.SEND, b"before"))
        await asyncio.sleep(0)
        zero.end()
        for question in (waiting, zero.question(1, FrameKind.SEND, b"after")):
            async with asyncio.timeout(transport.WAIT_S / 2):
                with pytest.raises(Unanswered) as caught:
                    await question
            assert caught.value.failure is PeerFailure.AWAY


async def test_one_that_stops_still_gets_the_replies_of_those_that_are_there(made: Made) -> None:
    async with running(made(0, {})) as zero, running(made(1, {FrameKind.SEND: echo})):
        assert await zero.question(1, FrameKind.SEND, b"ab") == b"ba"
        zero.end()
        assert await zero.question(1, FrameKind.SEND, b"cd") == b"dc"


async def test_a_worker_of_another_version_is_not_understood_and_not_guessed_at(
    made: Made, folder: Path
) -> None:
    heard: list[bytes] = []

    def hear(payload: bytes, reply: SendReply) -> None:
        heard.append(payload)
        reply(b"")

    async with running(made(1, {FrameKind.SEND: hear})) as running_one:
        await answered(running_one)
        reader, writer = await asyncio.open_unix_connection(str(transport.socket_path(folder, 1)))
        writer.write(transport.HEAD.pack(transport.PROTOCOL + 1, 2, 1, FrameKind.SEND) + b"hi")
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
        writer.close()
        assert not heard


async def answered(links: Links) -> None:
    """Return once it listens."""
    async with asyncio.timeout(WAIT_S):
        while not links._path(1).exists():
            await asyncio.sleep(0.01)
