"""`tandem ca init`: the private certificate authority that apps trust instead of Twilio's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from typer import Option

from gateway.commands.options import ConfigFile, new_app, refuses
from gateway.proxy.authority import AuthorityError, create
from gateway.settings import ConfigurationError, load_settings

app = new_app(no_args_is_help=True)

HINTS = """made {certificate} (and its key beside it, which never leaves this machine)

Start the gateway with the proxy on:     TANDEM_PROXY__PORT=3128 tandem serve
Then start the app, as it is, with:

  Python    HTTPS_PROXY=http://HOST:3128 REQUESTS_CA_BUNDLE={certificate}
  Node      HTTP_PROXY=http://HOST:3128 NODE_EXTRA_CA_CERTS={certificate}
"""


@app.callback()
def ca() -> None:
    """Make the certificates for apps that stay as they are."""


@app.command()
@refuses("ca init", ConfigurationError, AuthorityError)
def init(
    config: ConfigFile = None,
    force: Annotated[
        bool, Option("--force", help="In place of one that is there; apps need the new one.")
    ] = False,
) -> int:
    """Make an authority; the gateway's proxy needs it."""
    folder = load_settings(config).proxy_folder
    certificate = create(folder, datetime.now(UTC), anew=force).resolve()
    print(HINTS.format(certificate=certificate))
    return 0
