"""What a worker does with a send of another's, before and after it has read the same change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

from gateway.api.forwarded import MADE, ForwardedRequests, SendOutcome
from gateway.api.messages.create_message import Creation
from gateway.backlog.canceler import Canceler
from gateway.cluster.peers import Peers
from gateway.cluster.placement import Ownership
from gateway.cluster.worker_slot import WorkerSlot

ACCOUNT = 7


class Worker:
    """Its directory is of version 1 until it is read again."""

    def __init__(self, folder: Path) -> None:
        self.submitted: list[int] = []  # the version by which each was validated
        self.directory: Any = SimpleNamespace(version=1, accounts_by_id={})
        self.may_read = asyncio.Event()
        peers = Peers(self.directory, Ownership(WorkerSlot(0, 2), self.directory), folder)
        peers.read = self._refresh
        runtime: Any = SimpleNamespace(directory=self.directory, pool=None, peers=peers)
        self.requests = ForwardedRequests(runtime, cast(Canceler, None))
        creation = SimpleNamespace(submit_here=self._submit)
        self.requests.serve(cast(Creation, creation), cast(Any, None), lambda row: None)

    async def _refresh(self) -> None:
        await self.may_read.wait()
        self.directory.version = 2
        self.directory.accounts_by_id[ACCOUNT] = SimpleNamespace(id=ACCOUNT)

    def _submit(self, account: Any, form: Any, answer: Any, idempotency: Any) -> None:
        self.submitted.append(self.directory.version)
        answer(orjson.dumps({"to": form.get("To")}), None, None)

    def asked(self, version: int) -> asyncio.Queue[bytes | None]:
        replies: asyncio.Queue[bytes | None] = asyncio.Queue()
        payload = orjson.dumps((version, ACCOUNT, {"To": "+447400900001"}, None, ""))
        self.requests._on_send(payload, replies.put_nowait)
        return replies


async def test_a_send_of_a_newer_configuration_waits_until_that_is_read(folder: Path) -> None:
    worker = Worker(folder)
    replies = worker.asked(version=2)
    await asyncio.sleep(0)
    assert replies.empty(), "the account is not known yet; that is no reason to refuse it"
    assert not worker.submitted
    worker.may_read.set()
    reply = await replies.get()
    assert reply is not None
    assert SendOutcome(MADE.unpack_from(reply)[0]) is SendOutcome.PLAIN
    assert worker.submitted == [2]


async def test_a_send_of_the_same_configuration_does_not_wait(folder: Path) -> None:
    worker = Worker(folder)
    reply = worker.asked(version=1).get_nowait()
    assert reply is not None
    assert SendOutcome(MADE.unpack_from(reply)[0]) is SendOutcome.ERROR, "nobody has this account"
    assert not worker.submitted
