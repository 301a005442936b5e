"""`tandem reconcile`: the database held against a carrier simulator's ledger."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

from typer import Option

from gateway.commands.options import TIME, ConfigFile, new_app, refuses
from gateway.loadtest import reconcile as comparison
from gateway.settings import ConfigurationError, load_settings

app = new_app()


@app.command()
@refuses("reconcile", ConfigurationError, OSError)
def reconcile(
    ledger: Annotated[str, Option(metavar="URL", help="The simulator's control endpoint.")],
    config: ConfigFile = None,
    since: Annotated[
        datetime | None,
        Option(
            **TIME,
            help="Only messages accepted since, as 2026-11-24T21:00:00Z: of what is older than the"
            " simulator, its ledger knows nothing, and it would count as lost.",
        ),
    ] = None,
    api: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The SIDs that an app was told 201 for, one a line: each must have a row.",
        ),
    ] = None,
    gateway: Annotated[
        list[str] | None,
        Option(
            metavar="URL",
            help="A gateway on this database, to be asked what it holds (for several, said again):"
            " what waits for over 30 s and is in none of their memories is told, too.",
        ),
    ] = None,
) -> int:
    """Hold the database against a carrier simulator's ledger."""
    settings = load_settings(config)
    told = None
    if api is not None:
        told = comparison.read_sids(api.read_text(errors="replace").splitlines())
    comparing = comparison.reconcile(settings, ledger, since, told, gateways=gateway or [])
    return asyncio.run(comparing)
