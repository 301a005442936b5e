"""`tandem carrier`: show, change and test carriers.

`list`, `show` and `set` ask the running gateway; `check` binds by itself, with the settings of
the configuration file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from gateway.carriers.check import check
from gateway.settings import ConfigurationError, load_settings

WRONG_USE = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="carrier_command", required=True, metavar="COMMAND")

    checking = commands.add_parser(
        "check", help="bind, send test messages, and print what the carrier does"
    )
    checking.add_argument("name", metavar="NAME", help="as in the configuration")
    checking.add_argument("--to", metavar="+…", help="a phone that takes the test messages")
    checking.add_argument("--from", dest="sender", default="Tandem", help="default: Tandem")
    checking.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="for receipts, at most; default: 60"
    )
    checking.set_defaults(run=_check)

    for command in commands.choices.values():
        command.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")


def _check(options: argparse.Namespace) -> int:
    try:
        settings = load_settings(options.config)
        known = {carrier.name: carrier for carrier in settings.carriers}
        if options.name not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(f"no carrier {options.name!r}; there are: {names}")
    except ConfigurationError as error:
        print(f"tandem carrier: {error}", file=sys.stderr)
        return WRONG_USE
    report = uvloop.run(
        check(
            known[options.name],
            sender=options.sender,
            to=options.to,
            receipt_wait_s=options.wait,
        )
    )
    for line in report.lines():
        print(line)
    return 0 if report.good else 1
