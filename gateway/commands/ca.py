"""`tandem ca init`: the private certificate authority that apps trust instead of Twilio's."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.proxy.authority import AuthorityError, create
from gateway.settings import ConfigurationError, load_settings

WRONG_USE = 2

HINTS = """made {certificate} (and its key beside it, which never leaves this machine)

Start the gateway with the proxy on:     TANDEM_PROXY__PORT=3128 tandem serve
Then start the app, as it is, with:

  Python    HTTPS_PROXY=http://HOST:3128 REQUESTS_CA_BUNDLE={certificate}
  Node      HTTP_PROXY=http://HOST:3128 NODE_EXTRA_CA_CERTS={certificate}
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = commands.add_parser("init", help="make one; the gateway's proxy needs it")
    init.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")
    init.add_argument(
        "--force", action="store_true", help="in place of one that is there; apps need the new one"
    )
    init.set_defaults(run=_init)


def _init(parsed: argparse.Namespace) -> int:
    try:
        folder = load_settings(parsed.config).proxy_folder
        certificate = create(folder, datetime.now(UTC), anew=parsed.force).resolve()
    except (ConfigurationError, AuthorityError) as error:
        print(f"tandem ca init: {error}", file=sys.stderr)
        return WRONG_USE
    print(HINTS.format(certificate=certificate))
    return 0
