"""`tandem world`: everything that the demo starts, kept running."""

import asyncio

from gateway.commands.options import new_app, refuses
from gateway.playground.world import keep_up, until_terminated
from gateway.settings import ConfigurationError

app = new_app()


@app.command()
@refuses("world", ConfigurationError)
def world() -> int:
    """Keep a gateway, a simulator and a database running."""
    return asyncio.run(until_terminated(keep_up))
