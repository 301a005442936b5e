"""Which submission a receipt means: by its id, in the spellings carriers use, and its addresses.

Carriers name a message in the response and again in the receipt, and many spell it differently
there: hex and decimal, other case, zeros lost or added (field report: a third of all trouble).
The rule is *raw first, then the normal forms in their fixed order* (`smpp.receipt.forms_of`), and
a normal form counts only when the addresses agree: a wrong `delivered` is worse than none. Nor is
an id always one message's: two SMSCs share a load, a counter begins anew. Of several the one whose
addresses agree is meant; if none does, nobody knows.

Pure: what a carrier's receipts taught is a value kept here; nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from smpp.pdu import DeliverSm
from smpp.receipt import IdForm, forms_of

LEARN_AFTER = 20  # receipts in a row that were matched by one form
SUFFIX = 6  # digits that national and international spellings of a number must share


class Addressed(Protocol):
    """What of a message a receipt's addresses are held against."""

    @property
    def recipient(self) -> str: ...
    @property
    def sender_address(self) -> str | None: ...


class SubmittedMessage(Addressed, Protocol):
    """What of a message decides between several under one id."""

    @property
    def sent_at(self) -> float: ...
    @property
    def receipts(self) -> int: ...


S = TypeVar("S", bound=SubmittedMessage)


class Candidate(NamedTuple, Generic[S]):
    """A segment that a receipt may mean, and how its id was read to find it."""

    message: S
    segment: int
    form: IdForm


@dataclass(frozen=True, slots=True)
class SpellingChange:
    """The carrier's receipts spell ids in another way than they did."""

    before: IdForm
    now: IdForm


@dataclass(slots=True)
class Spelling:
    """How one carrier's receipts spell ids, as far as it is known."""

    pinned: IdForm | None = None  # by the operator: no other normal form is tried
    learnt: IdForm | None = None
    _candidate: IdForm | None = None
    _in_a_row: int = 0

    def spellings(self, raw_id: str) -> list[tuple[IdForm, str]]:
        """What to look for, in order: raw, then the known form, then the rest."""
        known = self.pinned or self.learnt
        forms = forms_of(raw_id)
        if self.pinned is not None:
            return [pair for pair in forms if pair[0] in (IdForm.RAW, self.pinned)]
        if known is None or known is IdForm.RAW:
            return list(forms)
        return sorted(forms, key=lambda pair: (pair[0] is not IdForm.RAW, pair[0] is not known))

    def won(self, form: IdForm) -> SpellingChange | None:
        """A receipt was matched by `form`; a Change when the carrier has gone over to another."""
        if form is self.learnt:
            self._in_a_row = 0
            return None
        self._in_a_row = self._in_a_row + 1 if form is self._candidate else 1
        self._candidate = form
        if self._in_a_row < LEARN_AFTER:
            return None
        before, self.learnt = self.learnt, form
        self._in_a_row = 0
        return SpellingChange(before, form) if before is not None else None

    def counts(self, form: IdForm, agrees: bool) -> bool:
        """Whether a match by `form` may be believed.

        A raw match is believed unless the carrier is known to spell otherwise: then the raw id
        may by chance be another message's.
        """
        if form is IdForm.RAW:
            known = self.pinned or self.learnt
            return agrees or known in (None, IdForm.RAW)
        return agrees


def choose(
    candidates: Iterable[Candidate[S]], delivery: DeliverSm, spelling: Spelling, *, all_known: bool
) -> Candidate[S] | None:
    """The one that a receipt means; None when there is none, or nobody can tell.

    A raw id is believed against the addresses only if `all_known`, and it is one message's.
    """
    agreeing: list[Candidate[S]] = []
    spelt: list[Candidate[S]] = []  # in another form, and agreeing
    doubtful: list[Candidate[S]] = []
    for candidate in candidates:
        is_raw = candidate.form is IdForm.RAW
        if addresses_agree(delivery, candidate.message):
            (agreeing if is_raw else spelt).append(candidate)
        elif is_raw:
            doubtful.append(candidate)
    if agreeing:  # an id that came round again means its latest message
        return _segment_of(agreeing)
    if spelt:
        return _segment_of(spelt) if _one_message(spelt) else None
    if not all_known or not spelling.counts(IdForm.RAW, agrees=False):
        return None
    if len(doubtful) > 1 and not _one_message(doubtful):  # some networks replace the sender
        doubtful = [
            candidate for candidate in doubtful if _recipient_agrees(delivery, candidate.message)
        ]
    return _segment_of(doubtful) if _one_message(doubtful) else None


def _one_message(candidates: Sequence[Candidate[S]]) -> bool:
    return len({id(candidate.message) for candidate in candidates}) == 1


def _segment_of(candidates: Sequence[Candidate[S]]) -> Candidate[S]:
    """Of the latest message the first segment without a receipt: all may have one id."""
    latest = max(candidates, key=lambda candidate: candidate.message.sent_at).message
    own = sorted(
        (candidate for candidate in candidates if candidate.message is latest),
        key=lambda candidate: candidate.segment,
    )
    return next(
        (candidate for candidate in own if not latest.receipts >> candidate.segment & 1), own[0]
    )


def addresses_agree(delivery: DeliverSm, message: Addressed) -> bool:
    """Whether a receipt's addresses are the message's, either way round.

    The standard turns them (source is the recipient); some carriers do not.
    """
    source, destination = delivery.source.value, delivery.destination.value
    sender = message.sender_address or ""
    return (_same(source, message.recipient) and _same(destination, sender)) or (
        _same(source, sender) and _same(destination, message.recipient)
    )


def _recipient_agrees(delivery: DeliverSm, message: Addressed) -> bool:
    given = (delivery.source.value, delivery.destination.value)
    return any(_same(spelling, message.recipient) for spelling in given)


def _same(given: str, ours: str) -> bool:
    if given.casefold() == ours.casefold():
        return True
    address, other = given.lstrip("+0"), ours.lstrip("+0")
    if not (address.isdigit() and other.isdigit()):
        return False
    shorter, longer = sorted((address, other), key=len)
    return longer == shorter or (len(shorter) >= SUFFIX and longer.endswith(shorter))
