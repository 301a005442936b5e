"""`tandem smsc`: the carrier simulator, and what a subscriber writes to us through it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from gateway.commands.options import PORT, new_app
from smpp.smsc import command
from smpp.smsc.mobile import Mode

app = new_app()


@app.callback(invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
def smsc(
    context: typer.Context,
    host: Annotated[str, Option(help="Address to listen on.")] = command.HOST,
    port: Annotated[int, Option(**PORT, help="SMPP port; 0 takes a free one.")] = command.PORT,
    control_port: Annotated[
        int, Option(**PORT, help="Port of the HTTP control.")
    ] = command.CONTROL_PORT,
    scenario: Annotated[
        Path | None, Option(metavar="FILE", help="A scenario file (docs/smpp.md).")
    ] = None,
    seed: Annotated[int | None, Option(help="Of all chances and the first message id.")] = None,
    system_id: Annotated[str | None, Option(help="Login of the first carrier.")] = None,
    password: Annotated[str | None, Option(help="Password of the first carrier.")] = None,
) -> int | None:
    """Run the carrier simulator."""
    if context.invoked_subcommand is not None:
        return None
    return command.run(host, port, control_port, scenario, seed, system_id, password)


@app.command()
def mo(
    text: Annotated[str, Argument()],
    sender: Annotated[str, Option("--from", help="The subscriber's number.")],
    recipient: Annotated[str, Option("--to", help="One of our numbers.")],
    control: Annotated[str, Option(metavar="URL")] = command.CONTROL_URL,
    mode: Annotated[Mode, Option(help="How long texts are cut.")] = "udh8",
    carrier: Annotated[str, Option(help="Name of the carrier; else the first.")] = "",
) -> int:
    """Send a message in, through a running simulator."""
    return command.send_message(text, sender, recipient, control, mode, carrier)
