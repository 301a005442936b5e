"""What several commands take and say."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec, TypeAlias, TypeVar

import typer
from typer import Option

from gateway.runtime.times import moment

P = ParamSpec("P")
Options = TypeVar("Options")
Command: TypeAlias = Callable[P, int]  # returns its exit status

WRONG_USE: Final = 2  # the exit status of what can't be done as it was said


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        raise typer.BadParameter(f"invalid moment value: {text!r}") from None


new_app = functools.partial(typer.Typer, add_completion=False, pretty_exceptions_enable=False)
# Of an option that takes a TCP port: uvloop takes one above for what is left of it in 16 bits.
PORT: Final = {"min": 0, "max": 65535}
# Of an option that takes a time.
TIME: Final = {"metavar": "TIME", "parser": _moment}
ConfigFile = Annotated[
    Path | None,
    Option("--config", metavar="FILE", help="Default: ./tandem.toml where it exists."),
]


def refuses(command: str, *reasons: type[Exception]) -> Callable[[Command[P]], Command[P]]:
    """Decorate a command: a line of `tandem COMMAND: …` and WRONG_USE for each of these errors."""

    def decorate(run: Command[P]) -> Command[P]:
        @functools.wraps(run)
        def refusing(*args: P.args, **options: P.kwargs) -> int:
            try:
                return run(*args, **options)
            except reasons as error:
                print(f"tandem {command}: {error}", file=sys.stderr)
                return WRONG_USE

        return refusing

    return decorate


def taking(
    options: Callable[..., Options],
) -> Callable[[Callable[[Options], int]], Callable[..., int]]:
    """Decorate a command that takes many options as a dataclass: each field becomes one."""

    def decorate(run: Callable[[Options], int]) -> Callable[..., int]:
        def command(**given: Any) -> int:
            return run(options(**given))

        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__signature__ = inspect.signature(options, eval_str=True)  # type: ignore[attr-defined]
        return command

    return decorate
