"""What may stop a message for its account's sake: pumping (30450), a day's limit (30454)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.acceptance.draft import Draft
from gateway.directory.directory import Account, Directory
from gateway.routing.pumping import PumpingGuard
from gateway.runtime.clock import Clock

PUMPED: Final = 30450
TOO_MANY_TODAY: Final = 30454
DAY_S: Final = 86_400.0


@dataclass(slots=True)
class _Today:
    day: int
    sent: int


class FraudGuard:
    """Asked once for each message, when it is first given a sender."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._guard = PumpingGuard()
        self._today: dict[int, _Today] = {}

    def uncounted(self) -> list[int]:
        """Accounts with a limit whose messages of today are not counted yet."""
        return [
            account.id
            for account in self._directory.accounts_by_id.values()
            if account.daily_messages is not None and account.id not in self._today
        ]

    def counted(self, account_id: int, sent: int) -> None:
        """So many messages of the account were stored today."""
        self._today[account_id] = _Today(self._day(), sent)

    def stops(self, draft: Draft) -> int:
        """The code of what stops the message, or 0."""
        account = self._directory.accounts_by_id.get(draft.message.account_id)
        if account is None or draft.weighed:
            return 0
        draft.weighed = True
        if account.daily_messages is not None and self._over_limit(account):
            return TOO_MANY_TODAY
        if not account.pumping_protection or self._unchecked(draft, account):
            return 0
        destination = draft.destination
        suspected = self._guard.suspects(
            account.id, destination.country, destination.e164, self._clock.wall()
        )
        return PUMPED if suspected else 0

    def _over_limit(self, account: Account) -> bool:
        today = self._today.get(account.id)
        if today is None or today.day != self._day():
            today = self._today[account.id] = _Today(self._day(), 0)
        if today.sent >= (account.daily_messages or 0):
            return True
        today.sent += 1
        return False

    def _unchecked(self, draft: Draft, account: Account) -> bool:
        """The app has vouched for the message, or for its recipient."""
        extras = draft.message.extras
        if extras is not None and extras.get("risk_check") == "disable":
            return True
        safe = self._directory.safe_numbers.get(account.id)
        if not safe:
            return False
        number = draft.destination.e164
        return any(number[:length] in safe for length in range(2, len(number) + 1))

    def _day(self) -> int:
        return int(self._clock.wall() / DAY_S)
