"""An app's server: takes webhooks on any path, checks each signature, answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from testing import AUTH_TOKEN, WAIT_S, until
from twilio.request_validator import RequestValidator

from gateway.webhooks.client import SignedForm, WebhookClient, WebhookRequest, WebhookResponse
from gateway.webhooks.forms import form_of
from gateway.webhooks.signature import sign
from smpp.smsc import Smsc

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
HANDSET = "+447700900500"


@dataclass
class Taken:
    """One request."""

    path: str
    method: str
    form: dict[str, str]
    headers: dict[str, str]
    valid: bool
    """The SDK's own validator accepts the signature."""


@dataclass
class Hooks:
    """Answers by path; a path that nothing was said of answers 200 with an empty body."""

    auth_token: str = AUTH_TOKEN
    taken: list[Taken] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    origin: str = ""
    port: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def open(self) -> None:
        """Listen; after `close`, on the same port again."""
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        """Be down: connections are refused until `open`."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()

    def url(self, path: str) -> str:
        return self.origin + path

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            form = dict(parse_qsl(request.query_string, keep_blank_values=True))
            url, signed = f"{self.origin}{request.raw_path}", {}
        else:
            form = dict(parse_qsl(await request.text(), keep_blank_values=True))
            url, signed = f"{self.origin}{request.raw_path}", form
        signature = request.headers.get("X-Twilio-Signature", "")
        valid = RequestValidator(self.auth_token).validate(url, signed, signature)
        self.taken.append(
            Taken(request.path, request.method, form, dict(request.headers), bool(valid))
        )
        answer = self.answers.get(request.path)
        return await answer(request) if answer is not None else web.Response()

    def at(self, path: str) -> list[Taken]:
        return [one for one in self.taken if one.path == path]

    async def has(self, path: str, count: int = 1, *, seconds: float = WAIT_S) -> list[Taken]:
        """The requests to a path once there are so many."""
        await until(lambda: len(self.at(path)) >= count, seconds=seconds)
        return self.at(path)


def status(code: int) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=code, text=f"answer {code}")

    return answer


def says(text: str, content_type: str = "text/xml") -> Answer:
    """A 200 with this body."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=text.encode(), headers={"Content-Type": content_type})

    return answer


async def hangs(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def write(smsc: Smsc, text: str, to: str, *, sender: str = HANDSET, **options: Any) -> None:
    """A message from a handset, injected at the simulator's control endpoint."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{smsc.control_port}/mo",
            json={"from": sender, "to": to, "text": text, **options},
        ) as response,
    ):
        assert response.status == 200, await response.text()


async def told(client: WebhookClient, hook: WebhookRequest) -> WebhookResponse:
    """The answer to a request that is told as status callbacks are."""
    signature = sign(hook.auth_token, hook.url, hook.parameters)
    form = form_of(hook.parameters)
    signed = SignedForm(
        hook.url, hook.account_id, signature, hook.idempotency_token, form, "SM1", "sent"
    )
    return await client.tell(signed, lambda: hook)
