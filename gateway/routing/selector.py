"""Which sender of a pool a message leaves from (docs/spec/messaging-services.md#sender-selection).

A list of rules, asked in order; the first that answers decides. `select` walks it and keeps
the answer, `explain` (in `explain.py`) walks the same list and keeps the reasons. A rule looks
at one `Question` and returns a `Choice`, or None for "go on"; it may only read, except for
the question's own notes.

What the rules share:

* A sender *reaches* a destination by its kind and country
  (docs/spec/messaging-services.md#priority-by-type), whatever its load.
* Among equal candidates `Standing` or a scan picks by rank
  (docs/spec/messaging-services.md#sticky-sender step 9, docs/spec/messaging-services.md#scaler).
* A group in which every queue is full is passed over like an empty one, and the failure is 30001
  instead of 21703 if no later group takes the message
  (docs/spec/messaging-services.md#queue-limits). A group whose connectors are down is not passed
  over: a reconnect takes seconds, and another country's number would stay mapped for a year.
* A sticky sender and an explicit From are not replaced because they are full: 30001.
* A service that skips unhealthy senders passes over a group that has no other, as if it were full;
  if no later group takes the message, the first that was passed over does: nothing is refused
  for health alone. A sticky sender and an explicit From are not replaced for it.
"""

from __future__ import annotations

import zlib
from collections import abc
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.routing.destination import Destination
from gateway.routing.nanp import US_TERRITORIES, NumberKind
from gateway.routing.networks import DEFAULT, NetworkFacts
from gateway.routing.question import (
    EMPTY_POOL,
    NO_SENDER,
    NOT_IN_POOL,
    QUEUES_FULL,
    TOLL_FREE_REACH,
    UNREACHABLE,
    UNUSABLE_FROM,
    US_AND_CANADA,
    Channel,
    Choice,
    Mapping,
    Needs,
    Question,
    channel_of,
    why_not_alpha,
    why_not_carry,
    why_not_reach,
)
from gateway.routing.sender_load import Load
from gateway.routing.sender_pool import NOBODY, CandidateGroup, Sender, SenderKind, SenderPool

__all__ = [
    "EMPTY_POOL",
    "NOT_IN_POOL",
    "NO_SENDER",
    "QUEUES_FULL",
    "RULES",
    "UNREACHABLE",
    "UNUSABLE_FROM",
    "Channel",
    "Choice",
    "Mapping",
    "Needs",
    "Rule",
    "select",
]

# The rules, in their order.


def _empty_pool(question: Question) -> Choice | None:
    return question.fail(EMPTY_POOL) if question.pool.empty else None


def _destination_kind(question: Question) -> Choice | None:
    """Premium, carrier, government and personal numbers take no messages
    (docs/spec/messaging-services.md#nanp-data)."""
    destination = question.destination
    kind = destination.kind
    if kind is NumberKind.GEOGRAPHIC:
        return None
    if kind is NumberKind.TOLL_FREE:
        refused = not question.facts.toll_free_destinations
    else:
        # Canada's 600, 622 and 633, and satellite networks, are non-geographic and reachable.
        refused = kind is not NumberKind.NON_GEOGRAPHIC or (
            destination.calling_code == "1" and not destination.country
        )
    return question.fail(UNREACHABLE) if refused else None


def _media_country(question: Question) -> Choice | None:
    """Media that was not converted needs a country with MMS
    (docs/spec/messaging-services.md#converter)."""
    if (
        question.media
        and question.needs.channel is Channel.SMS
        and question.country not in question.facts.mms_countries
    ):
        return question.fail(NO_SENDER)
    return None


def _explicit_from(question: Question) -> Choice | None:
    """Selection is skipped; the sender must be in the pool and able
    (docs/spec/messaging-services.md#explicit-from-with-messagingservicesid)."""
    if question.explicit is None:
        return None
    named = question.pool.by_address.get(question.explicit)
    if named is None:
        return question.fail(NOT_IN_POOL)
    sender = named[0]
    if len(named) > 1:
        sender = next(
            (candidate for candidate in named if not why_not_reach(question, candidate)), sender
        )
    if why_not_reach(question, sender) is not None:
        own_country_only = sender.kind is SenderKind.SHORT_CODE
        return question.fail(UNUSABLE_FROM if own_country_only else UNREACHABLE)
    if why_not_carry(question, sender) is not None:
        return question.fail(NO_SENDER)
    if question.load.full(sender.id):
        return question.fail(QUEUES_FULL)
    return Choice(sender, 0, question.sticky and question.mapping is None)


def _sticky_sender(question: Question) -> Choice | None:
    """Steps 1 to 3 of docs/spec/messaging-services.md#sticky-sender: the mapped sender, if it is
    still right."""
    mapping = question.mapping
    if mapping is None or not question.sticky:
        return None
    question.drop_mapping = True  # unless one of the cases below says otherwise
    settings = question.settings
    if question.now is not None and mapping.last_used + settings.sticky_ttl_s <= question.now:
        return None
    sender = question.pool.by_id.get(mapping.sender_id)
    if sender is None or channel_of(sender) is not question.needs.channel:
        return None
    if why_not_reach(question, sender) is not None:
        return None
    if why_not_carry(question, sender) is not None:
        if question.media and sender.sms:
            question.drop_mapping, question.keep_mapping = False, True
        return None
    if not _stays(question, sender):
        return None
    question.drop_mapping = False
    if question.load.full(sender.id):
        return question.fail(QUEUES_FULL)
    return Choice(sender)


def _stays(question: Question, sender: Sender) -> bool:
    """Step 3: a number of another country gives way to one of the recipient's own."""
    if sender.kind not in (SenderKind.LONG_CODE, SenderKind.TOLL_FREE):
        return True
    country, pool, media = question.country, question.pool, question.media
    if _is_home(sender, country):
        return True
    if pool.long_codes(country, media).senders:
        return False
    if country in TOLL_FREE_REACH and pool.toll_free(media).senders:
        return False
    if country in US_TERRITORIES and pool.us_numbers(media).senders:
        return False
    return not (pool.short_codes(country, media).senders and question.takes_short_codes())


def _is_home(sender: Sender, country: str) -> bool:
    """Whether a number counts as one of `country` (docs/spec/messaging-services.md#priority-by-type
    on toll-free and US territories)."""
    if sender.kind is SenderKind.TOLL_FREE:
        return country in TOLL_FREE_REACH
    return sender.country == country or (country in US_TERRITORIES and sender.country == "US")


def _whatsapp(question: Question) -> Choice | None:
    """WhatsApp senders for `whatsapp:` and for nothing else
    (docs/spec/messaging-services.md#channel-gate,
    docs/spec/messaging-services.md#country-code-geomatch)."""
    if question.needs.channel is not Channel.WHATSAPP:
        return None
    return _channel_senders(question, SenderKind.WHATSAPP) or _last_resort(question)


def _rcs(question: Question) -> Choice | None:
    """RCS for `rcs:`, and first for a plain number that is RCS-reachable
    (docs/spec/messaging-services.md#channel-gate,
    docs/spec/messaging-services.md#priority-by-type)."""
    if question.needs.channel is Channel.RCS:
        return _channel_senders(question, SenderKind.RCS) or _last_resort(question)
    if not question.needs.rcs_reachable:
        return None
    choice = _channel_senders(question, SenderKind.RCS)
    if choice is not None:
        choice.new_mapping = choice.drop_mapping = False  # sticky is not for RCS
    return choice


def _channel_senders(question: Question, kind: SenderKind) -> Choice | None:
    # Channel senders carry media by themselves: their `sms` flag says they can send at all.
    pool = question.pool
    return question.best(pool.of(kind, question.country, False)) or question.best(
        pool.of(kind, None, False)
    )


def _kind_preferences(question: Question) -> Choice | None:
    """Extensions: weights, then priority of kinds for the recipient's country."""
    settings, country = question.settings, question.country
    weights = settings.kind_weights.get(country)
    if weights:
        choice = _by_weight(question, weights)
        if choice is not None:
            return choice
    for kind in settings.kind_priority.get(country, ()):
        choice = question.best(_narrowed(question, kind))
        if choice is not None:
            return choice
    return None


def _by_weight(question: Question, weights: abc.Mapping[SenderKind, int]) -> Choice | None:
    """A kind by share of recipients: a recipient always falls to the same kind."""
    shares: list[tuple[int, CandidateGroup]] = []
    for kind, weight in sorted(weights.items()):
        group = _narrowed(question, kind)
        if weight > 0 and group.senders:
            shares.append((weight, group))
    if not shares:
        return None
    total = sum(weight for weight, _ in shares)
    point = zlib.crc32(question.destination.e164.encode()) % total
    for weight, group in shares:
        if point < weight:
            return question.best(group)
        point -= weight
    return None


def _narrowed(question: Question, kind: SenderKind) -> CandidateGroup:
    """The usable senders of one kind for the recipient's country."""
    pool, country, media = question.pool, question.country, question.media
    if kind is SenderKind.SHORT_CODE:
        return pool.short_codes(country, media) if question.takes_short_codes() else NOBODY
    if kind is SenderKind.ALPHA:
        return _alpha_group(question)
    if kind is SenderKind.TOLL_FREE:
        return pool.toll_free(media) if country in TOLL_FREE_REACH else NOBODY
    if kind is SenderKind.LONG_CODE:
        return next(filter(None, _area_groups(question)), pool.long_codes(country, media))
    return NOBODY


def _short_code(question: Question) -> Choice | None:
    """Step 4: a short code of the recipient's country, if the carrier takes it."""
    group = question.pool.short_codes(question.country, question.media)
    if not group.senders or not question.takes_short_codes():
        return None
    return question.best(group)


def _alpha_first(question: Question) -> Choice | None:
    """Step 5: an alphanumeric sender, unless the pool has a short code of the country."""
    if question.pool.short_codes(question.country, question.media).senders:
        return None
    return question.best(_alpha_group(question))


def _alpha_last(question: Question) -> Choice | None:
    """Step 5 after step 6: a short code is there, but cannot be used
    (docs/spec/messaging-services.md#priority-by-type)."""
    if not question.pool.short_codes(question.country, question.media).senders:
        return None
    return question.best(_alpha_group(question))


def _alpha_group(question: Question) -> CandidateGroup:
    if question.media:
        # alphanumeric senders are SMS only
        # (docs/spec/messaging-services.md#behaviour-of-alphanumeric-ids)
        return NOBODY
    group = question.pool.alpha(question.country, False)
    if not group.senders or not question.facts.alpha(question.country).supported:
        return NOBODY
    if question.settings.strict_preregistration:
        able = [candidate for candidate in group if why_not_alpha(question, candidate) is None]
        return group if len(able) == len(group) else CandidateGroup(able)
    return group


def _area_groups(question: Question) -> tuple[CandidateGroup, ...]:
    """Area-code geomatch, narrowest first (docs/spec/messaging-services.md#area-code-geomatch);
    nothing outside the US and Canada."""
    code = question.destination.area_code
    if (
        code is None
        or not question.settings.area_code_geomatch
        or question.country not in US_AND_CANADA
    ):
        return ()
    pool, media = question.pool, question.media
    groups = (pool.area(code, media), pool.overlay(code, media))
    if question.settings.region_fallback:
        return (*groups, pool.same_region(code, media))
    return groups


def _home_numbers(question: Question) -> Choice | None:
    """Step 6: numbers of the recipient's country, by area code in the US and Canada."""
    pool, country, media = question.pool, question.country, question.media
    groups = _area_groups(question)
    if country == "CA":
        # Toll-free goes before long codes in Canada, but for those of the recipient's area and its
        # overlays (docs/spec/messaging-services.md#priority-by-type).
        groups = (*groups[:2], pool.toll_free(media), *groups[2:])
    for group in groups:
        choice = question.best(group)
        if choice is not None:
            return choice
    if country == "US":
        return question.best(pool.us_numbers(media)) or question.best(pool.long_codes("CA", media))
    choice = question.best(pool.long_codes(country, media))
    if choice is None and country == "CA":
        choice = question.best(pool.long_codes("US", media))
    if choice is None and country in US_TERRITORIES:
        choice = question.best(pool.us_numbers(media))
    return choice


def _us_numbers(question: Question) -> Choice | None:
    """Step 7: US numbers for the rest of the world
    (docs/spec/messaging-services.md#country-code-geomatch); toll-free does not reach it."""
    if question.country in TOLL_FREE_REACH:
        return None
    return question.best(question.pool.long_codes("US", question.media))


def _any_number(question: Question) -> Choice | None:
    """Step 8: any other number able to reach the recipient."""
    return question.best(question.pool.foreign(question.country in US_AND_CANADA, question.media))


def _nobody(question: Question) -> Choice | None:
    """No sender: all full, or none able; but for one that was passed over for its health."""
    if question.unhealthy is not None:
        return None
    return question.fail(QUEUES_FULL if question.saw_full else NO_SENDER)


def _unhealthy(question: Question) -> Choice | None:
    """The first that was passed over for its health: there is no other."""
    if question.unhealthy is None:
        return None
    makes_mapping = question.sticky and not question.keep_mapping
    return Choice(question.unhealthy, 0, makes_mapping, question.drop_mapping)


def _last_resort(question: Question) -> Choice | None:
    """How a rule ends that lets no other take the message."""
    return _nobody(question) or _unhealthy(question)


class Rule(NamedTuple):
    """A named step of the selection."""

    # Stored with each message that the rule decided (schema 0015): a new rule takes the next free
    # id wherever it stands in RULES, and the id of a rule that goes is not given again.
    id: int
    name: str
    # The heading it comes from: a path in the repository, as Explain tells it.
    source: str
    apply: Callable[[Question], Choice | None]


def _spec(heading: str) -> str:
    return f"docs/spec/messaging-services.md#{heading}"


_EXTENSION: Final = "docs/sender-selection.md#preferences-extensions"
EXPLICIT_FROM: Final = Rule(
    3, "explicit From", _spec("explicit-from-with-messagingservicesid"), _explicit_from
)
# In the order they are asked.
RULES: Final = (
    Rule(0, "pool is not empty", _spec("failures-of-the-selection"), _empty_pool),
    Rule(1, "destination takes messages", _spec("nanp-data"), _destination_kind),
    Rule(2, "country takes media", _spec("converter"), _media_country),
    EXPLICIT_FROM,
    Rule(4, "RCS", _spec("channel-gate"), _rcs),
    Rule(5, "sticky sender", _spec("sticky-sender"), _sticky_sender),
    Rule(6, "WhatsApp", _spec("channel-gate"), _whatsapp),
    Rule(7, "kind priority and weights", _EXTENSION, _kind_preferences),
    Rule(8, "short code", _spec("sticky-sender"), _short_code),
    Rule(9, "alphanumeric sender", _spec("sticky-sender"), _alpha_first),
    Rule(10, "numbers of the country", _spec("sticky-sender"), _home_numbers),
    Rule(11, "alphanumeric sender after numbers", _spec("priority-by-type"), _alpha_last),
    Rule(12, "US numbers", _spec("sticky-sender"), _us_numbers),
    Rule(13, "any other number", _spec("sticky-sender"), _any_number),
    Rule(14, "no sender", _spec("failures-of-the-selection"), _nobody),
    Rule(15, "unhealthy sender", _EXTENSION, _unhealthy),
)
RULES_BY_ID: Final = {rule.id: rule for rule in RULES}
_STEPS: Final = tuple((rule.id, rule.apply) for rule in RULES)


def select(
    destination: Destination,
    needs: Needs,
    pool: SenderPool,
    load: Load,
    mapping: Mapping | None,
    explicit: str | None = None,
    facts: NetworkFacts = DEFAULT,
    now: float | None = None,
) -> Choice:
    """Choose the sender of one message.

    `mapping` is the recipient's stored sticky mapping on this channel, if any; `explicit` the
    From given along with the service. `now` lets mappings grow too old; without it they do
    not. The caller stores and deletes mappings as the choice says, and tells the load.
    """
    question = Question(destination, needs, pool, load, mapping, explicit, facts, now)
    for rule_id, step in _STEPS:
        choice = step(question)
        if choice is not None:
            choice.rule = rule_id
            return choice
    raise AssertionError("the last rule always answers")
