"""Cuts a stream of octets into PDUs, however it came in pieces; nothing of a PDU but its header
is read here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from smpp.codec import HEADER, HEADER_OCTETS

# command_id, command_status, sequence_number, and the whole PDU.
Frame = tuple[int, int, int, bytes]

_SHOWN: Final = 64  # octets of a broken frame that are kept, to be reported


class BrokenFrame(NamedTuple):
    """A header whose command_length cannot be: nobody can say where the next PDU begins."""

    data: bytes
    sequence: int
    reason: str


class Framing:
    """The octets of one direction of one connection."""

    __slots__ = ("_held", "_needed")

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = 0

    def __len__(self) -> int:
        """Octets held for later."""
        return len(self._held)

    def cut(self, data: bytes, limit: int) -> tuple[list[Frame], BrokenFrame | None]:
        """The PDUs that are whole now; and what is broken behind them, which ends the stream.

        No PDU has over `limit` octets: what is held of one is less, whatever the peer sends.
        """
        frames: list[Frame] = []
        held = self._held
        if held:
            held += data
            if len(held) < self._needed:
                return frames, None
            data = bytes(held)
            held.clear()
        at = 0
        end = len(data)
        while end - at >= 16:
            length, command, status, sequence = HEADER.unpack_from(data, at)
            if length < 16 or length > limit:
                held += (broken := data[at : at + _SHOWN])
                return frames, _broken(broken, length, sequence, limit)
            if at + length > end:
                break
            frames.append((command, status, sequence, data[at : at + length]))
            at += length
        if at < end:
            held += data[at:] if at else data
            self._needed = HEADER.unpack_from(data, at)[0] if end - at >= 16 else HEADER_OCTETS
        return frames, None

    def put_back(self, frames: Iterable[Frame]) -> None:
        """These PDUs of the last `cut` come again with the next one."""
        self._held[:0] = b"".join([pdu for _, _, _, pdu in frames])
        self._needed = 0


def pieces(octets: bytes) -> Iterator[tuple[int, int]]:
    """Where each PDU of these octets begins and ends, in their order.

    What is behind the last that is whole is a piece of its own: nothing is left out.
    """
    at, end = 0, len(octets)
    while end - at >= HEADER_OCTETS:
        length = int.from_bytes(octets[at : at + 4], "big")
        if not HEADER_OCTETS <= length <= end - at:
            break
        yield at, at + length
        at += length
    if at < end:
        yield at, end


def _broken(data: bytes, length: int, sequence: int, limit: int) -> BrokenFrame:
    what = "below a header's 16" if length < 16 else f"over the limit of {limit}"
    return BrokenFrame(data, sequence, f"command_length {length} is {what}")
