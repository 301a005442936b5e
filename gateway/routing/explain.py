"""Why a sender was chosen: the selector's rules once more, with their reasons.

`explain` walks the very list that `select` walks and asks each rule what it answered, so the
two cannot drift apart; a property test holds them together all the same.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.routing.destination import Destination
from gateway.routing.networks import DEFAULT, NetworkFacts
from gateway.routing.question import (
    Choice,
    Mapping,
    Needs,
    Question,
    channel_of,
    why_not_carry,
    why_not_reach,
)
from gateway.routing.selector import RULES, Rule
from gateway.routing.sender_load import Level, Load, Rank, rank
from gateway.routing.sender_pool import CandidateGroup, Sender, SenderPool


class Step(NamedTuple):
    """One rule and what it answered."""

    rule: str
    source: str  # its section in messaging-services, or "extension"
    outcome: str


class MemberVerdict(NamedTuple):
    """What became of one member of the pool."""

    sender: Sender
    chosen: bool
    reason: str


UNDELIVERED: Final = "too few of its last messages were delivered"


class Explanation(NamedTuple):
    """A choice with its reasons."""

    choice: Choice
    steps: tuple[Step, ...]
    verdicts: tuple[MemberVerdict, ...]  # by ascending sid


def explain(
    destination: Destination,
    needs: Needs,
    pool: SenderPool,
    load: Load,
    mapping: Mapping | None,
    explicit: str | None = None,
    facts: NetworkFacts = DEFAULT,
    now: float | None = None,
) -> Explanation:
    """What `select` answers for the same arguments, and why."""
    question = Question(destination, needs, pool, load, mapping, explicit, facts, now)
    looked_at: list[tuple[CandidateGroup, Sender, Rank]] = []
    question.looked_at = looked_at
    steps: list[Step] = []
    for rule in RULES:
        before = len(looked_at)
        had_mapping = not (question.drop_mapping or question.keep_mapping)
        choice = rule.apply(question)
        changed = had_mapping and (question.drop_mapping or question.keep_mapping)
        outcome = _outcome(question, choice, looked_at[before:], changed)
        steps.append(Step(rule.name, rule.source, outcome))
        if choice is not None:
            choice.rule = rule.id
            verdicts = _verdicts(question, choice, rule, looked_at)
            return Explanation(choice, tuple(steps), verdicts)
    raise AssertionError("the last rule always answers")


def _outcome(
    question: Question,
    choice: Choice | None,
    groups: list[tuple[CandidateGroup, Sender, Rank]],
    changed: bool,
) -> str:
    if choice is not None and choice.sender is not None:
        kept = " for this message only" if question.keep_mapping else ""
        among = f" among {len(groups[-1][0])}" if groups else ""
        return f"takes {choice.sender.address}{among}{kept}"
    if choice is not None:
        return f"fails with {choice.code}"
    if changed:
        if question.keep_mapping:
            return "the mapped sender cannot carry media: kept, not used for this message"
        return "the stored mapping is void"
    if any(place[0] != Level.FULL for _, _, place in groups):
        return "too few of the last messages were delivered: passed over while there is another"
    if groups:
        return "every queue is full"
    return "does not apply"


def _verdicts(
    question: Question,
    choice: Choice,
    rule: Rule,
    looked_at: list[tuple[CandidateGroup, Sender, Rank]],
) -> tuple[MemberVerdict, ...]:
    decided_in = next((look for look in reversed(looked_at) if look[1] is choice.sender), None)
    full = {
        sender.id for group, _, place in looked_at if place[0] == Level.FULL for sender in group
    }
    unhealthy = {sender.id for _, sender, place in looked_at if place[0] == Level.UNHEALTHY}
    verdicts = []
    for sender in question.pool.senders:
        if sender is choice.sender:
            verdicts.append(MemberVerdict(sender, True, f"chosen: {rule.name}"))
            continue
        reason = _unable(question, sender)
        if reason is None and decided_in is not None and sender in decided_in[0].senders:
            reason = _behind(question, sender, decided_in[2])
        if reason is None and sender.id in full:
            reason = "its queue is full"
        if reason is None and sender.id in unhealthy:
            reason = UNDELIVERED
        if reason is None:
            reason = f"another rule decided: {rule.name}"
        verdicts.append(MemberVerdict(sender, False, reason))
    return tuple(verdicts)


def _unable(question: Question, sender: Sender) -> str | None:
    if channel_of(sender) is not question.needs.channel and not question.needs.rcs_reachable:
        return "is of another channel"
    return why_not_reach(question, sender) or why_not_carry(question, sender)


def _behind(question: Question, sender: Sender, best: Rank) -> str:
    """What put a candidate behind the chosen one."""
    mine = rank(
        sender,
        question.load,
        question.destination,
        question.sticky,
        question.settings.skip_unhealthy,
    )
    if mine[0] != best[0]:
        return {
            Level.FULL: "its queue is full",
            Level.DOWN: "its connector is down",
        }.get(Level(mine[0]), UNDELIVERED)
    if mine[1] != best[1]:
        return f"has {mine[1]} mappings, the chosen one {best[1]}"
    if mine[2] != best[2]:
        return f"would wait {mine[2]:.1f} s, the chosen one {best[2]:.1f} s"
    if mine[3] != best[3]:
        return "was used more recently"
    return "stands equal; the lower sid goes first"
