"""`tandem carrier`: show, change and test carriers.

`list`, `show` and `set` ask the running gateway, with the account of the configuration or of
the data folder. `check` needs no gateway: it binds by itself, with the settings of the
configuration file, or of the database for a carrier that the file does not name.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import uvloop
from typer import Argument, Option

from gateway.channels.smpp.check import check
from gateway.channels.smpp.settings import CarrierSettings
from gateway.commands.options import ConfigFile, new_app, refuses
from gateway.settings import ConfigurationError, Settings, load_settings
from gateway.submission.connectors import CarrierUnusable, stored_carriers
from storage.database import DatabaseRefused, DatabaseUnavailable
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

TIMEOUT_S = 10.0

app = new_app(no_args_is_help=True)
Name = Annotated[str, Argument(metavar="NAME")]
Url = Annotated[str | None, Option(help="Of the gateway. Default: as in the configuration.")]


class CommandFailed(Exception):
    """The text says why."""


refusing = refuses("carrier", CommandFailed, ConfigurationError, EmbeddedPostgresError)


@app.callback()
def carrier() -> None:
    """Show, change and test carriers."""


# Through the running gateway -----------------------------------------------------------------


@app.command("list")
@refusing
def list_carriers(config: ConfigFile = None, url: Url = None) -> int:
    """Print every carrier and whether it is up."""
    carriers = _ask(load_settings(config), url, "GET", "?PageSize=1000")["carriers"]
    if not carriers:
        print("no carriers")
    for carrier in carriers:
        status = carrier["status"]
        bound = sum(bind["bound"] for bind in status["binds"])
        state = "up" if status["up"] else "down"
        print(
            f"{carrier['name']}: {state}, {bound} of {len(status['binds'])} binds,"
            f" rate {_rate(status)}"
        )
    return 0


@app.command()
@refusing
def show(name: Name, config: ConfigFile = None, url: Url = None) -> int:
    """Print a carrier: its settings and its binds."""
    for line in _described(_ask(load_settings(config), url, "GET", f"/{quote(name)}")):
        print(line)
    return 0


def _described(carrier: dict[str, Any]) -> Iterator[str]:
    status = carrier.pop("status")
    yield f"carrier {carrier['name']}: {'up' if status['up'] else 'down'}"
    if status["trouble"]:
        yield f"  not run: {status['trouble']}"
    yield f"  rate now {_rate(status)}"
    for bind in status["binds"]:
        if bind["bound"]:
            how = f"bound to {bind['host']}, {bind['in_flight']} of {bind['window']} in flight"
        else:
            how = f"not bound: {bind['trouble']}"
            if bind["next_try_s"] is not None:
                how += f", next try in {bind['next_try_s']:.0f} s"
        yield f"  {bind['name']} ({bind['type']}): {how}; {bind['refusals']} refusals"
    yield ""
    for name, value in carrier.items():
        yield f"  {name} = {json.dumps(value, ensure_ascii=False)}"


def _rate(status: dict[str, Any]) -> str:
    rate = "unlimited" if status["rate_now"] is None else f"{status['rate_now']:.1f}/s"
    return f"{rate} ({status['rate_reason']})" if status["rate_reason"] else rate


@app.command("set")
@refusing
def set_fields(
    name: Name,
    changes: Annotated[
        list[str],
        Argument(
            metavar="FIELD=VALUE",
            help="A value is JSON, or a text as it is; null goes back to the default.",
        ),
    ],
    config: ConfigFile = None,
    url: Url = None,
) -> int:
    """Change a carrier, or make one."""
    settings = load_settings(config)
    body: dict[str, Any] = {}
    for change in changes:
        field, separator, text = change.partition("=")
        if not separator or not field:
            raise CommandFailed(f"{change!r} is not FIELD=VALUE")
        body[field] = _value(text)
    carriers = _ask(settings, url, "GET", "?PageSize=1000")["carriers"]
    if name in {carrier["name"] for carrier in carriers}:
        carrier = _ask(settings, url, "POST", f"/{quote(name)}", body)
    else:
        carrier = _ask(settings, url, "POST", "", {**body, "name": name})
    for line in _described(carrier):
        print(line)
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _ask(
    settings: Settings,
    url: str | None,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One call of the operator API. Raises CommandFailed."""
    origin = url or f"http://{settings.host}:{settings.port}"
    request = urllib.request.Request(
        f"{origin.rstrip('/')}/tandem/v1/Carriers{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": _authorization(settings), "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        try:
            reason = json.load(error)["message"]
        except (ValueError, KeyError):
            reason = str(error)
        raise CommandFailed(reason) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CommandFailed(f"the gateway at {origin} can't be asked: {error}") from None


def _authorization(settings: Settings) -> str:
    account = settings.account
    sid, token = account.sid, account.auth_token
    if sid is None or token is None:
        file = settings.data_dir / "account.json"
        try:
            kept = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise CommandFailed(f"no account: {error}; set account.sid and auth_token") from None
        sid, token = kept["account_sid"], kept["auth_token"]
    return "Basic " + base64.b64encode(f"{sid}:{token}".encode()).decode()


# By itself -------------------------------------------------------------------------------------


@app.command("check")
@refusing
def check_carrier(
    name: Name,
    to: Annotated[
        str | None, Option(metavar="+…", help="A phone that takes the test messages.")
    ] = None,
    sender: Annotated[
        str, Option("--from", metavar="SENDER", help="Of the test messages.")
    ] = "Tandem",
    wait: Annotated[float, Option(metavar="S", help="For receipts, at most.")] = 60.0,
    config: ConfigFile = None,
) -> int:
    """Bind, send test messages, and print what the carrier does."""
    return uvloop.run(_check(name, to, sender, wait, load_settings(config)))


async def _check(name: str, to: str | None, sender: str, wait_s: float, settings: Settings) -> int:
    carrier = await _find(name, settings)
    report = await check(carrier, sender=sender, to=to, receipt_wait_s=wait_s)
    for line in report.lines():
        print(line)
    return 0 if report.good else 1


async def _find(name: str, settings: Settings) -> CarrierSettings:
    known = {carrier.name: carrier for carrier in settings.carriers}
    if name in known:
        return known[name]
    embedded = None
    url = settings.database_url
    if url is None and await asyncio.to_thread((settings.data_dir / "postgres").exists):
        embedded = EmbeddedPostgres(settings.data_dir / "postgres")
        url = await embedded.start()
    try:
        if url is not None:
            known |= await stored_carriers(url, settings)
    except CarrierUnusable as error:
        raise CommandFailed(str(error)) from None
    except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
        raise CommandFailed(f"the database can't be asked: {error}") from None
    finally:
        if embedded is not None:
            await embedded.stop()
    if name not in known:
        raise CommandFailed(f"no carrier {name!r}; there are: {', '.join(known) or 'none'}")
    return known[name]
