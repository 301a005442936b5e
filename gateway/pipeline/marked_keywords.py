"""Keywords in what is marked as a receipt: some carriers mark a subscriber's message so.

A STOP must never be missed, and no receipt says nothing but a keyword: of the standard ones, or of
the service that the number belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.stored_deliveries import number_of
from gateway.directory.directory import Directory
from gateway.opt_out.configured_book import ServiceBooks
from gateway.opt_out.keywords import ANY, default_book
from smpp.alphabet import decode_text
from smpp.concat import split_header
from smpp.pdu import DeliverSm, tlv
from smpp.vocabulary import RECEIPTED_MESSAGE_ID

# Octets: the longest keyword in UCS-2, and something around it. No receipt with all fields of the
# standard form is that short.
MOST_KEYWORD: Final = 80


class MarkedKeywords:
    """Tells which deliveries that are marked as receipts are a subscriber's STOP or the like."""

    def __init__(self, directory: Directory, profile_of: Callable[[int], Profile]) -> None:
        self._directory = directory
        self._profile_of = profile_of
        self._books = ServiceBooks(directory)

    def has(self, carrier: int, delivery: DeliverSm) -> bool:
        """Whether a delivery of this carrier says a keyword, of whatever country."""
        if len(delivery.payload) > MOST_KEYWORD or tlv(delivery.tlvs, RECEIPTED_MESSAGE_ID):
            return False
        profile = self._profile_of(carrier)
        octets = split_header(delivery).text
        texts = (  # the coding of what is marked wrongly need not be right either
            octets.replace(b"\0", b"").decode("latin-1"),
            decode_text(delivery.data_coding, octets, profile.alphabet).replace("\0", ""),
        )
        record = number_of(self._directory, delivery.destination, profile)
        own = self._books.of(record.service_id) if record is not None else None
        books = (default_book(), own) if own is not None else (default_book(),)
        return any(book.match(text, ANY) is not None for book in books for text in texts)
