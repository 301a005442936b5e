"""What deliveries say: who wrote, to which number of ours, in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, cast

from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.stored_deliveries import number_of, storable
from gateway.content.encoding import Encoding
from gateway.directory.directory import SenderRecord
from gateway.inbound.owed_webhook import InboundMode, inbound_mode
from gateway.inbound.text import Endings, ends_with_nul, form_of, text_of
from gateway.messages.message import Direction, Message, Status
from gateway.opt_out.keywords import default_book
from gateway.routing.incoming import Read, read_address
from gateway.stage_runtime import Runtime
from smpp.concat import Whole
from smpp.pdu import DeliverSm, SmeAddress
from storage.ids import Id

SEGMENT_MISSING: Final = 30009
UNFIT: Final = 99011  # an alert of ours


class Stored(NamedTuple):
    """A message that became whole: its row, which parts it took, and whom it was sent to."""

    message: Message
    parts: tuple[Id, ...]
    deliveries: tuple[DeliverSm, ...]
    record: SenderRecord
    dropped: bool  # nobody wants it: its text counts as a keyword, and nothing is kept of it


class InboundReader:
    """Reads in the way of each carrier's profile, and tells what can't be read with certainty."""

    def __init__(self, runtime: Runtime, profile_of: Callable[[int], Profile]) -> None:
        self._directory = runtime.directory
        self._next_id = runtime.next_id
        self._alerts = runtime.alerts
        self._clock = runtime.clock
        self._profile_of = profile_of
        self._endings = Endings()
        self._unclear: set[tuple[int, str, str]] = set()  # carriers, as set, that was told of

    def number(self, carrier_id: int, address: SmeAddress) -> SenderRecord | None:
        """The number of ours that was written to."""
        return number_of(self._directory, address, self._profile_of(carrier_id))

    def address(self, carrier_id: int, source: SmeAddress, record: SenderRecord | None) -> Read:
        """The number that wrote."""
        profile = self._profile_of(carrier_id)
        return read_address(
            *source,
            country=profile.inbound_country,
            prefix=profile.inbound_prefix,
            near=record.sender.country if record is not None else "",
        )

    def tell_unclear(self, carrier_id: int, address: SmeAddress) -> None:
        """Once for each carrier, and again once its settings are others."""
        profile = self._profile_of(carrier_id)
        key = (carrier_id, profile.inbound_country, profile.inbound_prefix)
        if key in self._unclear:
            return
        self._unclear.add(key)
        self._alerts.alert(
            UNFIT,
            f"a number of {len(address.value)} characters, type {address.ton}, plan {address.npi},"
            " can't be told from another country's: it stays as it came, unless inbound_country or"
            " inbound_prefix say what it lacks",
            resource=self.name_of(carrier_id),
            subject=f"unclear {carrier_id}",
        )

    def name_of(self, carrier_id: int) -> str:
        carriers = self._directory.carriers.values()
        return next(
            (carrier.name for carrier in carriers if carrier.id == carrier_id), str(carrier_id)
        )

    def message_of(self, carrier_id: int, whole: Whole) -> Stored | None:
        """The message of a whole; None when its number went away while its parts came."""
        delivery = whole.pieces[0].delivery
        record = self.number(carrier_id, delivery.destination)
        if record is None:
            return None
        profile = self._profile_of(carrier_id)
        source = self.address(carrier_id, delivery.source, record)
        if not source.clear:
            self.tell_unclear(carrier_id, delivery.source)
        text = self._text(carrier_id, profile, whole)
        message = Message(
            self._next_id(),
            record.account_id,
            record.sender.address,
            text,
            service_id=record.service_id,
            direction=Direction.INBOUND,
        )
        message.sender_address = storable(source.value)
        message.sender_id = record.sender.id
        message.carrier_id = carrier_id
        message.segments = whole.total
        alphabet = form_of(whole.pieces[0], profile.alphabet).alphabet
        message.encoding = Encoding.UCS2 if alphabet == "ucs2" else Encoding.GSM7
        message.status = message.committed = Status.RECEIVED
        message.waiting = False
        # When its app is called, that time takes its place.
        message.sent_at = message.done_at = self._clock.wall()
        if whole.missing:
            message.error_code = SEGMENT_MISSING
            self._alerts.alert(
                SEGMENT_MISSING,
                f"{len(whole.missing)} of {whole.total} segments never came",
                resource=message.sid,
                account_id=record.account_id,
            )
        parts = cast(tuple[Id, ...], tuple(piece.token for piece in whole.pieces))
        service = self._directory.services_by_id.get(record.service_id or 0)
        dropped = inbound_mode(record, service) is InboundMode.DROP
        deliveries = tuple(piece.delivery for piece in whole.pieces)
        return Stored(message, parts, deliveries, record, dropped)

    def _text(self, carrier_id: int, profile: Profile, whole: Whole) -> str:
        """The text of a message, without the NUL that some put behind it."""
        ended = ends_with_nul(whole, profile.alphabet)
        if ended is None or profile.text_terminator == "none":
            return text_of(whole, profile.alphabet)
        learnt = self._endings.learnt(carrier_id, whole.pieces[0].delivery.source.value, ended)
        if learnt or profile.text_terminator == "nul":
            return text_of(whole, profile.alphabet, terminated=True)
        text = text_of(whole, profile.alphabet)
        # Until it is known what the carrier does: nobody writes `STOP@`.
        return text[:-1] if ended and default_book().match(text, "") is not None else text
