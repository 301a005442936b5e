"""`tandem inbox`: an app's server to try things with.

Prints inbound messages, status callbacks and alerts as they come, checks their signatures, and
answers inbound messages with a given text or TwiML. What is not signed with a known token is
answered with 403, as an app should.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import aiohttp
import typer
from aiohttp import web
from typer import Option

from gateway.commands.options import new_app, refuses
from gateway.playground.world import HOST, check_port, data_dir, port_of, until_terminated
from gateway.settings import ConfigurationError
from gateway.webhooks.signature import sign

PORT = 8090
PORT_VARIABLE = "TANDEM_INBOX_PORT"
TOKEN_VARIABLE = "TANDEM_INBOX_TOKEN"
FACTS = ("demo.json", "account.json")  # of the data folder; each has a token
SHOWN = 300  # characters of a text

app = new_app()


@app.command()
@refuses("inbox", ConfigurationError)
def inbox(
    reply: Annotated[
        str | None, Option(metavar="TEXT", help="Answer inbound messages with this text.")
    ] = None,
    twiml: Annotated[
        Path | None, Option(metavar="FILE", help="Or with this TwiML, read each time.")
    ] = None,
    host: Annotated[str, Option(help="Address to listen on.")] = HOST,
    port: Annotated[
        int | None, Option(min=0, max=65535, help=f"Default: {PORT_VARIABLE}, or {PORT}.")
    ] = None,
    token: Annotated[
        str | None,
        Option(help=f"The account's. Default: {TOKEN_VARIABLE}, or those of the data folder."),
    ] = None,
    origin: Annotated[
        str | None,
        Option(
            metavar="URL",
            help="Scheme and host as configured in the URLs, where a proxy or tunnel stands before"
            " us.",
        ),
    ] = None,
    connect: Annotated[
        bool,
        Option(
            "--connect", help="Let the numbers of `tandem world` tell this inbox while it runs."
        ),
    ] = False,
) -> int:
    """Run an app's server to try things with."""
    if reply is not None and twiml is not None:
        raise typer.BadParameter("not allowed with --reply", param_hint="--twiml")
    server = Inbox(tokens=_tokens(token), reply=reply, twiml=twiml, origin=origin)
    return asyncio.run(until_terminated(lambda: _keep(server, host, port, connect)))


async def _keep(inbox: Inbox, host: str, port: int | None, connect: bool) -> int:
    port = port if port is not None else port_of(PORT_VARIABLE, PORT)
    check_port(port, PORT_VARIABLE)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(inbox.listening(host, port))
        print(f"inbox      {url}", flush=True)
        whose = ", ".join(inbox.tokens) or "no token is known: nothing is checked"
        print(f"signatures {whose}", flush=True)
        if connect:
            numbers = await stack.enter_async_context(_connected(_demo(), url))
            print(f"numbers    {', '.join(numbers)} tell this inbox", flush=True)
        print("ready      (Ctrl-C ends it)", flush=True)
        await inbox.ended()
    return 0


@dataclass(frozen=True, slots=True)
class Request:
    """One webhook, as far as it is shown."""

    form: Mapping[str, str]
    verdict: str  # of its signature

    def lines(self) -> list[str]:
        form = self.form
        if "MessageStatus" in form:
            code = f" {form['ErrorCode']}" if "ErrorCode" in form else ""
            return [
                f"status     {form['MessageStatus']}{code}  {form.get('MessageSid', '?')}"
                f"  to {form.get('To', '?')}  ({self.verdict})"
            ]
        if "Payload" in form:
            return [
                f"alert      {form.get('Level', '?')} {_shown(form['Payload'])}  ({self.verdict})"
            ]
        if "MessageSid" in form:
            again = f"  fallback after {form['ErrorCode']}" if "ErrorCode" in form else ""
            kind = f"  {form['OptOutType']}" if "OptOutType" in form else ""
            return [
                f"message    {form.get('From', '?')} → {form.get('To', '?')}"
                f"  {_shown(form.get('Body', ''))}{kind}{again}",
                f"           {form['MessageSid']}  ({self.verdict})",
            ]
        return [f"other      {_shown(json.dumps(dict(form)))}  ({self.verdict})"]

    @property
    def is_message(self) -> bool:
        return "MessageSid" in self.form and "MessageStatus" not in self.form


class Inbox:
    """The server. `tokens` are auth tokens by where they are from."""

    def __init__(
        self,
        *,
        tokens: Mapping[str, str],
        reply: str | None = None,
        twiml: Path | None = None,
        origin: str | None = None,
    ) -> None:
        self.tokens = tokens
        self._reply = reply
        self._twiml = twiml
        self._origin = origin.rstrip("/") if origin else None

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[str]:
        """The inbox's URL, while it listens."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield f"http://{host}:{port}/"
        finally:
            await runner.cleanup()

    async def ended(self) -> None:
        """Never: a signal ends it."""
        await asyncio.Event().wait()

    async def _take(self, request: web.Request) -> web.Response:
        in_query = request.method == "GET"
        text = request.query_string if in_query else await request.text()
        form = parse_qsl(text, keep_blank_values=True)
        verdict = self._verdict(request, () if in_query else form)
        taken = Request(dict(form), verdict)
        clock = time.strftime("%H:%M:%S")
        for line in taken.lines():
            print(f"{clock}  {line}", flush=True)
        if verdict == "signature WRONG":
            return web.Response(status=403, text="the signature is wrong\n")
        if not taken.is_message:
            return web.Response(status=204)
        document = self._document()
        if document is None:
            return web.Response(status=204)
        print(f"{clock}  answered   {_shown(document)}", flush=True)
        return web.Response(text=document, content_type="text/xml")

    def _verdict(self, request: web.Request, parameters: Sequence[tuple[str, str]]) -> str:
        if not self.tokens:
            return "signature not checked"
        origin = self._origin or f"{request.scheme}://{request.host}"
        url = f"{origin}{request.raw_path}"
        given = request.headers.get("X-Twilio-Signature", "")
        for token in self.tokens.values():
            if hmac.compare_digest(sign(token, url, parameters).encode(), given.encode()):
                return "signature verified"
        return "signature WRONG"

    def _document(self) -> str | None:
        if self._reply is not None:
            return f"<Response><Message>{escape(self._reply)}</Message></Response>"
        if self._twiml is not None:
            try:
                return self._twiml.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                print(f"           {self._twiml}: {error}", file=sys.stderr, flush=True)
        return None


def _shown(text: str) -> str:
    """A text from outside on one line, without control characters."""
    cut = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return json.dumps(cut, ensure_ascii=False)


def _tokens(given: str | None) -> dict[str, str]:
    """Auth tokens, by where they were found."""
    if given:
        return {"by the token of --token": given}
    if token := os.environ.get(TOKEN_VARIABLE):
        return {f"by the token of {TOKEN_VARIABLE}": token}
    found = {}
    for name in FACTS:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            file = data_dir() / name
            found[f"by the token of {file}"] = str(json.loads(file.read_text())["auth_token"])
    return found


def _demo() -> dict[str, Any]:
    """What `tandem world` says of itself. Raises ConfigurationError."""
    file = data_dir() / "demo.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--connect: {file}: {error}; is `tandem world` up?") from None
    return facts


@contextlib.asynccontextmanager
async def _connected(facts: Mapping[str, Any], url: str) -> AsyncIterator[list[str]]:
    """The world's numbers, with `url` as their webhook; at the end as they were before.

    A number whose webhook was changed in the meantime is left as it is.
    """
    base = f"{facts['base_url']}/2010-04-01/Accounts/{facts['account_sid']}/IncomingPhoneNumbers"
    auth = aiohttp.BasicAuth(facts["account_sid"], facts["auth_token"])
    async with aiohttp.ClientSession(auth=auth) as session:

        async def point(sid: str, target: str) -> None:
            async with session.post(f"{base}/{sid}.json", data={"SmsUrl": target}) as response:
                response.raise_for_status()

        async def numbers() -> list[dict[str, Any]]:
            async with session.get(f"{base}.json?PageSize=1000") as response:
                response.raise_for_status()
                return list((await response.json())["incoming_phone_numbers"])

        before: dict[str, str] = {}
        try:
            listed = await numbers()
            for number in listed:
                before[number["sid"]] = number["sms_url"] or ""
                await point(number["sid"], url)
            yield [number["phone_number"] for number in listed]
        except aiohttp.ClientError as error:
            raise ConfigurationError(f"--connect: {error}") from None
        finally:
            with contextlib.suppress(aiohttp.ClientError):
                for number in await numbers():
                    if number["sid"] in before and number["sms_url"] == url:
                        await point(number["sid"], before[number["sid"]])
