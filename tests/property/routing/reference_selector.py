"""Sender selection written a second time, straight from
docs/spec/messaging-services.md#sticky-sender.

Slow and plain on purpose: filters over lists, nothing shared with the selector but the tables
and the value types. Where the nine steps leave a choice, the note in brackets says how it
was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.routing.destination import Destination
from gateway.routing.nanp import NumberKind, overlays
from gateway.routing.networks import NetworkFacts
from gateway.routing.selector import Choice, Mapping, Needs
from gateway.routing.sender_load import Load
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool

TERRITORIES = {"PR", "VI", "GU", "AS", "MP"}
NORTH = {"US", "CA"}


def reference(
    destination: Destination,
    needs: Needs,
    pool: SenderPool,
    load: Load,
    mapping: Mapping | None,
    explicit: str | None,
    facts: NetworkFacts,
) -> Choice:
    """SMS and MMS only; no extensions but strict registration."""
    senders, settings, media = list(pool.senders), pool.settings, needs.media
    to = destination.country or ("US" if destination.calling_code == "1" else "")
    carrier = facts.carrier_of(destination.e164)

    if not senders:
        return Choice(None, 21704)
    special = {NumberKind.PREMIUM, NumberKind.CARRIER_SERVICE, NumberKind.US_GOVERNMENT}
    if destination.kind in special:
        return Choice(None, 21612)
    if destination.kind is NumberKind.TOLL_FREE and not facts.toll_free_destinations:
        return Choice(None, 21612)
    if (
        destination.kind is NumberKind.NON_GEOGRAPHIC
        and destination.calling_code == "1"
        and destination.country != "CA"
    ):
        return Choice(None, 21612)
    if media and to not in facts.mms_countries:
        return Choice(None, 21703)

    def alpha_allowed(sender: Sender) -> bool:
        treatment = facts.alpha_countries.get(to)
        if treatment is None or not treatment.supported:
            return False
        if settings.strict_preregistration and treatment.preregistration.name == "REQUIRED":
            return (sender.address, to) in settings.registrations
        return True

    def reaches(sender: Sender) -> bool:
        if sender.kind is SenderKind.SHORT_CODE:
            return sender.country == to and facts.takes_short_codes(to, carrier)
        if sender.kind is SenderKind.TOLL_FREE:
            return to in NORTH | TERRITORIES
        if sender.kind is SenderKind.ALPHA:
            return sender.destination_country in ("", to) and alpha_allowed(sender)
        return to not in NORTH or sender.country in NORTH | TERRITORIES

    def carries(sender: Sender) -> bool:
        return sender.mms if media else sender.sms

    def of_country(sender: Sender) -> bool:
        if sender.kind is SenderKind.TOLL_FREE:
            return to in NORTH | TERRITORIES
        return sender.country == to or (to in TERRITORIES and sender.country == "US")

    def is_number(sender: Sender) -> bool:
        return sender.kind in (SenderKind.LONG_CODE, SenderKind.TOLL_FREE)

    # docs/spec/messaging-services.md#explicit-from-with-messagingservicesid
    if explicit is not None:
        named = [sender for sender in senders if sender.address == explicit]
        if not named:
            return Choice(None, 21711)
        sender = ([one for one in named if reaches(one)] or named)[0]
        if not reaches(sender):
            return Choice(None, 21606 if sender.kind is SenderKind.SHORT_CODE else 21612)
        if not carries(sender):
            return Choice(None, 21703)
        if load.full(sender.id):
            return Choice(None, 30001)
        return Choice(sender, 0, settings.sticky and mapping is None)

    able = [sender for sender in senders if reaches(sender) and carries(sender)]

    # 1. Sticky on and a mapping?
    drop = keep = False
    if settings.sticky and mapping is not None:
        found = [sender for sender in senders if sender.id == mapping.sender_id]
        # 2. Still in the pool, able to reach To and to carry the content?
        if not found or not reaches(found[0]):
            drop = True
        elif not carries(found[0]):
            keep = media and found[0].sms
            drop = not keep
        else:
            # 3. Right for the country, or nothing better there?
            sender = found[0]
            better = [
                one
                for one in able
                if one.kind is SenderKind.SHORT_CODE or (is_number(one) and of_country(one))
            ]
            if not is_number(sender) or of_country(sender) or not better:
                if load.full(sender.id):  # [a sticky sender is not replaced for being full]
                    return Choice(None, 30001)
                return Choice(sender)
            drop = True

    def best(candidates: Iterable[Sender]) -> Sender | None:
        # 9. Fewest mappings, least loaded, least recently used, lowest sid; not full, and not
        # down unless all are.
        open_ones = [sender for sender in candidates if not load.full(sender.id)]
        if not open_ones:
            return None
        up = [sender for sender in open_ones if load.carrier_up(sender.carrier_id)] or open_ones

        def key(sender: Sender) -> tuple[float, float, float, str]:
            waiting = load.backlog(sender.id) / load.rate(sender.id, destination)
            counted = load.mappings(sender.id) if settings.sticky else 0
            return counted, waiting, load.last_used(sender.id), sender.sid

        return min(up, key=key)

    def kind(*kinds: SenderKind) -> list[Sender]:
        return [sender for sender in able if sender.kind in kinds]

    long_codes = kind(SenderKind.LONG_CODE)

    def alphas() -> list[Sender]:
        # A country-specific alpha sender beats the default one [before registration is asked].
        every = [s for s in senders if s.kind is SenderKind.ALPHA and carries(s) and not media]
        own = [s for s in every if s.destination_country == to]
        return [s for s in own or every if reaches(s)]

    def numbers_of_the_country() -> list[list[Sender]]:
        tiers: list[list[Sender]] = []
        if to in NORTH:
            north = [sender for sender in long_codes if sender.country in NORTH]
            code = destination.area_code
            if settings.area_code_geomatch and code is not None:
                tiers.append([sender for sender in north if sender.area_code == code])
                tiers.append([sender for sender in north if sender.area_code in overlays(code)])
        if to == "CA":
            tiers.append(kind(SenderKind.TOLL_FREE))
        same = [sender for sender in long_codes if sender.country == to]
        if to == "US":
            same += kind(SenderKind.TOLL_FREE)
        tiers.append(same)
        if to in NORTH:
            tiers.append([sender for sender in long_codes if sender.country in NORTH - {to}])
        if to in TERRITORIES:
            us = [sender for sender in long_codes if sender.country == "US"]
            tiers.append(us + kind(SenderKind.TOLL_FREE))
        return tiers

    has_short_code = any(
        sender.kind is SenderKind.SHORT_CODE and sender.country == to and carries(sender)
        for sender in senders
    )
    steps: list[Callable[[], list[list[Sender]]]] = [
        lambda: [kind(SenderKind.SHORT_CODE)],  # 4
        lambda: [] if has_short_code else [alphas()],  # 5
        numbers_of_the_country,  # 6
        lambda: [alphas()] if has_short_code else [],  # 5 after 6
        lambda: [[s for s in long_codes if s.country == "US"]],  # 7
        lambda: [[s for s in long_codes if s.country != "US"]],  # 8
    ]
    any_full = False
    for step in steps:
        for tier in step():
            winner = best(tier)
            if winner is not None:
                return Choice(winner, 0, settings.sticky and not keep, drop)
            any_full = any_full or bool(tier)
    return Choice(None, 30001 if any_full else 21703, False, drop)
