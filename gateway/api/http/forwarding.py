"""Requests that are another worker's to answer, as the API sees it.

A request may come to any worker. What concerns a message or a pool is done by the one whose they
are; what is only configuration, or only rows, is done where it came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.api.http.forms import Form
from gateway.directory.directory import Account

if TYPE_CHECKING:
    from starlette.responses import Response

    from gateway.api.http.resources import Call
    from gateway.api.messages.create_message import OnAccepted

RELAYED: Final = "tandem.relayed"  # in the scope of a request that another worker handed on


class Elsewhere(Protocol):
    """The other workers of this gateway."""

    def place(self, account: Account, form: Form) -> int | None:
        """The worker that a send with these parameters is for; None: this one."""

    def owner(self, service_id: int | None, sender_id: int | None) -> int | None:
        """The worker that has a message of this service or sender; None: this one."""

    def send(
        self,
        slot: int,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None,
    ) -> None:
        """Create the message there; `answer` hears of it."""

    async def request(self, slot: int, call: Call) -> Response:
        """The answer of that worker to the same request. Raises ApiError."""

    async def carriers(self) -> list[dict[str, dict[str, Any]]]:
        """What each other worker that answers says of its binds, by the carrier's SID."""


class Nowhere:
    """There is no other worker."""

    def place(self, account: Account, form: Form) -> int | None:
        return None

    def owner(self, service_id: int | None, sender_id: int | None) -> int | None:
        return None

    def send(
        self,
        slot: int,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None,
    ) -> None:
        raise AssertionError("there is nobody else")

    async def request(self, slot: int, call: Call) -> Response:
        raise AssertionError("there is nobody else")

    async def carriers(self) -> list[dict[str, dict[str, Any]]]:
        return []
