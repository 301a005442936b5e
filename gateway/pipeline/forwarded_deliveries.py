"""Deliveries of carriers here for numbers of other workers, and those that others hand on to us.

It is answered when it has been committed there. With nobody there, the carrier is to come back.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Final

import orjson

from gateway.cluster.transport import FrameKind, PeerFailure, SendReply
from gateway.stage_runtime import Runtime
from smpp.codec import CodecError, decode_deliver, encode_deliver
from smpp.pdu import DeliverSm
from smpp.vocabulary import ESME_RX_T_APPN

log = logging.getLogger(__name__)

STATUS: Final = struct.Struct(">I")
LENGTH: Final = struct.Struct(">I")

Respond = Callable[[DeliverSm, int], object]
TakeIn = Callable[[int, str, DeliverSm, Respond], None]  # carrier, connection


class ForwardedDeliveries:
    def __init__(self, runtime: Runtime, take_in: TakeIn, lost: Callable[[str], None]) -> None:
        """`take_in` has it stored here; `lost` hears of connections that are over."""
        self._peers = peers = runtime.peers
        self._slot = runtime.ownership.share.slot
        self._run_id = runtime.run_id
        self._take_in = take_in
        self._lost = lost
        self._runs: dict[int, str] = {}  # of the workers that handed deliveries on, by slot
        peers.on(FrameKind.DELIVER, self._on_deliver)
        peers.on(FrameKind.LOST, self._on_lost)
        if peers.links is not None:
            peers.links.worker_lost = self._worker_lost

    def deliver(
        self, slot: int, carrier: int, connection: str, delivery: DeliverSm, answer: Respond
    ) -> None:
        """Hand it on."""

        def answered(reply: bytes | PeerFailure) -> None:
            status = ESME_RX_T_APPN if isinstance(reply, PeerFailure) else STATUS.unpack(reply)[0]
            answer(delivery, status)

        try:
            pdu = encode_deliver(delivery, delivery.sequence)
        except CodecError as error:  # it was read from octets, so this can't be
            log.error("a delivery that can't be handed on: %s", error)
            self._take_in(carrier, connection, delivery, answer)
            return
        head = orjson.dumps((carrier, self._slot, self._run_id, connection, delivery.number))
        self._peers.ask(slot, FrameKind.DELIVER, LENGTH.pack(len(head)) + head + pdu, answered)

    def _on_deliver(self, payload: bytes, reply: SendReply) -> None:
        (length,) = LENGTH.unpack_from(payload)
        head = orjson.loads(payload[LENGTH.size : LENGTH.size + length])
        carrier, slot, run, connection, number = head
        self._runs[slot] = run
        delivery = decode_deliver(payload[LENGTH.size + length :])
        delivery.number = number
        self._take_in(
            carrier, f"{run}.{connection}", delivery, lambda _, status: reply(STATUS.pack(status))
        )

    def lost(self, connection: str) -> None:
        """This connection of ours to a carrier is over: whoever had deliveries of it is told. Who
        is away starts anew, and knows that by itself.
        """
        self._peers.tell_all(FrameKind.LOST, f"{self._run_id}.{connection}".encode())

    def _worker_lost(self, slot: int) -> None:
        """With it went all its connections to carriers, of which it can't tell any more."""
        run = self._runs.pop(slot, None)
        if run is not None:
            self._lost(run)

    def _on_lost(self, payload: bytes, reply: SendReply) -> None:
        self._lost(payload.decode())
        reply(b"")
