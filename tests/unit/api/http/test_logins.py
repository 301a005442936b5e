"""Failed logins: when an answer waits, for whom, and what is told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from testing import WAIT_S, basic

from gateway.api.http.logins import FREE, MANY, Logins

SID = "AC" + "1" * 32
WRONG = basic(SID, "x").encode()


class Raised:
    def __init__(self) -> None:
        self.alerts: list[tuple[int, str]] = []

    def alert(self, code: int, text: str, **_: object) -> None:
        self.alerts.append((code, text))


class World:
    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.raised = Raised()
        self.logins = Logins(cast("Any", self.raised), lambda: self.now, **options)

    def fails(self, address: str = "192.0.2.1", forwarded: bytes | None = None) -> float:
        return self.logins.wait_s(WRONG, address, forwarded)


async def test_the_eleventh_failure_within_a_minute_waits_and_each_further_one_twice_as_long() -> (
    None
):
    world = World()
    waits = [world.fails() for _ in range(FREE + 6)]
    assert waits == [0.0] * FREE + [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert world.fails("192.0.2.2") == 0.0  # another address
    world.now = 59.9
    assert world.fails() == 8.0
    world.now = 60.0
    assert world.fails() == 0.0


async def test_no_credentials_at_all_are_no_failed_login() -> None:
    world = World()
    assert [world.logins.wait_s(None, "192.0.2.1", None) for _ in range(50)] == [0.0] * 50
    assert world.logins.failed == 0


@pytest.mark.parametrize("trusted", [False, True])
async def test_the_forwarded_address_counts_where_it_is_trusted_alone(trusted: bool) -> None:
    world = World(trust_forwarded=trusted)
    for number in range(FREE):
        assert world.fails(forwarded=b"6.6.6.6, 192.0.2.%d" % number) == 0.0
    assert (world.fails(forwarded=b"192.0.2.99") == 0.0) is trusted
    # What a client says of itself, before what the proxy says, changes nothing.
    for number in range(FREE):
        world.fails(forwarded=b"10.0.0.%d, 192.0.2.200" % number)
    assert world.fails(forwarded=b"10.0.0.99, 192.0.2.200") > 0


async def test_the_addresses_of_one_network_of_ipv6_are_one() -> None:
    world = World()
    for number in range(FREE):
        world.fails(f"2001:db8::{number:x}")
    assert world.fails("2001:db8::ffff") == 1.0
    assert world.fails("2001:db8:0:1::1") == 0.0


async def test_the_table_of_addresses_is_bounded() -> None:
    world = World(most_addresses=5)
    for number in range(50):
        world.fails(f"192.0.2.{number}")
    assert len(world.logins._addresses) == 5


@pytest.mark.parametrize(("failures", "alerts"), [(MANY - 1, 0), (MANY, 1), (3 * MANY, 1)])
async def test_a_minute_with_many_raises_an_alert(failures: int, alerts: int) -> None:
    world = World()
    for _ in range(failures):
        world.fails()
    assert len(world.raised.alerts) == alerts
    for code, text in world.raised.alerts:
        assert code == 99009
        assert SID in text
        assert "192.0.2.1" in text


async def test_a_line_names_who_was_tried_from_where_and_never_what_is_no_sid(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    for _ in range(5):
        world.fails()
    for secret in (b"Basic c2VjcmV0OnNlY3JldA==", b"Bearer secret", b"\xff\xff"):
        world.logins.wait_s(secret, "192.0.2.9", None)
    with caplog.at_level(logging.WARNING):
        world.logins.tell()
    [line] = caplog.messages
    assert line.startswith("8 logins were refused within a minute")
    assert f"{SID} from 192.0.2.1: 5" in line
    assert "no SID from 192.0.2.9: 3" in line
    assert "secret" not in line


async def test_a_gateway_that_stops_waits_for_nobodys_wrong_password() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(World(stop=stop).logins.wait(3_600.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    await asyncio.wait_for(waiting, WAIT_S)
