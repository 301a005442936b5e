"""The driver's own 128-bit id type: built from 16 bytes at a tenth of `uuid.UUID`'s cost."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from storage.times import utc_of

if TYPE_CHECKING:
    from uuid import UUID as Id
else:
    from asyncpg.pgproto.pgproto import UUID as Id


def id_from_bytes(data: bytes) -> Id:
    """The id with these 16 bytes, big-endian."""
    return Id(data)  # type: ignore[arg-type]


def id_from_hex(text: str) -> Id:
    """The id with these 32 hex digits. Raises ValueError on anything else."""
    data = bytes.fromhex(text)
    if len(data) != 16:
        raise ValueError("an id has 32 hex digits")
    return Id(data)  # type: ignore[arg-type]


BELOW_ALL: Final = id_from_bytes(bytes(16))


def id_at(seconds: float) -> Id:
    """The lowest id of a moment, in seconds since 1970."""
    return id_from_bytes((max(0, int(seconds * 1000)) << 80).to_bytes(16, "big"))


def moment_of(id: Id) -> datetime:
    """When an id was made: its first 48 bits are milliseconds since 1970."""
    return utc_of(int.from_bytes(id.bytes[:6], "big") / 1000)


__all__ = ["BELOW_ALL", "Id", "id_at", "id_from_bytes", "id_from_hex", "moment_of"]
