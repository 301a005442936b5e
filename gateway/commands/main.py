"""The `tandem` command: which commands there are, and what holds for all of them.

A command is a module of this package with its name and an `app`: its options, help and subcommands.
It is loaded when it is asked for, so that no command waits for what another one imports.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final, Literal

import typer
from typer import Option
from typer.core import TyperGroup
from typer.main import get_command, get_group

from gateway.commands.options import new_app

# In the order of the help.
COMMANDS: Final = (
    "serve",
    "smsc",
    "carrier",
    "restore",
    "ca",
    "webhook",
    "demo",
    "world",
    "inbox",
    "bench",
    "reconcile",
)
# These have a handler for SIGINT before they have anything to clean up: see gateway.entry.
OWN_SIGNALS: Final = ("serve", "smsc", "demo", "world", "inbox")


class Commands(TyperGroup):
    """The modules of this package as subcommands; `verdict` is what the one that ran returned."""

    verdict: int | None = None

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:  # told with the nearest of those that there are
            self.commands.update({name: self.get_command(ctx, name) for name in COMMANDS})
        elif cmd_name not in self.commands:
            app = import_module(f"gateway.commands.{cmd_name}").app
            app.rich_markup_mode = self.rich_markup_mode
            self.commands[cmd_name] = get_command(app)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> None:
        self.verdict = super().invoke(ctx)


app = new_app(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # slow to load, and nobody else here needs it

        print(f"tandem {version('tandem')}")
        raise typer.Exit


@app.callback()
def tandem(
    context: typer.Context,
    version: Annotated[
        bool,
        Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A self-hosted, Twilio-compatible messaging gateway."""
    from_entry = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if from_entry and context.invoked_subcommand not in OWN_SIGNALS:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _markup() -> Literal["rich"] | None:
    """Boxes and colours where a terminal shows them; plain text for everything that reads."""
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return "rich" if terminal and not dumb and not os.environ.get("NO_COLOR") else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is its verdict. Raises SystemExit for help and wrong use."""
    app.rich_markup_mode = _markup()
    command = get_group(app)
    assert isinstance(command, Commands)
    try:
        command.main(argv, prog_name="tandem")
    except SystemExit:
        if command.verdict is None:
            raise
    return command.verdict or 0


if __name__ == "__main__":
    sys.exit(main())
