"""The pacer under any sequence of events keeps its promises (docs/reliability.md#order,
docs/spec/messaging-services.md#inbound)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.pacing.pacer import Pacer, SharedBucket

EXAMPLES = max(150, settings().max_examples // 20)


@dataclass(eq=False, slots=True)
class Mail:
    number: int
    sender_id: int
    segments: int
    account_id: int
    recipient: str
    expires_at: float
    carrier_id: int
    destination_class: Hashable
    service_id: int | None = None
    priority: int = 0


class Rates:
    """Slow and fast senders; a campaign, an account with its parent, and a connector, shared."""

    def __init__(self, shared: bool) -> None:
        self.all_shared = shared

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        return (0.5, 1.0, 5.0, 20.0)[sender_id]

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        """The campaign is for one class only."""
        in_it = self.all_shared and sender_id < 2 and destination_class == 1
        return (SharedBucket("campaign", 4.0),) if in_it else ()

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        if not self.all_shared:
            return ()
        parent = SharedBucket("parent", 7.0)
        return (SharedBucket("account", 6.0), parent) if account_id == 0 else (parent,)

    def carrier(self, carrier_id: int) -> float | None:
        return 8.0 if self.all_shared and carrier_id == 0 else None


class PacerMachine(RuleBasedStateMachine):
    @initialize(shared=st.booleans())
    def start(self, shared: bool) -> None:
        self.rates = Rates(shared)
        self.pacer: Pacer[Mail] = Pacer(self.rates)
        self.now = 0.0
        self.count = 0
        self.waiting: list[Mail] = []
        self.flying: list[Mail] = []
        self.lapsed: list[Mail] = []
        self.window = 30

    @rule(
        sender=st.integers(0, 3),
        segments=st.integers(1, 4),
        account=st.integers(0, 1),
        recipient=st.sampled_from("abc"),
        validity=st.sampled_from([2.0, 30.0, 1e6]),
        copies=st.integers(1, 4),
        priority=st.sampled_from([0, 0, 0, 1]),
    )
    def accept(
        self,
        sender: int,
        segments: int,
        account: int,
        recipient: str,
        validity: float,
        copies: int,
        priority: int,
    ) -> None:
        for _ in range(copies):
            self.count += 1
            mail = Mail(
                self.count, sender, segments, account, recipient, self.now + validity,
                sender % 2, len(recipient), priority=priority,
            )  # fmt: skip
            if copies == 1 and self.pacer.admit(mail, self.now, lambda _: self.window):
                self._leaves(mail)
            else:
                self.pacer.enqueue(sender, mail, self.now)
                self.waiting.append(mail)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 7.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_for_the_pacer(self) -> None:
        due = self.pacer.next_time()
        if due is not None:
            assert due >= 0
            self.now = max(self.now, min(due, self.now + 100.0))

    @rule(window=st.sampled_from([0, 1, 5, 30]), limit=st.sampled_from([1, 3, 500]))
    def release(self, window: int, limit: int) -> None:
        self.window = window
        out = self.pacer.release(self.now, lambda _: window, limit)
        assert len(out) <= limit
        for mail in self.pacer._expired:  # found at a head, reported by the next `expire`
            if mail in self.waiting:
                assert mail.expires_at <= self.now
                self.waiting.remove(mail)
                self.lapsed.append(mail)
        for mail in out:
            self.waiting.remove(mail)
            self._leaves(mail)

    def _leaves(self, mail: Mail) -> None:
        assert mail.expires_at > self.now
        key = (mail.sender_id, mail.recipient)
        assert key not in {(one.sender_id, one.recipient) for one in self.flying}
        assert not any(
            (one.sender_id, one.recipient) == key and one.number < mail.number
            for one in self.waiting
        )
        self.flying.append(mail)

    @rule(pick=st.integers(0, 50))
    def answer(self, pick: int) -> None:
        if self.flying:
            mail = self.flying.pop(pick % len(self.flying))
            self.pacer.done(mail)

    @rule(pick=st.integers(0, 50), wait=st.none() | st.sampled_from([0.5, 3.0]))
    def throttle(self, pick: int, wait: float | None) -> None:
        if self.flying:
            mail = self.flying.pop(pick % len(self.flying))
            self.pacer.put_back(
                mail, None if wait is None else self.now + wait, refund=wait is None
            )
            self.waiting.append(mail)

    @rule(pick=st.integers(0, 50), again=st.booleans())
    def cancel(self, pick: int, again: bool) -> None:
        if self.waiting:
            mail = self.waiting.pop(pick % len(self.waiting))
            assert self.pacer.remove(mail)
            if again:
                self.count += 1
                mail.number = self.count
                self.pacer.enqueue(mail.sender_id, mail, self.now)
                self.waiting.append(mail)

    @rule()
    def expire(self) -> None:
        for mail in self.pacer.expire(self.now):
            assert mail.expires_at <= self.now
            (self.lapsed if mail in self.lapsed else self.waiting).remove(mail)
        assert not self.lapsed
        # `expire` is never more than a second late.
        assert all(mail.expires_at > self.now - 1.0 for mail in self.waiting)

    @rule(shared=st.booleans())
    def rates_change(self, shared: bool) -> None:
        self.rates.all_shared = shared
        self.pacer.rates_changed(self.now)

    @invariant()
    def counters_are_the_messages(self) -> None:
        if not hasattr(self, "pacer"):
            return
        for sender in range(4):
            queued = sum(mail.segments for mail in self.waiting if mail.sender_id == sender)
            flying = sum(mail.segments for mail in self.flying if mail.sender_id == sender)
            assert self.pacer.waiting(sender) == queued
            assert self.pacer.backlog(sender) == queued + flying

    def teardown(self) -> None:
        """Whatever happened, everything that waits goes in the end."""
        if not hasattr(self, "pacer"):
            return
        for mail in self.flying:
            self.pacer.done(mail)
        self.flying.clear()
        for _ in range(10_000):
            self.pacer.expire(self.now)
            for mail in self.pacer.release(self.now, lambda _: 1_000):
                self.pacer.done(mail)
            due = self.pacer.next_time()
            if due is None:
                break
            self.now = max(self.now, due)
        assert all(self.pacer.backlog(sender) == 0 for sender in range(4))
        assert not any(
            line.placed for sender in self.pacer._senders.values() for line in sender.lines.values()
        )


TestPacer = PacerMachine.TestCase
TestPacer.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
