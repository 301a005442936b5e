"""Requests to apps: what is let through, and what is said of each failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.webhooks.client import BODY_LIMIT, WebhookClient
from gateway.webhooks.guard import ForbiddenTarget, Guard


@pytest.fixture
async def server() -> AsyncIterator[str]:
    app = web.Application()
    hops: list[str] = []

    async def ok(request: web.Request) -> web.Response:
        hops.append(request.headers.get("Authorization", ""))
        return web.Response(text=f"{request.method} {await request.text()}")

    async def loop(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/loop")

    async def once(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/ok")

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b"x" * 65536)
        return response

    async def slow(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    for path, handler in (
        ("/ok", ok),
        ("/loop", loop),
        ("/once", once),
        ("/away", away),
        ("/large", large),
        ("/slow", slow),
    ):
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


def client(*, networks: tuple[str, ...] = ("127.0.0.0/8",), timeout_s: float = 5) -> WebhookClient:
    guard = Guard(allow_private=False, allow_networks=networks)
    return WebhookClient(guard, per_host=4, timeout_s=timeout_s)


async def test_a_form_is_posted(server: str) -> None:
    async with client() as one:
        answer = await one.post(f"{server}/ok", [("a", "1+1"), ("b", "ü")], {})
    assert answer.ok
    assert answer.body == b"POST a=1%2B1&b=%C3%BC"


async def test_a_redirect_is_followed_with_its_body(server: str) -> None:
    async with client() as one:
        answer = await one.post(f"{server}/once", [("a", "1")], {})
    assert answer.body == b"POST a=1"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/loop", 11215), ("/away", 11205), ("/slow", 11203)],
)
async def test_failures_say_which(server: str, path: str, code: int) -> None:
    async with client(timeout_s=0.5) as one:
        answer = await one.post(server + path, [], {})
    assert not answer.ok
    assert answer.error_code == code
    assert answer.reason


async def test_of_a_large_answer_only_the_beginning_is_read(server: str) -> None:
    async with client() as one:
        answer = await one.post(f"{server}/large", [], {})
    assert answer.ok
    assert len(answer.body) <= BODY_LIMIT


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/"])
async def test_private_targets_are_refused_by_address_and_by_name(url: str) -> None:
    async with client(networks=()) as one:
        answer = await one.post(url, [], {})
    assert answer.error_code == 11205


async def test_a_refused_connection_is_11202() -> None:
    async with client() as one:
        answer = await one.post("http://127.0.0.1:1/", [], {})
    assert answer.error_code == 11202


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_which_addresses_are_public(address: str, allowed: bool) -> None:
    guard = Guard(allow_private=False)
    assert guard.permits(address) is allowed
    assert Guard(allow_private=True).permits(address)
    if not allowed:
        with pytest.raises(ForbiddenTarget):
            guard.check_host(address)
