"""The log of PDUs has a line for each, however many came at once."""

from __future__ import annotations

import pytest

from gateway.channels.smpp.binds import pdu_logger
from smpp import vocabulary as v
from smpp.codec import HEADER


def test_each_pdu_of_a_read_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    octets = HEADER.pack(16, v.ENQUIRE_LINK, 0, 7) + HEADER.pack(16, v.UNBIND, 0, 8)
    pdu_logger("bind/1", mask=True)("in", octets)
    assert caplog.messages == ["bind/1 in enquire_link seq=7", "bind/1 in unbind seq=8"]
