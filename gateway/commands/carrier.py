"""`tandem carrier`: show, change and test carriers.

`list`, `show` and `set` ask the running gateway, with the account of the configuration or of
the data folder. `check` needs no gateway: it binds by itself, with the settings of the
configuration file, or of the database for a carrier that the file does not name.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvloop

from gateway.channels.smpp.check import check
from gateway.channels.smpp.settings import CarrierSettings
from gateway.settings import ConfigurationError, Settings, load_settings
from gateway.submission.connectors import CarrierUnusable, stored_carriers
from storage.database import DatabaseRefused, DatabaseUnavailable
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

WRONG_USE = 2
TIMEOUT_S = 10.0


class CommandFailed(Exception):
    """The text says why."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="carrier_command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="every carrier and whether it is up")
    listing.set_defaults(run=_run(_list))

    showing = commands.add_parser("show", help="one carrier: its settings and its binds")
    showing.add_argument("name", metavar="NAME")
    showing.set_defaults(run=_run(_show))

    setting = commands.add_parser("set", help="change a carrier, or make one")
    setting.add_argument("name", metavar="NAME")
    setting.add_argument(
        "changes",
        nargs="+",
        metavar="FIELD=VALUE",
        help="a value is JSON, or a text as it is; null goes back to the default",
    )
    setting.set_defaults(run=_run(_set))

    checking = commands.add_parser(
        "check", help="bind, send test messages, and print what the carrier does"
    )
    checking.add_argument("name", metavar="NAME")
    checking.add_argument("--to", metavar="+…", help="a phone that takes the test messages")
    checking.add_argument("--from", dest="sender", default="Tandem", help="default: Tandem")
    checking.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="for receipts, at most; default: 60"
    )
    checking.set_defaults(run=_run(_check))

    for command in commands.choices.values():
        command.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")
    for command in (listing, showing, setting):
        command.add_argument("--url", help="of the gateway; default: as in the configuration")


def _run(command: Callable[[argparse.Namespace, Settings], int]) -> Callable[..., int]:
    def run(options: argparse.Namespace) -> int:
        try:
            return command(options, load_settings(options.config))
        except (CommandFailed, ConfigurationError, EmbeddedPostgresError) as error:
            print(f"tandem carrier: {error}", file=sys.stderr)
            return WRONG_USE

    return run


# Through the running gateway -----------------------------------------------------------------


def _list(options: argparse.Namespace, settings: Settings) -> int:
    carriers = _ask(options, settings, "GET", "?PageSize=1000")["carriers"]
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


def _show(options: argparse.Namespace, settings: Settings) -> int:
    carrier = _ask(options, settings, "GET", f"/{quote(options.name)}")
    for line in _described(carrier):
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


def _set(options: argparse.Namespace, settings: Settings) -> int:
    body: dict[str, Any] = {}
    for change in options.changes:
        field, separator, text = change.partition("=")
        if not separator or not field:
            raise CommandFailed(f"{change!r} is not FIELD=VALUE")
        body[field] = _value(text)
    known = {
        carrier["name"] for carrier in _ask(options, settings, "GET", "?PageSize=1000")["carriers"]
    }
    if options.name in known:
        carrier = _ask(options, settings, "POST", f"/{quote(options.name)}", body)
    else:
        carrier = _ask(options, settings, "POST", "", {**body, "name": options.name})
    for line in _described(carrier):
        print(line)
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _ask(
    options: argparse.Namespace,
    settings: Settings,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One call of the operator API. Raises CommandFailed."""
    origin = options.url or f"http://{settings.host}:{settings.port}"
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


def _check(options: argparse.Namespace, settings: Settings) -> int:
    return uvloop.run(_check_carrier(options, settings))


async def _check_carrier(options: argparse.Namespace, settings: Settings) -> int:
    carrier = await _find(options.name, settings)
    report = await check(carrier, sender=options.sender, to=options.to, receipt_wait_s=options.wait)
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
