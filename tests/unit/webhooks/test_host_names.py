"""Names of apps' servers: whose nameserver is silent holds up nobody else, and all is bounded."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hooks import Hooks, told
from nameserver import AAAA, SILENT, A, Nameserver
from testing import AUTH_TOKEN, until

from gateway.runtime.event_loop import EventLoop
from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.connections import Connections
from gateway.webhooks.guard import ForbiddenTarget, Guard, GuardedResolver
from gateway.webhooks.host_names import (
    CHANNEL_S,
    DEFAULT_BOUNDS,
    FAILURE_KEPT_S,
    LEAST_KEPT_S,
    MOST_KEPT_S,
    HostNames,
    LookupBounds,
)

V4 = socket.AF_INET
MOST_OF_ACCOUNT = DEFAULT_BOUNDS.of_account
GOOD = "app.example"


def bounded(**bounds: float) -> pytest.MarkDecorator:
    """The test's `names` with other bounds."""
    return pytest.mark.parametrize("names", [LookupBounds(**bounds)], indirect=True)  # type: ignore[arg-type]


class Moved:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def nameserver() -> AsyncIterator[Nameserver]:
    async with Nameserver({GOOD: ["192.0.2.1"]}) as server:
        yield server


@pytest.fixture
def clock() -> Moved:
    return Moved()


@pytest.fixture
async def names(
    nameserver: Nameserver, clock: Moved, request: pytest.FixtureRequest
) -> AsyncIterator[HostNames]:
    """With the bounds that `bounded` gives."""
    names = HostNames([nameserver.address], clock, getattr(request, "param", DEFAULT_BOUNDS))
    yield names
    await names.close()


async def found(names: HostNames, host: str, account_id: int = 1) -> list[str]:
    return [address.host for address in await names.addresses(host, V4, account_id)]


def silent(number: int, account_id: int = 1) -> str:
    return f"h{number}.a{account_id}.{SILENT}"


def asking(names: HostNames, count: int, account_id: int = 1) -> list[asyncio.Task[list[str]]]:
    """Lookups of so many names of which the nameserver says nothing."""
    return [
        asyncio.create_task(found(names, silent(number, account_id), account_id))
        for number in range(count)
    ]


async def ended(tasks: list[asyncio.Task[list[str]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_name_is_asked_for_once_for_as_long_as_it_lives(
    names: HostNames, nameserver: Nameserver, clock: Moved
) -> None:
    assert await found(names, GOOD) == ["192.0.2.1"]
    nameserver.known = {GOOD: ["192.0.2.2"]}
    clock.now += nameserver.ttl - 0.1
    assert await found(names, GOOD.upper()) == ["192.0.2.1"]
    clock.now += 0.1
    assert [address.host for address in await names.addresses(GOOD, V4, 2)] == ["192.0.2.2"]


@pytest.mark.parametrize(("ttl", "kept_s"), [(0, LEAST_KEPT_S), (86_400, MOST_KEPT_S)])
async def test_an_answer_is_kept_within_bounds_whatever_it_says_itself(
    names: HostNames, nameserver: Nameserver, clock: Moved, ttl: int, kept_s: float
) -> None:
    nameserver.ttl = ttl
    await found(names, GOOD)
    asked = len(nameserver.asked)
    clock.now += kept_s - 0.1
    await found(names, GOOD)
    assert len(nameserver.asked) == asked
    clock.now += 0.1
    await found(names, GOOD)
    assert len(nameserver.asked) == 2 * asked


async def test_a_failure_is_kept_for_a_few_seconds(
    names: HostNames, nameserver: Nameserver, clock: Moved
) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="later"):
            await found(names, "later.example")
    asked = len(nameserver.asked)
    nameserver.known = {"later.example": ["192.0.2.3"]}
    clock.now += FAILURE_KEPT_S - 0.1
    with pytest.raises(OSError, match="later"):
        await found(names, "later.example")
    assert len(nameserver.asked) == asked
    clock.now += 0.1
    assert await found(names, "later.example") == ["192.0.2.3"]


@bounded(lookup_s=0.1)
async def test_no_answer_in_time_is_a_failure(names: HostNames, nameserver: Nameserver) -> None:
    with pytest.raises(OSError, match="in time"):
        await found(names, silent(1))
    asked = len(nameserver.asked)
    with pytest.raises(OSError, match="in time"):
        await found(names, silent(1))
    assert len(nameserver.asked) == asked


async def test_what_no_nameserver_can_be_asked_for_is_no_name(
    names: HostNames, nameserver: Nameserver
) -> None:
    for host in ("x" * 64 + ".example", "a..example", "." * 300):
        with pytest.raises(ValueError, match=re.escape(host)):
            await found(names, host)
    assert not nameserver.asked


async def test_the_hosts_file_goes_before_the_nameserver(
    names: HostNames, nameserver: Nameserver
) -> None:
    assert "127.0.0.1" in await found(names, "localhost")
    assert not nameserver.asked


async def test_silent_names_of_an_account_leave_the_others_all_they_need(
    names: HostNames, nameserver: Nameserver
) -> None:
    tasks = asking(names, 150)
    await until(lambda: len(nameserver.names(SILENT)) == MOST_OF_ACCOUNT)
    for number in range(3 * MOST_OF_ACCOUNT):
        nameserver.known[f"{number}.example"] = ["192.0.2.4"]
        assert await found(names, f"{number}.example", 2) == ["192.0.2.4"]
    assert not any(task.done() for task in tasks)
    assert len(nameserver.names(SILENT)) == MOST_OF_ACCOUNT
    await ended(tasks)


async def test_all_accounts_together_have_so_many_under_way_and_who_has_least_goes_first(
    nameserver: Nameserver,
) -> None:
    bounds = LookupBounds(lookups=4, of_account=2, lookup_s=0.2)
    names = HostNames([nameserver.address], bounds=bounds)
    tasks = [task for account in (1, 2) for task in asking(names, 4, account)]
    await until(lambda: len(nameserver.names(SILENT)) == 4)
    assert names.turns.under_way == 4
    assert await found(names, GOOD, 3) == ["192.0.2.1"]
    # As soon as the first of them ends, though others have waited for longer.
    assert list(dict.fromkeys(name for name, _ in nameserver.asked)).index(GOOD) == 4
    await ended(tasks)
    await names.close()


@bounded(turn_s=0.1)
async def test_who_waits_too_long_for_a_turn_is_told_and_nothing_is_remembered(
    names: HostNames, nameserver: Nameserver
) -> None:
    tasks = asking(names, MOST_OF_ACCOUNT)
    await until(lambda: len(nameserver.names(SILENT)) == MOST_OF_ACCOUNT)
    with pytest.raises(OSError, match="too many"):
        await found(names, GOOD)
    assert await found(names, GOOD, 2) == ["192.0.2.1"]
    assert await found(names, GOOD) == ["192.0.2.1"]
    await ended(tasks)


@bounded(waiting_of_account=20)
async def test_an_account_has_so_many_names_waiting_and_not_one_more(
    names: HostNames, nameserver: Nameserver
) -> None:
    tasks = asking(names, 20)
    await until(lambda: len(nameserver.names(SILENT)) == MOST_OF_ACCOUNT)
    assert not any(task.done() for task in tasks)
    with pytest.raises(OSError, match="too many"):
        await found(names, GOOD)
    assert await found(names, GOOD, 2) == ["192.0.2.1"]
    await ended(tasks)


@bounded(lookup_s=0.3)
async def test_many_that_want_one_name_take_one_turn_and_who_leaves_takes_it_from_nobody(
    names: HostNames, nameserver: Nameserver
) -> None:
    tasks = [asyncio.create_task(found(names, silent(1))) for _ in range(50)]
    await until(lambda: bool(nameserver.asked))
    assert names.turns.under_way == 1
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert {str(outcome).rpartition(": ")[2] for outcome in outcomes[1:]} == {
        "no nameserver answered in time"
    }
    assert names.turns.under_way == 0


@bounded(kept=3, of_channel=1)  # nor does the library keep one
async def test_so_many_answers_are_remembered_and_not_one_more(
    names: HostNames, nameserver: Nameserver
) -> None:
    hosts = [f"{number}.example" for number in range(4)]
    nameserver.known = {host: ["192.0.2.5"] for host in hosts}
    for host in hosts:
        await found(names, host)
    asked = len(nameserver.asked)
    for host in hosts[1:]:
        await found(names, host)
    assert len(nameserver.asked) == asked
    await found(names, hosts[0])
    assert nameserver.asked[asked:] == [(hosts[0], A)]


@pytest.mark.parametrize(
    ("names", "moved_s", "kinds"),
    [
        (LookupBounds(of_channel=2), CHANNEL_S - 0.1, {AAAA}),  # the library remembers the other
        (LookupBounds(of_channel=1), 0.0, {A, AAAA}),
        (LookupBounds(of_channel=2), CHANNEL_S, {A, AAAA}),
    ],
    indirect=["names"],
)
async def test_what_the_library_keeps_is_let_go_after_so_many_lookups_or_so_long(
    names: HostNames,
    nameserver: Nameserver,
    clock: Moved,
    moved_s: float,
    kinds: set[int],
) -> None:
    await found(names, GOOD)
    assert nameserver.asked == [(GOOD, A)]
    clock.now += moved_s
    await names.addresses(GOOD, socket.AF_UNSPEC, 1)
    assert {kind for _, kind in nameserver.asked[1:]} == kinds


async def test_both_families_are_asked_for_where_both_are_wanted(
    names: HostNames, nameserver: Nameserver
) -> None:
    nameserver.known = {GOOD: ["192.0.2.1", "2001:db8::1"]}
    addresses = await names.addresses(GOOD, socket.AF_UNSPEC, 1)
    assert set(addresses) == {("192.0.2.1", V4), ("2001:db8::1", socket.AF_INET6)}
    assert set(nameserver.asked) == {(GOOD, A), (GOOD, AAAA)}


# The guard ----------------------------------------------------------------------------------


def guarded(names: HostNames) -> WebhookClient:
    guard = Guard(allow_private=False, allow_networks=["127.0.0.1/32"])
    return WebhookClient(guard, names, Connections(), timeout_s=5)


async def test_the_address_that_was_judged_is_the_one_that_is_called(
    names: HostNames, nameserver: Nameserver, hooks: Hooks
) -> None:
    """A name with a forbidden address beside an allowed one leads to the allowed one only."""
    nameserver.known = {GOOD: ["127.0.0.2", "127.0.0.1"]}
    nameserver.ttl = 0
    url = f"http://{GOOD}:{hooks.port}/status"
    reached: list[str] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append("127.0.0.2")
        writer.close()

    async with (
        await asyncio.start_server(elsewhere, "127.0.0.2", hooks.port),
        guarded(names) as client,
    ):
        for tell in (WebhookClient.call, told, told):
            assert (await tell(client, WebhookRequest(url, (), AUTH_TOKEN))).ok
    assert not reached


async def test_a_name_that_is_bound_anew_is_judged_anew(
    names: HostNames, nameserver: Nameserver, clock: Moved, hooks: Hooks
) -> None:
    nameserver.known = {GOOD: ["127.0.0.1"]}
    nameserver.ttl = 0
    request = WebhookRequest(f"http://{GOOD}:{hooks.port}/status", (), AUTH_TOKEN)
    async with guarded(names) as client:
        assert (await client.call(request)).ok
        nameserver.known = {GOOD: ["127.0.0.2"]}
    clock.now += LEAST_KEPT_S
    async with guarded(names) as client:
        answer = await client.call(request)
    assert (answer.error_code, answer.reason) == (11205, f"{GOOD} resolves to no public address")


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "127.0.0.2."])
async def test_an_address_is_judged_and_nobody_asked(
    names: HostNames, nameserver: Nameserver, host: str
) -> None:
    guard = Guard(allow_private=False, allow_networks=["127.0.0.1/32"])
    with pytest.raises(ForbiddenTarget):
        await GuardedResolver(guard, names).resolve(host)
    everywhere = GuardedResolver(Guard(allow_private=True), names)
    assert [found["host"] for found in await everywhere.resolve(host)] == [host.rstrip(".")]
    assert not nameserver.asked


# The threads that the system's resolver has --------------------------------------------------


@contextmanager
def names_that_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names of one label wait, within, for a file of aliases that does not come."""
    pipe = folder / "aliases"
    os.mkfifo(pipe)
    monkeypatch.setenv("HOSTALIASES", str(pipe))
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    try:
        yield
    finally:
        monkeypatch.delenv("HOSTALIASES")
        os.close(os.open(pipe, os.O_RDWR))


async def _webhooks_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    async with Nameserver({GOOD: ["127.0.0.1"]}) as nameserver, Hooks() as hooks:
        names = HostNames([nameserver.address])
        with names_that_wait(folder, monkeypatch):
            waiting = [asyncio.ensure_future(loop.getaddrinfo(f"name{n}", 80)) for n in range(8)]
            async with asyncio.timeout(10), guarded(names) as client:
                for host in ("127.0.0.1", GOOD):
                    for tell in (WebhookClient.call, told, told):
                        url = f"http://{host}:{hooks.port}/{host}"
                        answer = await tell(client, WebhookRequest(url, (), AUTH_TOKEN))
                        assert answer.ok, answer.reason
            assert not any(lookup.done() for lookup in waiting)
        await names.close()
        for lookup in waiting:
            lookup.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="HOSTALIASES is of its C library")
def test_no_name_of_an_app_and_no_address_waits_for_the_systems_resolver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(_webhooks_go_on(tmp_path, monkeypatch))
