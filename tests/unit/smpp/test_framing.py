"""A stream of octets is cut into PDUs, and what is one behind the other into its pieces."""

from __future__ import annotations

import pytest

from smpp.codec import HEADER
from smpp.framing import Framing, pieces

PDUS = [HEADER.pack(16 + length, 4, 0, length + 1) + bytes(length) for length in (0, 7, 3)]


def test_the_pieces_of_whole_pdus_are_those_that_a_stream_is_cut_into():
    octets = b"".join(PDUS)
    frames, broken = Framing().cut(octets, 65_536)
    assert broken is None
    assert [octets[start:end] for start, end in pieces(octets)] == PDUS
    assert [frame[3] for frame in frames] == PDUS


@pytest.mark.parametrize("rest", [b"x", PDUS[1][:-1], b"\0" * 20, b"a text, not a PDU at all"])
def test_what_is_no_whole_pdu_is_a_piece_of_its_own(rest: bytes):
    octets = PDUS[0] + rest + PDUS[1]
    found = [octets[start:end] for start, end in pieces(octets)]
    assert found[0] == PDUS[0]
    assert b"".join(found) == octets


def test_there_are_no_pieces_of_nothing():
    assert list(pieces(b"")) == []
