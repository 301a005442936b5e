"""A nameserver of the test's own, on loopback: what it knows, and what it never answers."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

A: Final = 1
AAAA: Final = 28
SILENT: Final = "silent.example"  # of what ends so, it says nothing
_ANSWER, _NO_SUCH_NAME = 0x8180, 0x8183  # flags of a response (RFC 1035 §4.1.1)
_POINTER = b"\xc0\x0c"  # to the name in the question


@dataclass
class Nameserver(asyncio.DatagramProtocol):
    """Answers with `known`, by name; another name does not exist."""

    known: dict[str, Sequence[str]] = field(default_factory=dict)
    ttl: int = 60
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Names, and the types of their records."""
    address: str = ""
    _transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def names(self, ending: str = "") -> set[str]:
        """What it was asked for."""
        return {name for name, _ in self.asked if name.endswith(ending)}

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name(data)
        kind = struct.unpack_from(">H", data, end)[0]
        self.asked.append((name, kind))
        if name.endswith(SILENT):
            return
        question = data[12 : end + 4]
        found = [ipaddress.ip_address(text) for text in self.known.get(name, ())]
        records = [ip.packed for ip in found if ip.version == (4 if kind == A else 6)]
        flags = _ANSWER if name in self.known else _NO_SUCH_NAME
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        body = b"".join(
            _POINTER + struct.pack(">HHIH", kind, 1, self.ttl, len(octets)) + octets
            for octets in records
        )
        self._transport.sendto(head + question + body, addr)


def _name(query: bytes) -> tuple[str, int]:
    """The name of a query, and where it ends."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return ".".join(labels), at + 1
