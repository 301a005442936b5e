"""Deliveries that came before, and which of them a delivery repeats
(docs/reliability.md#deliveries).

Looked up by pair, part and octets: what else a peer has left unanswered costs its others nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from smpp.concat import Part
from storage import deliveries as delivery_rows
from storage.database import Connection
from storage.ids import Id

PartSource = tuple[int, str, str]  # carrier, source, destination


class DeliveryKey(NamedTuple):
    """What a repetition has in common with its first: whose, which part, which octets."""

    pair: PartSource
    part: Part
    digest: bytes


class Earlier(NamedTuple):
    """A part that came before, whose answer may not have arrived."""

    id: Id
    connection: str
    message_id: Id | None
    number: int  # of the delivery on its connection


class Repetitions:
    """The parts that a batch of deliveries may repeat; those of the batch itself join them."""

    def __init__(self) -> None:
        self._earlier: defaultdict[DeliveryKey, dict[str, dict[int, Earlier]]] = defaultdict(dict)

    async def read(
        self,
        connection: Connection,
        wanted: Sequence[DeliveryKey],
        live: Sequence[str],
        since: datetime,
    ) -> None:
        """Parts of these words that came since, by connections that are not `live` any more."""
        often = Counter(wanted)
        rows = await delivery_rows.gone_parts(
            connection,
            [(*words.pair, words.digest, *words.part, most) for words, most in often.items()],
            live,
            since,
        )
        self._note(list(often), rows)

    async def read_same(
        self,
        connection: Connection,
        wanted: Sequence[tuple[DeliveryKey, str, int]],
        since: datetime,
    ) -> None:
        """Read the very deliveries of these words, connections and numbers on them."""
        rows = await delivery_rows.same_parts(
            connection,
            [(*words.pair, words.digest, name, number) for words, name, number in wanted],
            since,
        )
        self._note([words for words, _, _ in wanted], rows)

    def _note(
        self, wanted: Sequence[DeliveryKey], rows: Iterable[delivery_rows.EarlierPartRow]
    ) -> None:
        for row in rows:
            earlier = Earlier(row["id"], row["connection"], row["message_id"], row["number"])
            self.add(wanted[row["place"] - 1], earlier)

    def add(self, words: DeliveryKey, earlier: Earlier) -> None:
        self._earlier[words].setdefault(earlier.connection, {})[earlier.number] = earlier

    def same(self, words: DeliveryKey, connection: str, number: int) -> Earlier | None:
        """This very delivery, whose commit was done though nobody could say so."""
        return self._earlier[words].get(connection, {}).get(number)

    def take(self, words: DeliveryKey, is_gone: Callable[[str], bool]) -> Earlier | None:
        """The oldest that a delivery with these words repeats; it is repeated once."""
        for connection, parts in self._earlier[words].items():
            if parts and is_gone(connection):
                return parts.pop(next(iter(parts)))
        return None
