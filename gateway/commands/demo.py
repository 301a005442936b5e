"""`tandem demo`: one message through everything."""

import asyncio

from gateway.commands.options import new_app, refuses
from gateway.playground.demo import INTERRUPTED, send_a_message
from gateway.playground.world import until_terminated
from gateway.settings import ConfigurationError

app = new_app()


@app.command()
@refuses("demo", ConfigurationError)
def demo() -> int:
    """Send one message through everything."""
    return asyncio.run(until_terminated(send_a_message, INTERRUPTED))
