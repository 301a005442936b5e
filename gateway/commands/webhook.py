"""`tandem webhook sign`: what a webhook's signature is made of, for whoever gets a 403 from an app.

Behind a proxy an app often checks another URL than the one that was called: the string that was
signed shows where the two differ.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from typer import Argument, Option

from gateway.commands.options import new_app, refuses
from gateway.webhooks.signature import sign, string_to_sign

app = new_app(no_args_is_help=True)


@app.callback()
def webhook() -> None:
    """Tell how webhooks are signed."""


@app.command("sign")
@refuses("webhook sign", OSError, ValueError)
def sign_webhook(
    url: Annotated[str, Argument(help="As it is configured, with its port and query.")],
    parameters: Annotated[
        list[str] | None, Argument(metavar="NAME=VALUE", help="Of a form; none for a GET.")
    ] = None,
    form: Annotated[
        str | None, Option(metavar="TEXT", help="The form as it was posted: a=1&b=2.")
    ] = None,
    json: Annotated[
        Path | None, Option(metavar="FILE", help="A JSON body, octet for octet.")
    ] = None,
    token: Annotated[
        str, Option(envvar="TWILIO_AUTH_TOKEN", help="The account's primary auth token.")
    ] = "",
) -> int:
    """Print the string that is signed, and its signature."""
    if not token:
        raise ValueError("give --token, or set TWILIO_AUTH_TOKEN")
    signed, pairs = _what(url, parameters or [], form, json)
    print(f"string     {string_to_sign(signed, pairs)}")
    print(f"signature  {sign(token, signed, pairs)}")
    return 0


def _what(
    url: str, parameters: list[str], form: str | None, json: Path | None
) -> tuple[str, list[tuple[str, str]]]:
    """The URL and the parameters to sign. Raises ValueError, OSError."""
    if not urlsplit(url).netloc:
        raise ValueError(f"{url} is not an absolute URL")
    if sum((bool(parameters), form is not None, json is not None)) > 1:
        raise ValueError("give NAME=VALUE, --form or --json, only one of them")
    if json is not None:
        digest = hashlib.sha256(json.read_bytes()).hexdigest()
        joint = "&" if "?" in url else "?"
        return f"{url}{joint}bodySHA256={digest}", []
    if form is not None:
        return url, parse_qsl(form, keep_blank_values=True)
    pairs = []
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text} is not NAME=VALUE")
        pairs.append((name, value))
    return url, pairs
