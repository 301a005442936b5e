"""`tandem webhook sign`: what a webhook's signature is made of, for whoever gets a 403 from an app.

Behind a proxy an app often checks another URL than the one that was called: the string that was
signed shows where the two differ.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from gateway.webhooks.signature import sign, string_to_sign

WRONG_USE = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    signing = commands.add_parser("sign", help="print the string that is signed, and its signature")
    signing.add_argument("url", help="as it is configured, with its port and query")
    signing.add_argument(
        "parameters", nargs="*", metavar="NAME=VALUE", help="of a form; none for a GET"
    )
    signing.add_argument("--form", metavar="TEXT", help="the form as it was posted: a=1&b=2")
    signing.add_argument("--json", type=Path, metavar="FILE", help="a JSON body, octet for octet")
    signing.add_argument(
        "--token",
        default=os.environ.get("TWILIO_AUTH_TOKEN"),
        help="the account's primary auth token; default: TWILIO_AUTH_TOKEN",
    )
    signing.set_defaults(run=_sign)


def _sign(parsed: argparse.Namespace) -> int:
    try:
        url, pairs = _what(parsed)
    except (OSError, ValueError) as error:
        print(f"tandem webhook sign: {error}", file=sys.stderr)
        return WRONG_USE
    print(f"string     {string_to_sign(url, pairs)}")
    print(f"signature  {sign(parsed.token, url, pairs)}")
    return 0


def _what(parsed: argparse.Namespace) -> tuple[str, list[tuple[str, str]]]:
    """The URL and the parameters to sign. Raises ValueError, OSError."""
    if not parsed.token:
        raise ValueError("give --token, or set TWILIO_AUTH_TOKEN")
    if not urlsplit(parsed.url).netloc:
        raise ValueError(f"{parsed.url} is not an absolute URL")
    if sum((bool(parsed.parameters), parsed.form is not None, parsed.json is not None)) > 1:
        raise ValueError("give NAME=VALUE, --form or --json, only one of them")
    if parsed.json is not None:
        digest = hashlib.sha256(parsed.json.read_bytes()).hexdigest()
        joint = "&" if "?" in parsed.url else "?"
        return f"{parsed.url}{joint}bodySHA256={digest}", []
    if parsed.form is not None:
        return parsed.url, parse_qsl(parsed.form, keep_blank_values=True)
    pairs = []
    for text in parsed.parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text} is not NAME=VALUE")
        pairs.append((name, value))
    return parsed.url, pairs
