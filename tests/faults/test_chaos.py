"""The short form of `make chaos`: a few faults under a small load, and every ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from chaos.database import Server
from chaos.faults import FAULTS
from chaos.rounds import drawn, play, server
from chaos.victim import STEPS

QUICK = (
    "kill -9 after the write, before the response",
    "Postgres refuses connections",
    "SMSC disconnects mid-window",
    "two gateways on one database",
    "one worker of two killed",
)


@pytest.fixture(scope="module")
async def durable() -> AsyncIterator[Server]:
    async with server() as one:
        yield one


@pytest.mark.parametrize("fault", QUICK)
async def test_a_fault_under_load_loses_and_doubles_nothing(durable: Server, fault: str) -> None:
    outcome = await play(durable, fault, seed=7, count=300)
    assert outcome.accepted > 250
    assert outcome.clean, outcome


def test_every_step_has_its_fault_and_a_seed_draws_the_same_rounds() -> None:
    assert {f"kill -9 {step}" for step in STEPS} <= FAULTS.keys()
    rounds = drawn(2 * len(FAULTS), seed=3)
    assert rounds == drawn(2 * len(FAULTS), seed=3) != drawn(2 * len(FAULTS), seed=4)
    assert {fault for fault, _ in rounds[: len(FAULTS)]} == FAULTS.keys()
